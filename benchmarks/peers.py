"""Users who send: one turn of the loop costs the same for 1 message or for 64."""

from __future__ import annotations

import select
import socket
from time import monotonic

from benchmarks.frames import PUBLISHING_ID, Expected, Failed, Traffic
from benchmarks.loop import ANSWERS, Arrivals, Loop, read

__all__ = ["Publisher", "Sender"]


class Sender:
    """Sends messages and compares the answers.

    With a window it sends a message for each answer, that many ahead; without one it sends
    what :meth:`allow` allows.

    Args:
        window: messages on their way; 0: none but the allowed.
        record: keep the times of sending and of the answers.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        traffic: Traffic,
        whose: str,
        window: int = 0,
        record: bool = False,
    ) -> None:
        self._loop = loop
        self.sock = sock
        self._cycle = memoryview(bytearray(traffic.requests.cycle))
        self._size = traffic.requests.size
        self._answers = Expected(traffic.answers, f"answers to {whose}", ANSWERS)
        self._whose = whose
        self._window = window
        self._allowed = 0
        self._sent = 0
        self._blocked = False
        self.sent_at: list[float] = []
        """When each message was written; with a window of 1 only."""
        self._notes_sending = record and window == 1
        self.arrivals: Arrivals | None = [] if record else None
        loop.add(sock, self._ready)

    @property
    def allowed(self) -> int:
        """Messages that were sent or are still to be sent."""
        return self._allowed // self._size

    @property
    def answered(self) -> int:
        """Messages that were answered OK."""
        return self._answers.count

    @property
    def outstanding(self) -> int:
        """Messages without an answer."""
        return self.allowed - self.answered

    def start(self) -> None:
        """Send the first window."""
        self.allow(self._window)

    def stop(self) -> None:
        """Send no more than what is begun."""
        self._window = 0

    def allow(self, count: int) -> None:
        """Send so many more."""
        self._allowed += count * self._size
        self._send()

    def _ready(self, events: int) -> None:
        if events & ~select.EPOLLOUT:
            view = self._loop.answers
            count = read(self.sock, view, self._whose)
            answers = self._answers
            before = answers.count
            answers.take(view[:count])
            if answers.received > self._allowed // self._size * answers.size:
                raise Failed(f"{self._whose}: an answer to nothing")
            if self.arrivals is not None:
                self.arrivals.append((monotonic(), answers.count))
            if self._window:
                self._allowed += (answers.count - before) * self._size
        if self._sent < self._allowed:
            self._send()

    def _send(self) -> None:
        cycle = self._cycle
        length = len(cycle)
        if self._notes_sending:
            self.sent_at.append(monotonic())
        while self._sent < self._allowed:
            position = self._sent % length
            if not position:
                self._begin_cycle(cycle, self._sent // length)
            end = min(position + self._allowed - self._sent, length)
            try:
                self._sent += self.sock.send(cycle[position:end])
            except BlockingIOError:
                if not self._blocked:
                    self._blocked = True
                    self._loop.watch(self.sock, True)
                return
            except OSError as error:
                raise Failed(f"{self._whose}: {error}") from None
        if self._blocked:
            self._blocked = False
            self._loop.watch(self.sock, False)

    def _begin_cycle(self, cycle: memoryview, number: int) -> None:
        """Nothing differs from cycle to cycle."""


class Publisher(Sender):
    """Sends publications of version 2, each under a publishing id of its own."""

    def _begin_cycle(self, cycle: memoryview, number: int) -> None:
        # Ids grow and begin at 256; the last byte is the number in the cycle, which stays.
        high = (number + 1).to_bytes(7, "big")
        count = len(cycle) // self._size
        for index, byte in enumerate(high):
            cycle[PUBLISHING_ID.start + index :: self._size] = bytes([byte]) * count
