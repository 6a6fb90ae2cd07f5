"""Care for the PostgreSQL store, beside its servers, but for what PostgreSQL's own tools do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg
from psycopg.conninfo import conninfo_to_dict

from chat_protocol.errors import StoreUnusable, UserNotFound
from chat_protocol.stores.admin import Findings, Statistics, UserRecord
from chat_protocol.stores.postgres.admin import removal
from chat_protocol.stores.postgres.connect import SCHEMA, SCHEMA_VERSION, connect
from chat_protocol.stores.postgres.database import reason
from chat_protocol.stores.postgres.retention import FORGET_LOCK, forget, mark

__all__ = ["PostgresCaretaker"]

_USERS = """
SELECT name, last_login, waiting + (
    SELECT count(*) FROM message WHERE scope = 1 AND sender <> account.id AND "offset" > seen
) FROM account
"""

_STATISTICS = f"""
SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM message),
    (SELECT count(*) FROM inbox), coalesce((
        SELECT time FROM moment WHERE first <= (SELECT min("offset") FROM message)
        ORDER BY first DESC LIMIT 1
    ), 0), (
        SELECT sum(pg_total_relation_size(oid)) FROM pg_class
        WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind IN ('r', 'S')
    )
"""

_NUMBER_ABOVE = """
SELECT setval('message_block', greatest(last_value, %s)) FROM message_block
"""

_OLD = """
SELECT count(*) FROM message WHERE "offset" < (SELECT max(first) FROM moment WHERE time <= %s)
"""

_PAIRS = """
SELECT "offset", least(sender, user_id) AS low, greatest(sender, user_id) AS high, user_id
FROM message CROSS JOIN LATERAL unnest(coalesce(recipients, ARRAY[recipient])) AS to_ (user_id)
WHERE scope = 0
"""

_CHECKS = (
    (
        "message {0} is from a user {1}, whom there is not",
        """SELECT "offset", sender FROM message LEFT JOIN account ON account.id = sender
        WHERE account.id IS NULL""",
    ),
    (
        "message {0} is to a user {1}, whom there is not",
        f"""SELECT "offset", user_id FROM ({_PAIRS}) AS p LEFT JOIN account ON account.id = user_id
        WHERE account.id IS NULL""",
    ),
    (
        "message {0} waits for {1!a}, and is not there",
        f"""SELECT inbox."offset", coalesce(name, inbox.user_id::text) FROM inbox
        LEFT JOIN account ON account.id = inbox.user_id
        LEFT JOIN ({_PAIRS}) AS p ON p."offset" = inbox."offset" AND p.user_id = inbox.user_id
        WHERE p."offset" IS NULL OR account.id IS NULL""",
    ),
    (
        "{1} messages wait for {0!a}, who is said to have {2}",
        """SELECT name, coalesce(n, 0), waiting FROM account LEFT JOIN (
            SELECT user_id, count(*) AS n FROM inbox GROUP BY user_id
        ) AS i ON user_id = account.id WHERE waiting <> coalesce(n, 0)""",
    ),
    (
        "message {0} is in no conversation",
        f"""SELECT p."offset" FROM ({_PAIRS}) AS p WHERE NOT EXISTS (
            SELECT FROM conversation AS c WHERE c.low = p.low AND c.high = p.high
            AND last >= p."offset" AND last - count < p."offset"
        )""",
    ),
    (
        "a conversation has no peers ({0} and {1})",
        """SELECT DISTINCT low, high FROM conversation WHERE NOT EXISTS (
            SELECT FROM peer WHERE user_id = low AND peer_id = high
        ) OR NOT EXISTS (SELECT FROM peer WHERE user_id = high AND peer_id = low)""",
    ),
    (
        "there are publishing ids of a user {0}, whom there is not",
        """SELECT DISTINCT user_id FROM publishing LEFT JOIN account ON account.id = user_id
        WHERE account.id IS NULL""",
    ),
    (
        "message {0} has a number above all that were given",
        """SELECT max("offset") FROM message, message_block
        HAVING max("offset") >= max(last_value) + 2048""",
    ),
)
"""What is wrong where a query has rows."""

_SHOWN = 5
"""Of faults of one kind."""


class PostgresCaretaker:
    """A Caretaker of a database; all that it can do it does beside servers.

    Args:
        conninfo: as libpq has it.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        parts = conninfo_to_dict(conninfo)
        self._where = f"postgresql://{parts.get('host', 'local')}/{parts.get('dbname', '')}"

    @classmethod
    def from_url(cls, rest: str) -> PostgresCaretaker:
        """That of ``postgresql://[USER[:PASSWORD]@][HOST[:PORT]]/DATABASE``."""
        try:
            return cls(f"postgresql:{rest}")
        except psycopg.Error as error:
            raise ValueError(f"{f'postgresql:{rest}'!r}: {reason(error)}") from None

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with connect(self._conninfo, "chatadmin") as connection:
                row = connection.execute(
                    "SELECT to_regclass('chat.schema_version') IS NOT NULL"
                ).fetchone()
                version = 0
                if row is not None and row[0]:
                    (version,) = connection.execute(
                        "SELECT version FROM schema_version"
                    ).fetchone() or (0,)
                if version > SCHEMA_VERSION:
                    raise StoreUnusable(
                        f"{self._where} was upgraded by a newer version (schema {version}, this one"
                        f" knows {SCHEMA_VERSION}); use the chatadmin of that version"
                    )
                if version < SCHEMA_VERSION:
                    raise StoreUnusable(
                        f"{self._where} has schema version {version}, and this program wants"
                        f" {SCHEMA_VERSION}; name the right database with --store, or start a"
                        " server of this version once"
                    )
                yield connection
        except psycopg.Error as error:
            raise StoreUnusable(
                f"{self._where} cannot be used: {reason(error)}; check --store, and that"
                " PostgreSQL runs"
            ) from error

    @contextmanager
    def _one_moment(self) -> Iterator[psycopg.Connection[Any]]:
        with self._connected() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    def backup(self, target: str, force: bool) -> NoReturn:
        """See Caretaker."""
        raise StoreUnusable(
            f"{self._where} is backed up by PostgreSQL's own tools, while servers run: pg_dump"
            f" --schema={SCHEMA} --format=custom, or pg_basebackup and an archive of its log"
        )

    def restore(self, source: str, force: bool) -> NoReturn:
        """See Caretaker."""
        raise StoreUnusable(
            f"{self._where} is restored by PostgreSQL's own tools, such as pg_restore, with the"
            " servers stopped; then run chatadmin renumber before you start them"
        )

    def renumber(self) -> None:
        """See Caretaker."""
        with self._connected() as connection:
            connection.execute(_NUMBER_ABOVE, (time.time_ns() // 1000,))

    def check(self) -> Findings:
        """See Caretaker."""
        faults = []
        with self._one_moment() as connection:
            users, messages, *_ = connection.execute(_STATISTICS).fetchone() or (0, 0)
            for sentence, query in _CHECKS:
                rows = connection.execute(f"{query} LIMIT {_SHOWN}".encode()).fetchall()
                faults += [sentence.format(*row) for row in rows]
        return Findings(
            f"{users} users, {messages} messages, mailboxes, conversations and publishing ids;"
            " whether PostgreSQL's files are whole, pg_amcheck says",
            faults,
        )

    def statistics(self) -> Statistics:
        """See Caretaker."""
        with self._one_moment() as connection:
            row = connection.execute(_STATISTICS).fetchone()
            assert row is not None
            users, messages, waiting, oldest, size = row
        return Statistics(users, messages, waiting, oldest, int(size), 0, SCHEMA_VERSION)

    def users(self) -> Iterator[UserRecord]:
        """See Caretaker."""
        with self._one_moment() as connection, connection.cursor("users") as cursor:
            cursor.execute(f"{_USERS} ORDER BY name".encode())
            for name, last_login, waiting in cursor:
                yield UserRecord(name, last_login, waiting)

    def user(self, name: str) -> tuple[UserRecord, int]:
        """See Caretaker."""
        with self._one_moment() as connection:
            row = connection.execute(f"{_USERS} WHERE name = %s".encode(), (name,)).fetchone()
            if row is None:
                raise UserNotFound(f"there is no user {name}")
            return UserRecord(*row), removal.count_messages(connection, name)

    def delete_user(self, name: str) -> int:
        """See Caretaker; servers may run, and wait while it lasts, but not with that user."""
        with self._connected() as connection:
            return removal.remove_user(connection, name)

    def purge(self, before: int) -> int:
        """See Caretaker; servers may run."""
        with self._connected() as connection:
            # A server with --retention does nothing of the kind meanwhile.
            connection.execute("SELECT pg_advisory_lock(%s)", (FORGET_LOCK,))
            mark(connection, time.time_ns())
            (count,) = connection.execute(_OLD, (before,)).fetchone() or (0,)
            while forget(connection, before):
                pass
        return int(count)

    def compact(self) -> NoReturn:
        """See Caretaker."""
        raise StoreUnusable(
            f"{self._where} uses free space again by itself (autovacuum); psql's VACUUM FULL gives"
            " it back to the system, and stops the servers meanwhile"
        )
