"""Commits of which the store does not hear, and faults in the middle of one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import cast

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from chat_protocol.domain.messages import Batch, Registration
from chat_protocol.domain.users import User
from chat_protocol.errors import OutcomeUnknown, Unavailable
from chat_protocol.stores.postgres.store import PostgresStore
from chat_protocol.wire.codes import Code
from tests.stores.helpers import account, commit, conversation, look_up, now, page, register, run
from tests.stores.helpers import texts as texts_of
from tests.stores.postgres.proxy import Link, Proxy
from tests.stores.postgres.server import PATIENCE, PostgresServer
from tests.stores.postgres.stores import ADVISORY_LOCKS, connected, opened, rows, wait_for

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    proxy = Proxy(url)
    yield proxy
    proxy.close()


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A database server that a test may do harm to."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def lonely(own: PostgresServer) -> PostgresServer:
    """A database server without the standby that a commit waits for, if it is told to wait."""
    with psycopg.connect(own.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        connection.execute("ALTER SYSTEM SET synchronous_commit = 'local'")
    own.kill()
    own.start()
    return own


def wait_for_standby(store: PostgresStore, url: str) -> None:
    """Have all commits of a store wait from now on."""
    name = conninfo_to_dict(url)["dbname"]
    with connected(url) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = 'on'")
    store._connections.get("batches").execute("SET synchronous_commit = 'on'")


def wait_no_more(server: PostgresServer) -> None:
    """Let all commits go on."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        connection.execute("SELECT pg_reload_conf()")


def waiting(url: str, but: int = 0) -> int:
    """Return the process of the database that waits for a standby, once there is one."""
    query = f"SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid <> {but}"
    return cast(int, wait_for(url, query))


def beside(store: PostgresStore, batch: Batch, harm: Callable[[], None]) -> None:
    """Commit a batch, and meanwhile do harm."""
    thread = Thread(target=harm, daemon=True)
    thread.start()
    now(store.commit(batch))
    thread.join(PATIENCE)
    assert not thread.is_alive()


def late(proxy: Proxy) -> Callable[[Link, bytes], None]:
    """The COMMIT arrives when the store has given the connection up."""

    def how(link: Link, data: bytes) -> None:
        link.cut_client()
        assert proxy.came_back.wait(PATIENCE)
        time.sleep(0.3)
        with suppress(OSError):
            link.server.sendall(data)

    return how


def never(link: Link, data: bytes) -> None:
    """The COMMIT is lost, and the database does not notice that the store is gone."""
    link.cut_client()


@pytest.mark.parametrize("when", ["late", "never"])
def test_what_was_refused_never_appears_later(when: str, url: str, proxy: Proxy) -> None:
    store = opened(proxy.url)
    alice, bob = register(store, "alice", "bob")
    proxy.interrupt(never if when == "never" else late(proxy))
    with pytest.raises(Unavailable):
        commit(store, run(alice, bob, "1", id_=1))
    # The answer waited until the transaction had ended.
    assert rows(url, f"SELECT pid {ADVISORY_LOCKS}") == []
    time.sleep(0.5)
    assert texts_of(page(store, bob)) == []
    again = run(alice, bob, "1", id_=1)
    commit(store, again)
    assert again.offset
    assert texts_of(page(store, bob)) == ["1"]
    now(store.close())


@pytest.mark.parametrize("when", ["late", "never"])
def test_a_refused_login_leaves_neither_user_nor_session(when: str, url: str, proxy: Proxy) -> None:
    store = opened(proxy.url)
    proxy.interrupt(never if when == "never" else late(proxy))
    with pytest.raises(Unavailable):
        now(store.commit(Batch([Registration("alice", 7)], [], {})))
    time.sleep(0.5)
    assert look_up(store, "alice") == 0
    assert rows(url, "SELECT * FROM session") == []
    assert store.registered == 0
    now(store.close())


def test_a_running_commit_is_waited_for(lonely: PostgresServer) -> None:
    url = lonely.new_database()
    proxy = Proxy(url)
    store = opened(proxy.url)
    alice, bob = register(store, "alice", "bob")
    wait_for_standby(store, url)
    asked = []

    def how(link: Link, data: bytes) -> None:
        link.server.sendall(data)
        waiting(url)
        link.cut_client()

    def finish() -> None:
        query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        asked.append(wait_for(url, query))
        wait_no_more(lonely)

    proxy.interrupt(how)
    sent, login = run(alice, bob, "1", id_=1), Registration("carol", 7)
    beside(store, Batch([login], [sent], {}), finish)
    assert asked
    assert sent.accepted == 1
    assert rows(url, "SELECT number FROM session WHERE user_id = 3") == [login.number]
    assert store.registered == 3
    commit(store, run(alice, bob, "2", id_=2))
    assert texts_of(page(store, bob)) == ["1", "2"]
    assert account(store, alice) == (2, 0)
    now(store.close())
    proxy.close()


