"""The load of the soak: clients of all kinds in one loop, with a check of every message.

The clients send at a fixed rate, independent of the answers. Thus the load is constant, and any
growth is caused by the server.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from time import monotonic

from benchmarks.frames import CheckFailed, Expected, Stream, messages
from benchmarks.logins import LoginClient
from benchmarks.loop import DELIVERIES, Address, Arrivals, Loop, log_in, read
from benchmarks.peers import Sender
from benchmarks.receivers import Receiver, SharedReceiver
from benchmarks.schedule import Schedule

__all__ = ["Mixture"]

_PHASE_SECONDS = 10.0
"""Duration of each of two alternating phases. In the first, some users are offline and slow readers
do not read; in the second, these users log in and slow readers read."""

_LOGIN_INTERVAL = 0.1
"""Seconds between two logins of the client that logs in and disconnects."""

_SMALL, _MEDIUM, _LARGE = 64, 4_000, 60_000
"""Sizes of texts in bytes. Medium messages exceed the send buffer within _PHASE_SECONDS."""

_SHARES = {"pairs": 0.5, "many": 0.2, "offline": 0.5, "slow": 0.05, "large": 0.001}
"""Shares of the total rate. The share of offline users applies to half of the time."""

_TIMEOUT = 60.0
"""Seconds without an answer after which a message counts as lost."""


class _SlowReceiver(Receiver):
    """A receiver that can stop reading."""

    def __init__(self, loop: Loop, sock: socket.socket, stream: Stream, label: str) -> None:
        super().__init__(loop, sock, stream, label)
        self._loop = loop
        self._reading = True

    def read(self, reading: bool) -> None:
        """Start or stop reading."""
        if reading and not self._reading:
            self._loop.add(self.sock, self._ready)
        elif self._reading and not reading:
            self._loop.remove(self.sock)
        self._reading = reading


class _MailboxClient(LoginClient):
    """Logs in, receives all messages of one sender from its mailbox, and disconnects."""

    def __init__(
        self, loop: Loop, address: Address, name: str, stream: Stream, sender: Sender
    ) -> None:
        super().__init__(loop, address, [name], repeat=False)
        self._expected = Expected(stream, f"deliveries to {name}", DELIVERIES)
        self._sender = sender
        self._name = name

    @property
    def missing(self) -> int:
        """Number of messages not yet received."""
        return self._sender.allowed - self._expected.count

    def _logged_in(self, sock: socket.socket) -> None:
        self._loop.add(sock, lambda events: self._take(sock))

    def _take(self, sock: socket.socket) -> None:
        view = self._loop.deliveries
        self._expected.take(view[: read(sock, view, self._name)])
        if not self.missing:
            self._loop.remove(sock)
            self._disconnect(sock)


class _Flow:
    """Pairs of senders and receivers, with their latencies."""

    def __init__(self, senders: Sequence[Sender], receivers: Sequence[Receiver]) -> None:
        self.senders = senders
        self.receivers = receivers
        self._seen = [0 for _ in receivers]

    def latencies(self, schedule: Schedule) -> list[float]:
        """Return the latencies since the last call, in seconds from the scheduled time."""
        found: list[float] = []
        for index, receiver in enumerate(self.receivers):
            arrivals: Arrivals = receiver.arrivals or []
            found += schedule.latencies(index, arrivals, self._seen[index])
            if arrivals:
                self._seen[index] = arrivals[-1][1]
                arrivals.clear()
        return found


class Mixture:
    """Pairs, many senders to one recipient, offline users, slow readers, and large messages.

    Args:
        rate: total messages per second.
    """

    def __init__(self, address: Address, rate: float) -> None:
        self._loop = Loop()
        self._address = address
        self._prefix = f"m{os.getpid() % 10**6:06d}"
        self._pairs = self._couples("pair", 16, _SMALL, record=True)
        self._slow = self._couples("slow", 1, _MEDIUM, kind=_SlowReceiver)
        self._large = self._couples("large", 1, _LARGE)
        self._many, self._one = self._to_one(16)
        self._to_offline, self._mailbox_clients = self._mailbox_clients_of(4)
        self._login_client = LoginClient(
            self._loop, address, [f"{self._prefix}login{n:02d}" for n in range(50)], repeat=False
        )
        began = monotonic()
        self._pair_schedule = Schedule(self._pairs.senders, rate * _SHARES["pairs"], began)
        self._steady = [
            Schedule(self._many, rate * _SHARES["many"], began),
            Schedule(self._slow.senders, rate * _SHARES["slow"], began),
            Schedule(self._large.senders, rate * _SHARES["large"], began),
        ]
        self._mailbox_schedule = self._pair_schedule
        self._rate = rate
        self._next_login = self._next_phase = began
        self._draining = True
        self._answered_before = -1

    # Setup.

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
                # A small buffer, so that the messages wait in the server.
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

    def _mailbox_clients_of(self, count: int) -> tuple[list[Sender], list[_MailboxClient]]:
        names = [(self._name("to-offline", n), self._name("offline", n)) for n in range(count)]
        for sock in log_in(self._address, [to for _, to in names]):
            sock.close()
        senders, mailbox_clients = [], []
        sending = log_in(self._address, [name for name, _ in names])
        for n, (sock, (name, to)) in enumerate(zip(sending, names, strict=True)):
            one = messages(n, name, to, _SMALL)
            sender = Sender(self._loop, sock, one, name)
            senders.append(sender)
            mailbox_clients.append(
                _MailboxClient(self._loop, self._address, to, one.deliveries, sender)
            )
        return senders, mailbox_clients

    # The load.

    @property
    def _senders(self) -> list[Sender]:
        return [
            *self._pairs.senders,
            *self._slow.senders,
            *self._large.senders,
            *self._many,
            *self._to_offline,
        ]

    @property
    def answered(self) -> int:
        """Number of messages answered with OK."""
        return sum(sender.answered for sender in self._senders)

    @property
    def visits(self) -> int:
        """Number of logins after the setup."""
        return self._login_client.count + sum(client.count for client in self._mailbox_clients)

    def run_until(self, when: float) -> None:
        """Run the load until ``when``, a time of ``time.monotonic``.

        Raises:
            CheckFailed: the server violates the protocol.
        """
        while (now := monotonic()) < when:
            if now >= self._next_phase:
                self._change_phase(now)
            schedules = [self._pair_schedule, *self._steady]
            if not self._draining:
                schedules.append(self._mailbox_schedule)
            for schedule in schedules:
                schedule.send_due()
                schedule.sent.clear()
            if now >= self._next_login and self._login_client.done:
                self._next_login = now + _LOGIN_INTERVAL
                self._login_client.connect()
            self._loop.turn_until(min(when, *(schedule.next for schedule in schedules)))

    def _change_phase(self, now: float) -> None:
        """Begin the next phase; see _PHASE_SECONDS."""
        self._next_phase = now + _PHASE_SECONDS
        self._draining = not self._draining
        for receiver in self._slow.receivers:
            assert isinstance(receiver, _SlowReceiver)
            receiver.read(self._draining)
        if self._draining:
            for client in self._mailbox_clients:
                client.connect()
            return
        if not all(client.done for client in self._mailbox_clients):
            raise CheckFailed(
                f"the server did not deliver all waiting messages within {_PHASE_SECONDS:.0f} s"
            )
        answered = self.answered
        if self._answered_before == answered:
            raise CheckFailed(f"the server answered no message for {2 * _PHASE_SECONDS:.0f} s")
        self._answered_before = answered
        rate = self._rate * _SHARES["offline"]
        self._mailbox_schedule = Schedule(self._to_offline, rate, now)

    def latencies(self) -> list[float]:
        """Return the delivery latencies of the pairs since the last call.

        They are measured in seconds from the scheduled time of a message to its arrival.
        """
        return self._pairs.latencies(self._pair_schedule)

    def finish(self) -> None:
        """Stop sending, and wait for all answers and deliveries.

        Raises:
            CheckFailed: some are missing after the timeout, or there are too many.
        """
        for receiver in self._slow.receivers:
            assert isinstance(receiver, _SlowReceiver)
            receiver.read(True)
        for client in self._mailbox_clients:
            if client.done and client.missing:
                client.connect()
        end = monotonic() + _TIMEOUT
        while self._missing():
            self._loop.turn(0.1)
            if monotonic() > end:
                raise CheckFailed(f"{self._missing()} answers or deliveries did not arrive")
        self._loop.turn(0.1)
        if self._missing() < 0:
            raise CheckFailed("the server delivered or answered more messages than were sent")

    def close(self) -> None:
        """Close all connections."""
        for receiver in self._slow.receivers:
            receiver.sock.close()
        self._loop.close()

    def _missing(self) -> int:
        flows = (self._pairs, self._slow, self._large)
        missing = sum(sender.outstanding for sender in self._senders)
        missing += sum(s.allowed for flow in flows for s in flow.senders)
        missing -= sum(receiver.count for flow in flows for receiver in flow.receivers)
        missing += sum(sender.allowed for sender in self._many) - self._one.count
        return missing + sum(client.missing for client in self._mailbox_clients)
