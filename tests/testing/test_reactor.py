"""The server in memory under a real reactor, and the example of the documentation."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
import pytest_twisted

from chat_protocol import testing
from chat_protocol.testing import MemoryServer
from chat_protocol.wire.commands import CorrelationIdTest, Login2
from tests.testing.user import OK, connecting


@pytest_twisted.ensureDeferred
async def test_it_goes_by_itself() -> None:
    from twisted.internet import reactor

    clock: Any = reactor
    server = MemoryServer(clock)
    alice = await connecting(server)
    alice.send(Login2("alice"))
    await server.when_quiet()
    alice.take()
    alice.publish("hello", "alice")
    await server.when_quiet()
    assert [message.message for message in server.received] == ["hello"]
    assert alice.take()[-1] == OK
    server.cut()
    await server.when_quiet()
    assert alice.lost is not None
    other = await connecting(server)
    other.send(CorrelationIdTest())
    await server.when_quiet()
    server.kill()
    await server.when_quiet()
    server.start()
    await connecting(server)
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_time_cannot_be_moved() -> None:
    from twisted.internet import reactor

    clock: Any = reactor
    server = MemoryServer(clock)
    with pytest.raises(TypeError, match="when_quiet"):
        server.advance(1)
    with pytest.raises(TypeError, match="when_quiet"):
        server.flush()
    await server.stop()


def test_the_example() -> None:
    results = doctest.testmod(testing, raise_on_error=True)
    assert results.attempted > 5
