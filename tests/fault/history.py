"""What each user has sent and received, and the verdict on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from tests.blackbox import wire
from tests.fault.frames import Arrival

__all__ = ["History", "Sent", "number_of", "verdict"]

_SHOWN = 5


@dataclass
class Sent:
    """A message, and the answer to it."""

    number: int
    text: str
    to: tuple[str, ...]
    """The recipients; empty: everyone."""
    required: frozenset[str]
    """The users that have to receive the message if it is answered OK. A message to everyone is
    required of the users that were registered before it was sent."""
    code: int = 0
    """The code of the answer; 0: there is none so far."""


@dataclass
class History:
    """All that one user has sent and received, on all of its connections."""

    name: str
    version: int
    sent: dict[int, Sent] = field(default_factory=dict)
    """By number, in the order of sending."""
    received: list[Arrival] = field(default_factory=list)
    """In version 2 without the repeated offsets, which a client drops."""
    times: list[float] = field(default_factory=list)
    """When each of these was received, in seconds of the monotonic clock."""
    offsets: dict[int, Arrival] = field(default_factory=dict)
    highest: int = 0
    """The highest offset received; 0 in version 1."""
    acknowledged: int = 0
    faults: list[str] = field(default_factory=list)

    def copy(self) -> History:
        """Return a copy that changes independently."""
        return replace(
            self,
            # An answered message does not change any more.
            sent={n: one if one.code else replace(one) for n, one in self.sent.items()},
            received=list(self.received),
            times=list(self.times),
            offsets=dict(self.offsets),
            faults=list(self.faults),
        )

    def arrive(self, arrival: Arrival, at: float = 0.0) -> None:
        """Note that a message was received."""
        if arrival.offset:
            before = self.offsets.setdefault(arrival.offset, arrival)
            if before is not arrival:
                if before != arrival:
                    self.faults.append(f"{self.name}: two messages have offset {arrival.offset}")
                return
            if arrival.offset < self.highest:
                self.faults.append(f"{self.name}: new offset {arrival.offset} < {self.highest}")
            self.highest = max(self.highest, arrival.offset)
        self.received.append(arrival)
        self.times.append(at)

    def unanswered(self) -> list[Sent]:
        """Return the messages without an answer, in the order of sending."""
        return [one for one in self.sent.values() if not one.code]


def number_of(text: str) -> int:
    """Return the number that a text begins with."""
    return int(text.partition(":")[0])


def verdict(histories: Iterable[History]) -> list[str]:
    """Return what is wrong, once all users have received all that is stored for them.

    A message that was answered OK was received, and one that was refused was not. The messages of
    each sender were received in their order. In version 2 none was received twice.
    """
    users = {one.name: one for one in histories}
    faults = [fault for one in users.values() for fault in one.faults]
    for recipient in users.values():
        by_sender: dict[str, list[Arrival]] = {name: [] for name in users}
        for arrival in recipient.received:
            if arrival.sender in users:
                by_sender[arrival.sender].append(arrival)
            else:
                faults.append(f"{recipient.name} has a message from {arrival.sender}")
        for name, arrivals in by_sender.items():
            faults += [
                f"{name} -> {recipient.name}: {fault}"
                for fault in _faults(users[name], recipient, arrivals)
            ]
    return faults


def _faults(sender: History, recipient: History, arrivals: list[Arrival]) -> Iterator[str]:
    numbers = [number_of(one.text) for one in arrivals]
    count = Counter(numbers)
    yield from _some(
        "lost",
        [
            one.number
            for one in sender.sent.values()
            if one.code == wire.OK and recipient.name in one.required and not count[one.number]
        ],
    )
    wrong, refused = [], []
    for number, arrival in zip(numbers, arrivals, strict=True):
        sent = sender.sent.get(number)
        if sent is None or sent.text != arrival.text or not _is_for(sent, recipient.name):
            wrong.append(number)
        elif sent.code not in (0, wire.OK):
            refused.append(number)
    yield from _some("altered or never sent", wrong)
    yield from _some("refused, but received", refused)
    if recipient.version != 1:
        yield from _some("received twice", [number for number, n in count.items() if n > 1])
    yield from _some("out of order", [b for a, b in pairwise(count) if b < a])


def _some(what: str, numbers: list[int]) -> Iterator[str]:
    if numbers:
        shown = ", ".join(map(str, numbers[:_SHOWN]))
        yield f"{len(numbers)} {what}: {shown}" + (", ..." if len(numbers) > _SHOWN else "")


def _is_for(sent: Sent, name: str) -> bool:
    return not sent.to or name in sent.to
