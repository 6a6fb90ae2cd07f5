"""The devices of users in the SQLite store: their first logins, and how they are forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import NamedTuple

from chat_protocol.domain.login_rules import (
    MAX_DEVICES,
    MAX_SENDER_NAMES,
    NO_NAME,
    SENDER_SECONDS,
    is_device,
)
from chat_protocol.domain.messages import Registration
from chat_protocol.stores.sqlite.ledger import Ledger
from chat_protocol.stores.sqlite.mailbox_reader import MailboxReader
from chat_protocol.stores.sqlite.positions import Positions
from chat_protocol.stores.sqlite.segments import SegmentWriter

__all__ = ["Devices"]

_DEVICES = """
SELECT id, name, position, ended FROM device WHERE user = ? AND position IS NOT NULL ORDER BY id
"""

_ENDED_SENDERS = """
SELECT id, name, ended FROM device WHERE user = ? AND position IS NULL AND ended IS NOT NULL
ORDER BY ended DESC
"""

_BEGIN_DEVICE = """
INSERT INTO device (user, id, name, position, first) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (user, id) DO UPDATE SET position = ?4, first = ?5, ended = NULL
"""


class _Device(NamedTuple):
    id: int
    name: str
    position: int
    ended: int | None


class Devices:
    """Changes the devices of users in the transaction that is open.

    Args:
        connection: to the database.
        ledger: knows the ids of devices, and keeps mailboxes in memory.
        positions: empties mailboxes.
        reader: reads mailboxes.
        writer: knows the last offset in use.
        mailbox_limit: messages that may wait for one user; 0: no limit.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        ledger: Ledger,
        positions: Positions,
        reader: MailboxReader,
        writer: SegmentWriter,
        mailbox_limit: int,
    ) -> None:
        self._execute = connection.execute
        self._ledger = ledger
        self._positions = positions
        self._reader = reader
        self._writer = writer
        self._limit = mailbox_limit

    def log_in(self, registration: Registration, count: int) -> None:
        """Note a login, and fill in what the registration wants to know of the device.

        Args:
            registration: of a user who is registered.
            count: ``devices`` of the user.
        """
        user, name = registration.user_id, registration.login.device
        if name != NO_NAME:
            if is_device(name):
                count = self._log_in_device(registration, count)
            else:
                count = self._log_in_sender(registration, count)
            if count:
                set_online = "UPDATE device SET ended = NULL WHERE user = ? AND id = ?"
                self._execute(set_online, (user, registration.device_id))
        else:
            if not count:
                count = self._keep_positions(registration)
            # Messages from there name it, too.
            self._ledger.device(user, NO_NAME)
        registration.has_devices = count > 0

    def _log_in_device(self, registration: Registration, count: int) -> int:
        user, name, when = registration.user_id, registration.login.device, registration.when
        if count > 0:
            self.forget_overrun(user, when, registration.online)
        devices = self._devices(user, count)
        known = [one for one in devices if one.name == name]
        if known:
            registration.known, registration.device_id = True, known[0].id
            return count
        registration.device_id = self._ledger.device(user, name)
        if not devices:
            return self._first_login(user, registration.device_id, name)
        if not count:
            self._keep_positions(registration)
            devices = self._devices(user, 1)
        if len(devices) >= MAX_DEVICES:
            absent = [one for one in devices if one.id not in registration.online]
            self._forget(user, min(absent, key=_ended).id, when)
        position = max(one.position for one in devices)
        self._begin(user, registration.device_id, name, position, self._writer.last_offset)
        return self._count_again(user)

    def _first_login(self, user: int, device_id: int, name: str) -> int:
        """Note the login of a user's first device; return the number of positions."""
        position = self._reader.position(user, self._writer.last_offset)
        others = "SELECT count(*) FROM device WHERE user = ? AND id <> ?"
        (senders,) = self._execute(others, (user, device_id)).fetchone()
        if name or senders:
            self._begin(user, device_id, name, position, position)
        self._set_count(user, 1 if senders else 0)
        return 1 if senders else 0

    def _begin(self, user: int, device_id: int, name: str, position: int, first: int) -> None:
        self._execute(_BEGIN_DEVICE, (user, device_id, name, position, first))

    def _log_in_sender(self, registration: Registration, count: int) -> int:
        user = registration.user_id
        if not count:
            count = self._keep_positions(registration)
        device_id = self._ledger.device(user, registration.login.device)
        registration.device_id = device_id
        registration.known = bool(self._ledger.published_by(user, device_id))
        self.forget_senders(user, registration.when)
        return count

    def _devices(self, user: int, count: int) -> list[_Device]:
        """Return the devices of a user; the positions have no meaning if ``count`` is 0."""
        devices = [
            _Device(id_, name.decode(), position, ended)
            for id_, name, position, ended in self._execute(_DEVICES, (user,))
        ]
        return [_Device(0, "", 0, None)] if not devices and not count else devices

    def _keep_positions(self, registration: Registration) -> int:
        """Store the position of a user's only device from now on."""
        user = registration.user_id
        (device,) = self._devices(user, 0)
        position = self._reader.position(user, self._writer.last_offset)
        self._begin(user, device.id, device.name, position, position)
        if device.id not in registration.online:
            self.ended(user, device.id, registration.when)
        return self._count_again(user)

    def _count_again(self, user: int) -> int:
        count = len(self._devices(user, 1))
        self._set_count(user, count)
        return count

    def _set_count(self, user: int, count: int) -> None:
        self._execute("UPDATE user SET devices = ? WHERE id = ?", (count, user))
        self._ledger.mailboxes.pop(user, None)

    def ended(self, user: int, device_id: int, when: int) -> None:
        """Note that the session of a device has ended."""
        values = (when, user, device_id)
        self._execute("UPDATE device SET ended = ? WHERE user = ? AND id = ?", values)

    # Forgetting.

    def _forget(self, user: int, device_id: int, when: int) -> None:
        """Forget a device. Its publishing ids stay."""
        self._execute(
            "UPDATE device SET position = NULL, ended = ? WHERE user = ? AND id = ?",
            (when, user, device_id),
        )
        self._count_again(user)
        self._positions.trim(user)

    def names(self, user: int, count: int) -> list[str]:
        """Return the names of a user's devices.

        Args:
            user: the user.
            count: ``devices`` of the user.
        """
        return [one.name for one in self._devices(user, count)]

    def forget(self, user: int, name: str, when: int) -> None:
        """Forget the device of that name, which is not the last one."""
        for device in self._devices(user, 1):
            if device.name == name:
                self._forget(user, device.id, when)

    def forget_overrun(self, user: int, when: int, online: Collection[int]) -> list[int]:
        """Forget devices that are too far behind; return those that are online and stay."""
        devices = self._devices(user, 1)
        if not self._limit or len(devices) < 2:
            return []
        behind = {one.id: self._reader.count(user, one.position) for one in devices}
        if not behind or min(behind.values()) > self._limit:
            return []
        overrun = [one for one, count in behind.items() if count > self._limit]
        for device_id in overrun:
            if device_id not in online:
                self._forget(user, device_id, when)
        return [one for one in overrun if one in online]

    def forget_absent(self, user: int, before: int, when: int, online: Collection[int]) -> None:
        """Forget devices whose last session ended before a time, but not the last device."""
        devices = self._devices(user, 1)
        absent = [
            one
            for one in sorted(devices, key=_ended)
            if one.id not in online and one.ended is not None and one.ended < before
        ]
        for device in absent[: len(devices) - 1]:
            self._forget(user, device.id, when)

    def forget_senders(self, user: int, when: int) -> None:
        """Forget publishing ids that are kept no more, and their names."""
        rows = self._execute(_ENDED_SENDERS, (user,)).fetchall()
        before = when - SENDER_SECONDS * 10**9
        for index, (device_id, name, ended) in enumerate(rows):
            if ended < before or index >= MAX_SENDER_NAMES:
                for table, column in (("publishing", "device"), ("device", "id")):
                    self._execute(
                        f"DELETE FROM {table} WHERE user = ? AND {column} = ?", (user, device_id)
                    )
                self._ledger.forget_device(user, device_id, name.decode())


def _ended(device: _Device) -> int:
    return device.ended or 0
