"""The users of the soak: all kinds of them at once, in one loop, each message checked.

What they send does not depend on what comes back, so the load stays the same for as long as it
lasts, and whatever grows is the server's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from time import monotonic

from benchmarks.frames import Expected, Failed, Stream, messages
from benchmarks.logins import Visitor
from benchmarks.loop import DELIVERIES, Address, Arrivals, Loop, log_in, read
from benchmarks.peers import Sender
from benchmarks.receivers import Receiver, SharedReceiver
from benchmarks.schedule import Schedule

__all__ = ["Mixture"]

_REST = 10.0
"""Seconds for which a slow reader reads nothing, and then reads; and for which somebody is away."""

_VISITS = 0.1
"""Seconds from one visit to the next."""

_SMALL, _MIDDLE, _LARGE = 64, 4_000, 60_000
"""Bytes of text. Of the middle ones more come in _REST than a send buffer holds."""

_SHARES = {"pairs": 0.5, "many": 0.2, "away": 0.5, "slow": 0.05, "large": 0.001}
"""Of the rate; who is away is written to for half of the time."""

_PATIENCE = 60.0
"""Seconds without an answer after which something is lost."""


class _SlowReceiver(Receiver):
    """Reads for a while and not for a while."""

    def __init__(self, loop: Loop, sock: socket.socket, stream: Stream, whose: str) -> None:
        super().__init__(loop, sock, stream, whose)
        self._loop = loop
        self._reading = True

    def read(self, reading: bool) -> None:
        """Whether to, from now on."""
        if reading and not self._reading:
            self._loop.add(self.sock, self._ready)
        elif self._reading and not reading:
            self._loop.remove(self.sock)
        self._reading = reading


class _Guest(Visitor):
    """Comes to take all that one sender has sent meanwhile, and goes."""

    def __init__(
        self, loop: Loop, address: Address, name: str, stream: Stream, sender: Sender
    ) -> None:
        super().__init__(loop, address, [name], again=False)
        self._expected = Expected(stream, f"deliveries to {name}", DELIVERIES)
        self._sender = sender
        self._name = name

    @property
    def missing(self) -> int:
        """Messages that it has not got."""
        return self._sender.allowed - self._expected.count

    def _entered(self, sock: socket.socket) -> None:
        self._loop.add(sock, lambda events: self._take(sock))

    def _take(self, sock: socket.socket) -> None:
        view = self._loop.deliveries
        self._expected.take(view[: read(sock, view, self._name)])
        if not self.missing:
            self._loop.remove(sock)
            self._leave(sock)


class _Flow:
    """Senders who write to receivers of their own, and how long that takes."""

    def __init__(self, senders: Sequence[Sender], receivers: Sequence[Receiver]) -> None:
        self.senders = senders
        self.receivers = receivers
        self._seen = [0 for _ in receivers]

    def latencies(self, schedule: Schedule) -> list[float]:
        """Of the arrivals since the last time, in seconds from when they were due."""
        found: list[float] = []
        for index, receiver in enumerate(self.receivers):
            arrivals: Arrivals = receiver.arrivals or []
            found += schedule.latencies(index, arrivals, self._seen[index])
            if arrivals:
                self._seen[index] = arrivals[-1][1]
                arrivals.clear()
        return found


class Mixture:
    """Users who write to each other, to one, to who is away, does not read, or gets a lot.

    Args:
        rate: messages a second, of all together.
    """

    def __init__(self, address: Address, rate: float) -> None:
        self._loop = Loop()
        self._address = address
        self._prefix = f"m{os.getpid() % 10**6:06d}"
        self._pairs = self._couples("pair", 16, _SMALL, record=True)
        self._slow = self._couples("slow", 1, _MIDDLE, kind=_SlowReceiver)
        self._large = self._couples("large", 1, _LARGE)
        self._many, self._one = self._to_one(16)
        self._away, self._guests = self._guests_of(4)
        self._visitor = Visitor(
            self._loop, address, [f"{self._prefix}visit{n:02d}" for n in range(50)], again=False
        )
        began = monotonic()
        self._talk = Schedule(self._pairs.senders, rate * _SHARES["pairs"], began)
        self._steady = [
            Schedule(self._many, rate * _SHARES["many"], began),
            Schedule(self._slow.senders, rate * _SHARES["slow"], began),
            Schedule(self._large.senders, rate * _SHARES["large"], began),
        ]
        self._to_mailboxes = self._talk
        self._rate = rate
        self._next_visit = self._next_change = began
        self._taking = True
        self._answered_before = -1

    # Preparation.

    def _name(self, role: str, number: int) -> str:
        return f"{self._prefix}{role}{number:02d}"

    def _couples(
        self,
        role: str,
        count: int,
        size: int,
        kind: type[Receiver] = Receiver,
        record: bool = False,
    ) -> _Flow:
        names = [(self._name(role, n), self._name(f"{role}-to", n)) for n in range(count)]
        traffic = [messages(n, *couple, size) for n, couple in enumerate(names)]
        receiving = log_in(self._address, [to for _, to in names])
        sending = log_in(self._address, [name for name, _ in names])
        receivers: list[Receiver] = []
        for sock, one, (_, to) in zip(receiving, traffic, names, strict=True):
            if kind is _SlowReceiver:
                # What does not fit here waits at the server's.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
                receivers.append(kind(self._loop, sock, one.deliveries, to))
            else:
                receivers.append(kind(self._loop, sock, one.deliveries, to, record))
        senders = [
            Sender(self._loop, sock, one, name)
            for sock, one, (name, _) in zip(sending, traffic, names, strict=True)
        ]
        return _Flow(senders, receivers)

    def _to_one(self, count: int) -> tuple[list[Sender], SharedReceiver]:
        to = self._name("hub", 0)
        names = [self._name("spoke", n) for n in range(count)]
        traffic = [messages(n, name, to, _SMALL) for n, name in enumerate(names)]
        (sock,) = log_in(self._address, [to])
        streams = {one.deliveries.cycle[13:14]: one.deliveries for one in traffic}
        receiver = SharedReceiver(self._loop, sock, streams, to)
        senders = [
            Sender(self._loop, sock, one, name)
            for sock, one, name in zip(log_in(self._address, names), traffic, names, strict=True)
        ]
        return senders, receiver

    def _guests_of(self, count: int) -> tuple[list[Sender], list[_Guest]]:
        names = [(self._name("to-away", n), self._name("away", n)) for n in range(count)]
        for sock in log_in(self._address, [to for _, to in names]):
            sock.close()
        senders, guests = [], []
        sending = log_in(self._address, [name for name, _ in names])
        for n, (sock, (name, to)) in enumerate(zip(sending, names, strict=True)):
            one = messages(n, name, to, _SMALL)
            sender = Sender(self._loop, sock, one, name)
            senders.append(sender)
            guests.append(_Guest(self._loop, self._address, to, one.deliveries, sender))
        return senders, guests

    # The load.

    @property
    def _senders(self) -> list[Sender]:
        return [
            *self._pairs.senders,
            *self._slow.senders,
            *self._large.senders,
            *self._many,
            *self._away,
        ]

    @property
    def answered(self) -> int:
        """Messages that the server has answered OK."""
        return sum(sender.answered for sender in self._senders)

    @property
    def visits(self) -> int:
        """Logins, but for those at the beginning."""
        return self._visitor.count + sum(guest.count for guest in self._guests)

    def run_until(self, when: float) -> None:
        """Go on until then, by ``time.monotonic``.

        Raises:
            Failed: the server does not do what it must.
        """
        while (now := monotonic()) < when:
            if now >= self._next_change:
                self._change(now)
            schedules = [self._talk, *self._steady]
            if not self._taking:
                schedules.append(self._to_mailboxes)
            for schedule in schedules:
                schedule.send_due()
                schedule.sent.clear()
            if now >= self._next_visit and self._visitor.done:
                self._next_visit = now + _VISITS
                self._visitor.come()
            self._loop.turn_until(min(when, *(schedule.next for schedule in schedules)))

    def _change(self, now: float) -> None:
        """By turns: some are away and written to, others read nothing; then all take theirs."""
        self._next_change = now + _REST
        self._taking = not self._taking
        for receiver in self._slow.receivers:
            assert isinstance(receiver, _SlowReceiver)
            receiver.read(self._taking)
        if self._taking:
            for guest in self._guests:
                guest.come()
            return
        if not all(guest.done for guest in self._guests):
            raise Failed(f"what waited has not come within {_REST:.0f} s")
        answered = self.answered
        if self._answered_before == answered:
            raise Failed(f"nothing is answered for {2 * _REST:.0f} s")
        self._answered_before = answered
        self._to_mailboxes = Schedule(self._away, self._rate * _SHARES["away"], now)

    def latencies(self) -> list[float]:
        """Of what arrived from one to another since the last time, in seconds from when it was
        due."""
        return self._pairs.latencies(self._talk)

    def finish(self) -> None:
        """Send no more; all that was sent must arrive.

        Raises:
            Failed: it does not.
        """
        for receiver in self._slow.receivers:
            assert isinstance(receiver, _SlowReceiver)
            receiver.read(True)
        for guest in self._guests:
            if guest.done and guest.missing:
                guest.come()
        end = monotonic() + _PATIENCE
        while self._missing():
            self._loop.turn(0.1)
            if monotonic() > end:
                raise Failed(f"{self._missing()} answers or deliveries did not come")
        self._loop.turn(0.1)
        if self._missing() < 0:
            raise Failed("more came than was sent")

    def close(self) -> None:
        """Let go of all connections."""
        for receiver in self._slow.receivers:
            receiver.sock.close()
        self._loop.close()

    def _missing(self) -> int:
        flows = (self._pairs, self._slow, self._large)
        missing = sum(sender.outstanding for sender in self._senders)
        missing += sum(s.allowed for flow in flows for s in flow.senders)
        missing -= sum(receiver.count for flow in flows for receiver in flow.receivers)
        missing += sum(sender.allowed for sender in self._many) - self._one.count
        return missing + sum(guest.missing for guest in self._guests)
