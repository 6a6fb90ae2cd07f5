"""Ending a twistd process with a status of one's own.

twistd ends with 0 whenever its reactor stops without a signal, and the reactor catches
SystemExit; so a failure's status is set by the last thing the interpreter does. After a signal
twistd kills itself with it once more, even when everything was brought to an end as asked; so
SIGTERM is handled here.
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
    """Have SIGTERM stop the reactor in good order, with status 0; a second one kills."""

    def stop(signum: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        reactor.callFromThread(stop_reactor)

    def stop_reactor() -> None:
        _log.info("Stopping on SIGTERM")
        reactor.stop()

    # The reactor sets handlers of its own when it starts: these come after.
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, stop)


def exit_with(reactor: Any, status: int, message: str) -> None:
    """Stop the reactor, let twistd clean up, write the message to stderr and end so."""
    atexit.register(_exit, status, message)
    reactor.callWhenRunning(reactor.stop)


def _exit(status: int, message: str) -> None:
    sys.stdout.flush()
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"{message}\n")
        stream.flush()
    os._exit(status)
