"""Signal handlers: who installs them, and that they are put back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from chat_protocol.domain.limits import Limits
from chat_protocol.service.server import ChatService
from chat_protocol.service.signals import SignalHandlers
from chat_protocol.stores.memory.store import MemoryStore

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)


class Reactor(Clock):
    """Runs when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.starting: list[Callable[[], Any]] = []
        self.called: list[Callable[[], Any]] = []

    def callWhenRunning(self, function: Callable[[], Any]) -> None:
        self.starting.append(function)

    def callFromThread(self, function: Callable[[], Any]) -> None:
        self.called.append(function)


def handlers() -> list[Any]:
    return [signal.getsignal(one) for one in SIGNALS]


def test_an_embedded_server_leaves_the_signals_alone() -> None:
    before = handlers()
    service = ChatService(Clock(), MemoryStore(), [], Limits())
    service.startService()
    assert handlers() == before
    service.reload()
    service.stopService()
    assert handlers() == before


def test_the_reactor_does_the_work_and_the_handlers_are_put_back() -> None:
    before = handlers()
    reactor = Reactor()
    done: list[str] = []
    installed = SignalHandlers(
        reactor,
        {signal.SIGHUP: lambda: done.append("hup"), signal.SIGTERM: lambda: done.append("term")},
    )
    installed.install()
    try:
        # A reactor installs its own handler of SIGTERM.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for function in reactor.starting:
            function()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert done == []
        for function in reactor.called:
            function()
        assert done == ["hup", "hup", "term"]
        # A second one kills.
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        installed.restore()
    assert handlers() == before


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_was_ignored_is_ignored_again(before: signal.Handlers) -> None:
    saved = signal.signal(signal.SIGHUP, before)
    try:
        installed = SignalHandlers(Reactor(), {signal.SIGHUP: str})
        installed.install()
        installed.restore()
        assert signal.getsignal(signal.SIGHUP) is before
    finally:
        signal.signal(signal.SIGHUP, saved)
