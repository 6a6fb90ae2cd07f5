"""What an operator does with the database, beside the servers."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest

from chat_protocol.domain.stored import Waiting
from chat_protocol.errors import StoreUnusable, UserNotFound
from chat_protocol.stores.admin import Caretaker
from chat_protocol.stores.postgres.store import PostgresStore
from chat_protocol.stores.registry import caretaker_from_url
from tests.stores.conftest import ImmediateWorker, MarkingStore, StillReactor, WallClock
from tests.stores.helpers import (
    account,
    commit,
    look_up,
    now,
    page,
    publication,
    publish,
    register,
    run,
    texts,
)
from tests.stores.postgres.server import PostgresServer
from tests.stores.sqlite.admin.test_admin import DAY, NAMES, history, state, traffic, without

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


def opened(url: str, clock: WallClock | None = None) -> PostgresStore:
    worker = ImmediateWorker()
    store = MarkingStore(url, 0, StillReactor(), worker, worker, clock or WallClock())
    now(store.open())
    return store


def care(url: str) -> Caretaker:
    return caretaker_from_url(url)


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
    keeper = care(url)
    assert keeper.check().faults == []
    record, messages = keeper.user(goes.name)
    assert messages == len([m for m in before[goes.name][0] if m[4] == 0 or m[1] == goes.name])
    assert record.waiting == len(before[goes.name][1])
    with pytest.raises(StoreUnusable, match="is logged in"):
        keeper.delete_user(left[0].name)
    gone = keeper.delete_user(goes.name)
    assert keeper.check().faults == []
    assert look_up(store, goes.name) == 0
    for user in left:
        was, waited = before[user.name]
        assert history(store, user) == without(was, goes.name)
        waits = page(store, user)
        assert [tuple(one) for one in waits.messages] == without(waited, goes.name)
        assert account(store, user)[1] == len(waits.messages)
    kept = {m for both in before.values() for m in without(both[0], goes.name)}
    assert gone == size - len(kept)
    statistics = keeper.statistics()
    assert (statistics.users, statistics.messages) == (4, len(kept))
    # Who has the name in mind still is told that there is nobody.
    lost = run(left[0], goes, "lost")
    commit(store, lost)
    assert lost.accepted == 0
    (again,) = register(store, goes.name)
    assert again.id != goes.id
    assert history(store, again) == []
    with pytest.raises(UserNotFound):
        keeper.delete_user("nobody")
    now(store.close())


def test_users_and_figures(url: str) -> None:
    store = opened(url)
    alice, bob, _ = register(store, "alice", "bob", "carol")
    commit(store, run(alice, bob, "1", "2"))
    publish(store, publication(alice, "x", bob, alice), publication(bob, "all"))
    keeper = care(url)
    users = [(one.name, one.last_login, one.waiting) for one in keeper.users()]
    assert users == [("alice", 1000, 2), ("bob", 1001, 3), ("carol", 1002, 1)]
    statistics = keeper.statistics()
    assert (statistics.users, statistics.messages, statistics.waiting) == (3, 4, 4)
    assert statistics.bytes > 10_000
    with pytest.raises(UserNotFound):
        keeper.user("nobody")
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
    keeper = care(url)
    assert keeper.purge(time.time_ns() - 11 * DAY * 10**9) == 0
    assert keeper.purge(time.time_ns() - 7 * DAY * 10**9) == 750
    assert keeper.check().faults == []
    assert keeper.statistics().messages == 1
    assert texts(page(store, bob)) == ["new"]
    now(store.close())


def test_numbers_are_raised(url: str) -> None:
    import time

    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT setval('chat.message_block', 4096)")
    commit(store, run(alice, bob, "low"))
    before = time.time_ns() // 1000
    for _ in range(2):
        care(url).renumber()
        sent = run(alice, bob, "high")
        commit(store, sent)
        assert sent.offset > before
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT setval('chat.message_block', 9000000000000000)")
    care(url).renumber()
    commit(store, run(alice, bob, "highest"))
    assert texts(page(store, bob))[-1] == "highest"
    now(store.close())


DAMAGES: dict[str, Any] = {
    "from a user 77": "UPDATE message SET sender = 77",
    "to a user 77": "UPDATE message SET recipient = 77 WHERE recipient <> 0",
    "waits for 'carol', and is not there": 'INSERT INTO inbox SELECT 3, max("offset") FROM inbox',
    "1 messages wait for 'bob', who is said to have 9": "UPDATE account SET waiting = 9 WHERE id=2",
    "is in no conversation": "UPDATE conversation SET count = 0",
    "no peers": "DELETE FROM peer WHERE user_id = 2",
    "publishing ids of a user 77": "INSERT INTO publishing VALUES (77, 1)",
    "a number above all": "SELECT setval('message_block', 1)",
}


@pytest.mark.parametrize("sentence", DAMAGES)
def test_contradictions_are_found_and_named(sentence: str, url: str) -> None:
    store = opened(url)
    alice, bob, _ = register(store, "alice", "bob", "carol")
    live = run(alice, bob, "1", live=True)
    commit(store, live)
    commit(store, returned=[Waiting(bob.id, one) for one in live.stored().messages()])
    now(store.close())
    assert care(url).check().faults == []
    with psycopg.connect(url, autocommit=True, options="-c search_path=chat") as connection:
        connection.execute(DAMAGES[sentence])
    faults = care(url).check().faults
    assert any(sentence in fault for fault in faults), faults


def test_what_is_left_to_its_own_tools(url: str, postgres: PostgresServer) -> None:
    now(opened(url).close())
    for call, sentence in (
        (lambda: care(url).backup("x", False), "pg_dump"),
        (lambda: care(url).restore("x", False), "pg_restore.*chatadmin renumber"),
        (lambda: care(url).compact(), "VACUUM FULL"),
    ):
        with pytest.raises(StoreUnusable, match=sentence):
            call()
    with pytest.raises(StoreUnusable, match="has schema version 0"):
        care(postgres.new_database()).check()
    with psycopg.connect(url, autocommit=True, options="-c search_path=chat") as connection:
        connection.execute("UPDATE schema_version SET version = version + 1")
    with pytest.raises(StoreUnusable, match=r"newer version .*; use the chatadmin of that version"):
        care(url).statistics()
    with pytest.raises(StoreUnusable, match=r"cannot be used: .*check --store"):
        care("postgresql://localhost:1/nowhere").statistics()
    with pytest.raises(ValueError, match="postgresql:"):
        care("postgresql://[/x")
