"""Sessions and nodes in PostgreSQL: who may log in, and who is still there.

A user's session is the row that names a node; it is free when that node's lease has run out. The
clock is the database's. A node that has not renewed its lease for two thirds of it, by its own
monotonic clock, stops serving: before another can take its users.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import psycopg

from chat_protocol.domain.batch import Registration
from chat_protocol.errors import Unavailable
from chat_protocol.stores.postgres.database import EVERYONE_LOCK, NODE_LOCKS

__all__ = [
    "LEASE_SECONDS",
    "Taken",
    "clear_dead_nodes",
    "count_users",
    "forget",
    "join",
    "leave",
    "register",
    "renew",
    "waiting_for",
]

LEASE_SECONDS = 8
"""So long after the last sign of life of a node its users can be taken over."""

_LAST_OFFSET = 'SELECT greatest(coalesce(max("offset"), 0), 0) FROM message WHERE scope = 1'

_INSERT_ACCOUNTS = f"""
INSERT INTO account (name, last_login, registered, seen)
SELECT name, time, last, last FROM unnest(%s::text[], %s::bigint[]) AS n (name, time),
    ({_LAST_OFFSET}) AS l (last)
ORDER BY name ON CONFLICT DO NOTHING
"""

_LOCK_ACCOUNTS = """
SELECT name, id FROM account WHERE name = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""

_HOLDERS = """
SELECT user_id, session.node, number, token, node.id IS NOT NULL
FROM session LEFT JOIN node ON node.id = node AND lease_until > clock_timestamp()
WHERE user_id = ANY(%s)
"""

_TAKE_SESSIONS = """
INSERT INTO session (user_id, node, number, token)
SELECT id, %s, nextval('session_number'), token
FROM unnest(%s::bigint[], %s::text[]) AS t (id, token)
ON CONFLICT (user_id) DO UPDATE
SET node = excluded.node, number = excluded.number, token = excluded.token
RETURNING user_id, number
"""

_LOGINS = """
UPDATE account SET last_login = time FROM unnest(%s::bigint[], %s::bigint[]) AS t (id, time)
WHERE account.id = t.id
"""


_COUNT = """
SELECT CASE WHEN reltuples < 100000 THEN (SELECT count(*) FROM account) ELSE reltuples::bigint END
FROM pg_class WHERE oid = 'account'::regclass
"""


class Taken(dict[int, list[tuple[int, int]]]):
    """Sessions that were taken from other nodes: by node, user id and number."""

    new = 0
    """Users that were not known before."""


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest() if token else ""


def register(
    connection: psycopg.Connection[Any], node: int, registrations: Sequence[Registration]
) -> Taken:
    """Carry out logins, in a transaction of their own.

    ``user_id`` of each is filled in, and ``number`` where the session is its.

    Raises:
        Unavailable: this node's lease has run out.
        psycopg.Error: none of it is stored, or it is not known.
    """
    names = sorted({one.name for one in registrations})
    suspects: set[int] = set()
    while True:
        with connection.transaction():
            taken, missed = _register(connection, node, registrations, names, suspects)
        if not missed:
            return taken
        suspects |= missed


def _register(
    connection: psycopg.Connection[Any],
    node: int,
    registrations: Sequence[Registration],
    names: list[str],
    suspects: set[int],
) -> tuple[Taken, set[int]]:
    """Sessions taken, or the nodes whose locks are needed for that and were not held."""
    execute = connection.execute
    execute("SELECT pg_advisory_xact_lock_shared(%s)", (EVERYONE_LOCK,))
    for other in sorted(suspects):
        execute("SELECT pg_advisory_xact_lock(%s, %s)", (NODE_LOCKS, other))
    alive = execute(
        "SELECT 1 FROM node WHERE id = %s AND lease_until > clock_timestamp()", (node,)
    ).fetchone()
    if alive is None:
        raise Unavailable("this node has lost its lease")
    known = dict(execute("SELECT name, id FROM account WHERE name = ANY(%s)", (names,)).fetchall())
    new = {one.name: one.when for one in registrations if one.name not in known}
    if new:
        execute(_INSERT_ACCOUNTS, (list(new), list(new.values())))
    ids = dict(execute(_LOCK_ACCOUNTS, (names,)).fetchall())
    holders = {row[0]: row[1:] for row in execute(_HOLDERS, (list(ids.values()),)).fetchall()}
    winners: dict[int, Registration] = {}
    taken = Taken()
    taken.new = len(new)
    missed: set[int] = set()
    for one in registrations:
        one.user_id = ids[one.name]
        one.number = 0
        holder = holders.get(one.user_id)
        if one.user_id in winners or not _may_take(one, node, holder):
            continue
        winners[one.user_id] = one
        if holder is not None and holder[0] != node:
            if holder[0] not in suspects:
                missed.add(holder[0])
            taken.setdefault(holder[0], []).append((one.user_id, holder[1]))
    if missed:
        return taken, missed
    if winners:
        order = sorted(winners)
        execute(_LOGINS, (order, [winners[user_id].when for user_id in order]))
        rows = execute(
            _TAKE_SESSIONS, (node, order, [_hash(winners[user_id].token) for user_id in order])
        )
        for user_id, number in rows.fetchall():
            winners[user_id].number = number
    return taken, missed


