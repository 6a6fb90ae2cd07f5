"""Expired messages: at once unseen, and removed step by step."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from twisted.internet.defer import Deferred

from chat_protocol.domain.messages import Batch, Registration
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import UserList
from chat_protocol.domain.users import User
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.sqlite import database, memtable, segments
from chat_protocol.stores.sqlite.store import SQLiteStore
from chat_protocol.wire.codes import Code
from tests.stores.conftest import ImmediateWorker, MakeStore, WallClock, sqlite_store
from tests.stores.helpers import (
    account,
    commit,
    conversation,
    message,
    now,
    page,
    position,
    publication,
    publish,
    register,
    run,
    texts,
)

T = TypeVar("T")

DAY = 24 * 3600


@pytest.fixture
def store(make_store: MakeStore) -> Iterator[IStore]:
    made = make_store(5)
    now(made.open())
    yield made
    now(made.close())


def forget(store: IStore, wall_clock: WallClock, age: float) -> int:
    """To the end; how many steps that took."""
    steps = 1
    while now(store.forget(wall_clock.now - int(age * 10**9))):
        steps += 1
        assert steps < 100_000
    return steps


def test_what_is_old_is_gone_for_everybody_and_the_rest_is_as_it_was(
    store: IStore, wall_clock: WallClock
) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    read = run(bob, carol, "read")
    commit(store, run(alice, bob, "old 1", "old 2"), read)
    publish(store, publication(alice, "old to all"), publication(bob, "old", alice, carol, id_=3))
    commit(store, positions=position(carol, read.offset))
    wall_clock.pass_(10 * DAY)
    commit(store, run(alice, bob, "new 1"), run(bob, carol, "new 2"))
    publish(store, message(alice, "new to all"), publication(bob, "new", alice, carol, id_=4))
    before = [texts(page(store, one)) for one in (alice, bob, carol)]
    forget(store, wall_clock, 11 * DAY)
    assert [texts(page(store, one)) for one in (alice, bob, carol)] == before
    wall_clock.pass_(1 * DAY)
    forget(store, wall_clock, 10 * DAY)
    assert texts(page(store, alice)) == ["new"]
    assert texts(page(store, bob)) == ["new 1", "new to all"]
    assert texts(page(store, carol)) == ["new 2", "new to all", "new"]
    assert [account(store, one) for one in (alice, bob, carol)] == [(0, 1), (4, 2), (0, 3)]
    assert conversation(store, alice, bob) == ["new 1", "new to all", "new"]
    assert conversation(store, bob, carol) == ["new 2", "new"]
    assert conversation(store, carol, None) == ["new 2", "new to all", "new"]
    assert conversation(store, carol, None, limit=1) == ["new"]
    asked = UserList("", 10)
    now(store.read([asked]))
    assert [name for name, _ in asked.users] == ["alice", "bob", "carol"]
    again = publication(bob, "stored under that before", alice, id_=3)
    publish(store, again)
    assert (again.accepted, again.offset) == (1, 0)


def test_there_is_room_in_a_mailbox_for_what_is_forgotten(
    store: IStore, wall_clock: WallClock
) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, *"12345"))
    full = run(alice, bob, "6")
    commit(store, full)
    assert full.refusal is Code.MAILBOX_FULL
    wall_clock.pass_(DAY)
    forget(store, wall_clock, DAY / 2)
    fits = run(alice, bob, *"789")
    commit(store, fits)
    assert fits.accepted == 3
    assert texts(page(store, bob)) == ["7", "8", "9"]
    assert account(store, bob) == (0, 3)


def test_a_position_brings_back_nothing_that_is_expired(
    store: IStore, wall_clock: WallClock
) -> None:
    alice, bob = register(store, "alice", "bob")
    old = run(alice, bob, "old", "old")
    commit(store, old)
    wall_clock.pass_(DAY)
    commit(store, run(alice, bob, "new"))
    forget(store, wall_clock, DAY / 2)
    for offset in (old.offset, old.offset + 1, 1):
        commit(store, positions=position(bob, offset) | position(alice, offset))
        assert texts(page(store, bob)) == ["new"]
        assert texts(page(store, bob, after=offset)) == ["new"]
        assert account(store, bob) == (0, 1)


def test_the_rest_of_a_mailbox_is_expired_too(store: IStore, wall_clock: WallClock) -> None:
    alice, bob = register(store, "alice", "bob")
    sent = run(alice, bob, "delivered", "delivered, and no more than that")
    commit(store, sent, message(alice, "to all", "to all"))
    commit(store, positions=position(bob, sent.offset))
    wall_clock.pass_(DAY)
    forget(store, wall_clock, DAY / 2)
    assert texts(page(store, bob)) == []
    assert account(store, bob) == (0, 0)


def test_in_memory_all_that_is_old_is_unseen_with_the_first_step(wall_clock: WallClock) -> None:
    store = MemoryStore(wall_clock=wall_clock)
    alice, bob = register(store, "alice", "bob")
    commit(store, *(run(alice, bob, "old", "old") for _ in range(1100)))
    wall_clock.pass_(DAY)
    commit(store, run(alice, bob, "new"))
    assert now(store.forget(wall_clock.now - DAY // 2 * 10**9)), "no work is left"
    assert conversation(store, alice, bob) == ["new"]


def test_numbers_go_on_when_all_is_forgotten(store: IStore, wall_clock: WallClock) -> None:
    alice, bob = register(store, "alice", "bob")
    first = run(alice, bob, "1", "2")
    commit(store, first)
    wall_clock.pass_(DAY)
    forget(store, wall_clock, 0)
    assert conversation(store, bob, None) == []
    second = run(alice, bob, "3")
    commit(store, second)
    assert second.offset > first.offset + 1
    assert conversation(store, bob, None) == ["3"]


def test_a_clock_that_is_set_back_makes_nothing_older(store: IStore, wall_clock: WallClock) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "1"))
    wall_clock.pass_(-30 * DAY)
    commit(store, run(alice, bob, "2"))
    forget(store, wall_clock, DAY)
    assert texts(page(store, bob)) == ["1", "2"]
    wall_clock.pass_(2 * DAY)
    commit(store, run(alice, bob, "3"))
    forget(store, wall_clock, DAY)
    # The times of the messages are in doubt, so they are kept longer.
    assert texts(page(store, bob)) == ["1", "2", "3"]
    wall_clock.pass_(29 * DAY)
    commit(store, run(alice, bob, "4"))
    wall_clock.pass_(DAY / 2)
    forget(store, wall_clock, DAY)
    assert texts(page(store, bob)) == ["4"]


def test_a_clock_that_is_behind_for_a_while_makes_nothing_too_old(
    store: IStore, wall_clock: WallClock
) -> None:
    alice, bob = register(store, "alice", "bob")
    for number in range(2):
        commit(store, run(alice, bob, str(number)))
        wall_clock.pass_(3600)
    # No battery: the clock begins at the epoch, until the time is known.
    right = wall_clock.now
    for wrong in (0, 3600 * 10**9):
        wall_clock.now = wrong
        commit(store, run(alice, bob, "behind"))
        forget(store, wall_clock, DAY)
    wall_clock.now = right
    commit(store, run(alice, bob, "right"))
    forget(store, wall_clock, DAY)
    assert texts(page(store, bob)) == ["0", "1", "behind", "behind", "right"]
    wall_clock.pass_(DAY - 1.5 * 3600)
    forget(store, wall_clock, DAY)
    assert texts(page(store, bob)) == ["1", "behind", "behind", "right"]


def test_a_clock_that_was_ahead_keeps_messages_longer(store: IStore, wall_clock: WallClock) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "1"))
    wall_clock.pass_(10 * DAY)
    commit(store, run(alice, bob, "2"))
    wall_clock.pass_(-10 * DAY + 3600)
    commit(store, run(alice, bob, "3"))
    wall_clock.pass_(2 * DAY)
    forget(store, wall_clock, DAY)
    # It is known that the first one was stored before the clock went ahead.
    assert texts(page(store, bob))[-2:] == ["2", "3"]
    wall_clock.pass_(10 * DAY)
    forget(store, wall_clock, DAY)
    assert texts(page(store, bob)) == []


def tables(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("segment", "flush", "conversation", "everyone", "inbox", "time_index")
        }


@pytest.mark.parametrize("killed", [False, True])
def test_the_tables_are_emptied_in_many_steps_and_the_file_does_not_grow(
    killed: bool, sqlite_path: Path, wall_clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memtable, "ENTRIES", 100)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 300)
    store = sqlite_store(sqlite_path, 0, wall_clock)
    now(store.open())
    users = register(store, *[f"user{number}" for number in range(40)])
    sizes = []
    for _ in range(4):
        monkeypatch.setattr(database, "_PURGE_SECONDS", 0)
        for number in range(60):
            one, two, three = (users[(number * factor) % 40] for factor in (1, 7, 11))
            sent = run(one, two, "x" * 100), run(two, three, "x" * 100)
            commit(store, *sent, positions=position(three, sent[0].offset))
            commit(store, message(three, "x" * 100), positions=position(two, sent[1].offset))
            wall_clock.pass_(100)
        wall_clock.pass_(10 * DAY)
        more = True
        steps = 0
        while more:
            more = now(store.forget(wall_clock.now - DAY * 10**9))
            steps += 1
            if killed and steps % 3 == 0:
                store._open_database()._stale = True
                # The work begins anew: let it get further.
                monkeypatch.setattr(database, "_PURGE_SECONDS", steps / 1e5)
        assert steps > 6
        store._open_database()._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append(sqlite_path.stat().st_size)
        assert tables(sqlite_path) == {
            "segment": 0,
            "flush": 1,
            "conversation": 0,
            "everyone": 0,
            "inbox": 0,
            "time_index": 1,
        }
    assert max(sizes) <= sizes[0] * 1.2
    now(store.close())


def test_a_batch_and_a_step_do_not_meet(sqlite_path: Path, wall_clock: WallClock) -> None:
    """What comes during a step waits for it, and is not written in the reactor's thread."""
    jobs: list[tuple[Callable[[], object], Deferred[object]]] = []

    class SlowWorker(ImmediateWorker):
        def run(self, function: Callable[[], T]) -> Deferred[T]:
            outcome: Deferred[T] = Deferred()
            jobs.append((function, outcome))  # type: ignore[arg-type]
            return outcome

        def work(self) -> None:
            while jobs:
                function, outcome = jobs.pop(0)
                outcome.callback(function())

    worker = SlowWorker()
    store = SQLiteStore(str(sqlite_path), 0, worker, wall_clock)
    opening = store.open()
    worker.work()
    now(opening)
    registering = store.commit(Batch([Registration("alice", 1)], [], {}))
    worker.work()
    now(registering)
    alice = User("alice")
    alice.id = 1
    database = store._open_database()
    for _ in range(2):
        sent = run(alice, alice, "x")
        forgetting = store.forget(0)
        committing = store.commit(Batch([], [sent], {}))
        assert not database._connection.in_transaction
        assert sent.offset == 0
        worker.work()
        now(forgetting)
        now(committing)
        assert sent.offset
    # Without a step it is.
    sent = run(alice, alice, "x")
    committing = store.commit(Batch([], [sent], {}))
    assert sent.offset
    worker.work()
    now(committing)
    closing_ = store.close()
    worker.work()
    now(closing_)
