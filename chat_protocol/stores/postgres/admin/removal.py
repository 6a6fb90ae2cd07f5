"""A user and its messages, found and removed in the PostgreSQL store."""

from __future__ import annotations

from typing import Any

import psycopg

from chat_protocol.errors import StoreUnusable, UserNotFound
from chat_protocol.stores.postgres.database import EVERYONE_LOCK

__all__ = ["count_messages", "remove_user"]

_FIND = """
SELECT account.id, node.id IS NOT NULL FROM account
LEFT JOIN session ON user_id = account.id
LEFT JOIN node ON node.id = session.node AND lease_until > clock_timestamp()
WHERE name = %s
"""

_MINE = """
SELECT message."offset" FROM message JOIN (
    SELECT generate_series(last - count + 1, last) AS "offset" FROM peer JOIN conversation
    ON low = least(user_id, peer_id) AND high = greatest(user_id, peer_id) WHERE user_id = %(me)s
) AS talk USING ("offset")
UNION SELECT "offset" FROM message WHERE scope = 1 AND sender = %(me)s
"""

_GATHER = f"CREATE TEMPORARY TABLE mine ON COMMIT DROP AS {_MINE}"

_STAY = """
WITH others AS (
    UPDATE message SET recipients = array_remove(recipients, %(me)s)
    WHERE "offset" IN (SELECT "offset" FROM mine)
    AND sender <> %(me)s AND array_remove(recipients, %(me)s) <> '{}'
    RETURNING "offset"
) DELETE FROM mine USING others WHERE mine."offset" = others."offset"
"""
"""Messages of others to several: without this name."""

_REMOVE = (
    """
    WITH gone AS (
        DELETE FROM inbox USING message AS m
        WHERE inbox."offset" = m."offset"
        AND inbox.user_id = ANY(coalesce(m.recipients, ARRAY[m.recipient]))
        AND m."offset" IN (SELECT "offset" FROM mine) RETURNING inbox.user_id
    ), counted AS (SELECT user_id, count(*) AS less FROM gone GROUP BY user_id)
    UPDATE account SET waiting = waiting - less FROM counted WHERE id = user_id
    """,
    """DELETE FROM message WHERE "offset" IN (SELECT "offset" FROM mine)""",
    """
    DELETE FROM conversation USING peer WHERE user_id = %(me)s
    AND low = least(user_id, peer_id) AND high = greatest(user_id, peer_id)
    """,
    """
    DELETE FROM peer USING peer AS mine WHERE mine.user_id = %(me)s
    AND peer.user_id = mine.peer_id AND peer.peer_id = mine.user_id
    """,
    "DELETE FROM peer WHERE user_id = %(me)s",
    "DELETE FROM inbox WHERE user_id = %(me)s",
    "DELETE FROM publishing WHERE user_id = %(me)s",
    "DELETE FROM session WHERE user_id = %(me)s",
    "DELETE FROM account WHERE id = %(me)s",
)


def count_messages(connection: psycopg.Connection[Any], name: str) -> int:
    """How many messages are from or to a user, but not to everyone from another."""
    user, _ = connection.execute(_FIND, (name,)).fetchone() or (0, False)
    row = connection.execute(f"SELECT count(*) FROM ({_MINE}) AS m".encode(), {"me": user})
    (count,) = row.fetchone() or (0,)
    return int(count)


def remove_user(connection: psycopg.Connection[Any], name: str) -> int:
    """Remove a user who is not logged in; how many messages go.

    Batches wait until it is done: so nobody writes to that user meanwhile, and no locks of
    ``account`` are needed.

    Raises:
        UserNotFound: there is none of that name.
        StoreUnusable: the user is logged in.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (EVERYONE_LOCK,))
        row = connection.execute(_FIND, (name,)).fetchone()
        if row is None:
            raise UserNotFound(f"there is no user {name}")
        user, online = row
        if online:
            raise StoreUnusable(f"{name} is logged in; have that user leave first")
        values = {"me": user}
        connection.execute(_GATHER.encode(), values)
        connection.execute(_STAY, values)
        (count,) = connection.execute("SELECT count(*) FROM mine").fetchone() or (0,)
        for statement in _REMOVE:
            connection.execute(statement.encode(), values)
    return int(count)
