"""Lines from stdin, whatever it is: a terminal, a pipe, a file."""

from __future__ import annotations

import os
from collections import deque
from threading import Semaphore, Thread
from typing import Any

from twisted.internet.defer import Deferred

from chat_protocol.cli.exit_codes import Exit, Failed

__all__ = ["MAX_LINE", "StdinLines"]

MAX_LINE = 1024 * 1024
"""Bytes of the longest line that is read; no message is nearly as long."""

_CHUNK = 64 * 1024


class StdinLines:
    """Reads a file descriptor in a thread of its own, a chunk ahead of what is taken.

    A thread, because the alternative is to make the descriptor non-blocking: for a terminal that
    is stdout's as well, where half of a print would get lost. A daemon, because nothing can end
    a read.

    Args:
        reactor: where the lines are wanted.
        descriptor: what to read.
    """

    def __init__(self, reactor: Any, descriptor: int = 0) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._wanted = Semaphore(0)
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._number = 0
        self._ended = False
        self._stopped = False
        self._arrival: Deferred[None] | None = None
        self._thread: Thread | None = None

    async def read(self) -> str | None:
        """The next line without its end; None at the end of the input.

        Raises:
            Failed: the line is not UTF-8, or longer than MAX_LINE.
        """
        while not self._lines and not self._ended and not self._stopped:
            await self._more()
        if self._stopped or not self._lines:
            return None
        self._number += 1
        return self._decoded(self._lines.popleft().removesuffix(b"\r"))

    def stop(self) -> None:
        """Have the input end here, for who reads or waits for a line."""
        self._stopped = True
        arrival, self._arrival = self._arrival, None
        if arrival is not None and not arrival.called:
            arrival.callback(None)

    async def read_all(self) -> str:
        """All lines that are left, as one text without the last line's end."""
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
        self._arrival = Deferred()
        self._wanted.release()
        await self._arrival

    def _run(self) -> None:
        chunk = b"?"
        while chunk:
            self._wanted.acquire()
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""
            self._reactor.callFromThread(self._arrived, chunk)

    def _arrived(self, chunk: bytes) -> None:
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        self._lines.extend(whole)
        if not chunk:
            self._ended = True
            if self._rest:
                self._lines.append(self._rest)
        arrival, self._arrival = self._arrival, None
        if arrival is None or arrival.called:
            return
        if len(self._rest) > MAX_LINE:
            arrival.errback(self._too_long())
        else:
            arrival.callback(None)

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise Failed(Exit.USAGE, f"line {self._number} of the input is not UTF-8") from None

    def _too_long(self) -> Failed:
        return Failed(Exit.USAGE, "the input is too long for a message")
