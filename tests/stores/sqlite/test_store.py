"""What only a file can do: survive a kill, be locked, be refused, be full."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from chat_protocol.domain.queries import Lookup, UserList
from chat_protocol.errors import OutcomeUnknown, StoreUnusable, Unavailable
from chat_protocol.stores.registry import STORES, store_from_url
from chat_protocol.stores.sqlite import memtable
from chat_protocol.stores.sqlite.file import APPLICATION_ID, SCHEMA_VERSION, connect
from chat_protocol.stores.sqlite.lock import FileLock
from tests.stores.conftest import sqlite_store
from tests.stores.helpers import (
    account,
    commit,
    conversation,
    last_of,
    look_up,
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

FILL = """
import os, signal, sys
from tests.stores.conftest import sqlite_store
from tests.stores.helpers import *
from pathlib import Path
store = sqlite_store(Path(sys.argv[1]))
now(store.open())
alice, bob = register(store, "alice", "bob")
for number in range(50):
    commit(store, run(alice, bob, str(number)))
    print(number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_everything_survives_a_kill(sqlite_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(sqlite_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = sqlite_store(sqlite_path)
    now(store.open())
    assert store.registered == 2
    (bob,) = register(store, "bob")
    assert texts(page(store, bob)) == done.stdout.split() == [str(n) for n in range(50)]
    last = last_of(page(store, bob))
    (alice,) = register(store, "alice")
    more = run(alice, bob, "more")
    commit(store, more)
    assert more.offset > last
    now(store.close())


def test_a_file_that_was_closed_is_one_file_with_everything(sqlite_path: Path) -> None:
    """What is copied then is a whole backup."""
    store = sqlite_store(sqlite_path)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "delivered"))
    taken = message(alice, "taken", time=2**63, to=(bob,), device="phone", id_=9)
    commit(store, taken)
    commit(store, run(alice, bob, "waiting"), positions=position(bob, taken.offset))
    now(store.close())
    copy = sqlite_path.with_name("copy.db")
    copy.write_bytes(sqlite_path.read_bytes())
    assert not sqlite_path.with_name("chat.db-wal").exists()
    again = sqlite_store(copy)
    now(again.open())
    assert conversation(again, alice, bob) == ["delivered", "taken", "waiting"]
    assert texts(page(again, bob)) == ["waiting"]
    now(again.close())
    with closing(sqlite3.connect(copy)) as connection:
        logins = connection.execute("SELECT name, last_login FROM user ORDER BY id").fetchall()
        assert logins == [("alice", 1000), ("bob", 1001)]


def test_the_schema_is_versioned_and_synced(sqlite_path: Path) -> None:
    store = sqlite_store(sqlite_path)
    now(store.open())
    assert store._database is not None
    one = store._database._one
    assert one("PRAGMA user_version") == (SCHEMA_VERSION,)
    assert one("PRAGMA application_id") == (APPLICATION_ID,)
    assert one("PRAGMA synchronous") == (2,)
    assert one("PRAGMA journal_mode") == (b"wal",)
    now(store.close())


def test_a_new_file_numbers_above_the_one_before_it(sqlite_path: Path) -> None:
    """Clause S61; and what is there already goes on with its own numbers."""
    offsets = []
    for name in ("chat.db", "chat.db", "new.db"):
        before = time.time_ns() // 1000
        store = sqlite_store(sqlite_path.with_name(name))
        now(store.open())
        alice, bob = register(store, "alice", "bob")
        sent = run(alice, bob, "1", "2")
        commit(store, sent)
        offsets.append((sent.offset, sent.offset > before))
        now(store.close())
    (first, above), (second, goes_on), (third, above_again) = offsets
    assert above
    assert above_again
    assert not goes_on
    assert first + 1 < second < third


def test_a_second_process_is_refused_with_a_sentence(sqlite_path: Path) -> None:
    store = sqlite_store(sqlite_path)
    now(store.open())
    with pytest.raises(StoreUnusable, match=r"in use by another process; .*--store"):
        now(sqlite_store(sqlite_path).open())
    now(store.close())
    again = sqlite_store(sqlite_path)
    now(again.open())
    now(again.close())


def unusable_directory(path: Path) -> Path:
    return path / "missing" / "chat.db"


def unusable_is_directory(path: Path) -> Path:
    (path / "folder").mkdir()
    return path / "folder"


def unusable_other_program(path: Path) -> Path:
    with closing(sqlite3.connect(path / "other.db")) as connection:
        connection.execute("CREATE TABLE song (title)")
    return path / "other.db"


def unusable_no_database(path: Path) -> Path:
    (path / "text.db").write_text("this is no database at all\n" * 100)
    return path / "text.db"


def unusable_newer(path: Path) -> Path:
    with closing(sqlite3.connect(path / "new.db")) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    return path / "new.db"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (unusable_directory, "No such file or directory"),
        (unusable_is_directory, "unable to open database file"),
        (unusable_other_program, "another program"),
        (unusable_no_database, "not a database"),
        (unusable_newer, "newer version"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_left_alone(
    make: object, sentence: str, tmp_path: Path
) -> None:
    assert callable(make)
    path = make(tmp_path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreUnusable, match=sentence):
        now(sqlite_store(path).open())
    if before is not None:
        assert path.read_bytes() == before


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What the process writes ends there, as on a disk that is full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_start_that_fails_leaves_nothing_that_it_made(tmp_path: Path) -> None:
    song = unusable_other_program(tmp_path)
    with pytest.raises(StoreUnusable, match="another program"):
        now(sqlite_store(song).open())
    # There is no room for the schema.
    with file_size_limit(8192), pytest.raises(StoreUnusable, match="cannot use"):
        now(sqlite_store(tmp_path / "full.db").open())
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]
    # What another start may have made stays.
    lock = tmp_path / "other.db-lock"
    lock.touch()
    with pytest.raises(StoreUnusable, match="another program"):
        now(sqlite_store(song).open())
    assert lock.exists()


def test_who_finds_the_lock_of_a_start_that_fails_has_one_that_others_find(
    sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    failing = FileLock(str(sqlite_path))

    def fails_meanwhile(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        failing.undo()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", fails_meanwhile)
    lock = FileLock(str(sqlite_path))
    with pytest.raises(BlockingIOError):
        FileLock(str(sqlite_path))
    lock.release()
    FileLock(str(sqlite_path)).undo()
    # It was there before.
    assert sqlite_path.with_name("chat.db-lock").exists()


NO_ROOM = (Unavailable,) if sys.version_info >= (3, 11) else (Unavailable, OutcomeUnknown)
"""Python 3.10 cannot tell whether it was the write of a commit that failed, or the sync."""


def test_without_room_a_batch_is_refused_whole_and_reading_goes_on(sqlite_path: Path) -> None:
    store = sqlite_store(sqlite_path, 10_000)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "before"))
    size = max(path.stat().st_size for path in sqlite_path.parent.iterdir())
    with file_size_limit(size):
        big = run(alice, bob, *["x" * 60_000] * 20)
        with pytest.raises(NO_ROOM):
            commit(store, big)
        with pytest.raises(NO_ROOM):
            register(store, *[f"user{number}" for number in range(5000)])
        assert texts(page(store, bob)) == ["before"]
        assert look_up(store, "alice") == alice.id
    assert store.registered == 2
    after = run(alice, bob, "after")
    commit(store, after)
    assert after.accepted == 1
    assert texts(page(store, bob)) == ["before", "after"]
    now(store.close())


def test_nothing_is_scanned(sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What anybody does may not depend on how full the mailboxes of others are."""
    store = sqlite_store(sqlite_path, 10)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    assert store._database is not None
    connection = store._database._connection
    statements: set[str] = set()
    connection.set_trace_callback(statements.add)
    monkeypatch.setattr(memtable, "ENTRIES", 1)
    commit(store, run(alice, bob, "1", "2"))
    publish(store, publication(alice, "3", bob, id_=1), publication(bob, "4", id_=1))
    register(store, "alice", "carol")
    assert texts(page(store, bob)) == ["1", "2", "3"]
    assert conversation(store, alice, bob) == ["1", "2", "3", "4"]
    assert conversation(store, bob, None) == ["1", "2", "3", "4"]
    assert account(store, bob) == (1, 3)
    first, last = page(store, bob).entries[0].offset, last_of(page(store, bob))
    commit(store, positions=position(bob, first) | position(alice, last + 1))
    commit(store, message(alice, "5", to=(bob, alice), device="phone", id_=4))
    assert texts(page(store, bob)) == ["2", "3", "5"]
    now(store.read([UserList("alice", 10), Lookup("bob")]))
    connection.set_trace_callback(None)
    words = {statement.split()[0] for statement in statements if statement.split()}
    assert {"SELECT", "INSERT", "UPDATE", "DELETE"} <= words
    explained = 0
    for statement in statements:
        if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            explained += 1
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
                scanned = step.startswith(b"SCAN") and not step.startswith(b"SCAN json_each")
                allowed = step.startswith(b"SCAN (subquery")
                assert allowed or not scanned, (statement, step)
    assert explained > 20
    now(store.close())


def test_a_batch_waits_for_a_program_that_holds_the_file(sqlite_path: Path) -> None:
    store = sqlite_store(sqlite_path)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "before"))
    with closing(sqlite3.connect(sqlite_path, check_same_thread=False)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.1, other.execute, ["ROLLBACK"])
        timer.start()
        commit(store, run(alice, bob, "after"))
        timer.join()
    assert texts(page(store, bob)) == ["before", "after"]
    now(store.close())


def test_a_url_names_a_store() -> None:
    reactor = object()
    assert set(STORES) == {"memory", "sqlite", "postgresql"}
    assert "forgets" in store_from_url("memory:", 0, reactor).description
    assert "chat.db" in store_from_url("sqlite:chat.db", 0, reactor).description


@pytest.mark.parametrize(
    "url", ["", "memory", "sqlite:", "nosuch:x", "memory:x", "sqlite::memory:"]
)
def test_a_wrong_url_is_refused_with_what_to_give(url: str) -> None:
    with pytest.raises(ValueError, match=r"memory:|path of a file"):
        store_from_url(url, 0, object())


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        connection = connect(str(tmp_path / "chat.db"))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    connection.close()
    assert modes == {"chat.db": 0o600, "chat.db-wal": 0o600, "chat.db-shm": 0o600}
