"""Each store, for the suite that all of them pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from chat_protocol.domain.messages import Batch
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Query
from chat_protocol.stores.memory import store as memory_store
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.sqlite import database, memtable
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


@pytest.fixture
def wall_clock() -> WallClock:
    return WallClock()


@pytest.fixture
def long_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a PostgreSQL store serve although nothing renews its lease."""
    from chat_protocol.stores.postgres import leases, node

    monkeypatch.setattr(node, "SERVE_SECONDS", 600)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 900)


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        "sqlite, flushed at once",
        "sqlite, read again",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def make_store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wall_clock: WallClock,
) -> Iterator[MakeStore]:
    """Makes a store with a mailbox limit; what it is depends on the parameter."""
    if request.param == "sqlite, flushed at once":
        monkeypatch.setattr(memtable, "ENTRIES", 1)
    # A step that forgets devices looks at all users, however slow the machine is.
    for module in (database, memory_store):
        monkeypatch.setattr(module, "_FORGET_SECONDS", 60)
    url = None
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        url = postgres.new_database()
        request.getfixturevalue("long_lease")
    kind = ForgetfulStore if request.param == "sqlite, read again" else SQLiteStore

    def make(mailbox_limit: int) -> IStore:
        if request.param == "memory":
            return MemoryStore(mailbox_limit, wall_clock=wall_clock)
        if url is not None:
            from tests.stores.postgres.marking import MarkingStore

            worker = ImmediateWorker()
            return MarkingStore(url, mailbox_limit, StillReactor(), worker, worker, wall_clock)
        return kind(str(tmp_path / "chat.db"), mailbox_limit, ImmediateWorker(), wall_clock)

    yield make
    if url is not None:
        postgres.take_back(url)


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def sqlite_store(
    path: Path, mailbox_limit: int = 0, wall_clock: Callable[[], int] = time.time_ns
) -> SQLiteStore:
    return SQLiteStore(str(path), mailbox_limit, ImmediateWorker(), wall_clock)
