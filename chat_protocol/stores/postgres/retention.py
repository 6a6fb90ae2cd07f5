"""Forgetting in the PostgreSQL store: the oldest messages first, some hundreds in a transaction."""

from __future__ import annotations

from typing import Any

import psycopg

__all__ = ["forget", "mark"]

FORGET_LOCK = 0x43686174_00000002
"""The advisory lock of the one node that forgets."""

MESSAGES = 500
"""That are forgotten in one step."""

_MARK = """
INSERT INTO moment (first, time)
SELECT last_value + 2048, %s FROM message_block
WHERE last_value + 2048 > (SELECT coalesce(max(first), 0) FROM moment)
ON CONFLICT DO NOTHING
"""

_BOUND = "SELECT max(first) FROM moment WHERE time <= %s"

_OLDEST = """
SELECT "offset", sender, coalesce(recipients, ARRAY[recipient]) FROM message
WHERE "offset" < %s ORDER BY "offset" LIMIT %s
"""

_LOCK_ACCOUNTS = "SELECT FROM account WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"

_FORGET_WAITING = """
WITH gone AS (
    DELETE FROM inbox USING unnest(%s::bigint[], %s::bigint[]) AS old (user_id, "offset")
    WHERE inbox.user_id = old.user_id AND inbox."offset" = old."offset" RETURNING inbox.user_id
), counted AS (SELECT user_id, count(*) AS less FROM gone GROUP BY user_id)
UPDATE account SET waiting = waiting - less FROM counted WHERE id = user_id
"""

_FORGET_CONVERSATIONS = """
DELETE FROM conversation USING unnest(%s::bigint[], %s::bigint[]) AS old (low, high)
WHERE conversation.low = old.low AND conversation.high = old.high AND last <= %s
"""

_FORGET_MESSAGES = 'DELETE FROM message WHERE "offset" = ANY(%s)'

_FORGET_MOMENTS = "DELETE FROM moment WHERE first < %s"


def mark(connection: psycopg.Connection[Any], time: int) -> None:
    """Have it known that what has an offset by now was stored by this time.

    Args:
        connection: committing by itself.
        time: in nanoseconds since the epoch.
    """
    connection.execute(_MARK, (time,))


def forget(connection: psycopg.Connection[Any], before: int) -> bool:
    """Go one step: see IStore; of several nodes one does, and the others are done at once.

    The rows of ``account`` are locked as a batch locks them, in the order of their ids.
    """
    with connection.transaction():
        row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (FORGET_LOCK,)).fetchone()
        if row is None or not row[0]:
            return False
        (bound,) = connection.execute(_BOUND, (before,)).fetchone() or (None,)
        if bound is None:
            return False
        old = connection.execute(_OLDEST, (bound, MESSAGES)).fetchall()
        if old:
            _forget(connection, old)
        if len(old) == MESSAGES:
            return True
        connection.execute(_FORGET_MOMENTS, (bound,))
    return False


def _forget(connection: psycopg.Connection[Any], old: list[tuple[int, int, list[int]]]) -> None:
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
        execute(_LOCK_ACCOUNTS, (sorted(set(users)),))
        execute(_FORGET_WAITING, (list(users), list(numbers)))
        low, high = zip(*pairs, strict=True)
        execute(_FORGET_CONVERSATIONS, (list(low), list(high), offsets[-1]))
    execute(_FORGET_MESSAGES, (offsets,))
