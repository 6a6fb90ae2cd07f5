"""Databases of older versions.

version1.sql and version3.sql were written by the last versions with these schemas. version3.json
has the mailboxes that the latter had, by user and device: the ids of both, and the messages.
"""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from chat_protocol.domain.queries import Account, Page
from chat_protocol.errors import StoreUnusable
from chat_protocol.stores.postgres.admin.admin import PostgresAdmin
from chat_protocol.wire.codes import Code
from tests.stores.helpers import (
    account,
    commit,
    conversation,
    page,
    publication,
    register,
    run,
    singles,
    texts,
)
from tests.stores.helpers import now as result
from tests.stores.postgres.server import PostgresServer
from tests.stores.postgres.stores import connected, opened, rows

pytestmark = pytest.mark.postgresql

NUMBERS = [str(number) for number in range(30)]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """A database with schema 1."""
    url = postgres.new_database()
    with connected(url) as connection:
        connection.execute(Path(__file__).with_name("version1.sql").read_bytes())
    return url


def test_all_that_was_stored_is_there(url: str) -> None:
    store = opened(url)
    assert store.registered == 5
    alice, bob, carol, dave, erin = register(store, "alice", "bob", "carol", "däve", "erin")
    assert [user.id for user in (alice, bob, carol, dave, erin)] == [1, 2, 3, 4, 5]
    assert texts(page(store, alice)) == ["a12", "b max", "b over", "b top", "all 2"]
    assert texts(page(store, bob)) == [
        *("a4", "a5", "a6", "a12", "c top", "all 1", "all 2", "all 3", "all 4")
    ]
    assert texts(page(store, dave)) == [
        *("a9", "a12", "", "x\0y\n☃", *NUMBERS, "all 1", "all 3", "all 4")
    ]
    assert texts(page(store, erin)) == ["all 3", "all 4"]
    # It was given back behind the position, so the position is before it again.
    assert texts(page(store, carol)) == ["given back", "all 4"]
    assert [account(store, user)[1] for user in (alice, bob, carol, dave, erin)] == [5, 9, 2, 37, 2]
    assert conversation(store, alice, bob) == [
        *("a1", "a2", "a3", "a4", "a5", "a6", "a12", "b max", "b over", "b top", "all 1"),
        *("all 3", "all 4"),
    ]
    to_bob = singles(page(store, bob).entries)
    assert {message.device for message in to_bob} == {""}
    assert to_bob[3].to == ("bob", "däve", "alice")
    assert singles(page(store, dave).entries)[3].time == 2**64 - 1
    # Offsets go on above all that were given.
    sent = run(alice, erin, "new")
    commit(store, sent)
    assert sent.offset > rows(url, "SELECT max(last) FROM message WHERE scope = 1")[0]
    assert texts(page(store, erin)) == ["all 3", "all 4", "new"]
    result(store.close())
    assert PostgresAdmin(url).check().faults == []


def test_devices_have_what_they_had(postgres: PostgresServer) -> None:
    """With positions of devices, and copies of what was sent from the others."""
    url = postgres.new_database()
    with connected(url) as connection:
        connection.execute(Path(__file__).with_name("version3.sql").read_bytes())
    assert rows(url, "SELECT count(*) > 9 FROM chat.copy") == [True]
    store = opened(url, 12)
    mailboxes = json.loads(Path(__file__).with_name("version3.json").read_text())
    for user_id, device_id, messages in mailboxes.values():
        asked, account = Page(user_id, 0, 1000, 1 << 20, device_id), Account(user_id, device_id)
        result(store.read([asked, account]))
        found = singles(asked.entries)
        assert [
            f"{one.sender}{one.device!r}>{','.join(one.to)} {one.text}" for one in found
        ] == messages
        assert account.pending == len(messages)
    result(store.close())
    assert PostgresAdmin(url).check().faults == []


def test_publishing_ids_are_ranges_and_only_valid_ones(url: str) -> None:
    store = opened(url)
    alice, bob, carol = register(store, "alice", "bob", "carol")
    assert rows(url, "SELECT * FROM publishing ORDER BY user_id, first") == [
        (1, 0, 1, 7),
        (1, 0, 9, 9),
        (1, 0, 12, 12),
        (2, 0, 2**63 - 1, 2**63 - 1),
    ]
    assert [account(store, user)[0] for user in (alice, bob, carol)] == [12, 2**63 - 1, 0]
    again = [publication(alice, "again", bob, id_=id_) for id_ in (1, 7, 8, 9, 10, 12, 13)]
    top = publication(bob, "again", alice, id_=2**63 - 1)
    first = publication(carol, "first", alice, id_=1)
    commit(store, *again, top, first)
    stored = (Code.OK, 0)
    assert [(one.refusal, one.offset) for one in again[:6]] == [
        *(stored, stored, (Code.OUT_OF_ORDER, 0), stored, (Code.OUT_OF_ORDER, 0), stored)
    ]
    assert again[6].offset > 0
    assert (top.accepted, top.offset) == (1, 0)
    assert first.offset > 0
    result(store.close())


def test_sessions_and_nodes_of_the_old_version_are_gone(url: str) -> None:
    store = opened(url)
    assert rows(url, "SELECT count(*) FROM session") == [0]
    assert rows(url, "SELECT schema FROM node") == [4]
    result(store.close())


def test_a_running_server_of_the_old_version_prevents_the_upgrade(url: str) -> None:
    with connected(url) as connection:
        connection.execute("UPDATE node SET lease_until = now() + interval '1 hour'")
    with pytest.raises(StoreUnusable, match=r"servers of an older version \(1\) use the"):
        opened(url)
    assert rows(url, "SELECT version FROM schema_version") == [1]
    assert rows(url, "SELECT count(*) FROM session") == [5]


def test_a_failed_upgrade_changes_nothing(url: str) -> None:
    with connected(url) as connection:
        # The last table that the upgrade creates.
        connection.execute("CREATE TABLE entry (x integer)")
    with pytest.raises(StoreUnusable, match='relation "entry" already exists'):
        opened(url)
    assert rows(url, "SELECT version FROM schema_version") == [1]
    assert rows(url, "SELECT count(id) FROM publishing") == [13]
    with connected(url) as connection:
        connection.execute("DROP TABLE entry")
    result(opened(url).close())
    assert rows(url, "SELECT version FROM schema_version") == [4]


def test_an_old_server_cannot_join_the_new_schema(url: str) -> None:
    store = opened(url)
    # As the version with schema 1 joins, when its lease has run out.
    join = "INSERT INTO node (lease_until) VALUES (now() + make_interval(secs => 8)) RETURNING id"
    with connected(url) as connection, pytest.raises(psycopg.errors.NotNullViolation):
        connection.execute(join)
    result(store.close())


def test_a_server_cannot_join_a_newer_schema(url: str) -> None:
    store = opened(url)
    with connected(url) as connection:
        connection.execute("UPDATE schema_version SET version = version + 1")
    with pytest.raises(StoreUnusable, match="install that version here"):
        store._node._join()
    with pytest.raises(StoreUnusable, match="install the newer program"):
        opened(url)
    result(store.close())


def test_the_schema_of_a_new_database_is_that_of_an_upgraded_one(
    url: str, postgres: PostgresServer
) -> None:
    new = postgres.new_database()
    query = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'chat' ORDER BY 1, ordinal_position
    """
    found = []
    for database in (url, new):
        result(opened(database).close())
        found.append(rows(database, query))
    assert found[0] == found[1]
