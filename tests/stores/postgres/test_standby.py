"""A commit that waits for a synchronous standby, when that wait is interrupted."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from chat_protocol.stores.postgres.store import PostgresStore
from tests.stores.conftest import ImmediateWorker, StillReactor
from tests.stores.helpers import commit, now, page, register, run, texts
from tests.stores.postgres.server import PostgresServer
from tests.stores.postgres.standby import INTERRUPTIONS, Standby

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def standby() -> Iterator[tuple[str, Standby]]:
    primary = PostgresServer(fsync=True)
    try:
        url = primary.new_database()
        standby = Standby(primary)
        try:
            yield url, standby
        finally:
            standby.stop()
    finally:
        primary.stop()


@pytest.mark.usefixtures("long_lease")
@pytest.mark.parametrize("function", INTERRUPTIONS)
def test_ok_waits_for_the_standby_though_the_wait_is_interrupted(
    standby: tuple[str, Standby], function: str
) -> None:
    url, other = standby
    worker = ImmediateWorker()
    store = PostgresStore(url, 0, StillReactor(), worker, worker)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    before = len(texts(page(store, bob)))
    other.signal(signal.SIGSTOP)
    sending = threading.Thread(target=commit, args=(store, run(alice, bob, "hi")))
    try:
        sending.start()
        for _ in range(3):
            time.sleep(0.3)
            # What settles the first commit waits as well.
            assert other.interrupt(function) == 1
            sending.join(0.3)
            assert sending.is_alive(), "it is not on the standby"
    finally:
        other.signal(signal.SIGCONT)
        sending.join(30)
    assert not sending.is_alive()
    assert len(texts(page(store, bob))) == before + 1
    now(store.close())


@pytest.mark.usefixtures("long_lease")
def test_defaults_of_the_role_do_not_concern_the_store(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    database = url.partition("?")[0].rpartition("/")[2]
    settings = {
        "default_transaction_isolation": "'repeatable read'",
        "default_transaction_read_only": "on",
        "statement_timeout": "1",
        "lock_timeout": "1",
        "synchronous_commit": "off",
        "idle_session_timeout": "50",
    }
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER DATABASE {database} SET {name} = {value}".encode())
    worker = ImmediateWorker()
    store = PostgresStore(url, 0, StillReactor(), worker, worker)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    time.sleep(0.1)
    commit(store, run(alice, bob, "hi"))
    assert texts(page(store, bob)) == ["hi"]
    found = store._connections.get("batches").execute(
        "SELECT current_setting('transaction_isolation'), current_setting('synchronous_commit')"
    )
    assert found.fetchone() == ("read committed", "on")
    now(store.close())
