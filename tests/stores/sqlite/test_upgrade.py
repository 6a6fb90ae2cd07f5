"""Files of the former versions of the schema, upgraded to this one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from chat_protocol.domain.queries import Conversation
from chat_protocol.domain.users import User
from chat_protocol.errors import StoreUnusable
from chat_protocol.stores.registry import admin_from_url
from chat_protocol.stores.sqlite.file import APPLICATION_ID, SCHEMA_VERSION
from chat_protocol.stores.sqlite.store import SQLiteStore
from chat_protocol.stores.sqlite.upgrade import recent, version5
from chat_protocol.wire.codes import Code
from tests.stores.conftest import sqlite_store
from tests.stores.helpers import (
    Single,
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
    singles,
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
    monkeypatch.setattr(recent, "ENTRIES", entries)
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
    waiting = singles(page(store, bob).entries)
    assert [one.offset for one in waiting] == [1, 2, 6, *range(20, 260)]
    first, second, both, tenth = waiting[:4]
    assert first == Single(1, "alice", "", 0, ("böb",), 7, "1")
    assert (second.time, tenth.time) == (2**63, 10)
    assert both == Single(6, "carol", "", 0, ("böb", "alice"), 9, "6 to both")
    assert texts(page(store, carol)) == ["4 to everyone", "9 to everyone"]
    assert texts(page(store, alice)) == ["9 to everyone"]
    assert conversation(store, alice, bob) == ["1", "2", "", "4 to everyone", "9 to everyone"]
    assert page(store, alice).entries[0].sender == "böb"
    assert conversation(store, alice, None) == [
        "1", "2", "", "4 to everyone", "6 to both", "9 to everyone"
    ]  # fmt: skip
    expected = ["4 to everyone", *(["6 to both", "9 to everyone"])]
    assert conversation(store, carol, None, limit=1000) == expected + [str(n) for n in range(250)]
    assert account(store, alice)[0] == 8
    # There was an id above the highest one that there is now.
    assert account(store, carol)[0] == 0
    again = [publication(alice, "again", bob, id_=n) for n in (5, 6, 8)]
    late, new = (publication(alice, "new", bob, id_=n) for n in (7, 9))
    publish(store, *again, late, new)
    assert [(one.offset, one.accepted) for one in again] == [(0, 1)] * 3
    assert late.refusal is Code.OUT_OF_ORDER
    assert new.offset > 259
    now(store.close())


def four(path: Path) -> dict[str, Any]:
    """Make a file of version 4; return what its program answered about it."""
    folder = Path(__file__).parent
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((folder / "version_4.sql").read_text())
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 4")
        connection.commit()
    answers: dict[str, Any] = json.loads((folder / "version_4.json").read_text())
    return answers


def whole_conversation(store: SQLiteStore, user: User, other: User | None) -> list[Single]:
    asked = Conversation(user.id, other.id if other else 0, 0, 10_000, 1 << 30)
    now(store.read([asked]))
    return singles(asked.entries)


@pytest.mark.parametrize("chunks", [1, 16])
def test_version_4(sqlite_path: Path, chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version5, "_CHUNKS", chunks)
    answers = four(sqlite_path)
    messages = {
        int(offset): Single(int(offset), sender, "", scope, tuple(to), time, text)
        for offset, (sender, time, text, scope, to) in answers["messages"].items()
    }
    store = upgraded(sqlite_path)
    users = register(store, *answers["users"])
    assert store.registered == len(users) == 5
    for user in users:
        expected = answers["users"][user.name]
        waiting = [messages[offset] for offset in expected["mailbox"]]
        assert singles(page(store, user).entries) == waiting
        history = [messages[offset] for offset in expected["history"]]
        assert whole_conversation(store, user, None) == history
        for other in users:
            talk = [messages[offset] for offset in expected["with"][other.name]]
            assert whole_conversation(store, user, other) == talk
        ids = [
            (begin, min(end, 2**63)) for begin, end in expected["publishing_ids"] if begin < 2**63
        ]
        assert list(store._open_database()._queries.publishing_ids(user.id, 0)) == ids
        assert account(store, user) == (ids[-1][1] - 1, expected["pending"])
    # Both what had waited and what had been delivered past the mailbox are there.
    assert any(one.scope == 0 and len(one.to) == 1 for one in waiting)
    assert len(waiting) < len(history)
    alice, bob = users[:2]
    sent = message(
        bob, "new", to=(alice, bob), id_=answers["users"][bob.name]["publishing_ids"][-2][1]
    )
    again = message(bob, "again", to=(alice,), id_=1)
    publish(store, sent, again)
    assert sent.offset > answers["last"]
    assert (again.accepted, again.offset) == (1, 0)
    commit(store, positions=position(alice, sent.offset))
    assert texts(page(store, alice)) == []
    assert texts(page(store, bob))[-1] == "new"
    now(store.close())
    admin = admin_from_url(f"sqlite:{sqlite_path}")
    assert admin.check().faults == []
    assert admin.statistics().messages == len(messages) + 1
    admin.delete_user("carol")
    assert admin.check().faults == []


def test_the_pages_of_the_older_messages_are_used_again(sqlite_path: Path) -> None:
    """The file does not double, and the upgrade needs memory for some chunks only."""
    four(sqlite_path)
    with closing(sqlite3.connect(sqlite_path)) as connection:
        first, entries = connection.execute(
            "SELECT first, entries FROM chunk ORDER BY first LIMIT 1"
        ).fetchone()
        rows = [(first - 1_000_000 + 100 * number, entries) for number in range(3000)]
        connection.executemany("INSERT INTO chunk VALUES (?, ?)", rows)
        connection.commit()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    assert free == 0
    size = sqlite_path.stat().st_size
    now(upgraded(sqlite_path).close())
    assert sqlite_path.stat().st_size < 1.3 * size


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


def test_a_copy_of_the_older_file_is_kept_and_the_log_names_it(
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
