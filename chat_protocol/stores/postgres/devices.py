"""Devices in the PostgreSQL store: their logins, their positions, and how they are forgotten.

Only users with several devices, or with sessions that only send, have positions in the table
``device``. For the others ``account`` has all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from chat_protocol.domain.login_rules import (
    MAX_DEVICES,
    MAX_SENDER_NAMES,
    NO_NAME,
    SENDER_SECONDS,
    is_device,
)
from chat_protocol.domain.messages import PositionKey, Registration
from chat_protocol.stores.postgres.columns import columns_of

__all__ = ["Devices"]

_ACCOUNT = "SELECT device, position FROM account WHERE id = %b"

_KEEP_UNNAMED = """
INSERT INTO device (user_id, id, name, position, first, ended) OVERRIDING SYSTEM VALUE
SELECT id, 0, '', position, position, %b::bigint FROM account WHERE id = %b
ON CONFLICT (user_id, id)
DO UPDATE SET position = excluded.position, first = excluded.first, ended = excluded.ended
"""
_KEEP_NAMED = """
UPDATE device SET position = account.position, first = account.position, ended = %b::bigint
FROM account WHERE account.id = %b AND device.user_id = account.id AND device.id = account.device
"""
_TRACKED = "UPDATE account SET device = NULL WHERE id = %b"
_ONLY = "UPDATE account SET device = %b WHERE id = %b"

_ADD_NAME = "INSERT INTO device (user_id, name) VALUES (%b, %b) ON CONFLICT DO NOTHING"
_ADD_UNNAMED = """
INSERT INTO device (user_id, id, name) OVERRIDING SYSTEM VALUE VALUES (%b, 0, '')
ON CONFLICT DO NOTHING
"""
_FIND_NAME = "SELECT id FROM device WHERE user_id = %b AND name = %b"

_BEGIN = """
UPDATE device
SET position = %b, first = (SELECT last_value FROM message_offset), ended = NULL
WHERE user_id = %b AND id = %b
"""
_SET_ONLINE = "UPDATE device SET ended = NULL WHERE user_id = %b AND id = %b"

_PUBLISHED = "SELECT FROM publishing WHERE user_id = %b AND device = %b LIMIT 1"

_STATE = """
SELECT d.user_id, d.id, d.name, d.position, d.ended, s.node, CASE WHEN d.position IS NULL THEN 0
ELSE (
    SELECT coalesce(sum(last - greatest(last - count, behind)), 0) FROM (
        SELECT last, count FROM inbox WHERE inbox.user_id = d.user_id AND last > behind LIMIT %b
    ) AS i
) + (
    SELECT coalesce(sum(last - greatest(last - count, behind)), 0) FROM (
        SELECT last, count FROM message
        WHERE scope = 1 AND sender <> d.user_id AND last > behind LIMIT %b
    ) AS e
) END
FROM device AS d
CROSS JOIN LATERAL (
    SELECT greatest(d.position, (SELECT before - 1 FROM expired)) AS behind
) AS b
LEFT JOIN LATERAL (
    SELECT session.node FROM session
    JOIN node ON node.id = session.node AND lease_until > clock_timestamp()
    WHERE session.user_id = d.user_id AND session.device = d.name LIMIT 1
) AS s ON true
WHERE d.user_id = ANY(%b::bigint[])
"""

_MOVE = """
UPDATE device SET position = upto
FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[]) AS m (user_id, id, upto)
WHERE device.user_id = m.user_id AND device.id = m.id AND position < upto
"""

_TRIM = """
WITH bounds AS (
    SELECT user_id, min(position) AS low, max(position) AS high FROM device
    WHERE user_id = ANY(%b::bigint[]) AND position IS NOT NULL GROUP BY user_id
), gone AS (
    DELETE FROM inbox USING bounds WHERE inbox.user_id = bounds.user_id AND last <= low
), received AS (
    SELECT account.id, high, coalesce(sum(
        least(last, high) - greatest(last - count, position)
    ) FILTER (WHERE last IS NOT NULL), 0)::integer AS less FROM account
    JOIN bounds ON bounds.user_id = account.id
    LEFT JOIN inbox ON inbox.user_id = account.id AND last > position AND last - count < high
    GROUP BY account.id, high
)
UPDATE account SET waiting = waiting - less, position = greatest(position, high)
FROM received WHERE account.id = received.id AND device IS NULL
RETURNING account.id, waiting
"""

_TRIM_COPIES = """
DELETE FROM copy WHERE user_id = ANY(%b::bigint[]) AND last <= coalesce((
    SELECT min(position) FROM device WHERE device.user_id = copy.user_id AND id <> copy.device
), 9223372036854775807)
"""

_END = """
UPDATE device SET ended = %b FROM unnest(%b::bigint[], %b::bigint[]) AS e (user_id, id)
WHERE device.user_id = e.user_id AND device.id = e.id
"""

_FORGET = """
UPDATE device SET position = NULL, ended = %b WHERE user_id = %b AND id = ANY(%b::bigint[])
"""
_REMOVE = "DELETE FROM device WHERE user_id = %b AND id = ANY(%b::bigint[])"
_REMOVE_IDS = "DELETE FROM publishing WHERE user_id = %b AND device = ANY(%b::bigint[])"


class _Device(NamedTuple):
    id: int
    name: str
    position: int | None
    """None: it is no device, or no longer one."""
    ended: int | None
    node: int | None
    """Where it is online; None: nowhere."""
    behind: int
    """Messages that others sent and it has not received. Above what is allowed it may be fewer."""


class Devices:
    """Changes the devices of users in a transaction that has locked their rows of ``account``.

    Args:
        execute: of the connection.
        sync: called before each answer that is needed; see Transaction.
        mailbox_limit: messages that a device may be behind by; 0: no limit.
    """

    def __init__(
        self, execute: Callable[..., Any], sync: Callable[[], object], mailbox_limit: int
    ) -> None:
        self._execute = execute
        self._sync = sync
        self._limit = mailbox_limit

    def _rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        found = self._execute(statement, values)
        self._sync()
        return list(found.fetchall())

    # Logins.

    def log_in(self, registration: Registration, online: Collection[str]) -> None:
        """Note a login, and fill in what the registration wants to know of the device.

        Args:
            registration: of a user who is registered.
            online: the devices of the user that had a session before.
        """
        user, login, when = registration.user_id, registration.login, registration.when
        ((only, position),) = self._rows(_ACCOUNT, (user,))
        name = login.device
        registration.known, registration.device_id = False, 0
        if not is_device(name):
            self._log_in_sender(registration, only, online)
        elif only is None:
            self._log_in_device(registration, position, online)
        elif name:
            device_id = self._id_of(user, name)
            if device_id == only:
                registration.known, registration.device_id = True, device_id
            elif only < 0:
                registration.device_id = device_id
                self._execute(_ONLY, (device_id, user))
            else:
                self._track(user, only, when, online)
                self._log_in_device(registration, position, online)
        elif only < 0:
            self._execute(_ONLY, (0, user))
        elif only == 0:
            registration.known = True
        else:
            self._track(user, only, when, online)
            self._log_in_device(registration, position, online)
        registration.has_devices = self._rows(_ACCOUNT, (user,))[0][0] is None

    def _track(self, user: int, only: int, when: int, online: Collection[str]) -> None:
        """Keep the position of a user's only device in ``device`` from now on."""
        if only == 0:
            self._execute(_KEEP_UNNAMED, (None if "" in online else when, user))
        elif only > 0:
            is_online = (only,) in [
                row for name in online if name for row in self._rows(_FIND_NAME, (user, name))
            ]
            self._execute(_KEEP_NAMED, (None if is_online else when, user))
        self._execute(_TRACKED, (user,))

    def _id_of(self, user: int, name: str) -> int:
        """Return the id of a name; it is added if there is none."""
        if name:
            self._execute(_ADD_NAME, (user, name))
        else:
            self._execute(_ADD_UNNAMED, (user,))
        ((device_id,),) = self._rows(_FIND_NAME, (user, name))
        return int(device_id)

    def _log_in_device(
        self, registration: Registration, position: int, online: Collection[str]
    ) -> None:
        """Note the login of a device of a user whose positions are in ``device``."""
        user, when = registration.user_id, registration.when
        self._forget_overrun(user, self._devices([user]).get(user, []), when, online, 0)
        device_id = registration.device_id = self._id_of(user, registration.login.device)
        devices = self._devices([user])[user]
        others = [one for one in devices if one.position is not None]
        registration.known = any(one.id == device_id for one in others)
        if registration.known:
            self._execute(_SET_ONLINE, (user, device_id))
            return
        if len(others) >= MAX_DEVICES:
            absent = [one for one in others if one.name not in online]
            self._forget(user, [min(absent, key=_ended).id], when)
        begin = max((one.position or 0 for one in others), default=position)
        self._execute(_BEGIN, (begin, user, device_id))

    def _log_in_sender(
        self, registration: Registration, only: int | None, online: Collection[str]
    ) -> None:
        user, name, when = registration.user_id, registration.login.device, registration.when
        if only is not None:
            self._track(user, only, when, online)
        if name == NO_NAME:
            return
        device_id = registration.device_id = self._id_of(user, name)
        registration.known = bool(self._execute_and_count(_PUBLISHED, (user, device_id)))
        self._execute(_SET_ONLINE, (user, device_id))
        self._forget_senders(user, self._devices([user])[user], when)

    def _execute_and_count(self, statement: str, values: Sequence[Any]) -> int:
        found = self._execute(statement, values)
        self._sync()
        return int(found.rowcount)

    def end(self, sessions: Iterable[PositionKey], when: int) -> None:
        """Note that sessions of devices have ended."""
        users, ids = columns_of(sessions, 2)
        if users:
            self._execute(_END, (when, users, ids))

    # Positions.

    def move(self, moves: Iterable[tuple[int, int, int]]) -> Iterable[tuple[int, int]]:
        """Move positions of users whose positions are in ``device``.

        Args:
            moves: ids of user and device, and offset.

        Returns:
            Users, and how many messages no device of theirs has received.
        """
        columns = columns_of(moves, 3)
        self._execute(_MOVE, columns)
        return self._trim(sorted(set(columns[0])))

    def _trim(self, users: list[int]) -> list[tuple[int, int]]:
        """Remove what all devices have received."""
        left = self._rows(_TRIM, (users,))
        self._execute(_TRIM_COPIES, (users,))
        return [(user, waiting) for user, waiting in left]

    # Forgetting.

    def forget_one(self, user: int, name: str, when: int) -> None:
        """Forget the device of that name, which is not the last one."""
        ids = [one.id for one in self._devices([user])[user] if one.name == name]
        self._forget(user, ids, when)

    def _devices(self, users: list[int]) -> dict[int, list[_Device]]:
        """Return all devices, and names under which users send, by user."""
        most = self._limit + 1
        found: dict[int, list[_Device]] = {user: [] for user in users}
        for user, *fields in self._rows(_STATE, (most, most, users)):
            found[user].append(_Device(*fields))
        return found

    def forget(self, users: list[int], when: int, absent: int, node: int) -> list[PositionKey]:
        """Forget devices of these users: see IStore.forget_devices.

        Args:
            users: whose positions are in ``device``.
            when: nanoseconds since the epoch.
            absent: in nanoseconds.
            node: the id of this node.

        Returns:
            Those that are online at this node, and too far behind.
        """
        overrun: list[PositionKey] = []
        for user, devices in self._devices(users).items():
            online = {one.name for one in devices if one.node is not None}
            unknown = [one.id for one in devices if one.ended is None and one.node is None]
            if unknown:
                # Their node has died.
                self.end(((user, one) for one in unknown), when)
            ids = self._forget_overrun(user, devices, when, online, node)
            overrun += [(user, one) for one in ids]
            self._forget_absent(user, when - absent, when)
            self._forget_senders(user, self._devices([user])[user], when)
        return overrun

    def _forget_overrun(
        self,
        user: int,
        devices: Iterable[_Device],
        when: int,
        online: Collection[str],
        node: int,
    ) -> list[int]:
        """Forget devices that are too far behind; return those that are online at a node."""
        receiving = [one for one in devices if one.position is not None]
        if not self._limit or not any(one.behind <= self._limit for one in receiving):
            return []
        overrun = [one for one in receiving if one.behind > self._limit]
        self._forget(user, [one.id for one in overrun if one.name not in online], when)
        return [one.id for one in overrun if one.name in online and one.node == node]

    def _forget_absent(self, user: int, before: int, when: int) -> None:
        """Forget devices whose last session ended before a time, but not the last device."""
        receiving = [one for one in self._devices([user])[user] if one.position is not None]
        absent = [
            one
            for one in sorted(receiving, key=_ended)
            if one.node is None and one.ended is not None and one.ended < before
        ]
        self._forget(user, [one.id for one in absent[: len(receiving) - 1]], when)

    def _forget(self, user: int, ids: list[int], when: int) -> None:
        """Forget devices. Their publishing ids stay."""
        if ids:
            self._execute(_FORGET, (when, user, ids))
            self._trim([user])

    def _forget_senders(self, user: int, devices: Iterable[_Device], when: int) -> None:
        """Forget publishing ids that are kept no more, and their names."""
        ended = [
            one
            for one in sorted(devices, key=_ended, reverse=True)
            if one.position is None and one.ended is not None and one.node is None
        ]
        before = when - SENDER_SECONDS * 10**9
        ids = [
            one.id
            for index, one in enumerate(ended)
            if _ended(one) < before or index >= MAX_SENDER_NAMES
        ]
        if ids:
            self._execute(_REMOVE, (user, ids))
            self._execute(_REMOVE_IDS, (user, ids))


def _ended(device: _Device) -> int:
    return device.ended or 0
