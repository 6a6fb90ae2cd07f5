"""Measurements: what becomes of messages, and how long it takes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeAlias

from chat_protocol.domain.messages import Batch, Message
from chat_protocol.domain.queries import Account, Page, Query

__all__ = ["REPEATED", "Histogram", "Meter", "Outcome"]

REPEATED = "REPEATED"
"""The outcome of a message that was stored before under its publishing id."""

Outcome: TypeAlias = "tuple[str, str]"
"""The scope of a message (``user``, ``users`` or ``everyone``) and the name of the code."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
_MAILBOX = (0, 1, 10, 100, 1000, 2500, 5000, 7500, 9999, 100_000)


class Histogram:
    """How many values lie between bounds.

    Args:
        bounds: ascending.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """For each bound: the values above the bound before it, up to this one. Last: the values
        above all bounds."""
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Add a value, ``times`` times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


class Meter:
    """Measures the batches of an Exchange. It does nothing for each single message.

    Args:
        seconds: returns the time; only differences count.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._came = self._since = self._began = self._stored_since = 0.0
        self.messages: dict[Outcome, int] = {}
        """Messages, by outcome."""
        self.delivered_live = 0
        """Deliveries of messages when they were stored, times their recipients."""
        self.delivered_from_mailbox = 0
        """Deliveries of messages that were read from mailboxes."""
        self.commit_seconds = Histogram(_SECONDS)
        """Time that the store took for each batch."""
        self.batch_messages = Histogram(_BATCH)
        """Messages in each batch."""
        self.delivery_seconds = Histogram(_SECONDS)
        """Time from the arrival of the first message of a batch to the delivery of the batch, once
        for each of ``delivered_live``."""
        self.mailbox_messages = Histogram(_MAILBOX)
        """Messages that were pending at each version 2 login."""
        self.store_up = True
        """Whether the last call of the store succeeded."""
        self.store_failures = 0
        """Calls of the store that failed."""

    def came(self) -> None:
        """Note that the first message of the next batch came in."""
        self._came = self._seconds()

    def begins(self) -> None:
        """Note that a batch goes to the store."""
        self._since, self._began = self._came, self._seconds()

    def stored(self, batch: Batch) -> None:
        """Note that a batch is stored."""
        self.store_up = True
        self._stored_since = self._since
        self.commit_seconds.observe(self._seconds() - self._began)
        if not batch.messages:
            return
        size = 0
        for message in batch.messages:
            count, accepted = len(message.texts), message.accepted
            size += count
            scope = _scope(message)
            self._count(scope, REPEATED if accepted and not message.offset else "OK", accepted)
            self._count(scope, message.refusal.name, count - accepted)
        self.batch_messages.observe(size)

    def delivered(self, count: int) -> None:
        """Note deliveries of messages as they were stored."""
        self.delivered_live += count
        self.delivery_seconds.observe(self._seconds() - self._stored_since, count)

    def _count(self, scope: str, outcome: str, count: int) -> None:
        if count:
            key = scope, outcome
            self.messages[key] = self.messages.get(key, 0) + count

    def refused(self, batch: Batch) -> None:
        """Note that the store refused a batch."""
        for message in batch.messages:
            self._count(_scope(message), message.refusal.name, len(message.texts))

    def failed(self) -> None:
        """Note that a call of the store failed."""
        self.store_up = False
        self.store_failures += 1

    def read(self, queries: Sequence[Query]) -> None:
        """Note that the store has answered queries."""
        for query in queries:
            if isinstance(query, Page):
                self.delivered_from_mailbox += query.count
            elif isinstance(query, Account):
                self.mailbox_messages.observe(query.pending)


def _scope(message: Message) -> str:
    recipients = len(message.audience.recipients)
    return "user" if recipients == 1 else "users" if recipients else "everyone"
