"""What the users of one process do: each load is a function of a plan.

A load waits at ``control.ready()`` before each phase that is measured, and returns what it saw.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic, process_time
from typing import Protocol

from benchmarks.frames import Failed, messages, publications
from benchmarks.loop import Address, Arrivals, Loop, drain, log_in
from benchmarks.peers import Publisher, Sender
from benchmarks.receivers import AckingReceiver, IReceiver, Receiver, SharedReceiver
from benchmarks.schedule import Schedule

__all__ = [
    "Control",
    "Plan",
    "Result",
    "fan_in",
    "idle",
    "offline",
    "open_loop",
    "pairs",
]

_LINGER = 0.05
"""Seconds in which something might come twice."""

_MOST_TO_ONE = 50_000
"""Messages to one mailbox, so that a quick server is not asked to keep them by the million."""


@dataclass(frozen=True)
class Plan:
    """What one process of users is to do."""

    address: Address
    prefix: str
    """Begins every name, so that no two runs meet."""
    seconds: float
    pairs: int = 0
    """Senders."""
    window: int = 64
    size: int = 64
    """Bytes of text."""
    version: int = 1
    idle: int = 0
    """Users who are on-line beside them."""
    rate: float = 0.0
    """Messages a second, of all senders."""
    record: bool = False
    """Whether to keep latencies."""
    names: Sequence[tuple[str, str]] = ()
    """Senders and recipients, where they are given."""
    waiting: Callable[[str], bytes] | None = None
    """What each of them gets when it logs in."""
    patience: float = 20.0
    """Seconds without progress after which something is lost."""

    def name(self, role: str, index: int) -> str:
        """Of one size for all of a role."""
        return f"{self.prefix}{role}{index:06d}"

    def couples(self) -> list[tuple[str, str]]:
        """Senders and recipients."""
        return list(self.names) or [
            (self.name("s", n), self.name("r", n)) for n in range(self.pairs)
        ]


@dataclass
class Result:
    """What users saw; times in seconds from the beginning of the phase."""

    messages: int = 0
    """Answered OK and delivered, all of them."""
    answering: float = 0.0
    """Until the last answer."""
    delivering: float = 0.0
    """Until the last delivery."""
    busy: float = 0.0
    """How much of that time the processor of the users' process was in use; near 1 it is they
    who set the pace."""
    cpu: float = 0.0
    """Processor time of their processes, with what they did behind it."""
    sending_latencies: array[float] = field(default_factory=lambda: array("d"))
    """How late the users themselves were, of those who send when it is time."""
    answer_latencies: array[float] = field(default_factory=lambda: array("d"))
    delivery_latencies: array[float] = field(default_factory=lambda: array("d"))

    def merge(self, other: Result) -> None:
        """Add what other users saw at the same time."""
        self.messages += other.messages
        self.answering = max(self.answering, other.answering)
        self.delivering = max(self.delivering, other.delivering)
        self.busy = max(self.busy, other.busy)
        self.cpu += other.cpu
        self.sending_latencies += other.sending_latencies
        self.answer_latencies += other.answer_latencies
        self.delivery_latencies += other.delivery_latencies


class Control(Protocol):
    """The process that measures, seen from a load."""

    def ready(self) -> None:
        """A phase is prepared; returns when it is to begin."""


class _Group:
    """Senders and receivers that belong together."""

    def __init__(
        self, plan: Plan, loop: Loop, senders: Sequence[Sender], receivers: Sequence[IReceiver]
    ) -> None:
        self._patience = plan.patience
        self.loop = loop
        self.senders = senders
        self.receivers = receivers
        self.begin()

    def begin(self) -> None:
        """Count the time from now."""
        self.began = monotonic()
        self._cpu = process_time()

    def run_for(self, seconds: float, most: int = sys.maxsize) -> None:
        """Send for so long, each message when another was answered; of each at most so many."""
        for sender in self.senders:
            sender.start()
        first = self.senders[0]
        end = monotonic() + seconds
        while (now := monotonic()) < end and first.allowed < most:
            self.loop.turn(end - now)
        for sender in self.senders:
            sender.stop()

    def finish(self, deliveries: bool = True) -> Result:
        """Wait for all that was sent; then there must be nothing more.

        Args:
            deliveries: whether they are due already.
        """
        result = Result(sum(sender.allowed for sender in self.senders))
        result.answering = self._until(lambda: sum(one.outstanding for one in self.senders))
        if deliveries:
            result.delivering = self._until(lambda: result.messages - self._arrived())
        result.busy = (process_time() - self._cpu) / (monotonic() - self.began)
        end = monotonic() + _LINGER
        while (now := monotonic()) < end:
            self.loop.turn(end - now)
        if deliveries and (self._arrived() > result.messages or any(o.odd for o in self.receivers)):
            raise Failed(f"{self._arrived()} deliveries of {result.messages} messages")
        return result

    def _arrived(self) -> int:
        return sum(receiver.count for receiver in self.receivers)

    def _until(self, missing: Callable[[], int]) -> float:
        left, since = missing(), monotonic()
        while left > 0:
            self.loop.turn(0.5)
            now, before, left = monotonic(), left, missing()
            if left != before:
                since = now
            elif now > since + self._patience:
                raise Failed(f"{left} answers or deliveries did not come")
        return monotonic() - self.began


def _pairs(plan: Plan, loop: Loop, window: int) -> tuple[list[Sender], list[IReceiver]]:
    """Senders and receivers, logged in."""
    couples = plan.couples()
    version_1 = plan.version == 1
    make = messages if version_1 else publications
    traffic = [make(n, one, other, plan.size) for n, (one, other) in enumerate(couples)]
    receiving = log_in(plan.address, [other for _, other in couples], plan.version)
    sending = log_in(plan.address, [one for one, _ in couples], plan.version)
    if plan.waiting is not None:
        for one, other, (name, to) in zip(sending, receiving, couples, strict=True):
            drain(one, plan.waiting(name), name)
            drain(other, plan.waiting(to), to)
    receivers: list[IReceiver] = [
        (Receiver if version_1 else AckingReceiver)(loop, sock, one.deliveries, other, plan.record)
        for sock, one, (_, other) in zip(receiving, traffic, couples, strict=True)
    ]
    senders = [
        (Sender if version_1 else Publisher)(loop, sock, one, name, window, plan.record)
        for sock, one, (name, _) in zip(sending, traffic, couples, strict=True)
    ]
    return senders, receivers


def _keep_latencies(
    group: _Group, result: Result, latencies: Callable[[int, Arrivals], Iterable[float]]
) -> None:
    """Put them into the result.

    Args:
        latencies: from the index of a pair and when so many had come, to how long each took.
    """
    for index, (sender, receiver) in enumerate(zip(group.senders, group.receivers, strict=True)):
        result.answer_latencies.extend(latencies(index, sender.arrivals or []))
        result.delivery_latencies.extend(latencies(index, receiver.arrivals or []))


def pairs(plan: Plan, control: Control) -> Result:
    """Each sender writes to a receiver of its own, a window ahead of the answers.

    Latencies are kept for a window of 1 only; with more they would be the length of the queue.
    """
    loop = Loop()
    others = log_in(plan.address, [plan.name("i", n) for n in range(plan.idle)])
    senders, receivers = _pairs(plan, loop, plan.window)
    control.ready()
    group = _Group(plan, loop, senders, receivers)
    group.run_for(plan.seconds)
    result = group.finish()
    _keep_latencies(group, result, lambda index, arrivals: _taken(senders[index], arrivals))
    for sock in others:
        sock.close()
    return result


def _taken(sender: Sender, arrivals: Arrivals) -> Iterable[float]:
    """From when each message was written until it had come."""
    last = 0
    for when, count in arrivals:
        for number in range(last, count):
            yield when - sender.sent_at[number]
        last = count


def fan_in(plan: Plan, control: Control) -> Result:
    """All senders write to one receiver."""
    loop = Loop()
    to = plan.name("r", 0)
    traffic = {
        plan.name("s", n): messages(n, plan.name("s", n), to, plan.size) for n in range(plan.pairs)
    }
    (sock,) = log_in(plan.address, [to])
    marks = {one.deliveries.cycle[13:14]: one.deliveries for one in traffic.values()}
    assert len(marks) == plan.pairs
    receiver = SharedReceiver(loop, sock, marks, to)
    senders = [
        Sender(loop, sock, traffic[name], name, plan.window)
        for name, sock in zip(traffic, log_in(plan.address, traffic), strict=True)
    ]
    control.ready()
    group = _Group(plan, loop, senders, [receiver])
    group.run_for(plan.seconds)
    return group.finish()


def offline(plan: Plan, control: Control) -> Result:
    """Senders fill the mailboxes of users who are away; in a second phase these log in."""
    loop = Loop()
    couples = plan.couples()
    recipients = [to for _, to in couples]
    for sock in log_in(plan.address, recipients):
        sock.close()
    traffic = [messages(n, name, to, plan.size) for n, (name, to) in enumerate(couples)]
    senders = [
        Sender(loop, sock, one, name, plan.window)
        for sock, one, (name, _) in zip(
            log_in(plan.address, [name for name, _ in couples]), traffic, couples, strict=True
        )
    ]
    control.ready()
    group = _Group(plan, loop, senders, ())
    group.run_for(plan.seconds, _MOST_TO_ONE)
    sent = group.finish(deliveries=False)
    control.ready()
    group.begin()
    group.receivers = [
        Receiver(loop, sock, one.deliveries, to)
        for sock, one, to in zip(log_in(plan.address, recipients), traffic, recipients, strict=True)
    ]
    drained = group.finish()
    drained.answering = sent.answering
    drained.busy = max(sent.busy, drained.busy)
    return drained


def idle(plan: Plan, control: Control) -> Result:
    """Users log in and say nothing."""
    control.ready()
    began = monotonic()
    sockets = log_in(plan.address, [plan.name("i", n) for n in range(plan.idle)])
    seconds = monotonic() - began
    result = Result(len(sockets), seconds, seconds)
    control.ready()
    for sock in sockets:
        sock.close()
    return result


def open_loop(plan: Plan, control: Control) -> Result:
    """Senders write when it is time, whether answers come or not.

    Each latency counts from the time at which the message was to be sent, so what a slow server
    holds up is not left out.
    """
    loop = Loop()
    senders, receivers = _pairs(plan, loop, 0)
    control.ready()
    group = _Group(plan, loop, senders, receivers)
    schedule = Schedule(senders, plan.rate, group.began)
    end = group.began + plan.seconds
    while schedule.next < end:
        schedule.send_due()
        loop.turn_until(min(schedule.next, end))
    result = group.finish()
    result.sending_latencies.extend(schedule.lateness())
    _keep_latencies(group, result, schedule.latencies)
    return result
