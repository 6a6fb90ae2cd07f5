"""Syncs that fail: what was refused never appears, whatever happens to the process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chat_protocol.domain.admission import admit
from chat_protocol.stores.sqlite import database
from chat_protocol.stores.sqlite.wal import is_refused
from tests.stores.conftest import sqlite_store
from tests.stores.helpers import (
    account,
    commit,
    message,
    now,
    page,
    position,
    register,
    run,
    texts,
)

PRELUDE = """
import json, os, signal, sqlite3, sys
from pathlib import Path
from chat_protocol.domain.users import User
from chat_protocol.errors import OutcomeUnknown, Unavailable
from chat_protocol.domain.admission import admit
from chat_protocol.stores.sqlite import database
from tests.stores.conftest import sqlite_store
from tests.stores.helpers import *

path, failing = Path(sys.argv[1]), Path(os.environ["FAIL_SYNC"])

def fail(times=""):
    failing.write_text(str(times))

def outcome(*messages, positions=None):
    try:
        commit(store, *messages, positions=positions)
    except (OutcomeUnknown, Unavailable) as error:
        return type(error).__name__
    return [one.refusal.name for one in messages]

store = sqlite_store(path, 3)
now(store.open())
alice, bob = register(store, "alice", "bob")
commit(store, run(alice, bob, "1", id_=1))
"""

KILL = """
print(json.dumps(said))
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def failing_sync(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library to preload."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path_factory.mktemp("preload") / "failing_sync.so"
    source = Path(__file__).with_name("failing_sync.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def killed(script: str, path: Path, library: Path) -> Any:
    """Run a script that is killed at its end; return what it printed."""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAIL_SYNC": str(path.with_name("failing")),
    }
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script + KILL, str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env=environment,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return json.loads(done.stdout)


def stored(path: Path) -> list[str]:
    """Return what waits for bob after a recovery."""
    store = sqlite_store(path, 3)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    waiting = texts(page(store, bob))
    more = run(alice, bob, "more")
    commit(store, more)
    assert texts(page(store, bob)) == [*waiting, "more"]
    now(store.close())
    return waiting


def test_a_batch_whose_sync_fails_once_is_refused_and_never_appears(
    sqlite_path: Path, failing_sync: Path
) -> None:
    said = killed(
        """
fail(1)
said = [outcome(run(alice, bob, *(str(n) * 5000 for n in range(2)), id_=2)), account(store, alice)]
""",
        sqlite_path,
        failing_sync,
    )
    assert said == ["Unavailable", [1, 0]]
    assert stored(sqlite_path) == ["1"]


def test_while_syncs_fail_every_outcome_is_unknown(sqlite_path: Path, failing_sync: Path) -> None:
    said = killed(
        """
fail()
said = [outcome(run(alice, bob, "2", id_=2)) for _ in range(2)]
said += [outcome(run(alice, User("nobody"), "x")), outcome(positions=position(bob, 1))]
try:
    register(store, "carol")
except OutcomeUnknown:
    said += ["no carol"]
try:
    now(store.forget(0))
except Unavailable:
    said += ["not purged"]
said += texts(page(store, bob))
""",
        sqlite_path,
        failing_sync,
    )
    assert said == [*["OutcomeUnknown"] * 4, "no carol", "not purged", "1"]
    assert stored(sqlite_path) in (["1"], ["1", "2"])


@pytest.mark.parametrize(
    ("then", "answer", "left"),
    [
        ('outcome(run(alice, User("nobody"), "x"))', ["USER_NOT_FOUND"], ["1"]),
        ('outcome(run(alice, bob, "1", id_=1))', ["OK"], ["1"]),
        ('outcome(run(alice, bob, "2", id_=2))', ["OK"], ["1", "2"]),
        (
            'outcome(run(alice, bob, "3", id_=3), run(alice, bob, "2", id_=2))',
            ["OK", "OUT_OF_ORDER"],
            ["1", "3"],
        ),
        ("outcome(positions=position(bob, 1))", [], ["1"]),
    ],
)
def test_an_answer_after_an_unknown_outcome_is_the_last_word(
    then: str, answer: list[str], left: list[str], sqlite_path: Path, failing_sync: Path
) -> None:
    """Both the sync of the batch and that of the change that overwrites it fail."""
    said = killed(
        f"""
fail(2)
said = [outcome(run(alice, bob, *("2" for _ in range(2)), id_=2))]
assert not failing.exists()
said += [{then}]
""",
        sqlite_path,
        failing_sync,
    )
    assert said == ["OutcomeUnknown", answer]
    assert stored(sqlite_path) == left


def test_who_holds_the_file_makes_no_unknown_outcome_a_refusal(
    sqlite_path: Path, failing_sync: Path
) -> None:
    said = killed(
        """
fail(2)
said = [outcome(run(alice, bob, "2", id_=2))]
database._BUSY_MILLISECONDS = 10
other = sqlite3.connect(path, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
said += [outcome(run(alice, bob, "2", id_=2))]
other.execute("ROLLBACK")
said += [outcome(run(alice, bob, "2", id_=2))]
other.execute("BEGIN IMMEDIATE")
said += [outcome(run(alice, bob, "3", id_=3))]
""",
        sqlite_path,
        failing_sync,
    )
    assert said == ["OutcomeUnknown", "OutcomeUnknown", ["OK"], "Unavailable"]
    assert stored(sqlite_path) == ["1", "2"]


def test_a_failed_sync_leaves_the_commit_in_the_log(sqlite_path: Path, failing_sync: Path) -> None:
    """The reason for all of this: SQLite rolls back, and a recovery finds the commit."""
    said = killed(
        """
connection = store._database._connection
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE state SET failed_syncs = 1000")
fail(1)
try:
    connection.execute("COMMIT")
except sqlite3.OperationalError as error:
    said = [str(error)]
said += connection.execute("SELECT failed_syncs FROM state").fetchone()
""",
        sqlite_path,
        failing_sync,
    )
    assert said == ["disk I/O error", 0]
    with closing(sqlite3.connect(sqlite_path)) as connection:
        assert connection.execute("SELECT failed_syncs FROM state").fetchone() == (1000,)


def coded(text: str, code: int | None) -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    if code is not None:
        # As from Python 3.11 on.
        error.sqlite_errorcode = code  # type: ignore[misc]
    return error


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (coded("database or disk is full", 13), True),
        (coded("database is locked", 5), True),
        (coded("database is locked", 5 | 2 << 8), True),
        (coded("disk I/O error", 10 | 3 << 8), True),
        (coded("disk I/O error", 10 | 4 << 8), False),
        (coded("disk I/O error", 10 | 19 << 8), False),
        (coded("out of memory", 7), False),
        (coded("database or disk is full", None), True),
        (coded("database is locked", None), True),
        (coded("disk I/O error", None), False),
        (sqlite3.DatabaseError("database disk image is malformed"), False),
    ],
)
def test_which_errors_of_a_commit_say_that_nothing_is_stored(
    error: sqlite3.Error, refused: bool
) -> None:
    assert is_refused(error) is refused


