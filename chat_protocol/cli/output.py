"""Output of lines to stdout and of errors to stderr."""

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
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.python.failure import Failure

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode, OutputClosed
from chat_protocol.cli.text import visible

__all__ = ["FINISH_SECONDS", "Output", "PipeWatcher", "discard_output", "finish", "print_error"]

FINISH_SECONDS = 1.0
"""Longest time in seconds that a canceled command waits for the line that it is writing."""


class Output:
    """Write lines to stdout in a separate thread.

    A slow reader therefore delays only the callers that await their output; the connection to the
    server stays alive. The alternative, a non-blocking descriptor, would affect every process that
    shares it. The thread is a daemon because a blocked write cannot be interrupted.

    Output that is not awaited is queued in memory, so callers must bound it.

    Args:
        reactor: the reactor in which the Deferreds fire.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._queue: SimpleQueue[tuple[bytes, Deferred[None]]] = SimpleQueue()
        self._thread: Thread | None = None

    def write(self, *lines: str) -> Deferred[None]:
        """Write lines in the order of the calls; the Deferred fires when they are written.

        It fails with OutputClosed if the reader has closed the output, and with CommandFailed if
        the write fails, such as on a full disk. Canceling it does not undo the write.
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
            self._reactor.callFromThread(self._report, written, error)

    @staticmethod
    def _report(written: Deferred[None], error: OSError | None) -> None:
        if error is None:
            written.callback(None)
        else:
            written.errback(_write_error(error))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            # Another process that shares this terminal or pipe made it non-blocking.
            select.select([], [descriptor], [])


def _write_error(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return OutputClosed()
    problem = CommandFailed(ExitCode.OUTPUT, f"cannot write the output: {error.strerror}")
    problem.__cause__ = error
    return problem


async def finish(writing: Deferred[None], reactor: Any) -> None:
    """Wait for a write, and for what the caller has added to it.

    If the caller is canceled, the write goes on. Its thread may have written the line already, and
    the reactor is to learn of it. So the cancellation waits for the write, at most FINISH_SECONDS.

    Args:
        writing: as :meth:`Output.write` returns it.
        reactor: measures FINISH_SECONDS.
    """
    written: Deferred[None] = Deferred()
    writing.addBoth(_pass_on, written)
    try:
        await written
    except CancelledError:
        if not writing.called:
            ended: Deferred[None] = Deferred()
            writing.addBoth(_pass_on, ended)
            await ended.addTimeout(FINISH_SECONDS, reactor, lambda *_: None)
        raise


def _pass_on(result: Failure | None, waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(result)


def print_error(sentence: str) -> None:
    """Print a sentence to stderr, if possible."""
    try:
        # With stderr closed, print would write to stdout.
        if sys.stderr is not None:
            print(f"chatclient: {visible(sentence)}", file=sys.stderr, flush=True)
    except OSError:
        pass


def discard_output() -> None:
    """Discard stdout's buffer, because the interpreter would report an error when it flushes at
    exit."""
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):
        pass


class PipeWatcher(FileDescriptor):
    """Call back when stdout is a pipe and its reader closes it.

    A client that noticed only at the next write would acknowledge one more message that nobody
    reads.

    Args:
        reactor: watches the descriptor.
        on_closed: called at most once.
    """

    def __init__(self, reactor: Any, on_closed: Callable[[], object]) -> None:
        super().__init__(reactor)
        self._on_closed = on_closed
        self._watching = False

    def start(self) -> None:
        """Start watching, if stdout is a pipe."""
        self._watching = _is_pipe()
        if self._watching:
            self.startReading()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Stop watching."""
        if self._watching:
            self._watching = False
            self.stopReading()  # type: ignore[no-untyped-call]

    def fileno(self) -> int:
        return sys.stdout.fileno()

    def doRead(self) -> None:
        """The write end of a pipe becomes readable only when no reader is left."""
        self.connectionLost(Failure(BrokenPipeError()))  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        if self._watching:
            self.stop()
            self._on_closed()


def _is_pipe() -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):
        return False
