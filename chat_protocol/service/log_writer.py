"""The log is written by a thread of its own: a reader that does not read cannot stop the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, RLock, Thread, current_thread
from typing import Protocol

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

__all__ = ["FLUSH_SECONDS", "LOG_BUFFER", "LogOutput", "LogWriter"]

LOG_BUFFER = 1024 * 1024
"""Characters of lines that wait to be written. At the limit, lines are dropped and counted until
all waiting ones are written."""

FLUSH_SECONDS = 1.0
"""Time in seconds that the process waits, when it ends, for lines to be written."""

_GATHER_SECONDS = 0.02
"""Time in seconds for which the thread gathers lines before it writes them. To wake it up for each
line would cost a login half as much again."""

_AT_ONCE = 64 * 1024
"""Characters that are written in one piece, approximately."""


class LogOutput(Protocol):
    """Where the lines go. Its methods may block; one thread calls them."""

    def write(self, data: memoryview) -> int:
        """Write the beginning of ``data``, and return how many bytes that was."""

    def reopen(self) -> None:
        """Use the file that is now at the path. If that fails, the old one stays in use."""

    def rotate(self) -> None:
        """Rename the file, and begin a new one."""


@implementer(ILogObserver)
class LogWriter:
    """A log observer that hands lines to a thread.

    Until :meth:`start`, it writes lines itself: twistd forks when it has begun to log, and a thread
    would not survive that.

    Args:
        output: where the lines go.
        format_event: returns the line of an event with its newline; None: there is none.
    """

    def __init__(self, output: LogOutput, format_event: Callable[[LogEvent], str | None]) -> None:
        self._output = output
        self._format = format_event
        self._thread: Thread | None = None
        self._work: SimpleQueue[str | Callable[[], None]] = SimpleQueue()
        # Reentrant, because a signal handler may log while the same thread is logging.
        self._lock = RLock()
        self._waiting = 0
        """Characters in the queue."""
        self._dropped = 0
        """Lines that found no room in the queue."""
        self._lost = 0
        """Lines that are missing in the output, and that it was not told of."""
        self._why = ""
        self._cut = False
        """Whether the last line in the output is incomplete."""
        self._deadline: float | None = None
        self._finishing = Event()

    def start(self) -> None:
        """Start the thread. From now on logging does not block."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def __call__(self, event: LogEvent) -> None:
        line = self._format(event)
        if not line:
            return
        if self._thread is None:
            self._write([line])
            return
        with self._lock:
            if self._dropped or self._waiting + len(line) > LOG_BUFFER:
                self._dropped += 1
                return
            self._waiting += len(line)
            self._work.put(line)
        if self._deadline is not None and current_thread() is not self._thread:
            self._flush()

    def reopen(self) -> None:
        """Have the output reopened, behind the lines that wait."""
        self._work.put(self._output.reopen)

    def rotate(self) -> None:
        """Have the output rotated, behind the lines that wait."""
        self._work.put(self._output.rotate)

    def finish(self) -> None:
        """Write what waits: now, and from now on after each line.

        All that takes FLUSH_SECONDS at most. Then the lines that are left are given up.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + FLUSH_SECONDS
            self._finishing.set()
        self._flush()

    def _flush(self) -> None:
        if self._thread is not None and self._deadline is not None:
            written = Event()
            self._work.put(written.set)
            written.wait(max(0.0, self._deadline - time.monotonic()))

    # In the thread.

    def _run(self) -> None:
        while True:
            work = self._work.get()
            if not isinstance(work, str):
                work()
                continue
            self._finishing.wait(_GATHER_SECONDS)
            lines = [work]
            size = len(work)
            following: Callable[[], None] | None = None
            with suppress(Empty):
                while size < _AT_ONCE and following is None:
                    work = self._work.get_nowait()
                    if isinstance(work, str):
                        lines.append(work)
                        size += len(work)
                    else:
                        following = work
            self._write(lines)
            self._written(size)
            if following is not None:
                following()

    def _written(self, size: int) -> None:
        with self._lock:
            self._waiting -= size
            dropped = 0
            if not self._waiting:
                dropped, self._dropped = self._dropped, 0
        if dropped:
            self._why = self._why or "it was not read in time"
            self._lost += dropped
            self._write([])

    def _write(self, lines: list[str]) -> None:
        text = "\n" if self._cut else ""
        if self._lost:
            text += self._notice()
        text += "".join(lines)
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while data:
                data = data[self._output.write(data) :]
                self._cut = bool(data)
        except OSError as error:
            # The disk is full, for example. To log this would only cause the next error.
            self._lost += len(lines)
            self._why = error.strerror or str(error)
        else:
            self._lost = 0
            self._why = ""

    def _notice(self) -> str:
        event = {
            "log_time": time.time(),
            "log_level": LogLevel.warn,
            "log_namespace": "chat_protocol.log",
            "log_format": "{count} lines are missing here from the log: {why}",
            "count": self._lost,
            "why": self._why,
        }
        return self._format(event) or ""
