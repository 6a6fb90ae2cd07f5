"""Writing lines to stdout and sentences to stderr."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from chat_protocol.cli.exit_codes import Exit, Failed, OutputClosed
from chat_protocol.cli.text import visible

__all__ = ["Output", "OutputWatch", "abandon_output", "complain"]


class Output:
    """Lines to stdout, written by a thread of its own.

    So a reader that is slow delays nobody but who waits for it; the connection to the server stays
    alive meanwhile. A thread, because the alternative is to make the descriptor non-blocking: that
    would be so for everybody who shares it. A daemon, because nothing can end a write.

    What is written and not awaited waits in memory: whoever lets others write bounds it.

    Args:
        reactor: where the Deferreds fire.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._queue: SimpleQueue[tuple[bytes, Deferred[None]]] = SimpleQueue()
        self._thread: Thread | None = None

    def write(self, *lines: str) -> Deferred[None]:
        """Write lines; fires when they are out, in the order of the calls.

        Fails with OutputClosed if nobody reads them any more, and with Failed if they cannot be
        written, for a full disk say. To cancel it takes back nothing.
        """
        if sys.stdout is None:
            return fail(OutputClosed())
        if self._thread is None:
            self._thread = Thread(target=self._run, name="stdout", daemon=True)
            self._thread.start()
        text = "".join(f"{line}\n" for line in lines)
        written: Deferred[None] = Deferred()
        self._queue.put((text.encode(sys.stdout.encoding, "backslashreplace"), written))
        return written

    def _run(self) -> None:
        descriptor = sys.stdout.fileno()
        while True:
            data, written = self._queue.get()
            error = None
            try:
                _write(descriptor, data)
            except OSError as problem:
                error = problem
            self._reactor.callFromThread(self._written, written, error)

    @staticmethod
    def _written(written: Deferred[None], error: OSError | None) -> None:
        if error is None:
            written.callback(None)
        else:
            written.errback(_failed(error))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            # Somebody else who has this terminal or pipe made it non-blocking.
            select.select([], [descriptor], [])


def _failed(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return OutputClosed()
    problem = Failed(Exit.OUTPUT, f"cannot write the output: {error.strerror}")
    problem.__cause__ = error
    return problem


def complain(sentence: str) -> None:
    """Write a sentence to stderr, if that can be done."""
    try:
        # Without the check, print would take stdout for a stderr that is not there.
        if sys.stderr is not None:
            print(f"chatclient: {visible(sentence)}", file=sys.stderr, flush=True)
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

    def doRead(self) -> None:
        """A pipe that is written to is readable only when nothing reads its other end."""
        self.connectionLost(Failure(BrokenPipeError()))  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        """The reactor noticed an error on the pipe: the same."""
        if self._watching:
            self.stop()
            self._gone()


def _is_pipe() -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):
        return False
