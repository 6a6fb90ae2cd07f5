"""The leases of nodes in PostgreSQL.

The row of a session names a node. The session is over when the lease of that node has run out, by
the clock of the database. A node that has not renewed its lease for two thirds of it, by its own
monotonic clock, stops serving: before another node can take its users.
"""

from __future__ import annotations

from typing import Any

import psycopg

from chat_protocol.errors import StoreUnusable
from chat_protocol.stores.postgres.locks import NODE_LOCKS
from chat_protocol.stores.postgres.upgrade import SCHEMA_VERSION

__all__ = [
    "LEASE_SECONDS",
    "clear_dead_nodes",
    "count_users",
    "join",
    "leave",
    "lock",
    "renew",
    "waiting",
]

LEASE_SECONDS = 8
"""How long after the last renewal of a lease the users of the node can log in elsewhere."""

_JOIN = """
INSERT INTO node (lease_until, schema)
SELECT clock_timestamp() + make_interval(secs => %s), version FROM schema_version
WHERE version = %s RETURNING id
"""

_RENEW = """
UPDATE node SET lease_until = clock_timestamp() + make_interval(secs => %s)
WHERE id = %s AND lease_until > clock_timestamp()
"""

# One that waits for standbys has committed already, and would be visible before it is replicated.
_END_TRANSACTIONS = """
SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid::bigint = %s AND objid::bigint = %s AND objsubid = 2
AND mode = 'ShareLock' AND granted AND datname = current_database()
AND wait_event IS DISTINCT FROM 'SyncRep'
"""

_CLEAR_SESSIONS = """
WITH gone AS (DELETE FROM session WHERE node = %s RETURNING user_id, node, device)
SELECT DISTINCT name FROM gone JOIN account ON id = gone.user_id
WHERE left(gone.device, 1) <> ' ' AND NOT EXISTS (
    SELECT FROM session WHERE session.user_id = gone.user_id AND session.node <> gone.node
    AND left(session.device, 1) <> ' '
)
"""

_COUNT = """
SELECT CASE WHEN reltuples < 100000 THEN (SELECT count(*) FROM account) ELSE reltuples::bigint END
FROM pg_class WHERE oid = 'account'::regclass
"""

_WAITING = """
SELECT DISTINCT session.user_id FROM session JOIN account ON account.id = session.user_id
WHERE node = %s AND (waiting > 0 OR account.device IS NULL AND EXISTS (
    SELECT FROM device WHERE device.user_id = session.user_id AND device.id = session.device_id
    AND (
        EXISTS (SELECT FROM inbox WHERE user_id = device.user_id AND last > position)
        OR EXISTS (SELECT FROM copy WHERE user_id = device.user_id AND last > position)
    )
))
"""

_LAST_TO_EVERYONE = "SELECT coalesce(max(last), 0) FROM message WHERE scope = 1"


def join(connection: psycopg.Connection[Any]) -> int:
    """Become a node, with a lease; return the id of the node.

    Raises:
        StoreUnusable: the schema is no longer the one that this program knows.
    """
    row = connection.execute(_JOIN, (LEASE_SECONDS, SCHEMA_VERSION)).fetchone()
    if row is None:
        raise StoreUnusable(
            "a server of another version has upgraded the database; install that version here"
        )
    return int(row[0])


def renew(connection: psycopg.Connection[Any], node: int) -> bool:
    """Renew a lease; return False if it has run out."""
    return connection.execute(_RENEW, (LEASE_SECONDS, node)).rowcount == 1


def lock(connection: psycopg.Connection[Any], node: int) -> None:
    """Take the lock of a node that has lost its lease or its connection, in a transaction.

    The batch that the node was storing is ended: nothing else would end it if the process is
    suspended, for PostgreSQL may be waiting for the rest of the batch without any timeout. When
    this call returns, the batch is either committed, or never will be.
    """
    connection.execute(_END_TRANSACTIONS, (NODE_LOCKS, node))
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (NODE_LOCKS, node))


def leave(connection: psycopg.Connection[Any], node: int) -> None:
    """Remove a node and its sessions."""
    with connection.transaction():
        lock(connection, node)
        connection.execute("DELETE FROM session WHERE node = %s", (node,))
        connection.execute("DELETE FROM node WHERE id = %s", (node,))


def clear_dead_nodes(connection: psycopg.Connection[Any]) -> list[str]:
    """Remove nodes whose lease has run out, and their sessions; return the names of the users."""
    dead = connection.execute(
        "SELECT id FROM node WHERE lease_until < clock_timestamp() ORDER BY id"
    ).fetchall()
    names: list[str] = []
    for (node,) in dead:
        with connection.transaction():
            lock(connection, node)
            gone = connection.execute(
                "DELETE FROM node WHERE id = %s AND lease_until < clock_timestamp()", (node,)
            )
            if gone.rowcount:
                rows = connection.execute(_CLEAR_SESSIONS, (node,)).fetchall()
                names += [name for (name,) in rows]
    return names


def count_users(connection: psycopg.Connection[Any]) -> int:
    """Return how many users there are; above 100,000 an estimate."""
    row = connection.execute(_COUNT).fetchone()
    return int(row[0]) if row is not None else 0


def waiting(connection: psycopg.Connection[Any], node: int) -> tuple[list[int], int]:
    """Return the users of a node that have mail, and the last offset of a message to everyone."""
    users = connection.execute(_WAITING, (node,)).fetchall()
    row = connection.execute(_LAST_TO_EVERYONE).fetchone()
    return [user_id for (user_id,) in users], row[0] if row is not None else 0
