"""Sending clients. A turn of the loop costs the same for 1 message as for 64."""

from __future__ import annotations

import select
import socket
import ssl
from time import monotonic

from benchmarks.frames import PUBLISHING_ID, CheckFailed, Expected, Traffic
from benchmarks.loop import ANSWERS, Arrivals, Loop, read

__all__ = ["Publisher", "Sender"]


class Sender:
    """Sends messages and checks the answers.

    With a window, it sends a message for each answer. Without one, it sends the number of messages
    that :meth:`allow` adds.

    Args:
        label: names the sender in errors.
        window: number of messages in flight; 0: no window.
        record: whether to record the times of messages and answers.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        traffic: Traffic,
        label: str,
        window: int = 0,
        record: bool = False,
    ) -> None:
        self._loop = loop
        self.sock = sock
        self._cycle = memoryview(bytearray(traffic.requests.cycle))
        self._size = traffic.requests.size
        self._answers = Expected(traffic.answers, f"answers to {label}", ANSWERS)
        self._label = label
        self._window = window
        self._allowed = 0
        self._sent = 0
        self._blocked = False
        self.sent_at: list[float] = []
        """The time at which each message was sent; recorded with a window of 1 only."""
        self._records_sending = record and window == 1
        self.arrivals: Arrivals | None = [] if record else None
        loop.add(sock, self._ready)

    @property
    def allowed(self) -> int:
        """Number of messages that were sent or will be sent."""
        return self._allowed // self._size

    @property
    def answered(self) -> int:
        """Number of messages answered with OK."""
        return self._answers.count

    @property
    def outstanding(self) -> int:
        """Number of messages without an answer."""
        return self.allowed - self.answered

    def start(self) -> None:
        """Send the messages of the first window."""
        self.allow(self._window)

    def stop(self) -> None:
        """Send no further messages, except those already allowed."""
        self._window = 0

    def allow(self, count: int) -> None:
        """Send ``count`` further messages."""
        self._allowed += count * self._size
        self._send()

    def _ready(self, events: int) -> None:
        if events & ~select.EPOLLOUT:
            answers = self._answers
            before = answers.count
            answers.take(self._read())
            if answers.received > self._allowed // self._size * answers.size:
                raise CheckFailed(f"{self._label}: an answer without a request")
            if self.arrivals is not None:
                self.arrivals.append((monotonic(), answers.count))
            if self._window:
                self._allowed += (answers.count - before) * self._size
        if self._sent < self._allowed:
            self._send()

    def _read(self) -> memoryview:
        """Receive the next part of the answers."""
        view = self._loop.answers
        return view[: read(self.sock, view, self._label)]

    def _send(self) -> None:
        cycle = self._cycle
        length = len(cycle)
        if self._records_sending:
            self.sent_at.append(monotonic())
        while self._sent < self._allowed:
            position = self._sent % length
            if not position:
                self._begin_cycle(cycle, self._sent // length)
            end = min(position + self._allowed - self._sent, length)
            try:
                self._sent += self.sock.send(cycle[position:end])
            except (BlockingIOError, ssl.SSLWantWriteError):
                if not self._blocked:
                    self._blocked = True
                    self._loop.watch(self.sock, True)
                return
            except OSError as error:
                raise CheckFailed(f"{self._label}: {error}") from None
        if self._blocked:
            self._blocked = False
            self._loop.watch(self.sock, False)

    def _begin_cycle(self, cycle: memoryview, number: int) -> None:
        """Do nothing: all cycles are the same."""


class Publisher(Sender):
    """Sends version 2 messages, each with its own publishing id."""

    def _begin_cycle(self, cycle: memoryview, number: int) -> None:
        # The ids begin at 256. Their last byte, the number of the frame, is the same in each cycle.
        high = (number + 1).to_bytes(7, "big")
        count = len(cycle) // self._size
        for index, byte in enumerate(high):
            cycle[PUBLISHING_ID.start + index :: self._size] = bytes([byte]) * count