def _may_take(one: Registration, node: int, holder: tuple[int, int, str, bool] | None) -> bool:
    """Whether nobody has the session, or its node is gone, or its token was shown."""
    if holder is None:
        return True
    where, _, token, alive = holder
    if where == node:
        # Not at this node, which would know: it is over and about to be let go.
        return True
    shown = _hash(one.shown)
    return not alive or bool(token and hmac.compare_digest(token, shown))


def count_users(connection: psycopg.Connection[Any]) -> int:
    """How many users there are; of very many an estimate."""
    row = connection.execute(_COUNT).fetchone()
    return int(row[0]) if row is not None else 0


# Nodes.


def join(connection: psycopg.Connection[Any]) -> int:
    """Become a node, with a lease; its id."""
    row = connection.execute(
        "INSERT INTO node (lease_until) VALUES (now() + make_interval(secs => %s)) RETURNING id",
        (LEASE_SECONDS,),
    ).fetchone()
    assert row is not None
    return int(row[0])


def renew(connection: psycopg.Connection[Any], node: int) -> bool:
    """Renew a lease; False if it has run out."""
    cursor = connection.execute(
        "UPDATE node SET lease_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE id = %s AND lease_until > clock_timestamp()",
        (LEASE_SECONDS, node),
    )
    return cursor.rowcount == 1


def leave(connection: psycopg.Connection[Any], node: int) -> None:
    """Be a node no more."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (NODE_LOCKS, node))
        connection.execute("DELETE FROM session WHERE node = %s", (node,))
        connection.execute("DELETE FROM node WHERE id = %s", (node,))


def forget(connection: psycopg.Connection[Any], node: int, user_ids: Sequence[int]) -> None:
    """Let go of sessions of which it is not known whether they were taken."""
    connection.execute(
        "DELETE FROM session WHERE node = %s AND user_id = ANY(%s)", (node, list(user_ids))
    )


def clear_dead_nodes(connection: psycopg.Connection[Any]) -> list[str]:
    """Take the sessions from nodes whose lease has run out; the names of their users."""
    dead = connection.execute(
        "SELECT id FROM node WHERE lease_until < clock_timestamp() ORDER BY id"
    ).fetchall()
    names: list[str] = []
    for (node,) in dead:
        with connection.transaction():
            # What the node is storing just now is stored before it loses the right to.
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (NODE_LOCKS, node))
            gone = connection.execute(
                "DELETE FROM node WHERE id = %s AND lease_until < clock_timestamp()", (node,)
            )
            if gone.rowcount:
                rows = connection.execute(
                    "WITH gone AS (DELETE FROM session WHERE node = %s RETURNING user_id)"
                    " SELECT name FROM gone JOIN account ON id = user_id",
                    (node,),
                )
                names += [name for (name,) in rows.fetchall()]
    return names


def waiting_for(connection: psycopg.Connection[Any], node: int) -> tuple[list[int], int]:
    """The users of a node for whom something waits, and the last offset of a message to all."""
    users = connection.execute(
        "SELECT user_id FROM session WHERE node = %s"
        " AND EXISTS (SELECT FROM inbox WHERE inbox.user_id = session.user_id)",
        (node,),
    ).fetchall()
    row = connection.execute(
        'SELECT coalesce(max("offset"), 0) FROM message WHERE scope = 1'
    ).fetchone()
    return [user_id for (user_id,) in users], row[0] if row is not None else 0
