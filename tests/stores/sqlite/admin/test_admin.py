"""What an operator does with a file, beside a server and while none runs."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Conversation
from chat_protocol.domain.users import User
from chat_protocol.errors import StoreUnusable, UserNotFound
from chat_protocol.stores.admin import StoreAdmin
from chat_protocol.stores.registry import admin_from_url
from chat_protocol.stores.sqlite import memtable, segments
from chat_protocol.stores.sqlite.admin.copy import put_in_place
from chat_protocol.stores.sqlite.damage import checksum
from chat_protocol.stores.sqlite.store import SQLiteStore
from chat_protocol.wire.frames import names_of
from tests.stores.conftest import WallClock, sqlite_store
from tests.stores.helpers import (
    Single,
    account,
    commit,
    conversation,
    look_up,
    message,
    now,
    page,
    position,
    publication,
    publish,
    register,
    run,
    singles,
    texts,
)
from tests.stores.sqlite.test_store import file_size_limit

DAY = 24 * 3600
NAMES = ["anna", "bert", "cleo", "dora", "emil"]


def admin(path: Path) -> StoreAdmin:
    return admin_from_url(f"sqlite:{path}")


def opened(path: Path, clock: Callable[[], int] = time.time_ns) -> SQLiteStore:
    store = sqlite_store(path, 0, clock)
    now(store.open())
    return store


def traffic(
    store: IStore, users: list[User], rnd: random.Random, numbers: range = range(200)
) -> None:
    """Send messages of every kind with unique texts, and move positions."""
    for number in numbers:
        sender, *others = rnd.sample(users, 4)
        texts = [f"{number}", f"{number}b", f"{number}c"][: rnd.randint(1, 3)]
        kind = rnd.random()
        if kind < 0.5:
            commit(store, run(sender, rnd.choice([sender, *others]), *texts))
        elif kind < 0.8:
            to = tuple(rnd.sample([sender, *others], rnd.randint(1, 3)))
            device = rnd.choice(["", "phone"])
            commit(store, message(sender, *texts, to=to, id_=3 * number + 1, device=device))
        else:
            commit(store, message(sender, *texts))
        if rnd.random() < 0.3:
            reader = rnd.choice(users)
            waiting = singles(page(store, reader).entries)
            if waiting:
                commit(store, positions=position(reader, rnd.choice(waiting).offset))


def history(store: IStore, user: User) -> list[Single]:
    asked = Conversation(user.id, 0, 0, 10_000, 1 << 30)
    now(store.read([asked]))
    return singles(asked.entries)


def state(store: IStore, users: list[User]) -> dict[str, tuple[list[Single], list[Single]]]:
    return {user.name: (history(store, user), singles(page(store, user).entries)) for user in users}


def without(messages: list[Single], name: str) -> list[Single]:
    """Return what is left of messages when a user is deleted."""
    return [
        one._replace(to=tuple(recipient for recipient in one.to if recipient != name))
        for one in messages
        if one.sender != name and one.to != (name,)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_deleting_a_user_takes_what_is_its_own_and_nothing_else(
    seed: int, sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rnd = random.Random(seed)
    monkeypatch.setattr(memtable, "ENTRIES", rnd.choice([3, 50, 8192]))
    monkeypatch.setattr(segments, "SEGMENT_BYTES", rnd.choice([1, 500, 3500]))
    store = opened(sqlite_path)
    users = register(store, *NAMES)
    traffic(store, users, rnd)
    before = state(store, users)
    now(store.close())
    goes = users[rnd.randrange(5)]
    size = len({one for both in before.values() for one in both[0]})
    gone = admin(sqlite_path).delete_user(goes.name)
    assert admin(sqlite_path).check().faults == []
    left = [user for user in users if user is not goes]
    store = opened(sqlite_path)
    assert store.registered == 4
    assert look_up(store, goes.name) == 0
    for user in left:
        was, waited = before[user.name]
        assert history(store, user) == without(was, goes.name)
        asked = page(store, user)
        assert singles(asked.entries) == without(waited, goes.name)
        assert account(store, user)[1] == asked.count
        for entry in asked.entries:
            # Whatever a version 1 session gets names the session's user.
            expected = [(entry.sender, user.name)] * len(entry.frames)
            assert [names_of(frame) for frame in entry.messages_for(user.name)] == expected
        for other in left:
            talk = conversation(store, user, other, limit=1000)
            assert talk == [text for text in talk if text]
    kept = {one for both in before.values() for one in without(both[0], goes.name)}
    assert gone == size - len(kept)
    assert admin(sqlite_path).statistics().messages == len(kept)
    # The name is free; and who gets it has nothing.
    (again,) = register(store, goes.name)
    assert history(store, again) == []
    assert texts(page(store, again)) == []
    assert account(store, again) == (0, 0)
    traffic(store, [*left, again], rnd, range(1000, 1020))
    now(store.close())
    assert admin(sqlite_path).check().faults == []
    with pytest.raises(UserNotFound):
        admin(sqlite_path).delete_user("nobody")


def test_nothing_that_was_written_is_left_in_the_file(sqlite_path: Path) -> None:
    store = opened(sqlite_path)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, *["a secret of mine"] * 300))
    publish(store, publication(bob, "no secret of mine", alice, bob))
    now(store.close())
    # Some are divided between two pages.
    assert sqlite_path.read_bytes().count(b"a secret of mine") > 290
    admin(sqlite_path).delete_user("alice")
    assert [path.name for path in sqlite_path.parent.glob("chat.db-*")] == ["chat.db-lock"]
    data = sqlite_path.read_bytes()
    assert b"a secret of mine" not in data
    assert b"alice" not in data
    assert b"no secret of mine" in data


def test_a_backup_is_of_one_moment_and_of_one_file(sqlite_path: Path, tmp_path: Path) -> None:
    store = opened(sqlite_path)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "before"))
    target = tmp_path / "backup.db"
    size = admin(sqlite_path).backup(str(target), False)
    assert target.stat().st_size == size
    assert target.stat().st_mode & 0o777 == 0o600
    commit(store, run(alice, bob, "after"))
    assert not list(tmp_path.glob("backup.db?*"))
    with pytest.raises(FileExistsError):
        admin(sqlite_path).backup(str(target), False)
    admin(sqlite_path).backup(str(target), True)
    with pytest.raises(StoreUnusable, match="the store itself"):
        admin(sqlite_path).backup(str(sqlite_path), True)
    with file_size_limit(8192), pytest.raises(StoreUnusable, match="no backup was made"):
        admin(sqlite_path).backup(str(tmp_path / "other.db"), False)
    assert not list(tmp_path.glob("other.db*"))
    now(store.close())
    assert admin(target).check().faults == []
    assert [one.name for one in admin(target).users()] == ["alice", "bob"]
    assert not list(tmp_path.glob("backup.db?*"))


def test_what_is_restored_numbers_above_all_that_was_ever_given(
    sqlite_path: Path, tmp_path: Path
) -> None:
    store = opened(sqlite_path)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "in the backup"))
    backup = str(tmp_path / "backup.db")
    admin(sqlite_path).backup(backup, False)
    lost = run(alice, bob, "not in it")
    commit(store, lost)
    with pytest.raises(StoreUnusable, match="in use"):
        admin(sqlite_path).restore(backup, True)
    now(store.close())
    with pytest.raises(FileExistsError):
        admin(sqlite_path).restore(backup, False)
    # As after a SIGKILL: what is in the log is not part of what comes.
    sqlite_path.with_name("chat.db-wal").write_bytes(b"of another file")
    before = time.time_ns() // 1000
    for target in (sqlite_path, tmp_path / "elsewhere.db"):
        admin(target).restore(backup, target == sqlite_path)
        assert admin(target).check().faults == []
        store = opened(target)
        assert texts(page(store, bob)) == ["in the backup"]
        new = run(alice, bob, "new")
        commit(store, new)
        assert new.offset > max(lost.offset, before)
        assert conversation(store, bob, alice) == ["in the backup", "new"]
        now(store.close())
        assert admin(target).check().faults == []
    names = {path.name for path in tmp_path.iterdir() if path.suffix in (".db", ".db-lock")}
    assert names == {
        *("chat.db", "chat.db-lock", "backup.db", "elsewhere.db", "elsewhere.db-lock"),
    }
    assert not list(tmp_path.glob("*restored*"))


def test_what_is_restored_numbers_above_a_store_whose_clock_was_ahead(
    sqlite_path: Path, tmp_path: Path
) -> None:
    backup = str(tmp_path / "backup.db")
    store = opened(sqlite_path)
    alice, bob = register(store, "alice", "bob")
    now(store.close())
    admin(sqlite_path).backup(backup, False)
    ahead = time.time_ns() // 1000 + 10**12
    with closing(sqlite3.connect(sqlite_path)) as connection, connection:
        connection.execute("INSERT INTO flush VALUES (?, ?)", (2**52, ahead))
    store = opened(sqlite_path)
    lost = run(alice, bob, "not in the backup")
    commit(store, lost)
    assert lost.offset > ahead
    now(store.close())
    admin(sqlite_path).restore(backup, True)
    store = opened(sqlite_path)
    new = run(alice, bob, "new")
    commit(store, new)
    assert new.offset > lost.offset
    now(store.close())


def test_what_an_interrupted_restore_left_is_removed(sqlite_path: Path, tmp_path: Path) -> None:
    now(opened(sqlite_path).close())
    backup = str(tmp_path / "backup.db")
    admin(sqlite_path).backup(backup, False)
    for end in ("", "-wal", "-lock", ".part"):
        sqlite_path.with_name(f"chat.db.restored{end}").write_bytes(b"half")
    sqlite_path.with_name("backup.db.part").write_bytes(b"half")
    admin(sqlite_path).restore(backup, True)
    admin(sqlite_path).backup(backup, True)
    names = [path.name for path in tmp_path.iterdir()]
    assert not [name for name in names if "restored" in name or "part" in name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("replaced", [False, True])
def test_what_root_restores_is_of_the_user_of_the_service(tmp_path: Path, replaced: bool) -> None:
    store = opened(tmp_path / "backup.db")
    register(store, "alice")
    now(store.close())
    folder = tmp_path / "chat"
    folder.mkdir()
    os.chown(folder, 1234, 4321)
    path = folder / "chat.db"
    if replaced:
        now(opened(path).close())
        os.chown(path, 1234, 4321)
        path.chmod(0o640)
        path.with_name("chat.db-lock").unlink()
    admin(path).restore(str(tmp_path / "backup.db"), replaced)
    assert stat.S_IMODE(path.stat().st_mode) == (0o640 if replaced else 0o600)
    owners = {one.name: (one.stat().st_uid, one.stat().st_gid) for one in folder.iterdir()}
    assert owners == dict.fromkeys(("chat.db", "chat.db-lock"), (1234, 4321))


def test_a_backup_is_readable_by_its_owner_only_whatever_it_replaces(
    sqlite_path: Path, tmp_path: Path
) -> None:
    now(opened(sqlite_path).close())
    backup = tmp_path / "backup.db"
    for _ in range(2):
        admin(sqlite_path).backup(str(backup), True)
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        backup.chmod(0o644)


def test_what_a_link_points_to_keeps_its_owner_and_mode(tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").write_text("root's")
    before = elsewhere.stat()
    (made := tmp_path / "made").symlink_to(elsewhere)
    (path := tmp_path / "chat.db").touch(0o666)
    with pytest.raises(OSError, match="symbolic links"):
        put_in_place(str(made), str(path), keep_mode=True)
    assert elsewhere.stat() == before


def test_compacting_never_gives_back_less_than_nothing(sqlite_path: Path) -> None:
    store = opened(sqlite_path)
    register(store, "alice")
    now(store.close())
    for _ in range(3):
        assert admin(sqlite_path).compact() >= 0


def test_numbers_are_raised_for_a_file_that_was_put_back_by_hand(sqlite_path: Path) -> None:
    for _ in range(2):
        store = opened(sqlite_path)
        alice, bob = register(store, "alice", "bob")
        commit(store, run(alice, bob, "1"))
        now(store.close())
        before = time.time_ns() // 1000
        admin(sqlite_path).renumber()
        store = opened(sqlite_path)
        sent = run(alice, bob, "2")
        commit(store, sent)
        assert sent.offset > before
        now(store.close())
        assert admin(sqlite_path).check().faults == []


def test_a_store_without_users_is_restored_into(sqlite_path: Path, tmp_path: Path) -> None:
    store = opened(tmp_path / "other.db")
    register(store, "alice")
    now(store.close())
    now(opened(sqlite_path).close())
    admin(sqlite_path).restore(str(tmp_path / "other.db"), False)
    assert [one.name for one in admin(sqlite_path).users()] == ["alice"]


def test_what_is_no_backup_is_not_restored(sqlite_path: Path, tmp_path: Path) -> None:
    store = opened(sqlite_path)
    register(store, "alice")
    now(store.close())
    text = tmp_path / "text"
    text.write_text("this is no database at all\n" * 100)
    other = tmp_path / "other"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE song (title)")
    for source, sentence in (
        (text, "not a database"), (other, "another program"), (tmp_path / "no", "no file")
    ):  # fmt: skip
        with pytest.raises(StoreUnusable, match=sentence):
            admin(sqlite_path).restore(str(source), True)
        assert [one.name for one in admin(sqlite_path).users()] == ["alice"]
    assert not list(tmp_path.glob("*restored*"))


def test_all_that_reads_works_beside_a_server_and_after_its_kill(
    sqlite_path: Path, wall_clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memtable, "ENTRIES", 5)
    store = opened(sqlite_path, wall_clock)
    alice, bob, carol = register(store, "alice", "bob", "carol")
    for number in range(4):
        sent = run(alice, bob, f"{number}")
        commit(store, sent)
        if number == 1:
            commit(store, positions=position(bob, sent.offset - 1))
    commit(store, message(bob, "x", to=(alice, bob)), message(bob, "all"))
    files = sorted(path.name for path in sqlite_path.parent.iterdir())
    for _ in range(2):
        keeper = admin(sqlite_path)
        users = [(one.name, one.last_login, one.waiting) for one in keeper.users()]
        assert users == [("alice", 1000, 2), ("bob", 1001, 4), ("carol", 1002, 1)]
        assert [account(store, one)[1] for one in (alice, bob, carol)] == [2, 4, 1]
        assert keeper.user("bob")[1] == 6
        assert keeper.user("carol")[1] == 0
        with pytest.raises(UserNotFound):
            keeper.user("nobody")
        statistics = keeper.statistics()
        assert (statistics.users, statistics.messages, statistics.waiting) == (3, 6, 5)
        findings = keeper.check()
        assert findings.faults == []
        assert findings.looked_at.startswith("3 users, 6 messages")
        assert sorted(path.name for path in sqlite_path.parent.iterdir()) == files
        # The server is killed: its files are as they are, and nobody holds them.
        copy = sqlite_path.with_name("copy")
        copy.mkdir(exist_ok=True)
        for name in files:
            (copy / name).write_bytes(sqlite_path.with_name(name).read_bytes())
        sqlite_path = copy / sqlite_path.name
    now(store.close())


@pytest.mark.parametrize("command", ["delete_user", "purge", "compact"])
def test_what_writes_wants_the_server_stopped(command: str, sqlite_path: Path) -> None:
    store = opened(sqlite_path)
    register(store, "alice")
    arguments: dict[str, list[Any]] = {"delete_user": ["alice"], "purge": [1], "compact": []}
    with pytest.raises(StoreUnusable, match="in use by another process"):
        getattr(admin(sqlite_path), command)(*arguments[command])
    now(store.close())
    getattr(admin(sqlite_path), command)(*arguments[command])
    missing = sqlite_path.with_name("missing.db")
    with pytest.raises(StoreUnusable, match="there is no file"):
        getattr(admin(missing), command)(*arguments[command])
    assert not missing.exists()


def test_purging_and_compacting(sqlite_path: Path, wall_clock: WallClock) -> None:
    wall_clock.now = time.time_ns() - 10 * DAY * 10**9
    store = opened(sqlite_path, wall_clock)
    alice, bob = register(store, "alice", "bob")
    for _ in range(200):
        commit(store, run(alice, bob, *["x" * 200] * 10))
    wall_clock.pass_(5 * DAY)
    commit(store, run(alice, bob, "new"))
    now(store.close())
    keeper = admin(sqlite_path)
    assert keeper.statistics().oldest <= time.time_ns() - 9 * DAY * 10**9
    assert keeper.purge(time.time_ns() - 11 * DAY * 10**9) == 0
    assert keeper.purge(time.time_ns() - 7 * DAY * 10**9) == 2000
    assert keeper.check().faults == []
    statistics = keeper.statistics()
    assert (statistics.messages, statistics.waiting) == (1, 1)
    assert statistics.oldest >= time.time_ns() - 11 * DAY * 10**9
    assert statistics.free_bytes > 400_000
    size = sqlite_path.stat().st_size
    assert keeper.compact() == size - sqlite_path.stat().st_size > 400_000
    assert keeper.statistics().free_bytes == 0
    store = opened(sqlite_path)
    assert texts(page(store, bob)) == ["new"]
    now(store.close())


def segment(connection: sqlite3.Connection) -> tuple[int, bytes]:
    row = connection.execute("SELECT first, records FROM segment ORDER BY first LIMIT 1").fetchone()
    return row[0], row[1]


def cut(connection: sqlite3.Connection) -> None:
    first, records = segment(connection)
    values = (records[:-9], checksum(records[:-9]), first)
    connection.execute("UPDATE segment SET records = ?, checksum = ? WHERE first = ?", values)


def doubled(connection: sqlite3.Connection) -> None:
    first, records = segment(connection)
    connection.execute("INSERT INTO segment VALUES (?, ?, NULL)", (first + 1, records))


def changed(connection: sqlite3.Connection) -> None:
    first, records = segment(connection)
    values = (records[:-9] + bytes(1) + records[-8:], first)
    connection.execute("UPDATE segment SET records = ? WHERE first = ?", values)


DAMAGES: dict[str, str | Callable[[sqlite3.Connection], None]] = {
    "cannot be read": cut,
    "are not as they were written": changed,
    "are there twice": doubled,
    "a user 2, who does not exist": "DELETE FROM user WHERE id = 2",
    "a name that no user can have": "UPDATE user SET name = '' WHERE id = 3",
    "waits for 'bob', and is not there": "UPDATE inbox SET count = count + 1 WHERE user = 2",
    "waits for 'carol', and is not there": "INSERT INTO inbox SELECT 3, last, 1 FROM inbox",
    "waits for 'alice', and is not there": "INSERT INTO inbox VALUES (1, 9e15, 1)",
    "are not all there": "DELETE FROM conversation",
    "went to everyone, or not": "DELETE FROM everyone",
    "publishing ids of 'alice' overlap": "UPDATE publishing SET count = 0",
}


@pytest.mark.parametrize("sentence", DAMAGES)
def test_damage_is_found_and_named(
    sentence: str, sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memtable, "ENTRIES", 1)
    store = opened(sqlite_path)
    alice, bob, _ = register(store, "alice", "bob", "carol")
    sent = run(alice, bob, "1", "2")
    commit(store, sent)
    commit(store, run(alice, bob, "3", "4"), positions=position(bob, sent.offset + 1))
    commit(store, message(alice, "x", id_=7), message(alice, "y", to=(bob,), id_=9))
    commit(store, message(alice, "z", to=(bob, alice), device="phone"))
    sent = run(alice, alice, "5")
    commit(store, sent)
    commit(store, positions=position(alice, sent.offset))
    now(store.close())
    assert admin(sqlite_path).check().faults == []
    damage = DAMAGES[sentence]
    with closing(sqlite3.connect(sqlite_path)) as connection:
        if isinstance(damage, str):
            connection.execute(damage)
        else:
            damage(connection)
        connection.commit()
    faults = admin(sqlite_path).check().faults
    assert any(sentence in fault for fault in faults), faults


def test_a_damaged_page_is_found(sqlite_path: Path) -> None:
    store = opened(sqlite_path)
    alice, bob = register(store, "alice", "bob")
    for _ in range(100):
        commit(store, run(alice, bob, "x" * 500))
    now(store.close())
    with sqlite_path.open("r+b") as file:
        file.seek(-20_000, os.SEEK_END)
        file.write(b"\xff" * 8192)
    faults = admin(sqlite_path).check().faults
    assert faults
    assert faults[0].startswith("SQLite: ")


def test_an_older_file_is_backed_up_and_restored_but_else_wants_the_server(
    sqlite_path: Path, tmp_path: Path
) -> None:
    from tests.stores.sqlite.test_upgrade import three

    three(sqlite_path)
    with pytest.raises(StoreUnusable, match="older version"):
        admin(sqlite_path).check()
    admin(sqlite_path).backup(str(tmp_path / "old.db"), False)
    admin(tmp_path / "new.db").restore(str(tmp_path / "old.db"), False)
    assert admin(tmp_path / "new.db").check().faults == []
    assert admin(tmp_path / "new.db").statistics().messages == 2999
    assert not list(tmp_path.glob("*schema*"))


def test_memory_has_no_admin() -> None:
    with pytest.raises(ValueError, match="keeps nothing"):
        admin_from_url("memory:")
    with pytest.raises(ValueError, match="is no store"):
        admin_from_url("chat.db")
    with pytest.raises(ValueError, match="path of a file"):
        admin_from_url("sqlite:")
