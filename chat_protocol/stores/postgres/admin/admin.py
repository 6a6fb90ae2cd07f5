"""Administration of the PostgreSQL store; what PostgreSQL's own tools do is left to them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NoReturn

import psycopg

from chat_protocol.errors import StoreUnusable, UserNotFound
from chat_protocol.stores.admin import (
    DeviceRecord,
    Findings,
    Statistics,
    UserRecord,
    check_forgettable,
)
from chat_protocol.stores.postgres.admin import removal
from chat_protocol.stores.postgres.connect import SCHEMA, bad_url, connect, place, reason
from chat_protocol.stores.postgres.devices import Devices
from chat_protocol.stores.postgres.locks import EVERYONE_LOCK, EXPIRY_LOCK
from chat_protocol.stores.postgres.retention import BOUND, database_time, expire, mark
from chat_protocol.stores.postgres.upgrade import SCHEMA_VERSION, current_version
from chat_protocol.wire.frames import split_frames

__all__ = ["PostgresAdmin"]

# Up to where all devices of a user have received everything.
_RECEIVED = """
SELECT account.id AS user_id, coalesce(min(device.position), account.position) AS received
FROM account LEFT JOIN device ON account.device IS NULL AND device.user_id = account.id
GROUP BY account.id
"""

_USERS = f"""
SELECT name, last_login, ((
    SELECT coalesce(sum(last - greatest(last - count, received)), 0) FROM inbox
    WHERE inbox.user_id = account.id AND last > received
) + (
    SELECT coalesce(sum(last - greatest(last - count, received)), 0) FROM message
    WHERE scope = 1 AND sender <> account.id AND last > received
))::bigint FROM account JOIN ({_RECEIVED}) AS r ON r.user_id = account.id
"""

_DEVICES = """
SELECT name, ended FROM device
WHERE user_id = %s AND (id = %s OR %s::bigint IS NULL AND position IS NOT NULL) ORDER BY id
"""

_ONLINE = """
SELECT account.id, EXISTS (
    SELECT FROM session JOIN node ON node.id = session.node AND lease_until > clock_timestamp()
    WHERE user_id = account.id AND session.device = %s
) FROM account WHERE name = %s
"""

_STATISTICS = f"""
SELECT (SELECT count(*) FROM account), (SELECT coalesce(sum(count), 0)::bigint FROM message),
    (
        SELECT coalesce(sum(last - greatest(last - count, received)), 0)::bigint
        FROM inbox JOIN ({_RECEIVED}) AS r USING (user_id) WHERE last > received
    ), coalesce((
        SELECT time FROM moment WHERE first <= (SELECT min(last) FROM message)
        ORDER BY first DESC LIMIT 1
    ), 0), (
        SELECT sum(pg_total_relation_size(oid)) FROM pg_class
        WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind IN ('r', 'S')
    )
