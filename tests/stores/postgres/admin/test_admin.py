"""What an operator does with the database, beside the servers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from chat_protocol.errors import StoreUnusable, UserNotFound
from chat_protocol.stores.postgres.admin.admin import PostgresAdmin
from chat_protocol.stores.postgres.store import PostgresStore
from tests.stores.conftest import WallClock
from tests.stores.helpers import (
    account,
    commit,
    look_up,
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
from tests.stores.postgres.marking import MarkingStore
from tests.stores.postgres.server import PostgresServer
from tests.stores.traffic import history, state, traffic, without

pytestmark = pytest.mark.postgresql

DAY = 24 * 3600
NAMES = ["anna", "bert", "cleo", "dora", "emil"]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.new_database()
    yield url
    postgres.take_back(url)


def opened(url: str, clock: WallClock | None = None) -> PostgresStore:
    return MarkingStore.opened(url, clock or WallClock())


def admin(url: str) -> PostgresAdmin:
    return PostgresAdmin.from_url(url.removeprefix("postgresql:"))


@pytest.mark.parametrize("seed", range(4))
def test_deleting_a_user_takes_what_is_its_own_and_nothing_else(seed: int, url: str) -> None:
    rnd = random.Random(seed)
    store = opened(url)
    users = register(store, *NAMES)
    traffic(store, users, rnd)
    before = state(store, users)
    now(store.close())
    goes = users[rnd.randrange(5)]
    left = [user for user in users if user is not goes]
    store = opened(url)
    register(store, *[user.name for user in left])
    size = len({m for both in before.values() for m in both[0]})
    tool = admin(url)
    assert tool.check().faults == []
    record, messages = tool.user(goes.name)
    assert messages == len(
        [m for m in before[goes.name][0] if m.scope == 0 or m.sender == goes.name]
    )
    assert record.waiting == len(before[goes.name][1])
    with pytest.raises(StoreUnusable, match="is logged in"):
        tool.delete_user(left[0].name)
    gone = tool.delete_user(goes.name)
    assert tool.check().faults == []
    assert look_up(store, goes.name) == 0
    for user in left:
        was, waited = before[user.name]
        assert history(store, user) == without(was, goes.name)
        waits = page(store, user)
        assert singles(waits.entries) == without(waited, goes.name)
        assert account(store, user)[1] == waits.count
    kept = {m for both in before.values() for m in without(both[0], goes.name)}
    assert gone == size - len(kept)
    statistics = tool.statistics()
    assert (statistics.users, statistics.messages) == (4, len(kept))
    # A session that still knows the id is told that there is no such user.
    lost = run(left[0], goes, "lost")
    commit(store, lost)
    assert lost.accepted == 0
    (again,) = register(store, goes.name)
    assert again.id != goes.id
    assert history(store, again) == []
    with pytest.raises(UserNotFound):
        tool.delete_user("nobody")
    now(store.close())


def test_users_and_figures(url: str) -> None:
    store = opened(url)
    alice, bob, _ = register(store, "alice", "bob", "carol")
    commit(store, run(alice, bob, "1", "2"))
    publish(store, publication(alice, "x", bob, alice), publication(bob, "all"))
    tool = admin(url)
    users = [(one.name, one.last_login, one.waiting) for one in tool.users()]
    assert users == [("alice", 1000, 2), ("bob", 1001, 3), ("carol", 1002, 1)]
    statistics = tool.statistics()
    assert (statistics.users, statistics.messages, statistics.waiting) == (3, 4, 4)
    assert statistics.bytes > 10_000
    with pytest.raises(UserNotFound):
        tool.user("nobody")
    now(store.close())


def test_purging_beside_a_server(url: str) -> None:
    import time

    clock = WallClock()
    clock.now = time.time_ns() - 10 * DAY * 10**9
    store = opened(url, clock)
    alice, bob = register(store, "alice", "bob")
    commit(store, *[run(alice, bob, *"12345") for _ in range(150)])
    clock.pass_(5 * DAY)
    commit(store, run(alice, bob, "new"))
    tool = admin(url)
    assert tool.purge(time.time_ns() - 11 * DAY * 10**9) == 0
    assert tool.purge(time.time_ns() - 7 * DAY * 10**9) == 750
    assert tool.check().faults == []
    assert tool.statistics().messages == 1
    assert texts(page(store, bob)) == ["new"]
    now(store.close())


def test_numbers_are_raised(url: str) -> None:
    import time

    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT setval('chat.message_offset', 4096)")
    commit(store, run(alice, bob, "low"))
    before = time.time_ns() // 1000
    for _ in range(2):
        admin(url).renumber()
        sent = run(alice, bob, "high")
        commit(store, sent)
        assert sent.offset > before
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT setval('chat.message_offset', 9000000000000000)")
    admin(url).renumber()
    commit(store, run(alice, bob, "highest"))
    assert texts(page(store, bob))[-1] == "highest"
    now(store.close())


DAMAGES: dict[str, Any] = {
    "is from user 77": "UPDATE message SET sender = 77",
    "is to user 77": "UPDATE message SET recipient = 77 WHERE recipient <> 0",
    "of 'carol' and does not exist": "INSERT INTO inbox SELECT 3, max(last), 1 FROM inbox",
    "1 messages are in the mailbox of 'bob', and 9": "UPDATE account SET waiting = 9 WHERE id = 2",
    "is in no conversation": "UPDATE conversation SET count = 0",
    "no peers": "DELETE FROM peer WHERE user_id = 2",
    "publishing ids of user 77": "INSERT INTO publishing VALUES (77, 0, 1, 1)",
    "publishing ids of user 1, device 0,": "INSERT INTO publishing VALUES (1, 0, 2, 2)",
    "devices of user 77": "INSERT INTO device (user_id, name) VALUES (77, 'phone')",
    "'bob' has one device, 77": "UPDATE account SET device = 77 WHERE id = 2",
    "'bob' has one device, and 1": "INSERT INTO device (user_id, name, position)"
    " VALUES (2, 'phone', 1)",
    "message 1 is kept for other devices of 'bob'": "INSERT INTO copy VALUES (2, 1, 0, 1)",
    "message 7 is longer or shorter than its frames": "UPDATE message SET last = 7, count = 3",
    "an offset above all": "SELECT setval('message_offset', 1)",
}


@pytest.mark.parametrize("sentence", DAMAGES)
def test_contradictions_are_found_and_named(sentence: str, url: str) -> None:
    store = opened(url)
    alice, bob, _ = register(store, "alice", "bob", "carol")
    commit(store, run(alice, bob, "1", "2", id_=1))
    commit(store, positions=position(bob, page(store, bob).entries[0].offset))
    now(store.close())
    assert admin(url).check().faults == []
    with psycopg.connect(url, autocommit=True, options="-c search_path=chat") as connection:
        connection.execute(DAMAGES[sentence])
    faults = admin(url).check().faults
    assert any(sentence in fault for fault in faults), faults


def test_what_is_left_to_its_own_tools(url: str, postgres: PostgresServer) -> None:
    now(opened(url).close())
    for call, sentence in (
        (lambda: admin(url).backup("x", False), "pg_dump"),
        (lambda: admin(url).restore("x", False), "pg_restore.*chatadmin renumber"),
        (lambda: admin(url).compact(), "VACUUM FULL"),
    ):
        with pytest.raises(StoreUnusable, match=sentence):
            call()
    with pytest.raises(StoreUnusable, match="has schema version 0"):
        admin(postgres.new_database()).check()
    with psycopg.connect(url, autocommit=True, options="-c search_path=chat") as connection:
        connection.execute("UPDATE schema_version SET version = version + 1")
    with pytest.raises(StoreUnusable, match=r"newer version .*; use the chatadmin of that version"):
        admin(url).statistics()
    with pytest.raises(StoreUnusable, match=r"cannot be used: .*check --store"):
        admin("postgresql://localhost:1/nowhere").statistics()
    with pytest.raises(ValueError, match=r"postgresql://chat:\*\*\*@\[/x"):
        admin("postgresql://chat:secret@[/x")
