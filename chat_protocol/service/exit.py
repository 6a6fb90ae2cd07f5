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

__all__ = ["exit_with"]


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
