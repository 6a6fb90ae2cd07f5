"""The loads: functions that run the clients of one load process according to a plan.

A load calls ``control.ready()`` before each measured phase, and returns its result.
"""

from __future__ import annotations

import sys
import typing
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic, process_time

from benchmarks.frames import CheckFailed, messages
from benchmarks.loop import Address, Arrivals, Loop, drain, log_in
from benchmarks.peers import Sender
from benchmarks.protocols import Protocol, protocol_of
from benchmarks.receivers import IReceiver, Receiver, SharedReceiver
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
"""Seconds to wait for duplicates at the end of a phase."""

_MAX_PER_MAILBOX = 50_000
"""Maximum number of messages to one mailbox, so that a fast server need not keep millions."""


@dataclass(frozen=True)
class Plan:
    """The plan of one load process."""

    address: Address
    prefix: str
    """Prefix of all usernames, unique for each run."""
    seconds: float
    pairs: int = 0
    """Number of senders."""
    window: int = 64
    """Messages in flight per sender."""
    size: int = 64
    """Size of the texts in bytes."""
    version: int = 1
    transport: str = "tcp"
    """How the clients of pairs connect: see dialing.DIALS."""
    protocol: Protocol | None = None
    """The protocol of a broker; None: that of this project, in the given version."""
    idle: int = 0
    """Number of additional users who are online and idle."""
    rate: float = 0.0
    """Messages per second of all senders together."""
    record: bool = False
    """Whether to record latencies."""
    names: Sequence[tuple[str, str]] = ()
    """Names of senders and recipients; empty: generate them."""
    waiting: Callable[[str], bytes] | None = None
    """Returns the frames that the server delivers to a user after the login."""
    timeout: float = 20.0
    """Seconds without progress after which a message counts as lost."""

    def name(self, role: str, index: int) -> str:
        """Return a username; all names of a role have the same length."""
        return f"{self.prefix}{role}{index:06d}"

    def couples(self) -> list[tuple[str, str]]:
        """Return the names of senders and recipients."""
        return list(self.names) or [
            (self.name("s", n), self.name("r", n)) for n in range(self.pairs)
        ]


@dataclass
class Result:
    """The result of a load. Times are in seconds from the beginning of the phase."""

    messages: int = 0
    """Number of messages, all answered with OK and delivered."""
    answering: float = 0.0
    """Time of the last answer."""
    delivering: float = 0.0
    """Time of the last delivery."""
    busy: float = 0.0
    """CPUs used by the load process during the phase; near 1, it is the bottleneck."""
    cpu: float = 0.0
    """Total CPU time of the load processes, including the time after the phase."""
    sending_latencies: array[float] = field(default_factory=lambda: array("d"))
    """Delays between the scheduled and the actual time of sending."""
    answer_latencies: array[float] = field(default_factory=lambda: array("d"))
    delivery_latencies: array[float] = field(default_factory=lambda: array("d"))

    def merge(self, other: Result) -> None:
        """Add the result of a load process that ran at the same time."""
        self.messages += other.messages
        self.answering = max(self.answering, other.answering)
        self.delivering = max(self.delivering, other.delivering)
        self.busy = max(self.busy, other.busy)
        self.cpu += other.cpu
        self.sending_latencies += other.sending_latencies
        self.answer_latencies += other.answer_latencies
        self.delivery_latencies += other.delivery_latencies


class Control(typing.Protocol):
    """The connection from a load to the measuring process."""

    def ready(self) -> None:
        """Report that the next phase is prepared; return when it must begin."""


