"""What an operator does with a store: beside a server, or in its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Caretaker", "Findings", "Statistics", "UserRecord"]


@dataclass(frozen=True)
class UserRecord:
    """A user, as the store knows it."""

    name: str
    last_login: int
    """Nanoseconds since the epoch."""
    waiting: int
    """Messages that wait, those to everyone among them."""


@dataclass(frozen=True)
class Statistics:
    """How much there is."""

    users: int
    messages: int
    waiting: int
    """Messages in mailboxes; one to several counts for each, one to everyone for none."""
    oldest: int
    """No message was stored before that, in nanoseconds since the epoch; 0: that is not known."""
    bytes: int
    """That the store takes, those that are free to be used again among them."""
    free_bytes: int
    schema: int


@dataclass(frozen=True)
class Findings:
    """What a check came to."""

    looked_at: str
    """What was checked, in words."""
    faults: list[str]
    """Sentences; none: all is well."""


class Caretaker(Protocol):
    """Takes care of the data of one store. Every call blocks.

    StoreUnusable, with a sentence that says what to do, is raised by any of them.
    """

    def backup(self, target: str, force: bool) -> int:
        """Copy all that is stored as this begins to a file; a server may run. Returns its bytes.

        Raises:
            FileExistsError: there is such a file, and ``force`` is not given.
        """

    def restore(self, source: str, force: bool) -> None:
        """Have what a backup holds, and nothing else; no server may run.

        What is numbered from then on is above all that was ever numbered (clause S61).

        Raises:
            FileExistsError: there are users already, and ``force`` is not given.
        """

    def renumber(self) -> None:
        """Number messages from now on above all that can ever have been given (clause S61).

        For a store that was restored by other means.
        """

    def check(self) -> Findings:
        """Look for damage and for contradictions; a server may run."""

    def statistics(self) -> Statistics:
        """Count; a server may run."""

    def users(self) -> Iterator[UserRecord]:
        """All users, in the order of their names' bytes; a server may run."""

    def user(self, name: str) -> tuple[UserRecord, int]:
        """A user, and how many messages are from or to it alone; a server may run.

        Raises:
            UserNotFound: there is none of that name.
        """

    def delete_user(self, name: str) -> int:
        """Remove a user, what it sent, and what only it was sent.

        Returns how many messages that were. A message to several stays with the others, who do
        not see the name any more. No server may run.

        Raises:
            UserNotFound: there is none of that name.
        """

    def purge(self, before: int) -> int:
        """Remove what was stored before a time, in nanoseconds since the epoch; how many messages.

        No server may run: one with ``--retention`` does it by itself.
        """

    def compact(self) -> int:
        """Give free space back to the system; how many bytes. No server may run."""