"""

# Servers may draw offsets at the same time, so it is not set: it is only moved forward.
_NUMBER_ABOVE = "SELECT draw_offsets(greatest(1, %s - last_value)) FROM message_offset"

_OLD = f"SELECT coalesce(sum(count), 0)::bigint FROM message WHERE last < ({BOUND})"

_PAIRS = """
SELECT last, count, least(sender, user_id) AS low, greatest(sender, user_id) AS high, user_id
FROM message CROSS JOIN LATERAL unnest(coalesce(recipients, ARRAY[recipient])) AS to_ (user_id)
WHERE scope = 0
"""

_CHECKS = (
    (
        "message {0} is from user {1}, who does not exist",
        """SELECT last, sender FROM message LEFT JOIN account ON account.id = sender
        WHERE account.id IS NULL""",
    ),
    (
        "message {0} is to user {1}, who does not exist",
        f"""SELECT last, user_id FROM ({_PAIRS}) AS p LEFT JOIN account ON account.id = user_id
        WHERE account.id IS NULL""",
    ),
    (
        "message {0} is in the mailbox of {1!a} and does not exist",
        f"""SELECT inbox.last, coalesce(name, inbox.user_id::text) FROM inbox
        LEFT JOIN account ON account.id = inbox.user_id
        LEFT JOIN ({_PAIRS}) AS p
        ON p.last = inbox.last AND p.count = inbox.count AND p.user_id = inbox.user_id
        WHERE p.last IS NULL OR account.id IS NULL""",
    ),
    (
        "{1} messages are in the mailbox of {0!a}, and {2} are counted",
        """SELECT name, coalesce(n, 0), waiting FROM account LEFT JOIN (
            SELECT user_id, sum(last - greatest(last - count, position))::bigint AS n
            FROM inbox JOIN account ON id = user_id WHERE last > position GROUP BY user_id
        ) AS i ON user_id = account.id WHERE waiting <> coalesce(n, 0)""",
    ),
    (
        "message {0} is in no conversation",
        f"""SELECT p.last FROM ({_PAIRS}) AS p WHERE NOT EXISTS (
            SELECT FROM conversation AS c WHERE c.low = p.low AND c.high = p.high
            AND c.last = p.last AND c.count = p.count
        )""",
    ),
    (
        "a conversation has no peers (users {0} and {1})",
        """SELECT DISTINCT low, high FROM conversation WHERE NOT EXISTS (
            SELECT FROM peer WHERE user_id = low AND peer_id = high
        ) OR NOT EXISTS (SELECT FROM peer WHERE user_id = high AND peer_id = low)""",
    ),
    (
        "there are publishing ids of user {0}, who does not exist",
        """SELECT DISTINCT user_id FROM publishing LEFT JOIN account ON account.id = user_id
        WHERE account.id IS NULL""",
    ),
    (
        "there are devices of user {0}, who does not exist",
        """SELECT DISTINCT user_id FROM device LEFT JOIN account ON account.id = user_id
        WHERE account.id IS NULL""",
    ),
    (
        "{0!a} has one device, {1}, which does not exist",
        """SELECT account.name, account.device FROM account WHERE device > 0 AND NOT EXISTS (
            SELECT FROM device WHERE user_id = account.id AND device.id = account.device
        )""",
    ),
    (
        "{0!a} has one device, and {1} have a position of their own",
        """SELECT account.name, count(device.position) FROM account
        JOIN device ON user_id = account.id WHERE account.device IS NOT NULL
        GROUP BY account.id HAVING count(device.position) > 0""",
    ),
    (
        "message {1} is kept for other devices of {0!a} and does not exist",
        """SELECT coalesce(name, user_id::text), copy.last FROM copy
        LEFT JOIN account ON account.id = user_id
        LEFT JOIN message ON message.last = copy.last AND message.count = copy.count
        AND sender = user_id
        WHERE message.last IS NULL OR account.id IS NULL""",
    ),
    (
        "publishing ids of user {0}, device {1}, are stored twice",
        """SELECT user_id, device FROM (
            SELECT user_id, device, first, last, lead(first) OVER (
                PARTITION BY user_id, device ORDER BY first
            ) AS next FROM publishing
        ) AS p WHERE last < first OR next <= last""",
    ),
    (
        "message {0} has an offset above all that were given",
        """SELECT max(last) FROM message, message_offset
        HAVING max(last) > max(last_value)""",
    ),
)
"""Sentences about faults, and queries that find them."""

_SHOWN = 5
"""Faults of one kind that are reported."""


def _devices(connection: psycopg.Connection[Any], name: str) -> list[DeviceRecord]:
    """Return the devices of a user.

    Raises:
        UserNotFound: there is no user of that name.
    """
    row = connection.execute("SELECT id, device FROM account WHERE name = %s", (name,)).fetchone()
    if row is None:
        raise UserNotFound(f"there is no user {name}")
    user_id, only = row
    if only == 0:
        return [DeviceRecord("", None)]
    rows = connection.execute(_DEVICES, (user_id, only, only)).fetchall()
    # Nothing is written for the sessions of an only device.
    alone = len(rows) == 1
    return [DeviceRecord(device, None if alone else ended) for device, ended in rows]


def _unreadable(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield sentences about entries whose frames are not so many."""
    with connection.cursor("entries") as cursor:
        cursor.execute("SELECT last, count, frames FROM message")
        for last, count, frames in cursor:
            try:
                split_frames(frames, count)
            except ValueError:
                yield f"message {last} is longer or shorter than its frames"