def test_what_a_killed_process_left_in_the_log_is_written_again(
    sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = sqlite_store(sqlite_path)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    for number in range(300):
        commit(store, run(alice, bob, str(number) * 5000))
    copy = sqlite_path.with_name("copy")
    copy.mkdir()
    for file in ("chat.db", "chat.db-wal"):
        shutil.copy(sqlite_path.with_name(file), copy)
    now(store.close())
    log = copy / "chat.db-wal"
    content = log.read_bytes()
    written: list[tuple[int, bytes]] = []
    synced: list[int] = []
    pwrite, fsync = os.pwrite, os.fsync

    def recording(descriptor: int, data: bytes, offset: int) -> int:
        written.append((offset, data))
        return pwrite(descriptor, data, offset)

    def counting(descriptor: int) -> None:
        synced.append(len(written))
        fsync(descriptor)

    monkeypatch.setattr(os, "pwrite", recording)
    monkeypatch.setattr(os, "fsync", counting)
    again = sqlite_store(copy / "chat.db")
    now(again.open())
    assert b"".join(data for _, data in written) == content
    assert [offset for offset, _ in written] == list(range(0, len(content), 1024 * 1024))
    assert len(written) > 1
    assert synced == [len(written)]
    assert len(page(again, bob, size=1 << 30).entries) == 300
    now(again.close())
    # Nothing is left of a log after a close.
    written.clear()
    now(again.open())
    now(again.close())
    assert written == []


@pytest.mark.parametrize("at_hand", [True, False])
def test_a_fault_undoes_the_whole_batch_and_is_raised_as_it_is(
    at_hand: bool, sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = sqlite_store(sqlite_path, 5)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    first = message(alice, "1", to=(bob,), id_=1)
    commit(store, first, message(alice, "to all"))
    if not at_hand:
        store._open_database()._stale = True
    fault = KeyError("a fault of the program")

    def faulty(one: Any, ledger: Any) -> bool:
        if one.texts == [b"faulty"]:
            raise fault
        return admit(one, ledger)

    monkeypatch.setattr(database, "admit", faulty)
    batch = (
        message(alice, "2", to=(bob,), id_=2),
        message(bob, "3", to=(alice,), device="phone", id_=7),
        message(alice, "also to all"),
        message(alice, "faulty", to=(bob,)),
    )
    with pytest.raises(KeyError) as raised:
        commit(store, *batch, positions=position(bob, first.offset))
    assert raised.value is fault
    assert not store._open_database()._connection.in_transaction
    assert texts(page(store, bob)) == ["1", "to all"]
    assert page(store, alice).entries == []
    assert (account(store, alice), account(store, bob)) == ((1, 0), (0, 2))
    again = message(alice, "4", to=(bob,), id_=2)
    commit(store, again)
    assert again.offset > first.offset
    now(store.close())
    assert stored_texts(sqlite_path) == ["1", "to all", "4"]


def stored_texts(path: Path) -> list[str]:
    store = sqlite_store(path)
    now(store.open())
    (bob,) = register(store, "bob")
    waiting = texts(page(store, bob))
    now(store.close())
    return waiting
