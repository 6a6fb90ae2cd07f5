"""Control the exit status of a twistd process.

twistd exits with status 0 whenever its reactor stops without a signal, and the reactor catches
SystemExit. Therefore an exit handler sets the status of a failure. After a signal, twistd kills
itself with the same signal, even after an orderly stop. Therefore this module handles SIGTERM.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Any

from twisted.logger import Logger

__all__ = ["exit_with", "stop_on_sigterm"]


_log = Logger(namespace="chat_protocol.service")


def stop_on_sigterm(reactor: Any) -> None:
    """Make SIGTERM stop the reactor with exit status 0; a second SIGTERM kills the process."""

    def stop(signum: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        reactor.callFromThread(stop_reactor)

    def stop_reactor() -> None:
        _log.info("Stopping on SIGTERM")
        reactor.stop()

    # The reactor installs its own handlers when it starts and would replace this one.
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, stop)


def exit_with(reactor: Any, status: int, message: str) -> None:
    """Stop the reactor; once twistd has cleaned up, write ``message`` to stderr and exit."""
    atexit.register(_exit, status, message)
    reactor.callWhenRunning(reactor.stop)


def _exit(status: int, message: str) -> None:
    sys.stdout.flush()
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"{message}\n")
        stream.flush()
    os._exit(status)