class _Group:
    """The senders and receivers of a phase."""

    def __init__(
        self, plan: Plan, loop: Loop, senders: Sequence[Sender], receivers: Sequence[IReceiver]
    ) -> None:
        self._timeout = plan.timeout
        self.loop = loop
        self.senders = senders
        self.receivers = receivers
        self.begin()

    def begin(self) -> None:
        """Start measuring the time of the phase."""
        self.began = monotonic()
        self._cpu = process_time()

    def run_for(self, seconds: float, most: int = sys.maxsize) -> None:
        """Send for ``seconds``, with a constant number of messages in flight.

        Args:
            most: maximum number of messages per sender.
        """
        for sender in self.senders:
            sender.start()
        first = self.senders[0]
        end = monotonic() + seconds
        while (now := monotonic()) < end and first.allowed < most:
            self.loop.turn(end - now)
        for sender in self.senders:
            sender.stop()

    def finish(self, deliveries: bool = True) -> Result:
        """Wait for all answers and deliveries, then check that no more arrive.

        Args:
            deliveries: whether the recipients are online, so that deliveries arrive.
        """
        result = Result(sum(sender.allowed for sender in self.senders))
        result.answering = self._until(lambda: sum(one.outstanding for one in self.senders))
        if deliveries:
            result.delivering = self._until(lambda: result.messages - self._arrived())
        result.busy = (process_time() - self._cpu) / (monotonic() - self.began)
        end = monotonic() + _LINGER
        while (now := monotonic()) < end:
            self.loop.turn(end - now)
        if deliveries and (
            self._arrived() > result.messages or any(o.has_partial_frame for o in self.receivers)
        ):
            raise CheckFailed(
                f"the server made {self._arrived()} deliveries of {result.messages} messages"
            )
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
            elif now > since + self._timeout:
                raise CheckFailed(f"{left} answers or deliveries did not arrive")
        return monotonic() - self.began


def _pairs(plan: Plan, loop: Loop, window: int) -> tuple[list[Sender], list[IReceiver]]:
    """Log in senders and receivers."""
    couples = plan.couples()
    protocol = plan.protocol or protocol_of(plan.version, plan.transport)
    traffic = [protocol.traffic(n, one, other, plan.size) for n, (one, other) in enumerate(couples)]
    receiving = protocol.receive(plan.address, [other for _, other in couples])
    sending = protocol.send(plan.address, [one for one, _ in couples])
    if plan.waiting is not None:
        for one, other, (name, to) in zip(sending, receiving, couples, strict=True):
            drain(one, plan.waiting(name), name)
            drain(other, plan.waiting(to), to)
    receivers: list[IReceiver] = [
        protocol.receiver(loop, sock, one.deliveries, other, plan.record)
        for sock, one, (_, other) in zip(receiving, traffic, couples, strict=True)
    ]
    senders = [
        protocol.sender(loop, sock, one, name, window, plan.record)
        for sock, one, (name, _) in zip(sending, traffic, couples, strict=True)
    ]
    return senders, receivers


def _keep_latencies(
    group: _Group, result: Result, latencies: Callable[[int, Arrivals], Iterable[float]]
) -> None:
    """Add latencies to the result.

    Args:
        latencies: returns the latencies of a pair from its index and its arrivals.
    """
    for index, (sender, receiver) in enumerate(zip(group.senders, group.receivers, strict=True)):
        result.answer_latencies.extend(latencies(index, sender.arrivals or []))
        result.delivery_latencies.extend(latencies(index, receiver.arrivals or []))


def pairs(plan: Plan, control: Control) -> Result:
    """Run pairs in which each sender keeps ``plan.window`` messages in flight.

    Latencies are recorded only for a window of 1. With a larger window they would measure the
    length of the queue.
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
    """Return the time from sending each message to its arrival."""
    last = 0
    for when, count in arrivals:
        for number in range(last, count):
            yield when - sender.sent_at[number]
        last = count


def fan_in(plan: Plan, control: Control) -> Result:
    """Run many senders to one recipient."""
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
    """Send messages to offline users, who log in and receive them in a second phase."""
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
    group.run_for(plan.seconds, _MAX_PER_MAILBOX)
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
    """Log in users who stay idle."""
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
    """Run pairs that send at a fixed rate, independent of the answers.

    A latency is measured from the scheduled time of the message. Thus the delays that a slow server
    causes to later messages count as well.
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
