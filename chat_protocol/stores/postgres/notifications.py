"""Notifications between nodes: hints that something has changed, which may be lost.

Each node listens on a channel of its own and on one that is common to all. A payload is a letter
and its arguments::

    r1,2,3     there are new messages for these users of the node; without users: for some
    e          there is a new message to everyone
    x7:21      the session 21 of user 7 was taken over
    p[...]     a user came online or went offline: the name, 1 or 0, and the time, as JSON
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import psycopg

from chat_protocol.domain.ports import IClusterListener

__all__ = ["ALL", "MAX_PAYLOAD", "Notifications", "channel", "dispatch"]

ALL = "chat_all"
"""The channel that every node listens on."""

MAX_PAYLOAD = 7999
"""Bytes of a notification (PostgreSQL manual, NOTIFY)."""

_NOTIFY = """
SELECT pg_notify(channel, payload) FROM unnest(%s::text[], %s::text[]) AS n (channel, payload)
"""


def channel(node: int) -> str:
    """Return the channel of a node."""
    return f"chat_node_{node}"


class Notifications:
    """Notifications that are sent together."""

    def __init__(self) -> None:
        self._channels: list[str] = []
        self._payloads: list[str] = []

    def _add(self, channel: str, payload: str) -> None:
        self._channels.append(channel)
        self._payloads.append(payload)

    def notify(self, node: int, user_ids: Collection[int]) -> None:
        """Tell a node that there are new messages for some of its users."""
        payload = "r" + ",".join(map(str, user_ids))
        self._add(channel(node), payload if len(payload) <= MAX_PAYLOAD else "r")

    def notify_everyone(self) -> None:
        """Tell all nodes that there is a new message to everyone."""
        self._add(ALL, "e")

    def replace(self, node: int, user_id: int, number: int) -> None:
        """Tell a node that one of its sessions was taken over."""
        self._add(channel(node), f"x{user_id}:{number}")

    def change_presence(self, name: str, online: bool, time: int) -> None:
        """Tell all nodes that a user came or went, at ``time`` ns since the epoch."""
        self._add(ALL, "p" + json.dumps([name, int(online), time]))

    def send(self, connection: psycopg.Connection[Any]) -> None:
        """Send them, in a transaction that does not wait for the disk.

        They are not sent with the batch: while a transaction with notifications commits, no other
        one of the database can.
        """
        if not self._channels:
            return
        with connection.pipeline(), connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(_NOTIFY, (self._channels, self._payloads))


def dispatch(payload: str, listener: IClusterListener) -> None:
    """Tell a listener what a notification says.

    Args:
        payload: of the notification.
        listener: to be told.

    Raises:
        ValueError: the payload does not parse.
    """
    kind, arguments = payload[:1], payload[1:]
    if kind == "r" and arguments:
        listener.notified([int(user_id) for user_id in arguments.split(",")])
    elif kind in ("r", "e"):
        listener.notified(None)
    elif kind == "x":
        user_id, _, number = arguments.partition(":")
        listener.replaced(int(user_id), int(number))
    elif kind == "p":
        name, online, time = json.loads(arguments)
        listener.presence_changed(name, bool(online), time)
