"""The process that starts a daemon: it stays until the daemon serves.

Without this, twistd's parent process exits with status 0 before the reactor of the daemon runs, so
that nobody sees why a server could not start.
"""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["ParentProcess"]

_STDERR = 2
_SERVING = b"\0"
_SILENCE = b"chatserver: the server ended before it served. The log has the reason.\n"


class ParentProcess:
    """The process that makes this object, if twistd daemonizes after that.

    It writes what the daemon writes to stderr, until the daemon serves or ends. Then it exits: with
    status 0 if the daemon serves, else with 1.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._reading, self._writing = os.pipe()
        os.register_at_fork(after_in_parent=self._wait)

    def attach(self) -> None:
        """Let the parent have the stderr of this process, which is the daemon."""
        os.close(self._reading)
        os.dup2(self._writing, _STDERR)
        os.close(self._writing)

    def release(self) -> None:
        """Let the parent exit with status 0."""
        with suppress(BrokenPipeError):
            os.write(_STDERR, _SERVING)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, _STDERR)
        os.close(null)

    def _wait(self) -> None:
        # The daemon forks once more when it begins.
        if os.getpid() != self._pid:
            return
        os.close(self._writing)
        try:
            self._relay()
        except KeyboardInterrupt:
            # The daemon goes on: the terminal is not its own.
            os._exit(1)

    def _relay(self) -> None:
        silent = True
        while data := os.read(self._reading, 4096):
            text = data.removesuffix(_SERVING)
            if text:
                silent = False
                os.write(_STDERR, text)
            if text != data:
                os._exit(0)
        if silent:
            os.write(_STDERR, _SILENCE)
        os._exit(1)
