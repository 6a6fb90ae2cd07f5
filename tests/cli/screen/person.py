"""Somebody at a screen without a terminal, whose server is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chat_protocol.cli.options import Interactive, Settings
from chat_protocol.cli.screen.actions import Actions, Stamps
from chat_protocol.cli.screen.model import Model
from chat_protocol.cli.screen.viewport import Viewport
from chat_protocol.cli.server import Server
from chat_protocol.cli.session import Session
from chat_protocol.testing import MemoryServer
from tests.cli.screen.samples import plain

__all__ = ["Person", "everybody_leaves"]

_STAYING: list[Person] = []


class _Place:
    """Stands for a Server of the command line."""

    text = "example:5555"

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def endpoint(self, _: object) -> Any:
        return self._server.endpoint()


class Person:
    """A user who is logged in and whose screen is there.

    Args:
        server: where.
        name: who.
    """

    def __init__(self, server: MemoryServer, name: str) -> None:
        self.server = server
        clock = server.clock
        stamps = Stamps()
        settings = Settings(
            server=cast(Server, _Place(server)),
            user=name,
            password=None,
            ask_password=False,
            timeout=10.0,
            patience=None,
            action=Interactive(),
        )
        self.said: list[str] = []
        self.session = Session(
            clock, settings, name, self.said.append, presence=True, wall_clock=stamps
        )
        self.model = Model(name, "example:5555", clock.seconds)
        self.actions = Actions(clock, self.model, self.session, stamps, settings.timeout)
        self.session.client.add_observer(self.actions.happened)
        server.run(self.session.open())
        self.actions.begin()
        self.ended: list[object] = []
        self._running = Deferred.fromCoroutine(self.session.run(self._stay()))
        self._running.addBoth(self.ended.append)
        self._arrivals = Deferred.fromCoroutine(self.actions.take_arrivals())
        server.flush()
        _STAYING.append(self)

    async def _stay(self) -> None:
        await self.actions.left

    def type(self, line: str) -> None:
        """A line, and what comes of it."""
        self.actions.typed(line)
        self.server.flush()

    def leave(self) -> None:
        """To the end of all."""
        self.actions.leave()
        self.server.flush()
        self.actions.stop()
        assert self.ended == [None]

    def go(self) -> None:
        """Away, whatever the state of things."""
        if not self.ended:
            self.actions.stop()
            self._running.cancel()
            self.server.advance(60)
        assert self.ended

    @property
    def problem(self) -> Exception:
        """What ended the session."""
        (failure,) = self.ended
        assert isinstance(failure, Failure)
        assert isinstance(failure.value, Exception)
        return failure.value

    @property
    def titles(self) -> list[str]:
        """The conversations."""
        return [self.model.title(talk) for talk in self.model.talks]

    @property
    def shown(self) -> list[str]:
        """The rows of the conversation that is shown, without times."""
        rows = plain(Viewport(self.model.current, 70, 30, self.model.look).rows())
        return [row[6:].lstrip() for row in rows if "──" not in row]


@pytest.fixture(autouse=True)
def everybody_leaves() -> Iterator[None]:
    """Nobody stays beyond a test: what waits for ever is found by nobody."""
    yield
    while _STAYING:
        _STAYING.pop().go()
