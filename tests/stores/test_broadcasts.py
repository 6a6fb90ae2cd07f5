"""Messages to everyone: how many are pending, and what counting them costs."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat_protocol.domain.ports import IStore
from chat_protocol.stores.broadcast_index import BroadcastIndex
from chat_protocol.stores.memory import store as memory
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.sqlite.store import SQLiteStore
from tests.stores.conftest import MakeStore, sqlite_store
from tests.stores.helpers import account, commit, message, now, page, position, register, run, texts


def test_the_index_counts_as_a_list_does() -> None:
    rng = random.Random(5)
    index: BroadcastIndex[str] = BroadcastIndex()
    known: list[tuple[int, str]] = []
    end = first = 0
    for _ in range(3000):
        what = rng.random()
        if what < 0.5:
            begin = end + rng.randrange(1, 4)
            end = begin + rng.randrange(1, 5)
            sender = rng.choice("abc")
            index.append(sender, begin, end)
            known += [(offset, sender) for offset in range(begin, end)]
        elif what < 0.52:
            first = max(first, rng.randrange(end + 2))
            index.discard_below(first)
            known = [one for one in known if one[0] >= first]
        elif what < 0.54:
            end = rng.randrange(max(0, end - 10), end + 1)
            index.discard_above(end)
            known = [one for one in known if one[0] <= end]
        else:
            after, sender = rng.randrange(end + 5), rng.choice("abcd")
            expected = sum(offset > after and by != sender for offset, by in known)
            assert index.count(after, sender) == expected
    assert len(known) > 100


@pytest.fixture
def store(make_store: MakeStore) -> Iterator[IStore]:
    made = make_store(0)
    now(made.open())
    yield made
    now(made.close())


def test_pending_is_what_a_login_gets(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "1"), message(alice, "2", "3"), message(bob, "4"))
    (carol,) = register(store, "carol")
    commit(store, message(bob, "5"), run(alice, bob, "6"), message(carol, "7", "8"))
    for user in (alice, bob, carol):
        assert account(store, user)[1] == len(texts(page(store, user)))
    middle = message(alice, "9")
    commit(store, middle)
    commit(store, positions=position(bob, middle.offset))
    assert account(store, bob)[1] == 0
    commit(store, message(alice, "10", "11"), message(bob, "12"))
    assert account(store, bob)[1] == 2


def test_what_the_store_in_memory_has_no_room_for_is_not_pending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "TO_EVERYONE_BYTES", 5000)
    store = MemoryStore()
    alice, bob = register(store, "alice", "bob")
    for n in range(300):
        commit(store, message(alice, *[f"{n}"] * (n % 5 + 1)))
        assert account(store, bob)[1] == len(texts(page(store, bob)))


def test_a_store_that_is_opened_again_counts_the_same(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "chat.db")
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    commit(store, message(alice, "1", "2"), message(bob, "3"))
    now(store.close())
    now(store.open())
    commit(store, message(alice, "4"))
    assert account(store, bob)[1] == 3
    assert account(store, alice)[1] == 1
    now(store.close())


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_counting_does_not_grow_with_what_is_pending(kind: str, tmp_path: Path) -> None:
    store: MemoryStore | SQLiteStore = MemoryStore()
    if kind == "sqlite":
        store = sqlite_store(tmp_path / "chat.db")
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    before = steps_of_an_account(store, bob)
    for _ in range(20):
        commit(store, *(message(alice, "x") for _ in range(100)))
    assert account(store, bob)[1] == 2000
    assert steps_of_an_account(store, bob) < before + 100
    # Nor with what the user has sent to everyone.
    assert steps_of_an_account(store, alice) < before + 100
    now(store.close())


def steps_of_an_account(store: MemoryStore | SQLiteStore, user: object) -> int:
    """Calls and returns of Python, and steps of SQLite's virtual machine."""
    steps = 0

    def step(*_: object) -> int:
        nonlocal steps
        steps += 1
        return 0

    if isinstance(store, SQLiteStore):
        store._open_database()._connection.set_progress_handler(step, 1)
    sys.setprofile(step)
    try:
        account(store, user)  # type: ignore[arg-type]
    finally:
        sys.setprofile(None)
        if isinstance(store, SQLiteStore):
            store._open_database()._connection.set_progress_handler(None, 0)
    return steps
