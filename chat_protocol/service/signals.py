"""Signals of a server's process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["SignalHandlers"]


class SignalHandlers:
    """Calls functions in the reactor's thread when the process gets signals.

    A second SIGTERM kills the process.

    Args:
        reactor: calls the functions in its next turn.
        functions: the function of each signal.
    """

    def __init__(self, reactor: Any, functions: Mapping[int, Callable[[], object]]) -> None:
        self._reactor = reactor
        self._functions = functions
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Handle the signals from now on."""
        for signum in self._functions:
            self._before[signum] = signal.signal(signum, self._handle)
        # The reactor installs a handler of its own for SIGTERM when it starts.
        self._reactor.callWhenRunning(self._install_again)

    def _install_again(self) -> None:
        if signal.SIGTERM in self._before:
            signal.signal(signal.SIGTERM, self._handle)

    def restore(self) -> None:
        """Put back the handlers that there were before."""
        while self._before:
            signum, handler = self._before.popitem()
            # None: a handler that Python did not install, and cannot put back.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)

    def _handle(self, signum: int, frame: object) -> None:
        # The main thread may be anywhere, so the reactor does the work.
        if signum == signal.SIGTERM:
            signal.signal(signum, signal.SIG_DFL)
        self._reactor.callFromThread(self._functions[signum])
