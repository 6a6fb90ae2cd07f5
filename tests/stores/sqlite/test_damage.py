"""Files that are damaged, removed or replaced: a sentence, and nothing that is not as it was."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from chat_protocol.domain.queries import Account, Conversation, Lookup, Page, UserList
from chat_protocol.errors import ChatError, OutcomeUnknown, StoreUnusable, Unavailable
from chat_protocol.stores.sqlite import memtable
from chat_protocol.stores.sqlite.admin.admin import SQLiteAdmin
from chat_protocol.stores.sqlite.store import SQLiteStore
from tests.stores.conftest import ImmediateWorker, sqlite_store
from tests.stores.helpers import commit, conversation, now, page, register, run, texts


def opened(path: Path) -> SQLiteStore:
    store = sqlite_store(path)
    now(store.open())
    return store


def change(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes of the file, behind SQLite's back."""
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memtable, "ENTRIES", 1)


@pytest.mark.usefixtures("flushed")
def test_a_changed_text_is_not_delivered_and_others_are(sqlite_path: Path) -> None:
    store = opened(sqlite_path)
    alice, bob, carol = register(store, "alice", "bob", "carol")
    commit(store, run(alice, bob, "pay 100 to carol"))
    for _ in range(3):
        # In a segment of its own.
        store._open_database()._writer.end_segment()
        commit(store, run(alice, carol, "hello"))
    now(store.close())
    change(sqlite_path, b"pay 100 to carol", b"pay 999 to carol")
    findings = SQLiteAdmin(str(sqlite_path)).check()
    assert any("are not as they were written" in fault for fault in findings.faults)
    store = opened(sqlite_path)
    assert texts(page(store, carol)) == ["hello"] * 3
    for query in (Page(bob.id, 0, 10, 1000), Conversation(bob.id, 0, 0, 10, 1000)):
        with pytest.raises(Unavailable, match=r"chat\.db is damaged: the messages from \d+ on"):
            now(store.read([query]))
    sent = run(alice, bob, "later")
    commit(store, sent)
    assert sent.accepted == 1
    now(store.close())


def test_a_changed_text_that_is_read_when_the_file_is_opened(sqlite_path: Path) -> None:
    store = opened(sqlite_path)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "pay 100 to carol"))
    now(store.close())
    change(sqlite_path, b"pay 100 to carol", b"pay 999 to carol")
    with pytest.raises(StoreUnusable, match=r"chat\.db is damaged: .* Stop the server, look at"):
        opened(sqlite_path)
    for act in (
        SQLiteAdmin(str(sqlite_path)).statistics,
        SQLiteAdmin(str(sqlite_path)).compact,
        lambda: SQLiteAdmin(str(sqlite_path)).delete_user("bob"),
        lambda: list(SQLiteAdmin(str(sqlite_path)).users()),
    ):
        with pytest.raises(StoreUnusable, match=r"chat\.db is damaged"):
            act()


def test_a_segment_is_checked_with_what_is_appended_to_it(sqlite_path: Path) -> None:
    store = opened(sqlite_path)
    alice, bob = register(store, "alice", "bob")
    for number in range(20):
        commit(store, run(alice, bob, str(number)))
    with closing(sqlite3.connect(sqlite_path)) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM segment").fetchone()
    assert rows == 1
    assert len(texts(page(store, bob))) == 20
    now(store.close())
    assert SQLiteAdmin(str(sqlite_path)).check().faults == []


def use(path: Path) -> None:
    """Do everything with a file; only errors with a sentence for the operator may come."""
    keeper = SQLiteAdmin(str(path))
    for act in (keeper.check, keeper.statistics, lambda: list(keeper.users())):
        with suppress(StoreUnusable):
            act()
    store = sqlite_store(path)
    try:
        now(store.open())
    except StoreUnusable:
        return
    try:
        users = register(store, "alice", "bob", "new")
        for user in users:
            for query in (
                Page(user.id, 0, 1000, 1 << 20),
                Account(user.id),
                Conversation(user.id, 0, 0, 1000, 1 << 20),
                UserList("", 1000),
                Lookup("bob"),
            ):
                with suppress(Unavailable):
                    now(store.read([query]))
            commit(store, run(users[0], user, "more"))
    except (Unavailable, OutcomeUnknown):
        pass
    finally:
        now(store.close())


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.usefixtures("flushed")
def test_a_damaged_page_is_a_sentence(seed: int, sqlite_path: Path, tmp_path: Path) -> None:
    rnd = random.Random(seed)
    store = opened(sqlite_path)
    users = register(store, "alice", "bob", "carol")
    for number in range(40):
        sender, recipient = rnd.sample(users, 2)
        commit(store, run(sender, recipient, str(number) * 50, id_=number + 1))
    now(store.close())
    data = bytearray(sqlite_path.read_bytes())
    for _ in range(rnd.choice([1, 8, 100])):
        data[rnd.randrange(100, len(data))] = rnd.randrange(256)
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(data)
    use(damaged)


# The place of the file.


def replaced(path: Path) -> None:
    other = path.with_name("other.db")
    now(opened(other).close())
    os.replace(other, path)


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "folder", "log"])
def test_nothing_is_stored_in_a_file_that_is_not_in_its_place(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "chat.db"
    store = opened(path)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "before"))
    if how == "removed":
        path.unlink()
    elif how == "moved":
        path.rename(folder / "moved.db")
    elif how == "replaced":
        replaced(path)
    elif how == "folder":
        folder.rename(tmp_path / "moved")
    else:
        path.with_name("chat.db-wal").unlink()
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"was (removed or moved|replaced by another file)"):
            commit(store, run(alice, bob, "into the void"))
    if how in ("moved", "folder"):
        (folder / "moved.db").rename(path) if how == "moved" else (tmp_path / "moved").rename(
            folder
        )
        commit(store, run(alice, bob, "after"))
        assert texts(page(store, bob)) == ["before", "after"]
        assert conversation(store, alice, bob) == ["before", "after"]
    now(store.close())


@pytest.fixture
def errors(logged_failures: list[Failure]) -> Iterator[list[str]]:
    from typing import Any, cast

    from twisted.logger import LogLevel, formatEvent, globalLogPublisher

    found: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event["log_level"] is LogLevel.error:
            found.append(formatEvent(event))

    globalLogPublisher.addObserver(cast(Any, observe))
    yield found
    globalLogPublisher.removeObserver(cast(Any, observe))


def test_a_file_that_is_removed_is_noticed_within_seconds_and_said_once(
    sqlite_path: Path, errors: list[str]
) -> None:
    clock = Clock()
    store = SQLiteStore(str(sqlite_path), 0, ImmediateWorker(), clock=clock)
    now(store.open())
    kept = sqlite_path.with_name("kept.db")
    for _ in range(2):
        sqlite_path.rename(kept)
        for _ in range(5):
            clock.advance(3)
        kept.rename(sqlite_path)
        clock.advance(3)
    assert len(errors) == 2
    assert "was removed or moved while the server uses it" in errors[0]
    now(store.close())
    assert clock.getDelayedCalls() == []


def test_a_file_system_that_is_read_only(tmp_path: Path) -> None:
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    folder = tmp_path / "folder"
    folder.mkdir()
    now(opened(folder / "chat.db").close())
    if os.system(f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"):
        pytest.skip("no file system can be mounted here")
    try:
        for act in (
            lambda: opened(folder / "chat.db"),
            lambda: SQLiteAdmin(str(folder / "chat.db")).statistics(),
        ):
            with pytest.raises(ChatError, match=r"read-only file system|cannot be opened"):
                act()
    finally:
        os.system(f"umount {folder}")
