"""The schema of the database: the server creates and upgrades it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import psycopg

from chat_protocol.errors import StoreUnusable
from chat_protocol.stores.postgres.connect import SCHEMA
from chat_protocol.stores.postgres.locks import EVERYONE_LOCK, SCHEMA_LOCK

__all__ = ["SCHEMA_VERSION", "current_version", "prepare"]

SCHEMA_VERSION = 4
"""The newest version: what ``chat.schema_version`` says."""

_LIVE_NODES = "SELECT count(*) FROM node WHERE lease_until > clock_timestamp()"


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Upgrade the schema to the newest version, in one transaction and alone among all nodes.

    Raises:
        StoreUnusable: the database is newer than this program, servers of an older version are
            using it, or its encoding is not UTF-8.
    """
    _check_encoding(connection)
    connection.execute("SELECT pg_advisory_lock(%s)", (SCHEMA_LOCK,))
    try:
        with connection.transaction():
            _upgrade(connection)
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (SCHEMA_LOCK,))


def current_version(connection: psycopg.Connection[Any]) -> int:
    """Return the version of the schema; 0 if there is none."""
    row = connection.execute("SELECT to_regclass('chat.schema_version') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return 0
    (version,) = connection.execute("SELECT version FROM schema_version").fetchone() or (0,)
    return int(version)


def _check_encoding(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute("SHOW server_encoding").fetchone()
    if row is None or row[0] != "UTF8":
        raise StoreUnusable(
            f"the encoding of the database is {row and row[0]}; create a database with"
            " createdb --encoding=UTF8"
        )


def _upgrade(connection: psycopg.Connection[Any]) -> None:
    version = current_version(connection)
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"the database has schema version {version}, and this program knows versions up to"
            f" {SCHEMA_VERSION}; install the newer program"
        )
    if version == SCHEMA_VERSION:
        return
    if version:
        _exclude_nodes(connection)
    else:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.execute("CREATE TABLE schema_version (version integer NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (0)")
    for step in range(version + 1, SCHEMA_VERSION + 1):
        script = files("chat_protocol.stores.postgres").joinpath("schema", f"{step}.sql")
        connection.execute(script.read_text().encode())
        connection.execute("UPDATE schema_version SET version = %s", (step,))


def _exclude_nodes(connection: psycopg.Connection[Any]) -> None:
    """Make sure that no node uses the database until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (EVERYONE_LOCK,))
    connection.execute("LOCK TABLE node IN ACCESS EXCLUSIVE MODE")
    (count,) = connection.execute(_LIVE_NODES).fetchone() or (0,)
    if count:
        raise StoreUnusable(
            f"the schema has to be upgraded, and servers of an older version ({count}) use the"
            " database; stop them first, or wait 10 s if they were killed"
        )
    connection.execute("DELETE FROM session")
    connection.execute("DELETE FROM node")
