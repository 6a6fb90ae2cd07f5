"""How a server does: what becomes of messages, and how long that takes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeAlias

from chat_protocol.domain.batch import Account, Batch, Page, Publication, Query, Run
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope

__all__ = ["REPEATED", "Histogram", "Meter", "Outcome"]

REPEATED = "REPEATED"
"""The outcome of a message that was stored before, under its publishing id."""

Outcome: TypeAlias = "tuple[str, str]"
"""Whom a message was for - a user, users, everyone - and the name of the code."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
_MAILBOX = (0, 1, 10, 100, 1000, 2500, 5000, 7500, 9999, 100_000)


class Histogram:
    """How many values there were up to each of some bounds.

    Args:
        bounds: growing.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Above the last bound and up to each; the last is for what is above all of them."""
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """There was that value, so often."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


class Meter:
    """Looks at each batch of an Exchange, not at each message.

    Args:
        seconds: the time; only differences count.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._came = self._since = self._began = 0.0
        self.messages: dict[Outcome, int] = {}
        """How many messages ended so."""
        self.delivered_live = 0
        """Messages times recipients that were handed on as they were stored."""
        self.delivered_from_mailbox = 0
        """The same for those read from mailboxes."""
        self.returned = 0
        """Messages that went back to a mailbox."""
        self.commit_seconds = Histogram(_SECONDS)
        """What the store took for a batch."""
        self.batch_messages = Histogram(_BATCH)
        """Messages in a batch."""
        self.delivery_seconds = Histogram(_SECONDS)
        """From when the first message of a batch came in until they were handed on, once for
        each of delivered_live."""
        self.mailbox_messages = Histogram(_MAILBOX)
        """Messages that waited at a login of version 2."""
        self.store_up = True
        """Whether the last thing asked of the store was done."""
        self.store_failures = 0

    def came(self) -> None:
        """The first message of the next batch came in."""
        self._came = self._seconds()

    def begins(self) -> None:
        """A batch goes to the store."""
        self._since, self._began = self._came, self._seconds()

    def stored(self, batch: Batch) -> None:
        """It is stored and handed on."""
        now = self._seconds()
        self.store_up = True
        self.commit_seconds.observe(now - self._began)
        self.returned += len(batch.returned)
        if not batch.messages:
            return
        live = size = 0
        for message in batch.messages:
            if isinstance(message, Run):
                count, accepted = len(message.texts), message.accepted
                self._count("user", Code.OK.name, accepted)
                if accepted < count:
                    self._count("user", message.refusal.name, count - accepted)
                if message.live is not None:
                    live += accepted
            else:
                count = 1
                self._count_publication(message)
                if message.offset:
                    live += len(message.live)
            size += count
        self.batch_messages.observe(size)
        if live:
            self.delivered_live += live
            self.delivery_seconds.observe(now - self._since, live)

    def _count_publication(self, message: Publication) -> None:
        outcome = message.refusal.name
        if message.refusal is Code.OK and not message.offset:
            outcome = REPEATED
        self._count(_scope(message), outcome, 1)

    def _count(self, scope: str, outcome: str, count: int) -> None:
        if count:
            key = scope, outcome
            self.messages[key] = self.messages.get(key, 0) + count

    def refused(self, batch: Batch) -> None:
        """The store did not take it."""
        for message in batch.messages:
            if isinstance(message, Run):
                self._count("user", message.refusal.name, len(message.texts))
            else:
                self._count(_scope(message), message.refusal.name, 1)

    def failed(self) -> None:
        """The store refused, or could not answer."""
        self.store_up = False
        self.store_failures += 1

    def read(self, queries: Sequence[Query]) -> None:
        """The store has answered."""
        for query in queries:
            if isinstance(query, Page):
                self.delivered_from_mailbox += query.count
            elif isinstance(query, Account):
                self.mailbox_messages.observe(query.pending)


def _scope(message: Publication) -> str:
    if message.scope == Scope.EVERYONE:
        return "everyone"
    return "user" if len(message.recipients) == 1 else "users"
