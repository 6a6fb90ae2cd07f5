"""Nodes and databases that die, hang, or are not there."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chat_protocol.stores.postgres.leases import LEASE_SECONDS
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Close, Deliver, Message
from tests.stores.postgres.nodes import Client, Node, nodes, wait_for
from tests.stores.postgres.server import PostgresServer

pytestmark = pytest.mark.postgresql


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A database server that a test may do harm to."""
    server = PostgresServer()
    yield server
    server.stop()


def test_the_users_of_a_killed_node_are_free_within_ten_seconds(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    with nodes(tmp_path, postgres.new_database(), 2) as (first, second):
        watcher = Client(second)
        watcher.log_in("watcher", presence="1")
        alice = Client(first)
        alice.log_in("alice")
        assert watcher.read().online == 1
        first.end()
        killed = time.monotonic()
        wait_for(lambda: Client(second).log_in("alice").code == Code.OK)
        assert time.monotonic() - killed < 10


def test_a_stopped_node_does_nothing_more_for_users_that_went_elsewhere(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    with nodes(tmp_path, postgres.new_database(), 2) as (first, second):
        old = Client(first)
        old.log_in("alice")
        old_1 = Client(first)
        old_1.log_in_1("carol")
        bob = Client(second)
        bob.log_in("bob")
        first.signal(signal.SIGSTOP)
        # In the kernel's buffer when the node goes on.
        old_1.send(Message("from the dead", "carol", "bob", 1))
        new, new_1 = Client(second), Client(second)
        # Few attempts: each refused login counts for the connection.
        time.sleep(LEASE_SECONDS)
        wait_for(lambda: new.log_in("alice").code == Code.OK, LEASE_SECONDS + 5, pause=0.2)
        wait_for(lambda: new_1.log_in_1("carol") == Code.OK)
        assert bob.publish(1, "to the living", "alice", "carol") == Code.OK
        assert new.read().message == "to the living"
        assert new_1.read().message == "to the living"
        first.signal(signal.SIGCONT)
        # The node may hear of the take-over before it looks at its lease.
        told = old.read()
        if told is not None:
            assert told.code == Code.REPLACED
            assert old.read() is None
        assert old_1.read() is None
        assert bob.publish(2, "still", "bob") == Code.OK
        got = bob.read()
        assert isinstance(got, Deliver)
        assert got.message == "still"
        # And it serves again, as another node.
        wait_for(lambda: Client(first).log_in("dave").code == Code.OK)


def test_a_database_that_hangs_costs_the_sessions_and_nothing_else(
    own: PostgresServer, tmp_path: Path
) -> None:
    with nodes(tmp_path, own.new_database(), 2) as (first, second):
        alice, bob = Client(first), Client(second)
        alice.log_in("alice")
        bob.log_in("bob")
        assert alice.publish(1, "1", "bob") == Code.OK
        assert bob.read().message == "1"
        own.signal(signal.SIGSTOP)
        # It cannot keep its lease: it drops its clients before anybody may take them over.
        assert alice.read() is None
        assert bob.read() is None
        own.signal(signal.SIGCONT)
        alice, bob = Client(second), Client(first)
        wait_for(lambda: alice.log_in("alice").code == Code.OK)
        wait_for(lambda: bob.log_in("bob").code == Code.OK)
        assert bob.read().message == "1"
        assert alice.publish(2, "2", "bob") == Code.OK
        assert bob.read().message == "2"


def test_a_restart_of_the_database_is_survived_by_the_sessions(
    own: PostgresServer, tmp_path: Path
) -> None:
    with nodes(tmp_path, own.new_database(), 2) as (first, second):
        alice, bob = Client(first), Client(second)
        alice.log_in("alice")
        bob.log_in("bob")
        own.kill()
        assert alice.publish(1, "1", "bob") == Code.UNAVAILABLE
        for _ in range(20):
            assert alice.publish(1, "1", "bob") == Code.UNAVAILABLE
            time.sleep(0.1)
        own.start()
        wait_for(lambda: alice.publish(2, "2", "bob") == Code.OK)
        assert bob.read().message == "2"
        wait_for(lambda: "The database answers again, after" in second.log)
        assert second.log.count("Cannot keep the lease") == 1
        assert first.log.count("The store refuses") == 1
        assert first.log.count("The store takes messages again, after") == 1


def test_sigterm_works_while_the_database_hangs(own: PostgresServer, tmp_path: Path) -> None:
    with nodes(tmp_path, own.new_database(), 1) as (node,):
        alice = Client(node)
        alice.log_in("alice")
        own.signal(signal.SIGSTOP)
        node.signal(signal.SIGTERM)
        wait_for(lambda: node.process.poll() is not None)
        assert node.process.returncode == 0
        own.signal(signal.SIGCONT)


def _refused(folder: Path, store: str) -> str:
    node = Node(folder, store)
    node.process.wait()
    assert node.process.returncode == 1
    assert "Traceback" not in node.log
    return node.log


def test_what_cannot_be_used_is_refused_with_a_sentence(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    too_new = postgres.new_database()
    with nodes(tmp_path, too_new, 1):
        pass
    with psycopg.connect(too_new) as connection:
        connection.execute("UPDATE chat.schema_version SET version = 99")
    assert "install the newer program" in _refused(tmp_path, too_new)
    latin = postgres.new_database(encoding="LATIN1")
    assert "encoding" in _refused(tmp_path, latin)
    assert "check --store" in _refused(tmp_path, "postgresql://chat@/chat?host=/nowhere")


def test_a_node_that_stops_leaves_nothing_behind(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database()
    with nodes(tmp_path, url, 1) as (node,):
        alice = Client(node)
        alice.log_in("alice")
        node.signal(signal.SIGTERM)
        closed = alice.read()
        assert isinstance(closed, Close)
        assert closed.code == Code.GOING_AWAY
        node.process.wait()
        assert node.process.returncode == 0
    with psycopg.connect(url) as connection:
        for table in ("node", "session"):
            assert connection.execute(f"SELECT count(*) FROM chat.{table}").fetchone() == (0,)
