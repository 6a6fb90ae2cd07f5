"""A node: its lease, and what it hears of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from chat_protocol.domain.login_rules import LoginRequest
from chat_protocol.domain.messages import Batch, Registration
from chat_protocol.domain.ports import IClusterListener
from chat_protocol.domain.users import User
from chat_protocol.errors import Unavailable
from chat_protocol.stores.postgres import leases
from chat_protocol.stores.postgres.locks import NODE_LOCKS
from chat_protocol.stores.postgres.notifications import MAX_PAYLOAD, Notifications, dispatch
from chat_protocol.stores.postgres.store import PostgresStore
from chat_protocol.wire.codes import Code
from tests.stores.helpers import TAKES_OVER, Sender, commit, now, publication, register, run
from tests.stores.postgres.server import PostgresServer
from tests.stores.postgres.stores import ADVISORY_LOCKS, connected, opened, rows

pytestmark = pytest.mark.postgresql


@implementer(IClusterListener)
class Listener:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def notified(self, user_ids: Sequence[int] | None) -> None:
        self.told.append(user_ids)

    def replaced(self, user_id: int, number: int) -> None:
        self.told.append(("replaced", user_id, number))

    def presence_changed(self, name: str, online: bool, time: int) -> None:
        self.told.append((name, online, time))

    def lease_lost(self) -> None:
        self.told.append("lost")


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


def listening(url: str) -> tuple[PostgresStore, list[object]]:
    store, listener = opened(url), Listener()
    store.attach(listener, 300)
    return store, listener.told


def heard(store: PostgresStore, told: list[object]) -> list[object]:
    """Return what the listener has been told until the last notification that was sent."""
    with connected(store._connections._conninfo) as connection:
        # Notifications come in the order of their commits.
        connection.execute("SELECT pg_notify('chat_all', 'pthe end')")
    with ignored() as payloads:
        while not payloads:
            notifications = store._node._notifications
            assert notifications is not None
            notifications.doRead()
    found, told[:] = told[:], []
    return found


@contextmanager
def ignored() -> Iterator[list[str]]:
    """Give the notifications that are logged as ignored."""
    payloads: list[str] = []

    def observe(event: LogEvent) -> None:
        payloads.append(event["payload"])

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    try:
        yield payloads
    finally:
        globalLogPublisher.removeObserver(observer)


# Notifications.


def test_nodes_tell_each_other_what_concerns_their_users(url: str) -> None:
    (first, told_first), (second, told_second) = listening(url), listening(url)
    (alice,) = register(first, "alice")
    bob, carol = register(second, "bob", "carol")
    everyone = [("alice", True, 1000), ("bob", True, 1000), ("carol", True, 1001)]
    assert heard(first, told_first) == heard(second, told_second) == everyone
    commit(first, run(alice, carol, "1"), publication(alice, "2", bob, carol, alice))
    assert told_first == [[alice.id]]
    assert heard(second, told_second) == [[bob.id, carol.id]]
    told_first.clear()
    commit(first, publication(alice, "to all"))
    assert told_first == [None]
    assert heard(first, told_first) == [None, None]
    assert heard(second, told_second) == [None]
    session = Sender(bob)
    now(second.commit(Batch([], [], {}, [session])))  # type: ignore[list-item]
    (change,) = heard(first, told_first)
    assert isinstance(change, tuple)
    assert change[:2] == ("bob", False)
    for store in (first, second):
        now(store.close())


def test_a_token_takes_a_session_over_from_another_node(url: str) -> None:
    (first, told), (second, _) = listening(url), listening(url)
    login = Registration("alice", 1, token="secret")
    now(first.commit(Batch([login], [], {})))
    for shown in ("", "wrong"):
        refused = Registration("alice", 2, token="new", login=LoginRequest("", 2, shown))
        now(second.commit(Batch([refused], [], {})))
        assert (refused.user_id, refused.number) == (login.user_id, 0)
    taker = Registration("alice", 3, token="new", login=LoginRequest("", 2, "secret"))
    now(second.commit(Batch([taker], [], {})))
    assert taker.number > login.number
    assert ("replaced", login.user_id, login.number) in heard(first, told)
    assert rows(url, "SELECT last_login FROM account") == [3]
    for store in (first, second):
        now(store.close())


def test_a_session_without_a_token_cannot_be_taken_over(url: str) -> None:
    (first, _), (second, _) = listening(url), listening(url)
    now(first.commit(Batch([Registration("alice", 1)], [], {})))
    refused = Registration("alice", 2, login=LoginRequest("", 2, ""))
    now(second.commit(Batch([refused], [], {})))
    assert refused.number == 0
    for store in (first, second):
        now(store.close())


def test_of_two_logins_in_a_batch_the_first_has_the_session(url: str) -> None:
    store, _ = listening(url)
    first, second = Registration("alice", 1), Registration("alice", 2)
    now(store.commit(Batch([first, second], [], {})))
    assert (first.user_id, second.number) == (second.user_id, 0)
    assert first.number > 0
    assert store.registered == 1
    now(store.close())


def test_a_session_that_was_replaced_stores_nothing_more(url: str) -> None:
    store, told = listening(url)
    (alice,) = register(store, "alice")
    old = run(alice, alice, "old")
    (alice,) = register(store, "alice")
    commit(store, old)
    assert (old.refusal, old.offset) == (Code.UNAVAILABLE, 0)
    assert told == [("replaced", alice.id, old.sender.number)]
    now(store.close())


def test_a_login_comes_before_the_messages_of_its_batch(url: str) -> None:
    store, told = listening(url)
    alice, bob = register(store, "alice", "bob")
    now(store.commit(Batch([], [], {}, [run(bob, bob, "").sender])))
    old, sent = run(alice, bob, "old"), run(bob, alice, "1")
    logins = [Registration(name, 2, TAKES_OVER) for name in ("alice", "bob")]
    now(store.commit(Batch(logins, [old, sent], {})))
    assert old.refusal is sent.refusal is Code.UNAVAILABLE
    # Both are told: the old session of bob is over as well.
    assert sorted(told, key=str) == [
        ("replaced", alice.id, old.sender.number),
        ("replaced", bob.id, sent.sender.number),
    ]
    told.clear()
    (alice,) = register(store, "alice")
    sent = run(alice, User("bob"), "2")
    now(store.commit(Batch([Registration("bob", 3, TAKES_OVER)], [sent], {})))
    assert told == [[bob.id]]
    now(store.close())


def test_too_many_users_for_a_notification_are_all() -> None:
    notifications = Notifications()
    notifications.notify(7, range(10**9, 10**9 + 700))
    notifications.notify(7, range(10**9, 10**9 + 800))
    sizes = [len(payload) for payload in notifications._payloads]
    assert sizes == [700 * 11, 1]
    assert sizes[0] <= MAX_PAYLOAD
    listener = Listener()
    dispatch(notifications._payloads[1], listener)
    assert listener.told == [None]


def test_what_is_no_notification_is_logged_and_ignored(url: str) -> None:
    store, told = listening(url)
    node = store._node
    with ignored() as payloads:
        for payload in ("rx", "x7", "p", "p7", "p[1, 2]", ""):
            node._received(payload)
    assert payloads == ["rx", "x7", "p", "p7", "p[1, 2]"]
    assert told == []
    now(store.close())


def test_after_a_lost_connection_all_mailboxes_are_read(url: str) -> None:
    store, told = listening(url)
    node = store._node
    (alice,) = register(store, "alice")
    process = store._connections.get("notifications").info.backend_pid
    rows(url, f"SELECT pg_terminate_backend({process}, 10000)")
    while node._notifications is not None:
        node._notifications.doRead()
    node._renew()
    assert told[-1] is None
    commit(store, publication(alice, "to all"))
    assert heard(store, told)[-3:] == [None, None, None]
    now(store.close())


def test_now_and_then_a_node_looks_for_messages(url: str) -> None:
    store, told = listening(url)
    node = store._node
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "1"))
    told.clear()
    for _ in range(4):
        node._renew()
    assert told == [[bob.id]]
    commit(store, publication(alice, "to all"))
    told.clear()
    for _ in range(8):
        node._renew()
    assert told == [None, [bob.id]]
    now(store.close())


# The lease.


def test_a_node_that_lost_its_lease_ends_its_sessions_and_becomes_another(url: str) -> None:
    store, told = listening(url)
    node = store._node
    alice, bob = register(store, "alice", "bob")
    first = node.id
    with connected(url) as connection:
        connection.execute("UPDATE node SET lease_until = now() - interval '1 s'")
    node._renew()
    assert told == ["lost"]
    assert not store.serving
    with pytest.raises(Unavailable, match="no lease"):
        commit(store, run(alice, bob, "1"))
    # The connections were interrupted, in case that something waited for an answer.
    node._renew()
    node._renew()
    assert store.serving
    assert node.id != first
    assert rows(url, "SELECT id FROM node") == [node.id]
    assert rows(url, "SELECT count(*) FROM session") == [0]
    (alice,) = register(store, "alice")
    sent = run(alice, bob, "1")
    commit(store, sent)
    assert sent.accepted == 1
    now(store.close())


def test_nobody_logs_in_at_a_node_whose_lease_has_run_out(url: str) -> None:
    store, _ = listening(url)
    with connected(url) as connection:
        connection.execute("UPDATE node SET lease_until = now() - interval '1 s'")
    with pytest.raises(Unavailable, match="lost its lease"):
        now(store.commit(Batch([Registration("alice", 1)], [], {})))
    assert rows(url, "SELECT count(*) FROM account") == [0]
    now(store.close())


def begin(url: str, node: int) -> Callable[[], None]:
    """Begin a batch as a node does, and stop in the middle; return what closes the connection."""
    connection = connected(url)
    pipeline = connection.pipeline()
    pipeline.__enter__()
    connection.execute("BEGIN")
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", (NODE_LOCKS, node)).fetchall()

    def close() -> None:
        connection.close()

    return close


def test_a_batch_of_a_dead_node_is_ended(url: str) -> None:
    (store, _), (dead, _) = listening(url), listening(url)
    register(dead, "alice", "bob")
    node = dead._node.id
    close = begin(url, node)
    with connected(url) as connection:
        connection.execute("SET statement_timeout = 20000")
        connection.execute(
            "UPDATE node SET lease_until = now() - interval '1 s' WHERE id = %s", (node,)
        )
        assert sorted(leases.clear_dead_nodes(connection)) == ["alice", "bob"]
    assert rows(url, "SELECT id FROM node") == [store._node.id]
    close()
    for one in (store, dead):
        now(one.close())


def test_the_batch_of_a_living_node_goes_on(url: str) -> None:
    (store, _), (other, _) = listening(url), listening(url)
    close = begin(url, other._node.id)
    with connected(url) as connection:
        assert leases.clear_dead_nodes(connection) == []
    assert rows(url, f"SELECT count(*) {ADVISORY_LOCKS} AND granted") == [1]
    close()
    for one in (store, other):
        now(one.close())
