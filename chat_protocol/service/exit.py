"""Ending a twistd process with a status of one's own.

twistd ends with 0 whenever its reactor stops without a signal, and the reactor catches
SystemExit; so the status is set by the last thing the interpreter does.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

__all__ = ["exit_with"]


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
