"""What a batch waits for: see chat_protocol/stores/postgres/locks.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from chat_protocol.domain.admission import admit
from chat_protocol.domain.login_rules import LoginRequest
from chat_protocol.domain.messages import Batch, Registration
from chat_protocol.stores.postgres import transaction
from chat_protocol.stores.postgres.admin.admin import PostgresAdmin
from chat_protocol.stores.postgres.locks import EVERYONE_LOCK, NODE_LOCKS
from chat_protocol.stores.postgres.store import PostgresStore
from tests.stores.helpers import commit, log_in, now, publication, register, run
from tests.stores.postgres.server import PATIENCE, PostgresServer
from tests.stores.postgres.stores import connected, opened, rows, wait_for

pytestmark = pytest.mark.postgresql

LAST_OFFSET = "SELECT last_value FROM message_offset"


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@contextmanager
def waiting(url: str, store: PostgresStore, batch: Batch, lock: str) -> Iterator[None]:
    """Commit a batch, which has to wait for a lock until the end of the block."""
    outcomes: list[object] = []
    with connected(url) as connection, connection.transaction():
        connection.execute(lock.encode())
        thread = Thread(target=lambda: outcomes.append(now(store.commit(batch))), daemon=True)
        thread.start()
        wait_for(url, "SELECT 1 FROM pg_locks WHERE NOT granted")
        yield
        assert not outcomes
    thread.join(PATIENCE)
    assert outcomes == [None]


def test_a_message_to_everyone_waits_for_all_batches_and_they_for_it(url: str) -> None:
    stores = [opened(url), opened(url)]
    alice, bob = register(stores[0], "alice", "bob")
    (carol,) = register(stores[1], "carol")
    shared = f"SELECT pg_advisory_xact_lock_shared({EVERYONE_LOCK})"
    exclusive = f"SELECT pg_advisory_xact_lock({EVERYONE_LOCK})"
    sent = publication(alice, "to all")
    with waiting(url, stores[0], Batch([], [sent], {}), shared):
        # One that is under way already goes on, but for new ones: they could wait for ever.
        assert rows(url, "SELECT count(*) FROM message") == [0]
    assert sent.offset
    for batch in (Batch([], [run(carol, bob, "1")], {}), Batch([Registration("dave", 1)], [], {})):
        with waiting(url, stores[1], batch, exclusive):
            pass
    commit(stores[1], run(carol, bob, "2"))
    for store in stores:
        now(store.close())


def test_offsets_are_drawn_when_the_mailboxes_are_locked(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    before = rows(url, LAST_OFFSET)
    sent = run(alice, bob, "1")
    lock = f"SELECT FROM account WHERE id = {bob.id} FOR NO KEY UPDATE"
    with waiting(url, store, Batch([], [sent], {}), lock):
        assert rows(url, LAST_OFFSET) == before
    assert sent.offset == before[0] + 1
    now(store.close())


def test_a_mailbox_is_locked_for_what_its_user_sends_from_one_of_several_devices(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    lock = f"SELECT FROM account WHERE id = {alice.id} FOR NO KEY UPDATE"
    with connected(url) as connection, connection.transaction():
        connection.execute(lock.encode())
        # With one device there are no copies.
        commit(store, run(alice, bob, "1"))
    log_in(store, alice, "phone")
    before = rows(url, LAST_OFFSET)
    sent = run(alice, bob, "2")
    with waiting(url, store, Batch([], [sent], {}), lock):
        assert rows(url, LAST_OFFSET) == before
    assert sent.copied
    now(store.close())


def test_a_take_over_waits_for_the_batch_of_the_old_session(url: str) -> None:
    stores = [opened(url), opened(url)]
    now(stores[0].commit(Batch([Registration("alice", 1, token="secret")], [], {})))
    taker = Registration("alice", 2, login=LoginRequest("", 2, "secret"))
    lock = f"SELECT pg_advisory_xact_lock_shared({NODE_LOCKS}, {stores[0]._node.id})"
    with waiting(url, stores[1], Batch([taker], [], {}), lock):
        # Other logins of that node go on.
        assert rows(url, "SELECT node FROM session") == [stores[0]._node.id]
    assert rows(url, "SELECT node, number FROM session") == [(stores[1]._node.id, taker.number)]
    for store in stores:
        now(store.close())


def test_nodes_that_take_sessions_from_each_other_do_not_wait_for_ever(url: str) -> None:
    stores = [opened(url), opened(url)]
    for name, store in zip(("a", "b"), stores, strict=True):
        logins = [Registration(f"{name}{n}", 1, token="secret") for n in range(20)]
        now(store.commit(Batch(logins, [], {})))
    takers = [
        [Registration(f"{name}{n}", 2, login=LoginRequest("", 2, "secret")) for n in range(20)]
        for name in ("b", "a")
    ]

    def take(index: int) -> None:
        for taker in takers[index]:
            now(stores[index].commit(Batch([taker], [], {})))

    threads = [Thread(target=take, args=(index,), daemon=True) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert all(taker.number for both in takers for taker in both)
    for store in stores:
        now(store.close())


def test_a_user_is_deleted_while_no_batch_is_under_way(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    now(store.commit(Batch([], [], {}, [_session(bob)])))
    deleted: list[int] = []
    with connected(url) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (EVERYONE_LOCK,))
        thread = Thread(
            target=lambda: deleted.append(PostgresAdmin(url).delete_user("bob")), daemon=True
        )
        thread.start()
        wait_for(url, "SELECT 1 FROM pg_locks WHERE NOT granted")
        assert rows(url, "SELECT count(*) FROM account") == [2]
    thread.join(PATIENCE)
    assert deleted == [0]
    sent = run(alice, bob, "1")
    commit(store, sent)
    assert sent.accepted == 0
    now(store.close())


def _session(user: Any) -> Any:
    return run(user, user, "").sender


def test_a_batch_that_is_suspended_is_idle_for_the_database(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends it then: see Connections."""
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    states = []

    def spy(*arguments: Any) -> bool:
        query = "SELECT state FROM pg_stat_activity WHERE application_name LIKE '%batches'"
        states.extend(rows(url, f"{query} AND datname = current_database()"))
        return admit(*arguments)

    monkeypatch.setattr(transaction, "admit", spy)
    now(store.commit(Batch([Registration("carol", 1)], [run(alice, bob, "1", id_=1)], {})))
    assert states == ["idle in transaction"]
    now(store.close())
