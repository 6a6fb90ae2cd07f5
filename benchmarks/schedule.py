"""Schedules that send messages at a fixed rate, independent of the answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic

from benchmarks.loop import Arrivals
from benchmarks.peers import Sender

__all__ = ["Schedule", "intended_latencies"]


class Schedule:
    """Sends a message every ``1 / rate`` seconds; the senders take turns.

    Args:
        rate: messages per second of all senders together.
        began: scheduled time of the first message (``time.monotonic``).
    """

    def __init__(self, senders: Sequence[Sender], rate: float, began: float) -> None:
        self._senders = senders
        self._rate = rate
        self._began = began
        self.sent: Arrivals = []
        """The times of sending, each with the total number of messages sent by then."""
        self._due = 0

    @property
    def next(self) -> float:
        """Scheduled time of the next message."""
        return self._began + self._due / self._rate

    def send_due(self) -> None:
        """Send all messages that are due."""
        count = len(self._senders)
        behind = int((monotonic() - self._began) * self._rate) + 1 - self._due
        for index in range(min(behind, count)):
            number = (self._due + index) % count
            self._senders[number].allow(-(-(behind - index) // count))
        if behind > 0:
            self._due += behind
            self.sent.append((monotonic(), self._due))

    def lateness(self) -> Iterable[float]:
        """Return the delay between the scheduled and the actual time of each message."""
        return intended_latencies(self.sent, self._began, 1 / self._rate)

    def latencies(self, index: int, arrivals: Arrivals, last: int = 0) -> Iterable[float]:
        """Return the time from the scheduled time of each message of a sender to its arrival.

        Args:
            index: index of the sender.
            arrivals: the arrivals of its messages.
            last: number of messages that arrived before these.
        """
        first = self._began + index / self._rate
        return intended_latencies(arrivals, first, len(self._senders) / self._rate, last)


def intended_latencies(
    arrivals: Arrivals, first: float, step: float, last: int = 0
) -> Iterable[float]:
    """Return the time from the scheduled time of each message to its arrival.

    Args:
        arrivals: pairs of a time and the total number of messages that had arrived by then.
        first: scheduled time of the first message.
        step: seconds between the scheduled times of two messages.
        last: number of messages that arrived before these.
    """
    for when, count in arrivals:
        late = when - first
        for number in range(last, count):
            yield late - step * number
        last = count
