"""Retention in the PostgreSQL store: expired messages are hidden at once and removed in steps."""

from __future__ import annotations

from typing import Any

import psycopg

from chat_protocol.stores.postgres.locks import EXPIRY_LOCK

__all__ = ["expire", "mark"]

MESSAGES = 500
"""Messages that one step removes."""

_MARK = """
INSERT INTO moment (first, time)
SELECT last_value + 1, %s FROM message_offset
WHERE last_value + 1 > (SELECT coalesce(max(first), 0) FROM moment)
ON CONFLICT DO NOTHING
"""

_BOUND = "SELECT max(first) FROM moment WHERE time <= %s"

_HIDE = "UPDATE expired SET before = %s WHERE before < %s"

_OLDEST = """
SELECT "offset", sender, coalesce(recipients, ARRAY[recipient]) FROM message
WHERE "offset" < (SELECT before FROM expired) ORDER BY "offset" LIMIT %s
"""

_LOCK_ACCOUNTS = "SELECT FROM account WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"

_CLEAR_INBOX = """
WITH gone AS (
    DELETE FROM inbox USING unnest(%s::bigint[], %s::bigint[]) AS old (user_id, "offset")
    WHERE inbox.user_id = old.user_id AND inbox."offset" = old."offset" RETURNING inbox.user_id
), counted AS (SELECT user_id, count(*) AS less FROM gone GROUP BY user_id)
UPDATE account SET waiting = waiting - less FROM counted WHERE id = user_id
"""

_CLEAR_CONVERSATIONS = """
DELETE FROM conversation USING unnest(%s::bigint[], %s::bigint[]) AS old (low, high)
WHERE conversation.low = old.low AND conversation.high = old.high AND last <= %s
"""

_DELETE_MESSAGES = 'DELETE FROM message WHERE "offset" = ANY(%s)'

_DELETE_MOMENTS = "DELETE FROM moment WHERE first < (SELECT before FROM expired)"


def mark(connection: psycopg.Connection[Any], time: int) -> None:
    """Note that all messages with the offsets given so far were stored by this time.

    Args:
        connection: in autocommit mode.
        time: nanoseconds since the epoch.
    """
    connection.execute(_MARK, (time,))


def expire(connection: psycopg.Connection[Any], before: int) -> bool:
    """Go one step: see IStore.forget. One node works at a time; for another there is no work.

    Args:
        connection: in autocommit mode.
        before: nanoseconds since the epoch.
    """
    with connection.transaction():
        row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (EXPIRY_LOCK,)).fetchone()
        if row is None or not row[0]:
            return False
        (bound,) = connection.execute(_BOUND, (before,)).fetchone() or (None,)
        if bound is not None:
            connection.execute(_HIDE, (bound, bound))
        old = connection.execute(_OLDEST, (MESSAGES,)).fetchall()
        if old:
            _remove(connection, old)
        if len(old) == MESSAGES:
            return True
        connection.execute(_DELETE_MOMENTS)
    return False


def _remove(connection: psycopg.Connection[Any], old: list[tuple[int, int, list[int]]]) -> None:
    waiting = [(user, offset) for offset, _, recipients in old for user in recipients if user]
    pairs = {
        (min(sender, user), max(sender, user))
        for _, sender, recipients in old
        for user in recipients
        if user
    }
    offsets = [offset for offset, _, _ in old]
    execute = connection.execute
    if waiting:
        users, numbers = zip(*waiting, strict=True)
        # In the order in which batches lock them.
        execute(_LOCK_ACCOUNTS, (sorted(set(users)),))
        execute(_CLEAR_INBOX, (list(users), list(numbers)))
        low, high = zip(*pairs, strict=True)
        execute(_CLEAR_CONVERSATIONS, (list(low), list(high), offsets[-1]))
    execute(_DELETE_MESSAGES, (offsets,))
