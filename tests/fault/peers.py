"""Raw clients of both versions, all in one thread, that reconnect and resend."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import TypeAlias

from tests.blackbox import wire
from tests.blackbox.client import Address, connect
from tests.fault import frames
from tests.fault.history import History, Sent

__all__ = ["Crowd", "Peer", "Plan", "nothing"]

Plan: TypeAlias = Callable[[], "tuple[str, ...] | None"]
"""Returns the recipients of the next message, () for everyone, or None for no message now."""

_TURN_SECONDS = 0.005
_RETRY_SECONDS = 0.02
_WINDOW = "10000"
_MOST_UNACKNOWLEDGED = 500


def nothing() -> None:
    """Be the plan of a user that sends nothing."""


class Peer:
    """A user and its connections, one after the other.

    In version 2 it resends the messages without an answer after each login, in their order.

    Args:
        history: of the user; it is continued.
        random: chooses the sizes of texts, and when to acknowledge.
        plan: chooses the recipients.
        window: messages without an answer at a time.
        acks: probability that it acknowledges what it has just read.
        sizes: bytes of padding; each text has one of these.
    """

    def __init__(
        self,
        history: History,
        random: Random,
        plan: Plan = nothing,
        window: int = 10,
        acks: float = 1.0,
        sizes: tuple[int, ...] = (20,),
    ) -> None:
        self.history = history
        self.online = True
        """Whether it connects; if not, it ends its connection."""
        self.logged_in = False
        self.closed = 0
        """How many connections the server has ended."""
        self.delivered: set[int] = set()
        """All offsets received, the repeated ones included."""
        self._random = random
        self._plan = plan
        self._window = window
        self._acks = acks
        self._sizes = sizes
        self._number = max(history.sent, default=0)
        self._unacknowledged = 0
        self._last_offset = 0
        self._outstanding: dict[int, Sent] = {}
        self._sock: socket.socket | None = None
        self._leaving = False
        self._retry_at = 0.0
        self._incoming = bytearray()
        self._outgoing = bytearray()

    @property
    def name(self) -> str:
        return self.history.name

    @property
    def idle(self) -> bool:
        """Whether it is logged in, and every message on this connection is answered."""
        return self.logged_in and not self._outstanding

    def has_last(self, sender: str, number: int) -> bool:
        """Return whether this message is the last one received."""
        received = self.history.received
        return bool(received) and (
            received[-1].sender == sender and received[-1].text.startswith(f"{number}:")
        )

    # The connection.

    def connect(self, crowd: Crowd) -> None:
        """Connect and log in, unless there is a connection or the retry is not due."""
        now = time.monotonic()
        if self._sock is not None or now < self._retry_at:
            return
        self._retry_at = now + _RETRY_SECONDS
        try:
            self._sock = connect(crowd.address)
        except OSError:
            return
        self._sock.setblocking(False)
        self._incoming.clear()
        self._outgoing.clear()
        self._outstanding.clear()
        self._unacknowledged = self._last_offset = 0
        self._leaving = False
        crowd.selector.register(self._sock, selectors.EVENT_READ, self)
        self._log_in()

    def _log_in(self) -> None:
        self._outgoing += frames.login(self.name, self.history.version, {"window": _WINDOW})

    def leave(self) -> None:
        """End the connection. Read it to its end: version 1 receives no message again."""
        if self._sock is not None and not self._leaving:
            self._leaving = True
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def close(self, crowd: Crowd) -> None:
        """Close the connection at once."""
        if self._sock is not None:
            crowd.selector.unregister(self._sock)
            self._sock.close()
            self._sock = None
            self.logged_in = False

    def read(self, crowd: Crowd) -> None:
        """Handle the bytes that have come in."""
        assert self._sock is not None
        try:
            data = self._sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close(crowd)
            self.closed += not self._leaving
            return
        now = time.monotonic()
        self._incoming += data
        for frame in frames.frames_of(self._incoming):
            self._handle(frame, crowd, now)
        if self._unacknowledged > _MOST_UNACKNOWLEDGED or (
            self._unacknowledged and self._random.random() < self._acks
        ):
            self._outgoing += frames.ack(self._last_offset)
            self._unacknowledged = 0

    def write(self) -> None:
        """Write what the kernel takes."""
        if self._sock is None or self._leaving or not self._outgoing:
            return
        try:
            del self._outgoing[: self._sock.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            # The end of the connection is found by reading.
            self._outgoing.clear()

    # The messages.

    def _handle(self, frame: wire.Frame, crowd: Crowd, now: float) -> None:
        arrival = frames.arrival(frame)
        if arrival is not None:
            if arrival.offset:
                if arrival.offset <= self._last_offset:
                    self.history.faults.append(f"{self.name}: offset {arrival.offset} came late")
                self._last_offset = arrival.offset
                self._unacknowledged += 1
                self.delivered.add(arrival.offset)
            self.history.arrive(arrival, now)
        elif not frames.is_answer(frame):
            return
        elif self.logged_in:
            self._outstanding.pop(frame.correlation_id).code = frames.code_of(frame)
            crowd.answered += 1
        elif frames.code_of(frame) == wire.OK:
            self.logged_in = True
            crowd.registered.add(self.name)
            if self.history.version != 1:
                for sent in self.history.unanswered():
                    self._transmit(sent)
        else:
            # The server has not ended the session of the last connection yet.
            self._log_in()

    def fill(self, crowd: Crowd) -> None:
        """Send according to the plan until the window is full."""
        while self.logged_in and not self._leaving and len(self._outstanding) < self._window:
            to = self._plan()
            if to is None:
                return
            self.send(to, crowd)

    def send(self, to: tuple[str, ...], crowd: Crowd) -> Sent:
        """Send a message to some users, or to everyone."""
        self._number += 1
        text = f"{self._number}:" + "x" * self._random.choice(self._sizes)
        required = frozenset(to or crowd.registered - {self.name})
        sent = self.history.sent[self._number] = Sent(self._number, text, to, required)
        self._transmit(sent)
        return sent

    def _transmit(self, sent: Sent) -> None:
        number = sent.number
        self._outstanding[number] = sent
        if self.history.version == 1:
            self._outgoing += wire.message(sent.text, self.name, sent.to[0], number, number)
        else:
            self._outgoing += frames.publish(number, sent.text, sent.to)


class Crowd:
    """All peers of one server.

    Args:
        address: of the server.
        peers: they include every recipient.
    """

    def __init__(self, address: Address, peers: Iterable[Peer]) -> None:
        self.address = address
        self.peers = list(peers)
        self.selector = selectors.DefaultSelector()
        self.registered: set[str] = set()
        """The users that have been logged in."""
        self.sending = False
        """Whether the peers send according to their plans."""
        self.answered = 0
        """How many messages were answered."""

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *exception: object) -> None:
        for peer in self.peers:
            peer.close(self)
        self.selector.close()

    def run(self, until: Callable[[], bool], seconds: float = 30.0) -> None:
        """Let the peers work until a condition is true.

        Raises:
            TimeoutError: it is still false after so many seconds.
        """
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the clients still wait after {seconds:.0f} s")
            self._turn()

    def run_for(self, seconds: float) -> None:
        """Let the peers work for some time."""
        end = time.monotonic() + seconds
        self.run(lambda: time.monotonic() >= end, seconds + 30)

    def register(self, *names: str) -> None:
        """Let these users log in, and stay online."""
        for peer in self.peers:
            peer.online = peer.online or peer.name in names
        self.run(lambda: set(names) <= self.registered)

    def settle(self, auditor: Peer) -> None:
        """Let all users log in, learn the answers to their messages, and receive all there are.

        Args:
            auditor: a version 2 peer; the last message that everybody receives is from it.

        Raises:
            TimeoutError: a user does not.
        """
        self.sending = False
        for peer in self.peers:
            peer.online = True
        self.run(lambda: all(peer.idle for peer in self.peers))
        last = auditor.send((), self)
        others = [peer for peer in self.peers if peer is not auditor]
        self.run(
            lambda: (
                auditor.idle and all(peer.has_last(auditor.name, last.number) for peer in others)
            )
        )

    def _turn(self) -> None:
        for peer in self.peers:
            if not peer.online:
                peer.leave()
                continue
            peer.connect(self)
            if self.sending:
                peer.fill(self)
            peer.write()
        for key, _ in self.selector.select(_TURN_SECONDS):
            key.data.read(self)
