"""A server in memory on the running event loop, for the tests of the client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from chat_protocol.aio import loop_clock
from chat_protocol.aio.waiting import result_of
from chat_protocol.testing import MemoryServer

Scenario = Callable[[MemoryServer], Coroutine[Any, Any, None]]


def run(scenario: Scenario, **options: Any) -> None:
    """Run a coroutine with a server in a loop of its own, with asyncio's checks."""

    async def main() -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        server = MemoryServer(loop_clock(), **options)
        await asyncio.wait_for(scenario(server), 60)
        await result_of(server.stop())
        assert faults == []

    asyncio.run(main())


async def quiet(server: MemoryServer) -> None:
    await result_of(server.when_quiet())


def waiting(server: MemoryServer, user: str) -> list[str]:
    """The texts in a user's mailbox: those that the user has not acknowledged."""
    return [message.message for message in server.mailbox(user)]
