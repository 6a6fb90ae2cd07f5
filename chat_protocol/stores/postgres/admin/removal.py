"""Finding and deleting a user and its messages in the PostgreSQL store."""

from __future__ import annotations

from typing import Any

import psycopg

from chat_protocol.errors import StoreUnusable, UserNotFound
from chat_protocol.stores.postgres.locks import EVERYONE_LOCK

__all__ = ["count_messages", "delete_user"]

_FIND = """
SELECT account.id, EXISTS (
    SELECT FROM session JOIN node ON node.id = session.node AND lease_until > clock_timestamp()
    WHERE user_id = account.id
) FROM account WHERE name = %s
"""

_MINE = """
SELECT last, conversation.count FROM peer JOIN conversation
ON low = least(user_id, peer_id) AND high = greatest(user_id, peer_id) JOIN message USING (last)
WHERE user_id = %(me)s
UNION SELECT last, count FROM message WHERE scope = 1 AND sender = %(me)s
"""

_GATHER = f"CREATE TEMPORARY TABLE mine ON COMMIT DROP AS {_MINE}"

_STAY = """
WITH others AS (
    UPDATE message SET recipients = array_remove(recipients, %(me)s)
    WHERE last IN (SELECT last FROM mine)
    AND sender <> %(me)s AND array_remove(recipients, %(me)s) <> '{}'
    RETURNING last
) DELETE FROM mine USING others WHERE mine.last = others.last
"""
"""Take the user out of the messages of other users to several, which stay."""

_REMOVE = (
    """
    WITH gone AS (
        DELETE FROM inbox USING message AS m
        WHERE inbox.last = m.last
        AND inbox.user_id = ANY(coalesce(m.recipients, ARRAY[m.recipient]))
        AND m.last IN (SELECT last FROM mine)
        RETURNING inbox.user_id, inbox.last, inbox.count
    ), counted AS (
        SELECT user_id, sum(last - greatest(last - count, position)) AS less
        FROM gone JOIN account ON id = user_id WHERE last > position GROUP BY user_id
    )
    UPDATE account SET waiting = waiting - less FROM counted WHERE id = user_id
    """,
    """
    DELETE FROM copy USING message AS m WHERE copy.user_id = m.sender
    AND copy.last = m.last AND m.last IN (SELECT last FROM mine)
    """,
    "DELETE FROM message WHERE last IN (SELECT last FROM mine)",
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
    "DELETE FROM device WHERE user_id = %(me)s",
    "DELETE FROM ended_token WHERE user_id = %(me)s",
    "DELETE FROM session WHERE user_id = %(me)s",
    "DELETE FROM account WHERE id = %(me)s",
)


def count_messages(connection: psycopg.Connection[Any], name: str) -> int:
    """Return how many messages are from a user, or to it but not to everyone."""
    user, _ = connection.execute(_FIND, (name,)).fetchone() or (0, False)
    row = connection.execute(
        f"SELECT coalesce(sum(count), 0) FROM ({_MINE}) AS m".encode(), {"me": user}
    )
    (count,) = row.fetchone() or (0,)
    return int(count)


def delete_user(connection: psycopg.Connection[Any], name: str) -> int:
    """Delete a user who is offline; return how many messages are deleted with it.

    Batches wait meanwhile, so that no locks of ``account`` are needed.

    Raises:
        UserNotFound: there is no user of that name.
        StoreUnusable: the user is online.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (EVERYONE_LOCK,))
        row = connection.execute(_FIND, (name,)).fetchone()
        if row is None:
            raise UserNotFound(f"there is no user {name}")
        user, online = row
        if online:
            raise StoreUnusable(f"{name} is logged in; that user has to log out first")
        values = {"me": user}
        connection.execute(_GATHER.encode(), values)
        connection.execute(_STAY, values)
        (count,) = connection.execute("SELECT coalesce(sum(count), 0) FROM mine").fetchone() or (0,)
        for statement in _REMOVE:
            connection.execute(statement.encode(), values)
    return int(count)
