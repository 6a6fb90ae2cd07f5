"""The connections of one node."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

import psycopg

from chat_protocol.stores.postgres.connect import connect

__all__ = ["Connections"]

_IDLE_IN_TRANSACTION = 2000
"""Milliseconds after which PostgreSQL ends an idle transaction: if a node is stopped, its locks
would hold up the other nodes."""


class Connections:
    """The connections of one node, by their purposes.

    The connection for one purpose is used by one thread at a time.

    Args:
        conninfo: in the form of libpq.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._open: dict[str, psycopg.Connection[Any]] = {}

    def get(self, purpose: str) -> psycopg.Connection[Any]:
        """Return the connection for a purpose; make it if there is none. It blocks.

        Raises:
            psycopg.Error: the connection cannot be made.
        """
        connection = self._open.get(purpose)
        if connection is None or connection.closed:
            settings = {"idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION)}
            connection = connect(self._conninfo, purpose, **settings)
            self._open[purpose] = connection
        return connection

    def drop(self, purpose: str) -> None:
        """Close the connection for a purpose."""
        connection = self._open.pop(purpose, None)
        if connection is not None:
            connection.close()

    def interrupt(self) -> None:
        """Make every call fail that waits for PostgreSQL; may be called from any thread."""
        for connection in list(self._open.values()):
            with suppress(OSError, psycopg.Error):
                descriptor = os.dup(connection.fileno())
                with socket.socket(fileno=descriptor) as duplicate:
                    duplicate.shutdown(socket.SHUT_RDWR)
