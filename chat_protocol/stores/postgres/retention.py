"""Retention in the PostgreSQL store: expired messages are hidden at once and removed in steps."""

from __future__ import annotations

from typing import Any

import psycopg

from chat_protocol.stores.postgres.locks import EXPIRY_LOCK

__all__ = ["BOUND", "database_time", "expire", "mark"]

ENTRIES = 200
"""Rows of ``message`` that one step removes."""

_MARK = """
INSERT INTO moment (first, time)
SELECT last_value + 1, greatest(%s, (SELECT max(time) FROM moment)) FROM message_offset
WHERE last_value + 1 > (SELECT coalesce(max(first), 0) FROM moment)
ON CONFLICT DO NOTHING
"""

# A mark whose time is below that of an earlier one, which older versions wrote, counts for nothing.
BOUND = """
SELECT max(first) FROM moment
WHERE first < coalesce((SELECT min(first) FROM moment WHERE time > %s), 9223372036854775807)
"""
"""Query for an offset: messages with lower ones were stored by a time."""

_BEHIND = "SELECT coalesce(max(time), 0) - %s FROM moment"

_TIME = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"

_HIDE = "UPDATE expired SET before = %s WHERE before < %s"

_OLDEST = """
SELECT last, sender, coalesce(recipients, ARRAY[recipient]) FROM message
WHERE last < (SELECT before FROM expired) ORDER BY last LIMIT %s
"""

_LOCK_ACCOUNTS = "SELECT FROM account WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"

_CLEAR_INBOX = """
WITH gone AS (
    DELETE FROM inbox USING unnest(%s::bigint[], %s::bigint[]) AS old (user_id, last)
    WHERE inbox.user_id = old.user_id AND inbox.last = old.last
    RETURNING inbox.user_id, inbox.last, inbox.count
), counted AS (
    SELECT user_id, sum(last - greatest(last - count, position)) AS less
    FROM gone JOIN account ON id = user_id WHERE last > position GROUP BY user_id
)
UPDATE account SET waiting = waiting - less FROM counted WHERE id = user_id
"""

_CLEAR_CONVERSATIONS = """
DELETE FROM conversation USING unnest(%s::bigint[], %s::bigint[]) AS old (low, high)
WHERE conversation.low = old.low AND conversation.high = old.high AND last <= %s
"""

_CLEAR_COPIES = """
DELETE FROM copy USING unnest(%s::bigint[], %s::bigint[]) AS old (user_id, last)
WHERE copy.user_id = old.user_id AND copy.last = old.last
"""

_DELETE_MESSAGES = "DELETE FROM message WHERE last = ANY(%s)"

_DELETE_MOMENTS = "DELETE FROM moment WHERE first < (SELECT before FROM expired)"


def database_time(connection: psycopg.Connection[Any]) -> int:
    """Return the time by the clock of the database, in nanoseconds since the epoch.

    Marks and expiry go by that clock alone: the clocks of the nodes may differ.
    """
    (time,) = connection.execute(_TIME).fetchone() or (0,)
    return int(time)


def mark(connection: psycopg.Connection[Any], time: int) -> int:
    """Note that all messages with the offsets given so far were stored by this time.

    Times of marks never decrease: see domain/time_marks.py.

    Args:
        connection: in autocommit mode.
        time: nanoseconds since the epoch, by the clock of the database.

    Returns:
        By how many nanoseconds that is behind the last mark; 0 or less if it is not.
    """
    (behind,) = connection.execute(_BEHIND, (time,)).fetchone() or (0,)
    connection.execute(_MARK, (time,))
    return int(behind)


def expire(connection: psycopg.Connection[Any], before: int) -> bool:
    """Go one step: see IStore.forget. One node works at a time; for another there is no work.

    Args:
        connection: in autocommit mode.
        before: nanoseconds since the epoch, by the clock of the database.
    """
    with connection.transaction():
        row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (EXPIRY_LOCK,)).fetchone()
        if row is None or not row[0]:
            return False
        (bound,) = connection.execute(BOUND, (before,)).fetchone() or (None,)
        if bound is not None:
            connection.execute(_HIDE, (bound, bound))
        old = connection.execute(_OLDEST, (ENTRIES,)).fetchall()
        if old:
            _remove(connection, old)
        if len(old) == ENTRIES:
            return True
        connection.execute(_DELETE_MOMENTS)
    return False


def _remove(connection: psycopg.Connection[Any], old: list[tuple[int, int, list[int]]]) -> None:
    waiting = [(user, last) for last, _, recipients in old for user in recipients if user]
    pairs = {
        (min(sender, user), max(sender, user))
        for _, sender, recipients in old
        for user in recipients
        if user
    }
    lasts = [last for last, _, _ in old]
    execute = connection.execute
    if waiting:
        users, their_lasts = zip(*waiting, strict=True)
        # In the order in which batches lock them.
        execute(_LOCK_ACCOUNTS, (sorted(set(users)),))
        execute(_CLEAR_INBOX, (list(users), list(their_lasts)))
        low, high = zip(*pairs, strict=True)
        execute(_CLEAR_CONVERSATIONS, (list(low), list(high), lasts[-1]))
    execute(_CLEAR_COPIES, ([sender for _, sender, _ in old], lasts))
    execute(_DELETE_MESSAGES, (lasts,))