class PostgresAdmin:
    """The StoreAdmin of a database. Servers may run during every call.

    Args:
        conninfo: in the form of libpq.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._where = place(conninfo)

    @classmethod
    def from_url(cls, rest: str) -> PostgresAdmin:
        """Return that of ``postgresql://[USER[:PASSWORD]@][HOST[:PORT]]/DATABASE``.

        Raises:
            ValueError: the URL is wrong; the text says why.
        """
        try:
            return cls(f"postgresql:{rest}")
        except psycopg.Error as error:
            raise bad_url(f"postgresql:{rest}", error) from None

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with connect(self._conninfo, "chatadmin") as connection:
                self._check_version(current_version(connection))
                yield connection
        except psycopg.Error as error:
            raise StoreUnusable(
                f"{self._where} cannot be used: {reason(error)}; check --store, and that"
                " PostgreSQL is running"
            ) from error

    def _check_version(self, version: int) -> None:
        if version > SCHEMA_VERSION:
            raise StoreUnusable(
                f"{self._where} was upgraded by a newer version (schema {version}, this program"
                f" knows {SCHEMA_VERSION}); use the chatadmin of that version"
            )
        if version < SCHEMA_VERSION:
            raise StoreUnusable(
                f"{self._where} has schema version {version}, and this program needs"
                f" {SCHEMA_VERSION}; check --store, or start a server of this version once"
            )

    @contextmanager
    def _snapshot(self) -> Iterator[psycopg.Connection[Any]]:
        with self._connected() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    def backup(self, target: str, force: bool) -> NoReturn:
        raise StoreUnusable(
            f"{self._where} is backed up by PostgreSQL's own tools, while servers run: pg_dump"
            f" --schema={SCHEMA} --format=custom, or pg_basebackup and an archive of the WAL"
        )

    def restore(self, source: str, force: bool) -> NoReturn:
        raise StoreUnusable(
            f"{self._where} is restored by PostgreSQL's own tools, such as pg_restore: stop the"
            " servers first, and run chatadmin renumber before you start them again"
        )

    def renumber(self) -> None:
        with self._connected() as connection:
            connection.execute(_NUMBER_ABOVE, (time.time_ns() // 1000,))

    def check(self) -> Findings:
        faults = []
        with self._snapshot() as connection:
            users, messages, *_ = connection.execute(_STATISTICS).fetchone() or (0, 0)
            for sentence, query in _CHECKS:
                rows = connection.execute(f"{query} LIMIT {_SHOWN}".encode()).fetchall()
                faults += [sentence.format(*row) for row in rows]
            faults += islice(_unreadable(connection), _SHOWN)
        return Findings(
            f"{users} users, {messages} messages, mailboxes, conversations, devices and publishing"
            " ids; pg_amcheck checks PostgreSQL's files",
            faults,
        )

    def statistics(self) -> Statistics:
        with self._snapshot() as connection:
            row = connection.execute(_STATISTICS).fetchone()
            assert row is not None
            users, messages, waiting, oldest, size = row
        return Statistics(users, messages, waiting, oldest, int(size), 0, SCHEMA_VERSION)

    def users(self) -> Iterator[UserRecord]:
        with self._snapshot() as connection, connection.cursor("users") as cursor:
            cursor.execute(f"{_USERS} ORDER BY account.name".encode())
            for name, last_login, waiting in cursor:
                yield UserRecord(name, last_login, waiting)

    def user(self, name: str) -> tuple[UserRecord, int]:
        with self._snapshot() as connection:
            row = connection.execute(
                f"{_USERS} WHERE account.name = %s".encode(), (name,)
            ).fetchone()
            if row is None:
                raise UserNotFound(f"there is no user {name}")
            return UserRecord(*row), removal.count_messages(connection, name)

    def devices(self, name: str) -> list[DeviceRecord]:
        with self._snapshot() as connection:
            return _devices(connection, name)

    def forget_device(self, name: str, device: str) -> None:
        """See StoreAdmin. Servers wait meanwhile; the device must be offline."""
        with self._connected() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (EVERYONE_LOCK,))
            check_forgettable(name, device, [one.name for one in _devices(connection, name)])
            row = connection.execute(_ONLINE, (device, name)).fetchone()
            assert row is not None
            user_id, is_online = row
            if is_online:
                raise StoreUnusable(f"this device of {name} is online; it has to log out first")
            devices = Devices(connection.execute, lambda: None, 0)
            devices.forget_one(user_id, device, time.time_ns())

    def delete_user(self, name: str) -> int:
        """See StoreAdmin. Servers wait meanwhile; the user must be offline."""
        with self._connected() as connection:
            return removal.delete_user(connection, name)

    def purge(self, before: int) -> int:
        with self._connected() as connection:
            # Excludes servers with --retention.
            connection.execute("SELECT pg_advisory_lock(%s)", (EXPIRY_LOCK,))
            now = database_time(connection)
            mark(connection, now)
            # By the clock of the database, not by that of this machine.
            before += now - time.time_ns()
            (count,) = connection.execute(_OLD, (before,)).fetchone() or (0,)
            while expire(connection, before):
                pass
        return int(count)

    def compact(self) -> NoReturn:
        raise StoreUnusable(
            f"{self._where} reuses free space by itself (autovacuum); VACUUM FULL in psql gives it"
            " back to the system, and stops the servers meanwhile"
        )
