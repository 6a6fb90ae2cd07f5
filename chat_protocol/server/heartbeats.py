"""Heartbeats: silence on connections that promised to send something (docs/protocol.md, S54)."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from twisted.internet.interfaces import IReactorTime

from chat_protocol.domain.users import Session
from chat_protocol.server.peer import Observer, Peer
from chat_protocol.server.watch import Watch

__all__ = ["Heartbeats"]


class Heartbeats(Watch, Observer):
    """Finds connections that have been silent for twice the heartbeat that they promised.

    A timing wheel: each connection is in the slot of the time at which its silence would be too
    long. So a connection costs nothing until that time, and silence is found within two intervals.

    Args:
        missed: called with each such connection.
        clock: times the checks.
    """

    interval = 0.25

    def __init__(self, missed: Callable[[Peer], None], clock: IReactorTime) -> None:
        self._missed = missed
        self._clock = clock
        self._promised: dict[Peer, tuple[int, int]] = {}
        """The heartbeat in seconds, and the slot of the connection."""
        self._slots: dict[int, dict[Peer, None]] = {}
        super().__init__(clock)

    def expect(self, peer: Peer, seconds: int) -> None:
        """Expect bytes from a connection at least every ``seconds``."""
        self._enter(peer, seconds, self._clock.seconds() + 2 * seconds)

    def logged_out(self, peer: Peer, session: Session, why: str) -> None:
        if peer in self._promised:
            _, slot = self._promised.pop(peer)
            del self._slots[slot][peer]

    def check(self) -> None:
        now = self._clock.seconds()
        for slot in sorted(slot for slot in self._slots if slot * self.interval <= now):
            peers = self._slots[slot]
            while peers:
                self._check(next(iter(peers)), now)
            del self._slots[slot]

    def _check(self, peer: Peer, now: float) -> None:
        seconds, slot = self._promised.pop(peer)
        del self._slots[slot][peer]
        # A paused connection cannot be heard: its silence begins when it resumes.
        end = 2 * seconds + (now if peer.paused else peer.heard)
        if end > now:
            self._enter(peer, seconds, end)
        else:
            self._missed(peer)

    def _enter(self, peer: Peer, seconds: int, end: float) -> None:
        slot = ceil(end / self.interval)
        self._promised[peer] = seconds, slot
        self._slots.setdefault(slot, {})[peer] = None
