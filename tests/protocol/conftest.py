"""What tests of a server without a reactor have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from .line import (
    Server,
)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    for connection in list(made.factory.connections):
        connection.connectionLost()
    made.turn()
    assert made.clock.getDelayedCalls() == []


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)
