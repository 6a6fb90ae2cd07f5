"""PostgreSQL stores that work in the thread of the test."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from chat_protocol.stores.postgres.connect import connect
from chat_protocol.stores.postgres.store import PostgresStore
from tests.stores.conftest import ImmediateWorker, StillReactor
from tests.stores.helpers import now
from tests.stores.postgres.server import PATIENCE

__all__ = ["ADVISORY_LOCKS", "connected", "opened", "rows", "wait_for"]

ADVISORY_LOCKS = (
    "FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
    " WHERE locktype = 'advisory' AND datname = current_database()"
)
"""The part of a query that selects the locks in one database, not in all of the server."""


def opened(url: str, mailbox_limit: int = 0) -> PostgresStore:
    """Return an open store."""
    worker = ImmediateWorker()
    store = PostgresStore(url, mailbox_limit, StillReactor(), worker, worker)
    now(store.open())
    return store


def connected(url: str) -> psycopg.Connection[Any]:
    """Return a connection that sees the tables."""
    return connect(url, "test")


def rows(url: str, query: str) -> list[Any]:
    """Return the rows of a query; a row of one column as its value."""
    with connected(url) as connection:
        found = connection.execute(query.encode()).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


def wait_for(url: str, query: str) -> Any:
    """Return what the first row of a query says once there is one."""
    end = time.monotonic() + PATIENCE
    while not (found := rows(url, query)):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found[0]
