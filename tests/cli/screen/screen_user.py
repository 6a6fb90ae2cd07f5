"""A user with a screen model, but without a terminal, on an in-memory server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chat_protocol.cli.options import InteractiveAction, Settings
from chat_protocol.cli.screen.actions import Actions, UniqueClock
from chat_protocol.cli.screen.model import Model
from chat_protocol.cli.screen.viewport import Viewport
from chat_protocol.cli.server_address import ServerAddress
from chat_protocol.cli.session import ClientSession
from chat_protocol.testing import MemoryServer
from tests.cli.screen.samples import plain

__all__ = ["ScreenUser", "log_out_all"]

_LOGGED_IN: list[ScreenUser] = []


class _FakeAddress:
    """Stands in for a ServerAddress."""

    text = key = "example:5555"

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def endpoint(self, _: object) -> Any:
        return self._server.endpoint()


class ScreenUser:
    """A logged-in user with a screen model.

    Args:
        server: the in-memory server.
        name: the username.
    """

    def __init__(self, server: MemoryServer, name: str) -> None:
        self.server = server
        clock = server.clock
        unique_clock = UniqueClock()
        settings = Settings(
            server=cast(ServerAddress, _FakeAddress(server)),
            user=name,
            password=None,
            ask_password=False,
            timeout=10.0,
            reconnect_timeout=None,
            action=InteractiveAction(),
        )
        self.said: list[str] = []
        self.session = ClientSession(
            clock, settings, name, self.said.append, presence=True, wall_clock=unique_clock
        )
        self.model = Model(name, "example:5555", clock.seconds)
        self.actions = Actions(clock, self.model, self.session, unique_clock, settings.timeout)
        self.session.client.add_observer(self.actions.observe)
        server.run(self.session.open())
        self.actions.start()
        self.ended: list[object] = []
        self._running = Deferred.fromCoroutine(self.session.run(self._stay()))
        self._running.addBoth(self.ended.append)
        self._arrivals = Deferred.fromCoroutine(self.actions.receive_messages())
        server.flush()
        _LOGGED_IN.append(self)

    async def _stay(self) -> None:
        await self.actions.left

    def type(self, line: str) -> None:
        """Type a line and process its effects."""
        self.actions.handle_line(line)
        self.server.flush()

    def leave(self) -> None:
        """Quit in order."""
        self.actions.leave()
        self.server.flush()
        self.actions.stop()
        assert self.ended == [None]

    def force_end(self) -> None:
        """End the session in any state."""
        if not self.ended:
            self.actions.stop()
            self._running.cancel()
            self.server.advance(60)
        assert self.ended

    @property
    def error(self) -> Exception:
        """The error that ended the session."""
        (failure,) = self.ended
        assert isinstance(failure, Failure)
        assert isinstance(failure.value, Exception)
        return failure.value

    @property
    def titles(self) -> list[str]:
        """The titles of the conversations."""
        return [self.model.title(conversation) for conversation in self.model.conversations]

    @property
    def shown(self) -> list[str]:
        """The visible rows of the current conversation, without times."""
        rows = plain(Viewport(self.model.current, 70, 30, self.model.capabilities).rows())
        return [row[6:].lstrip() for row in rows if "──" not in row]


@pytest.fixture(autouse=True)
def log_out_all() -> Iterator[None]:
    """Log out all users after the test, because the leak guard cannot see a waiting coroutine."""
    yield
    while _LOGGED_IN:
        _LOGGED_IN.pop().force_end()