def test_nobody_can_tell_once_the_lease_has_run_out(url: str, proxy: Proxy) -> None:
    store = opened(proxy.url)
    alice, bob = register(store, "alice", "bob")

    def how(link: Link, data: bytes) -> None:
        store._node._serving_until = 0
        link.server.sendall(data)
        link.cut_client()

    proxy.interrupt(how)
    with pytest.raises(OutcomeUnknown, match="the lease ran out"):
        commit(store, run(alice, bob, "1"))
    now(store.close())


def test_nobody_can_tell_once_the_node_was_removed(url: str, proxy: Proxy) -> None:
    store = opened(proxy.url)
    alice, bob = register(store, "alice", "bob")

    def how(link: Link, data: bytes) -> None:
        link.server.sendall(data)
        wait_for(url, "SELECT 1 FROM message")
        with connected(url) as connection:
            connection.execute("DELETE FROM node")
        link.cut_client()

    proxy.interrupt(how)
    with pytest.raises(OutcomeUnknown, match="this node was removed"):
        commit(store, run(alice, bob, "1"))
    now(store.close())


def test_a_killed_database_is_asked_what_it_has_stored(lonely: PostgresServer) -> None:
    url = lonely.new_database()
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    wait_for_standby(store, url)

    def kill() -> None:
        waiting(url)
        lonely.kill()
        lonely.start("-c", "synchronous_standby_names=")

    sent = run(alice, bob, "1")
    beside(store, Batch([], [sent], {}), kill)
    assert sent.accepted == 1
    assert texts_of(page(store, bob)) == ["1"]
    now(store.close())


def test_ok_waits_for_the_standbys_even_if_a_commit_did_not(lonely: PostgresServer) -> None:
    url = lonely.new_database()
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    wait_for_standby(store, url)
    settled = []

    def terminate() -> None:
        process = waiting(url)
        rows(url, f"SELECT pg_terminate_backend({process})")
        settled.append(waiting(url, process))
        wait_no_more(lonely)

    sent = run(alice, bob, "1")
    beside(store, Batch([], [sent], {}), terminate)
    assert sent.accepted == 1
    assert settled
    now(store.close())


def test_order_is_kept_across_a_refusal_a_cut_and_a_restart(own: PostgresServer) -> None:
    url = own.new_database()
    proxy = Proxy(url)
    store = opened(proxy.url)
    alice, bob = register(store, "alice", "bob")
    refused = run(alice, User("nobody"), "1", id_=1)
    commit(store, refused, run(alice, bob, "2", id_=2))
    assert refused.refusal is Code.USER_NOT_FOUND
    proxy.interrupt(never)
    with pytest.raises(Unavailable):
        commit(store, run(alice, bob, "3", id_=3))
    own.kill()
    own.start()
    with pytest.raises(Unavailable):
        # Here the store learns that its connection is gone.
        commit(store, run(alice, bob, "1", id_=1))
    register(store, "nobody")
    resent = [run(alice, bob, text, id_=int(text)) for text in "123"]
    commit(store, *resent)
    assert [one.refusal for one in resent] == [Code.OUT_OF_ORDER, Code.OK, Code.OK]
    assert [one.accepted for one in resent] == [0, 1, 1]
    assert texts_of(page(store, bob)) == ["2", "3"]
    now(store.close())
    proxy.close()


def test_a_fault_is_rolled_back_and_raised_as_it_is(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    bad = run(alice, bob, "bad")
    bad.frames = [cast(bytes, None)]
    connection = store._connections.get("batches")
    with pytest.raises(TypeError):
        commit(store, run(alice, bob, "1", id_=1), bad)
    assert store._connections.get("batches") is connection
    # Nothing is believed to be stored: neither the id nor that the two have talked.
    again = run(alice, bob, "1", id_=1)
    commit(store, again)
    assert again.offset
    assert conversation(store, alice, bob) == ["1"]
    now(store.close())


def test_a_statement_that_the_database_refuses_costs_no_connection(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    with connected(url) as connection:
        connection.execute("ALTER TABLE message ADD CONSTRAINT short CHECK (length(frames) < 40)")
    connection = store._connections.get("batches")
    with pytest.raises(Unavailable, match="short"):
        commit(store, run(alice, bob, "1234567890", id_=1))
    assert store._connections.get("batches") is connection
    assert rows(url, f"SELECT count(*) {ADVISORY_LOCKS}") == [0]
    commit(store, run(alice, bob, "1", id_=1))
    assert texts_of(page(store, bob)) == ["1"]
    now(store.close())


def test_a_lock_is_not_left_behind_by_a_fault_while_offsets_are_drawn(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    with connected(url) as connection:
        connection.execute("ALTER SEQUENCE message_offset MAXVALUE 9000000000000000")
        connection.execute("SELECT setval('message_offset', 9000000000000000)")
    with pytest.raises(Unavailable, match="out of bounds"):
        commit(store, run(alice, bob, "1"))
    with connected(url) as connection:
        connection.execute("ALTER SEQUENCE message_offset NO MAXVALUE")
        connection.execute("SET statement_timeout = 1000")
        connection.execute("SELECT draw_offsets(1)")
    now(store.close())
