"""Lines from stdin: a terminal, a pipe or a file."""

from __future__ import annotations

import os
from collections import deque
from threading import Semaphore, Thread
from typing import Any

from twisted.internet.defer import Deferred

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode

__all__ = ["MAX_LINE", "StdinLines"]

MAX_LINE = 1024 * 1024
"""Maximum length of an input line in bytes, far above that of a message."""

_CHUNK = 64 * 1024


class StdinLines:
    """Read a file descriptor in a separate thread, at most one chunk ahead of the reader.

    The alternative, a non-blocking descriptor, would make stdout non-blocking as well if both are
    one terminal, and output would be truncated. The thread is a daemon because a blocked read
    cannot be interrupted.

    Args:
        reactor: the reactor in which lines are delivered.
        descriptor: the file descriptor to read.
    """

    def __init__(self, reactor: Any, descriptor: int = 0) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._chunks_wanted = Semaphore(0)
        self._lines: deque[bytes] = deque()
        self._partial_line = b""
        self._number = 0
        self._ended = False
        self._stopped = False
        self._chunk_arrival: Deferred[None] | None = None
        self._thread: Thread | None = None

    async def read(self) -> str | None:
        """Return the next line without its line ending; None at the end of the input.

        Raises:
            CommandFailed: the line is not valid UTF-8, or longer than MAX_LINE.
        """
        while not self._lines and not self._ended and not self._stopped:
            await self._more()
        if self._stopped or not self._lines:
            return None
        self._number += 1
        return self._decoded(self._lines.popleft().removesuffix(b"\r"))

    def stop(self) -> None:
        """End the input now, also for a pending read."""
        self._stopped = True
        as_display, self._chunk_arrival = self._chunk_arrival, None
        if as_display is not None and not as_display.called:
            as_display.callback(None)

    async def read_all(self) -> str:
        """Return all remaining lines as one text without the last line ending."""
        lines = []
        size = 0
        while (line := await self.read()) is not None:
            lines.append(line)
            size += len(line) + 1
            if size > MAX_LINE:
                raise self._too_long()
        return "\n".join(lines)

    async def _more(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="stdin", daemon=True)
            self._thread.start()
        self._chunk_arrival = Deferred()
        self._chunks_wanted.release()
        await self._chunk_arrival

    def _run(self) -> None:
        chunk = b"?"
        while chunk:
            self._chunks_wanted.acquire()
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""
            self._reactor.callFromThread(self._arrived, chunk)

    def _arrived(self, chunk: bytes) -> None:
        *whole, self._partial_line = (self._partial_line + chunk).split(b"\n")
        self._lines.extend(whole)
        if not chunk:
            self._ended = True
            if self._partial_line:
                self._lines.append(self._partial_line)
        as_display, self._chunk_arrival = self._chunk_arrival, None
        if as_display is None or as_display.called:
            return
        if len(self._partial_line) > MAX_LINE:
            as_display.errback(self._too_long())
        else:
            as_display.callback(None)

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise CommandFailed(
                ExitCode.USAGE, f"line {self._number} of the input is not valid UTF-8"
            ) from None

    def _too_long(self) -> CommandFailed:
        return CommandFailed(ExitCode.USAGE, "the input is too long for a message")
