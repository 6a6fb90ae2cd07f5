"""Messages that are sent when it is time, whether they are answered or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic

from benchmarks.loop import Arrivals
from benchmarks.peers import Sender

__all__ = ["Schedule", "intended_latencies"]


class Schedule:
    """Messages follow each other at ``1 / rate`` seconds, the senders in turn.

    Args:
        rate: messages a second, of all senders.
        began: when the first is due, by ``time.monotonic``.
    """

    def __init__(self, senders: Sequence[Sender], rate: float, began: float) -> None:
        self._senders = senders
        self._rate = rate
        self._began = began
        self.sent: Arrivals = []
        """When so many had been sent."""
        self._due = 0

    @property
    def next(self) -> float:
        """When the next message is due."""
        return self._began + self._due / self._rate

    def send_due(self) -> None:
        """Send all that is due by now."""
        count = len(self._senders)
        behind = int((monotonic() - self._began) * self._rate) + 1 - self._due
        for index in range(min(behind, count)):
            number = (self._due + index) % count
            self._senders[number].allow(-(-(behind - index) // count))
        if behind > 0:
            self._due += behind
            self.sent.append((monotonic(), self._due))

    def lateness(self) -> Iterable[float]:
        """How late each message was sent."""
        return intended_latencies(self.sent, self._began, 1 / self._rate)

    def latencies(self, index: int, arrivals: Arrivals, last: int = 0) -> Iterable[float]:
        """From when each message of a sender was due until it had come.

        Args:
            index: of the sender.
            arrivals: when so many of its messages had come.
            last: so many had come before.
        """
        first = self._began + index / self._rate
        return intended_latencies(arrivals, first, len(self._senders) / self._rate, last)


def intended_latencies(
    arrivals: Arrivals, first: float, step: float, last: int = 0
) -> Iterable[float]:
    """From when each was to be done until it was done.

    Args:
        arrivals: when so many were done.
        first: when the first was to be done; the others follow at ``step`` seconds.
        last: so many were done before.
    """
    for when, count in arrivals:
        late = when - first
        for number in range(last, count):
            yield late - step * number
        last = count
