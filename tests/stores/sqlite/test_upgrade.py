"""Files of the former versions of the schema, opened by this one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from chat_protocol.errors import StoreUnusable
from chat_protocol.stores.sqlite import memtable
from chat_protocol.stores.sqlite.file import APPLICATION_ID, SCHEMA_VERSION
from chat_protocol.stores.sqlite.store import SQLiteStore
from tests.stores.conftest import sqlite_store
from tests.stores.helpers import (
    account,
    conversation,
    now,
    page,
    publication,
    publish,
    register,
    texts,
)
from tests.stores.sqlite.test_store import file_size_limit


def old_file(path: Path, version: int, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for step in range(1, version + 1):
            schema = files("chat_protocol.stores.sqlite").joinpath(f"schema/{step}.sql")
            connection.executescript(schema.read_text())
        connection.executescript(script)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()


def upgraded(path: Path) -> SQLiteStore:
    """Opened twice: as it was, and as it is then."""
    for _ in range(2):
        store = sqlite_store(path)
        now(store.open())
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        now(store.close())
    now(store.open())
    return store


def test_version_1(sqlite_path: Path) -> None:
    old_file(
        sqlite_path,
        1,
        "INSERT INTO user VALUES (1, 'alice', 5), (2, 'bob', 6);"
        "INSERT INTO message VALUES (1, 1, 2, 7, 'old'), (2, 2, 1, 7, 'older');"
        "INSERT INTO inbox VALUES (2, 1);",
    )
    store = upgraded(sqlite_path)
    alice, bob = register(store, "alice", "bob")
    assert (alice.id, bob.id) == (1, 2)
    assert texts(page(store, bob)) == ["old"]
    assert conversation(store, alice, bob) == conversation(store, bob, None) == ["old", "older"]
    publish(store, publication(alice, "new"))
    assert texts(page(store, bob)) == ["old", "new"]
    now(store.close())


@pytest.mark.parametrize("entries", [1, 8192])
def test_version_2(sqlite_path: Path, entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memtable, "ENTRIES", entries)
    users = "(1, 'alice', 5, 0, 0), (2, 'böb', 6, 0, 4), (3, 'carol', 7, 1, 1)"
    messages = [
        (1, 1, 2, 7, "1", 0, None),
        (2, 1, 2, -(2**63), "2", 0, None),
        (3, 2, 1, -1, "", 0, None),
        (4, 1, 0, 8, "4 to everyone", 1, None),
        (6, 3, 0, 9, "6 to both", 0, json.dumps([2, 1])),
        (9, 2, 0, 9, "9 to everyone", 1, None),
        *((10 + n, 3, 2, n, f"{n}", 0, None) for n in range(250)),
    ]
    old_file(sqlite_path, 2, f"INSERT INTO user VALUES {users};")
    with closing(sqlite3.connect(sqlite_path)) as connection:
        connection.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)", messages)
        connection.executemany(
            "INSERT INTO inbox VALUES (2, ?)", [(offset,) for offset in (1, 2, 6, *range(20, 260))]
        )
        ids = [(1, 5 - 2**63), (1, 6 - 2**63), (1, 8 - 2**63), (3, 2**63 - 1)]
        connection.executemany("INSERT INTO publishing VALUES (?, ?)", ids)
        connection.commit()
    store = upgraded(sqlite_path)
    alice, bob, carol = register(store, "alice", "böb", "carol")
    assert [alice.id, bob.id, carol.id] == [1, 2, 3]
    waiting = page(store, bob).messages
    assert [message.offset for message in waiting] == [1, 2, 6, *range(20, 260)]
    first, second, both, tenth = waiting[:4]
    assert (first.sender, first.time, first.text, first.to) == ("alice", 7, b"1", ("böb",))
    assert (second.time, tenth.time) == (2**63, 10)
    assert (both.sender, both.text, both.scope, both.to) == (
        "carol",
        b"6 to both",
        0,
        ("böb", "alice"),
    )
    assert texts(page(store, carol)) == ["4 to everyone", "9 to everyone"]
    assert texts(page(store, alice)) == ["9 to everyone"]
    assert conversation(store, alice, bob) == ["1", "2", "", "4 to everyone", "9 to everyone"]
    assert page(store, alice).messages[0].sender == "böb"
    assert conversation(store, alice, None) == [
        "1", "2", "", "4 to everyone", "6 to both", "9 to everyone"
    ]  # fmt: skip
    expected = ["4 to everyone", *(["6 to both", "9 to everyone"])]
    assert conversation(store, carol, None, limit=1000) == expected + [str(n) for n in range(250)]
    assert account(store, alice)[0] == 8
    assert account(store, carol)[0] == 2**64 - 1
    again = [publication(alice, "again", bob, id_=n) for n in (5, 6, 8)]
    new = publication(alice, "new", bob, id_=7)
    publish(store, *again, new)
    assert [one.offset for one in again] == [0, 0, 0]
    assert new.offset > 259
    now(store.close())


def three(path: Path) -> None:
    old_file(
        path,
        2,
        "INSERT INTO user VALUES (1, 'alice', 5, 0, 0), (2, 'bob', 6, 0, 0);"
        "INSERT INTO message VALUES (1, 1, 2, 7, 'old', 0, NULL);",
    )
    with closing(sqlite3.connect(path)) as connection:
        for number in range(2, 3000):
            row = (number, 1, 2, 7, "x" * 100, 0, None)
            connection.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.commit()


def test_a_copy_of_what_it_was_is_kept_and_the_log_names_it(
    sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(SQLiteStore, "_say", lambda _, sentence: said.append(sentence))
    three(sqlite_path)
    now(upgraded(sqlite_path).close())
    copy = sqlite_path.with_name("chat.db-schema-2")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM message").fetchone() == (2999,)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [sentence.partition(" ")[0] for sentence in said] == ["Upgrading", "Upgraded"]
    assert str(copy) in said[1]
    # The copy can be used in its place.
    copy.replace(sqlite_path)
    now(upgraded(sqlite_path).close())


@pytest.mark.parametrize("room", [0.3, 1.02])
def test_without_room_it_is_left_as_it_was(sqlite_path: Path, room: float) -> None:
    """For the copy, and for the upgrade."""
    three(sqlite_path)
    size = int(sqlite_path.stat().st_size * room)
    with file_size_limit(size), pytest.raises(StoreUnusable, match="room for a copy"):
        now(sqlite_store(sqlite_path).open())
    assert not list(sqlite_path.parent.glob("*schema*"))
    with closing(sqlite3.connect(sqlite_path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM message").fetchone() == (2999,)
    now(upgraded(sqlite_path).close())
