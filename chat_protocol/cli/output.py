"""Writing lines to stdout and sentences to stderr."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.python.failure import Failure

from chat_protocol.cli.outcome import Exit, Failed, OutputClosed

__all__ = ["OutputWatch", "abandon_output", "complain", "write_line"]


def write_line(line: str) -> None:
    """Write a line to stdout and flush it; a slow reader blocks, and with it the client.

    Raises:
        OutputClosed: nobody reads it any more.
        Failed: it cannot be written, for a full disk say.
    """
    if sys.stdout is None:
        raise OutputClosed
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise Failed(Exit.OUTPUT, f"cannot write the output: {error.strerror}") from error


def complain(sentence: str) -> None:
    """Write a sentence to stderr, if that can be done."""
    try:
        # Without the check, print would take stdout for a stderr that is not there.
        if sys.stderr is not None:
            print(f"chatclient: {sentence}", file=sys.stderr, flush=True)
    except OSError:
        pass


def abandon_output() -> None:
    """Forget what stdout has buffered: the interpreter would complain at exit that it cannot."""
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):
        pass


class OutputWatch(FileDescriptor):
    """Calls back when stdout is a pipe and its reader goes away.

    A client that only noticed when it wrote would take one more message from the server, for
    nobody.

    Args:
        reactor: what watches.
        gone: called at most once.
    """

    def __init__(self, reactor: Any, gone: Callable[[], object]) -> None:
        super().__init__(reactor)
        self._gone = gone
        self._watching = False
        self.reader_gone = False

    def start(self) -> None:
        """Watch, if stdout is a pipe."""
        self._watching = _is_pipe()
        if self._watching:
            self.startReading()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Watch no more."""
        if self._watching:
            self._watching = False
            self.stopReading()  # type: ignore[no-untyped-call]

    def fileno(self) -> int:
        """The descriptor of stdout."""
        return sys.stdout.fileno()

    def doRead(self) -> None:  # noqa: N802
        """A pipe that is written to is readable only when nothing reads its other end."""
        self.connectionLost(Failure(BrokenPipeError()))  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        """The reactor noticed an error on the pipe: the same."""
        self.stop()
        if not self.reader_gone:
            self.reader_gone = True
            self._gone()


def _is_pipe() -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):
        return False
