"""Connecting to PostgreSQL, and the schema of the database, made and upgraded by the server."""

from __future__ import annotations

import logging
from importlib.resources import files
from typing import Any

import psycopg

from chat_protocol.errors import StoreUnusable

__all__ = ["SCHEMA", "SCHEMA_VERSION", "connect", "prepare"]

SCHEMA = "chat"
"""The schema (namespace) of the database that everything is in."""

SCHEMA_VERSION = 1
"""The newest one: what ``chat.schema_version`` says."""

CONNECT_TIMEOUT = 3
"""Seconds that an attempt to connect may take."""

IDLE_IN_TRANSACTION = 2000
"""Milliseconds after which PostgreSQL ends the transaction of a node that is stopped: its locks
would hold up the others."""

_SCHEMA_LOCK = 0x43686174_00000000
"""The advisory lock of whoever looks at the schema: several nodes may start at once."""


# Every error of a connection is handled here; its own warnings would go to stderr.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


def connect(conninfo: str, application: str, **settings: str) -> psycopg.Connection[Any]:
    """A connection that commits each statement by itself.

    A peer that is gone is found within seconds, as far as the kernel can.

    Args:
        conninfo: as libpq has it.
        application: what ``pg_stat_activity`` shows.
        settings: of the session.

    Raises:
        psycopg.Error: it cannot be had.
    """
    options = {"search_path": SCHEMA, "client_encoding": "UTF8", **settings}
    return psycopg.connect(
        conninfo,
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT,
        application_name=f"chat-protocol {application}",
        keepalives_idle=2,
        keepalives_interval=1,
        keepalives_count=3,
        tcp_user_timeout=5000,
        options=" ".join(f"-c {name}={value}" for name, value in options.items()),
    )


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Make the schema the newest one, alone among all nodes.

    Raises:
        StoreUnusable: the database is newer than this program, or its encoding is not UTF-8.
    """
    _check_encoding(connection)
    connection.execute("SELECT pg_advisory_lock(%s)", (_SCHEMA_LOCK,))
    try:
        with connection.transaction():
            _upgrade(connection)
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (_SCHEMA_LOCK,))


def _check_encoding(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute("SHOW server_encoding").fetchone()
    if row is None or row[0] != "UTF8":
        raise StoreUnusable(
            f"the database's encoding is {row and row[0]}; make one with createdb --encoding=UTF8"
        )


def _upgrade(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute("SELECT to_regclass('chat.schema_version') IS NOT NULL").fetchone()
    version = 0
    if row is not None and row[0]:
        (version,) = connection.execute("SELECT version FROM schema_version").fetchone() or (0,)
    else:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.execute("CREATE TABLE schema_version (version integer NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (0)")
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"the database has schema version {version} and this program knows"
            f" {SCHEMA_VERSION} at most; install the newer program"
        )
    for step in range(version + 1, SCHEMA_VERSION + 1):
        script = files("chat_protocol.stores.postgres").joinpath("schema", f"{step}.sql")
        connection.execute(script.read_text().encode())
        connection.execute("UPDATE schema_version SET version = %s", (step,))
