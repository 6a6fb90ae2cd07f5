"""CorrelationIdTests that wait for their answers (docs/protocol.md, command C8)."""

from __future__ import annotations

from random import Random
from typing import cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chat_protocol.errors import RateLimited
from chat_protocol.server.peer import Connection, Observer, Peer
from chat_protocol.wire.codec import HIGHEST_VERSION, encode_answers
from chat_protocol.wire.codes import Code

__all__ = ["CORRELATION_TEST_SECONDS", "TESTS", "CorrelationTests"]

CORRELATION_TEST_SECONDS = 4.0
"""The longest delay of an answer."""

TESTS = 100_000
"""Unanswered tests of all connections. The next one is refused."""

_SLOT = 0.02
"""Time in seconds: answers that are due within it go out together."""


class CorrelationTests(Observer):
    """Answers tests after random delays.

    A test is four bytes in a list. With an object for each, tests in great numbers would keep the
    garbage collector busy, which stops everybody.

    Args:
        clock: times the answers.
        random: chooses the delays.
        limit: unanswered tests of one connection. The next one is refused.
    """

    def __init__(self, clock: IReactorTime, random: Random, limit: int) -> None:
        self._clock = clock
        self._random = random
        self._limit = limit
        self._slots: dict[int, dict[tuple[Peer, int], list[bytes]]] = {}
        """By the number of the slot: correlation ids by connection and version."""
        self._count = 0
        self._call: IDelayedCall | None = None

    def add(self, peer: Peer, correlation_id: bytes, version: int) -> None:
        """Answer a test later.

        Raises:
            RateLimited: too many are unanswered.
        """
        if peer.correlation_tests >= self._limit:
            raise RateLimited(
                f"{self._limit} tests of this connection are unanswered already",
                "correlation_tests",
            )
        if self._count >= TESTS:
            raise RateLimited(f"{TESTS} tests of all connections are unanswered already", "TESTS")
        peer.correlation_tests += 1
        self._count += 1
        due = self._clock.seconds() + self._random.uniform(0, CORRELATION_TEST_SECONDS)
        slot = self._slots.setdefault(int(due / _SLOT), {})
        slot.setdefault((peer, version), []).append(correlation_id)
        if self._call is None:
            self._call = self._clock.callLater(_SLOT, self._answer)

    def _answer(self) -> None:
        self._call = None
        now = self._clock.seconds()
        for number in sorted(one for one in self._slots if one * _SLOT <= now):
            for (peer, version), ids in self._slots.pop(number).items():
                self._count -= len(ids)
                peer.correlation_tests -= len(ids)
                peer.answer(encode_answers(Code.OK, ids, version))
        if self._slots:
            self._call = self._clock.callLater(_SLOT, self._answer)

    def disconnected(self, connection: Connection) -> None:
        """Drop the tests of a connection that is gone."""
        for slot in self._slots.values():
            for version in range(1, HIGHEST_VERSION + 1):
                self._count -= len(slot.pop((cast(Peer, connection), version), ()))
        if not self._count:
            self.stop()

    def stop(self) -> None:
        """Drop all tests."""
        self._slots.clear()
        self._count = 0
        if self._call is not None:
            self._call.cancel()
            self._call = None
