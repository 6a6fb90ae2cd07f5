"""The connection on which notifications arrive."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psycopg
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.stores.postgres.notifications import ALL, channel

__all__ = ["NotificationListener"]


@implementer(IReadDescriptor)
class NotificationListener:
    """Reads notifications in the reactor thread.

    Args:
        reactor: tells when there is something to read.
        connection: on which :meth:`listen` was called.
        received: called with each payload.
        lost: called once, when the connection is lost.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        connection: psycopg.Connection[Any],
        received: Callable[[str], object],
        lost: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._connection = connection
        self._received = received
        self._lost = lost
        # A duplicate: libpq closes the descriptor of a broken connection before the reactor has
        # removed it.
        self._descriptor = os.dup(connection.fileno())
        reactor.addReader(self)

    @staticmethod
    def listen(connection: psycopg.Connection[Any], node: int) -> None:
        """Have a connection receive the notifications for a node; it blocks."""
        connection.execute(f"LISTEN {channel(node)}")
        connection.execute(f"LISTEN {ALL}")

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "notifications"

    def doRead(self) -> None:
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
        except psycopg.Error:
            self.stop()
            self._lost()
            return
        while (notification := pgconn.notifies()) is not None:
            self._received(notification.extra.decode())

    def connectionLost(self, reason: Failure) -> None:
        self.stop()
        self._lost()

    def stop(self) -> None:
        """Stop listening and close the connection."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
        self._connection.close()
