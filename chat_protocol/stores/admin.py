"""What an operator can do with a store, beside a server or while none runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from chat_protocol.errors import StoreUnusable

__all__ = [
    "DeviceRecord",
    "Findings",
    "Statistics",
    "StoreAdmin",
    "UserRecord",
    "check_forgettable",
]


@dataclass(frozen=True)
class UserRecord:
    """A user as the store knows it."""

    name: str
    last_login: int
    """Nanoseconds since the epoch."""
    waiting: int
    """Messages in the mailbox: some device has not acknowledged them. Those to everyone count,
    own copies do not."""


@dataclass(frozen=True)
class DeviceRecord:
    """A device of a user."""

    name: str
    """Empty: the unnamed device."""
    ended: int | None
    """When its last session ended, in nanoseconds since the epoch. None: it is online, or that is
    not known, as of a user's only device."""


@dataclass(frozen=True)
class Statistics:
    """How much a store holds."""

    users: int
    messages: int
    waiting: int
    """Messages in mailboxes. One to several users counts for each, one to everyone does not."""
    oldest: int
    """No message was stored before that, in nanoseconds since the epoch; 0: that is not known."""
    bytes: int
    """Bytes that the store takes, free ones that it can use again included."""
    free_bytes: int
    schema: int


@dataclass(frozen=True)
class Findings:
    """The outcome of a check."""

    looked_at: str
    """What was checked, in words."""
    faults: list[str]
    """One sentence each; an empty list if everything is right."""


def check_forgettable(name: str, device: str, devices: list[str]) -> None:
    """Raise StoreUnusable unless a user has that device and another one.

    Args:
        name: of the user.
        device: the device to forget.
        devices: the names of all devices of the user.
    """
    shown = repr(device) if device else "the unnamed device"
    if device not in devices:
        others = ", ".join(repr(one) if one else "the unnamed one" for one in devices)
        raise StoreUnusable(f"{name} has no device {shown}; the devices are: {others or 'none'}")
    if len(devices) == 1:
        raise StoreUnusable(f"{shown} is the last device of {name}, which is never forgotten")


class StoreAdmin(Protocol):
    """The administration of one store. Every call blocks.

    Raises:
        StoreUnusable: by any call; the text is a sentence that says what to do.
    """

    def backup(self, target: str, force: bool) -> int:
        """Copy everything that is stored at this moment to a file; a server may run.

        Returns:
            The bytes of the file.

        Raises:
            FileExistsError: the file exists, and ``force`` is not given.
        """

    def restore(self, source: str, force: bool) -> None:
        """Replace everything with what a backup holds; no server may run.

        Offsets from then on are above all that were ever in use (clause S61).

        Raises:
            FileExistsError: there are users already, and ``force`` is not given.
        """

    def renumber(self) -> None:
        """Use only offsets from now on that can never have been in use (clause S61).

        For a store that was restored by other means.
        """

    def check(self) -> Findings:
        """Look for damage and contradictions; a server may run."""

    def statistics(self) -> Statistics:
        """Count users and messages; a server may run."""

    def users(self) -> Iterator[UserRecord]:
        """Yield all users in the order of the names' UTF-8 bytes; a server may run."""

    def user(self, name: str) -> tuple[UserRecord, int]:
        """Return a user, and the number of messages that are from it or to it; a server may run.

        Messages that others sent to everyone do not count.

        Raises:
            UserNotFound: there is no user of that name.
        """

    def devices(self, name: str) -> list[DeviceRecord]:
        """Return the devices of a user; a server may run.

        Raises:
            UserNotFound: there is no user of that name.
        """

    def forget_device(self, name: str, device: str) -> None:
        """Forget a device of a user, which must not be the last one. Its next login is a first one.

        Raises:
            UserNotFound: there is no user of that name.
            StoreUnusable: there is no such device, it is the last one, or it is online.
        """

    def delete_user(self, name: str) -> int:
        """Delete a user, the messages it sent, and those sent to it only.

        A message to several users stays with the others, without that name. No server may run.

        Returns:
            How many messages are deleted.

        Raises:
            UserNotFound: there is no user of that name.
        """

    def purge(self, before: int) -> int:
        """Remove messages that were stored before a time, in nanoseconds since the epoch.

        No server may run: one with ``--retention`` does it by itself.

        Returns:
            How many messages are removed.
        """

    def compact(self) -> int:
        """Give free space back to the system; return the bytes. No server may run."""
