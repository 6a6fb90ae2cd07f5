"""The exit status of a twistd process whose server cannot start.

twistd exits with status 0 whenever its reactor stops without a signal, and the reactor catches
SystemExit. Therefore an exit handler sets the status.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import Any

__all__ = ["exit_with", "started_by_twisted"]

_PROGRAMS = ("twisted.application.app", "twisted.application.twist._twist")
"""The modules by which twistd and twist start the services of an application."""


def started_by_twisted() -> bool:
    """Return whether the caller was called because twistd or twist starts an application."""
    frame = sys._getframe()
    while (before := frame.f_back) is not None:
        frame = before
        if frame.f_globals.get("__name__") in _PROGRAMS:
            return True
    return False


def exit_with(reactor: Any, status: int, message: str) -> None:
    """Stop the reactor; once twistd has cleaned up, write ``message`` to stderr and exit."""
    atexit.register(_exit, status, message)
    reactor.callWhenRunning(reactor.stop)


def _exit(status: int, message: str) -> None:
    stream = sys.__stderr__
    if stream is not None:
        # Whoever read stderr may have gone.
        with suppress(OSError):
            stream.write(f"{message}\n")
            stream.flush()
    os._exit(status)
