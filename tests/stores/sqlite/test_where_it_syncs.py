"""The sync of a batch in the worker, or in the reactor's thread when nobody waits for that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from chat_protocol.domain.messages import Batch
from chat_protocol.domain.users import User
from chat_protocol.stores.sqlite import database as database_module
from chat_protocol.stores.sqlite.store import SQLiteStore
from tests.stores.conftest import ImmediateWorker, T
from tests.stores.helpers import now, register, run


class CountingWorker(ImmediateWorker):
    calls = 0

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        self.calls += 1
        return super().run(function)


class Chat:
    """Two users of a store, one of whom writes to the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.worker = CountingWorker()
        self.store = SQLiteStore(str(path), 0, self.worker)
        now(self.store.open())
        self.users = register(self.store, "alice", "bob")

    def uses_the_worker(self, nobody_waits: bool) -> bool:
        """Store a message."""
        alice, bob = self.users
        batch = Batch([], [run(alice, bob, "hi")], {})
        batch.nobody_waits = lambda: nobody_waits
        before = self.worker.calls
        now(self.store.commit(batch))
        return self.worker.calls > before


class Timer:
    """Time that passes by ``step`` whenever somebody looks."""

    def __init__(self) -> None:
        self.step = 0.0005
        self.time = 0.0

    def __call__(self) -> float:
        self.time += self.step
        return self.time


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    timer = Timer()
    monkeypatch.setattr(database_module, "perf_counter", timer)
    return timer


@pytest.fixture
def chat(sqlite_path: Path, timer: Timer) -> Iterator[Chat]:
    chat = Chat(sqlite_path)
    for _ in range(database_module._QUICK_SYNCS):
        chat.uses_the_worker(False)
    yield chat
    now(chat.store.close())


def test_it_is_in_the_reactor_if_nobody_waits(chat: Chat) -> None:
    assert not chat.uses_the_worker(True)
    assert chat.uses_the_worker(False)
    assert not chat.uses_the_worker(True)


def test_not_before_many_syncs_were_quick(sqlite_path: Path, timer: Timer) -> None:
    chat = Chat(sqlite_path)
    # The registration was the first one.
    used = [chat.uses_the_worker(True) for _ in range(database_module._QUICK_SYNCS)]
    assert used == [True] * (database_module._QUICK_SYNCS - 1) + [False]
    now(chat.store.close())


def test_after_a_slow_one_many_have_to_be_quick_again(chat: Chat, timer: Timer) -> None:
    timer.step = 0.002
    assert not chat.uses_the_worker(True)
    timer.step = 0.0005
    used = [chat.uses_the_worker(True) for _ in range(database_module._QUICK_SYNCS + 1)]
    assert used == [True] * database_module._QUICK_SYNCS + [False]


def test_what_is_not_at_hand_is_left_to_the_worker(chat: Chat) -> None:
    chat.users[1] = User("carol")
    assert chat.uses_the_worker(True)


def test_the_worker_moves_a_long_log_into_the_file(chat: Chat) -> None:
    """So the reactor never does, and the log does not grow."""
    used = [chat.uses_the_worker(True) for _ in range(1000)]
    assert 2 <= sum(used) <= 20
    pages = os.path.getsize(f"{chat.path}-wal") // 4096
    assert pages < database_module._CHECKPOINT_PAGES
    (automatic,) = chat.store._open_database()._one("PRAGMA wal_autocheckpoint")
    assert automatic == 0
