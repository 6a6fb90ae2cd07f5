"""A user of the store that is in memory, with the devices and the mailbox."""

from __future__ import annotations

import sys
from collections.abc import Collection
from heapq import merge

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.login_rules import MAX_DEVICES, MAX_SENDER_NAMES, NO_NAME, is_device
from chat_protocol.domain.messages import Registration
from chat_protocol.domain.ranges import Ranges
from chat_protocol.stores.memory.mailbox import Mailbox

__all__ = ["Device", "UserRecord"]


class Device:
    """A device, or a name under which a user sends; see Session.device."""

    __slots__ = ("ended", "first", "id", "name", "position", "publishing_ids")

    def __init__(self, name: str, id_: int) -> None:
        self.name = name
        self.id = id_
        self.position = -1
        """Offset up to which it has received everything. -1: it is no device."""
        self.first = 0
        """Last offset before its first login."""
        self.ended: int | None = None
        """When its last session ended, in nanoseconds since the epoch; None: it is online."""
        self.publishing_ids = Ranges()

    def forget(self, when: int) -> None:
        """Forget the device. Its publishing ids stay."""
        self.position = -1
        self.ended = when


class UserRecord:
    """A user, with the devices and the mailbox.

    Args:
        name: of the user.
        id_: of the user.
        last_offset: the last offset before the registration.
    """

    __slots__ = (
        "_next_id",
        "copies",
        "devices",
        "id",
        "last_login",
        "mailbox",
        "name",
        "registered",
    )

    def __init__(self, name: str, id_: int, last_offset: int) -> None:
        self.name = name
        self.id = id_
        self.last_login = 0
        self.mailbox = Mailbox()
        self.registered = last_offset
        self.devices: dict[int, Device] = {}
        """By id: devices, and names under which the user sends."""
        self._next_id = 1
        self.copies: dict[str, Mailbox] = _NO_COPIES
        """What the user has sent and other devices have not received, by the device that sent it.
        """

    # Devices.

    def device(self, name: str) -> Device:
        """Return the device or sender of a name; it is made if there is none."""
        return self.find(name) or self._add(name)

    def find(self, name: str) -> Device | None:
        """Return the device or sender of a name; None: there is none."""
        for device in self.devices.values():
            if device.name == name:
                return device
        return None

    def _add(self, name: str) -> Device:
        id_ = 0
        if name:
            id_, self._next_id = self._next_id, self._next_id + 1
        device = self.devices[id_] = Device(name, id_)
        return device

    @property
    def receiving(self) -> list[Device]:
        """The devices: the names that have a position."""
        return [device for device in self.devices.values() if device.position >= 0]

    @property
    def has_devices(self) -> bool:
        """Whether there are several devices."""
        return len(self.devices) > 1 and len(self.receiving) > 1

    def log_in(self, registration: Registration, last_offset: int) -> None:
        """Note a login, and fill in what the registration wants to know of the device."""
        name, when = registration.login.device, registration.when
        self.last_login = when
        registration.user_id = self.id
        if name == NO_NAME:
            return
        device = self.device(name)
        registration.device_id = device.id
        if is_device(name):
            registration.known = device.position >= 0
            if not registration.known:
                self._begin(device, registration, last_offset)
        else:
            registration.known = bool(device.publishing_ids)
        device.ended = None
        registration.has_devices = self.has_devices

    def _begin(self, device: Device, registration: Registration, last_offset: int) -> None:
        """Give a device its position: this is its first login."""
        others = self.receiving
        if len(others) == 1 and others[0].id not in registration.online:
            others[0].ended = registration.when
        if len(others) >= MAX_DEVICES:
            absent = [one for one in others if one.ended is not None]
            self.forget(min(absent, key=_ended), registration.when)
        device.position = max((one.position for one in others), default=self.registered)
        device.first = last_offset if others else self.registered

    def forget(self, device: Device, when: int) -> None:
        """Forget a device. What only it has not received leaves the mailbox."""
        device.forget(when)
        self._trim()

    def forget_absent(self, before: int, when: int, online: Collection[int]) -> None:
        """Forget devices whose last session ended before a time, but not the last device."""
        for device in sorted(self.receiving, key=_ended):
            if device.ended is None or device.id in online or device.ended >= before:
                continue
            if not self.has_devices:
                return
            self.forget(device, when)

    def forget_senders(self, before: int) -> None:
        """Forget publishing ids of names whose last session ended before a time, or too many."""
        ended = sorted(
            (one for one in self.devices.values() if one.position < 0 and one.ended is not None),
            key=_ended,
        )
        for index, device in enumerate(ended):
            if _ended(device) < before or len(ended) - index > MAX_SENDER_NAMES:
                del self.devices[device.id]

    # The mailbox.

    def copy(self, entry: Entry, limit: int) -> bool:
        """Keep what the user has sent for the other devices; return whether there are any.

        Args:
            entry: what was sent.
            limit: messages from one device that are kept, the newest ones; 0: all of them.
        """
        if not any(one.name != entry.device for one in self.receiving):
            return False
        if self.copies is _NO_COPIES:
            self.copies = {}
        copies = self.copies.setdefault(entry.device, Mailbox())
        copies.append(entry)
        if limit:
            copies.drop(copies.count - limit)
        return True

    def move(self, device_id: int, offset: int) -> None:
        """Move the position of a device."""
        device = self.devices.get(device_id)
        if device is None or not 0 <= device.position < offset:
            return
        device.position = offset
        if len(self.devices) == 1:
            self.mailbox.take(offset)
        else:
            self.mailbox.take(offset, keep=True)
            self._trim()

    def _trim(self) -> None:
        """Remove what all devices have received."""
        positions = {one.name: one.position for one in self.receiving}
        if not positions:
            return
        self.mailbox.remove(min(positions.values()))
        for sender, copies in list(self.copies.items()):
            others = [at for name, at in positions.items() if name != sender]
            copies.take(min(others, default=sys.maxsize))
            if not copies.count:
                del self.copies[sender]

    def copies_for(self, device: Device, after: int, room: int) -> list[Entry]:
        """Return what the user has sent from other devices, behind an offset.

        Args:
            device: which gets them.
            after: the offset.
            room: the most messages; above it the oldest ones are left out.
        """
        elsewhere = (box.behind(after) for name, box in self.copies.items() if name != device.name)
        copies = list(merge(*elsewhere, key=_offset))
        excess = sum(len(one.frames) for one in copies) - max(0, room)
        while excess > 0:
            first, count = copies[0], len(copies[0].frames)
            if count > excess:
                copies[0] = first.between(first.offset + excess, first.end)
            else:
                del copies[0]
            excess -= count
        return copies


_NO_COPIES: dict[str, Mailbox] = {}
"""Shared by the users of whom there are none; never changed."""


def _offset(entry: Entry) -> int:
    return entry.offset


def _ended(device: Device) -> int:
    return device.ended or 0
