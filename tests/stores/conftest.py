"""Each store, for the suite that all of them pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from chat_protocol.domain.batch import Batch, Query
from chat_protocol.interfaces import IStore
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.postgres import retention as postgres_retention
from chat_protocol.stores.postgres.store import PostgresStore
from chat_protocol.stores.sqlite import memtable
from chat_protocol.stores.sqlite.store import SQLiteStore

T = TypeVar("T")

MakeStore = Callable[[int], IStore]


class WallClock:
    """Time that passes when it is told to, in nanoseconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * 10**9

    def __call__(self) -> int:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += int(seconds * 10**9)


class ImmediateWorker:
    """Runs everything at once, in the test's own thread."""

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        return maybeDeferred(function)

    def stop(self) -> Deferred[None]:
        return succeed(None)


class StillReactor(Clock):
    """Has time, and watches over descriptors in which nothing happens."""

    def addReader(self, reader: object) -> None:
        pass

    def removeReader(self, reader: object) -> None:
        pass


class ForgetfulStore(SQLiteStore):
    """Knows what the file says, and nothing else: it is read again before each call."""

    def commit(self, batch: Batch) -> Deferred[None]:
        self._forget()
        return super().commit(batch)

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        self._forget()
        return super().read(queries)

    def forget(self, before: int) -> Deferred[bool]:
        self._forget()
        return super().forget(before)

    def _forget(self) -> None:
        self._open_database()._stale = True


class MarkingStore(PostgresStore):
    """Marks how old messages are when the clock is looked at again, as it else does by itself."""

    _stored = 0

    def commit(self, batch: Batch) -> Deferred[None]:
        self._mark()
        self._stored = self._wall_clock()
        return super().commit(batch)

    def forget(self, before: int) -> Deferred[bool]:
        self._mark()
        return super().forget(before)

    def _mark(self) -> None:
        now = self._wall_clock()
        if self._stored and now != self._stored:
            postgres_retention.mark(self._connect("lease"), self._stored + 60 * 10**9)
            self._stored = now


@pytest.fixture
def wall_clock() -> WallClock:
    return WallClock()


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        "sqlite, filed at once",
        "sqlite, read again",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def make_store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wall_clock: WallClock,
) -> MakeStore:
    """Makes a store with a mailbox limit; what it is depends on the parameter."""
    if request.param == "sqlite, filed at once":
        monkeypatch.setattr(memtable, "ENTRIES", 1)
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    kind = ForgetfulStore if request.param == "sqlite, read again" else SQLiteStore

    def make(mailbox_limit: int) -> IStore:
        if request.param == "memory":
            return MemoryStore(mailbox_limit, wall_clock=wall_clock)
        if url is not None:
            worker = ImmediateWorker()
            return MarkingStore(url, mailbox_limit, StillReactor(), worker, worker, wall_clock)
        return kind(str(tmp_path / "chat.db"), mailbox_limit, ImmediateWorker(), wall_clock)

    return make


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def sqlite_store(
    path: Path, mailbox_limit: int = 0, wall_clock: Callable[[], int] = time.time_ns
) -> SQLiteStore:
    return SQLiteStore(str(path), mailbox_limit, ImmediateWorker(), wall_clock)
