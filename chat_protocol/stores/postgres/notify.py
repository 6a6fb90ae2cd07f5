"""Notifications between the nodes: hints that something waits, which may be lost.

Each node listens on a channel of its own and on one for all. A payload is a letter and what it
is about::

    r1,2,3     there is something new for these users of yours; without any: for some
    x7:21      the session 21 of your user 7 was taken over
    e          something went to everyone
    p[...]     a user came or went: JSON of the node, name, 0 or 1, and the time
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from typing import Any

import psycopg
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.interfaces import INeighbours

__all__ = ["Bell", "Notes", "channel", "hear"]

ALL = "chat_all"
"""The channel that every node listens on."""

MAX_PAYLOAD = 7999
"""Bytes of a notification (PostgreSQL manual, NOTIFY)."""


def channel(node: int) -> str:
    """Where a node listens."""
    return f"chat_node_{node}"


class Notes:
    """Notifications that are to be sent together."""

    def __init__(self) -> None:
        self._channels: list[str] = []
        self._payloads: list[str] = []

    def _add(self, where: str, payload: str) -> None:
        self._channels.append(where)
        self._payloads.append(payload)

    def ring(self, node: int, user_ids: Collection[int]) -> None:
        """Something waits for users of a node."""
        payload = "r" + ",".join(map(str, user_ids))
        self._add(channel(node), payload if len(payload) <= MAX_PAYLOAD else "r")

    def ring_everyone(self) -> None:
        """Something waits for all users."""
        self._add(ALL, "e")

    def take(self, node: int, user_id: int, number: int) -> None:
        """A session of a node's was taken over."""
        self._add(channel(node), f"x{user_id}:{number}")

    def came_or_went(self, node: int, name: str, online: bool, time: int) -> None:
        """A user of this node is on-line, or not any more; nanoseconds since the epoch."""
        self._add(ALL, "p" + json.dumps([node, name, int(online), time]))

    def send(self, connection: psycopg.Connection[Any]) -> None:
        """Send them, in a transaction that does not wait for the disk.

        A commit with a notification in it would make all others of the database wait for it.
        """
        if not self._channels:
            return
        with connection.pipeline(), connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(
                "SELECT pg_notify(channel, payload)"
                " FROM unnest(%s::text[], %s::text[]) AS n (channel, payload)",
                (self._channels, self._payloads),
            )


def hear(payload: str, node: int, neighbours: INeighbours) -> None:
    """Act on a notification; one that does not parse is as if it had not come."""
    kind, rest = payload[:1], payload[1:]
    if kind == "r" and rest:
        neighbours.rung([int(user_id) for user_id in rest.split(",")])
    elif kind in ("r", "e"):
        neighbours.rung(None)
    elif kind == "x":
        user_id, _, number = rest.partition(":")
        neighbours.replaced(int(user_id), int(number))
    elif kind == "p":
        where, name, online, time = json.loads(rest)
        if where != node:
            neighbours.came_or_went(name, bool(online), time)


@implementer(IReadDescriptor)
class Bell:
    """The connection that listens, read by the reactor.

    Args:
        reactor: what reads.
        connection: that has said LISTEN.
        heard: called with each payload.
        lost: called once, when the connection is gone.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        connection: psycopg.Connection[Any],
        heard: Callable[[str], object],
        lost: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._connection = connection
        self._heard = heard
        self._lost = lost
        # Its own: libpq closes that of a connection that breaks before the reactor has let go.
        self._descriptor = os.dup(connection.fileno())
        reactor.addReader(self)

    @staticmethod
    def listen(connection: psycopg.Connection[Any], node: int) -> None:
        """Have a connection notified of what concerns a node; blocking."""
        connection.execute(f"LISTEN {channel(node)}")
        connection.execute(f"LISTEN {ALL}")

    def fileno(self) -> int:
        """See IFileDescriptor."""
        return self._descriptor

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "chat-bell"

    def doRead(self) -> None:
        """See IReadDescriptor."""
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
        except psycopg.Error:
            self.stop()
            self._lost()
            return
        while (note := pgconn.notifies()) is not None:
            self._heard(note.extra.decode())

    def connectionLost(self, reason: Failure) -> None:
        """See IFileDescriptor."""
        self.stop()
        self._lost()

    def stop(self) -> None:
        """Listen no more."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
        self._connection.close()
