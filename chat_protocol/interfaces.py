"""The seams between the layers."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from chat_protocol.domain.batch import Batch, Query
from chat_protocol.wire.codes import Code

__all__ = ["IConnection", "IOutput", "IStore"]


class IStore(Interface):
    """Where users, mailboxes and messages are kept.

    One caller, one call at a time: the next is made when the Deferred of the last has fired.
    Offsets grow from commit to commit and, within one, from run to run; none is used twice.
    """

    description: str = Attribute("A few words for the log: what it is and what it promises.")
    registered: int = Attribute("How many users there are, as of the last commit.")

    def open() -> Deferred[None]:
        """Make ready for use.

        Fires when the store can take batches. Fails with StoreUnusable, whose text is one
        sentence that tells an operator what is wrong and what to do.
        """

    def commit(batch: Batch) -> Deferred[None]:
        """Carry out a batch.

        Fires when all of it is as durable as the store promises, with the answers filled in:
        ``user_id`` of each registration; what Run and Publication name as the store's answer.
        A message to an unknown user is refused with USER_NOT_FOUND, one to a full mailbox with
        MAILBOX_FULL; a publication is refused whole, a run from there on; neither concerns the
        rest. What goes to everyone counts in no mailbox. A publication whose id is among the
        last 1000 that were stored for its sender is not stored again. A message that ``waits``
        enters the mailboxes. Taking and returning are idempotent.

        Fails with Unavailable when nothing of the batch was stored.
        """

    def read(queries: Sequence[Query]) -> Deferred[None]:
        """Answer queries from what was committed; needs no room to write.

        Fires with the queries filled in; fails with Unavailable.
        """

    def forget(before: int) -> Deferred[bool]:
        """Go a small step, of some milliseconds, towards forgetting what is old.

        That is every message that was stored before that time, in nanoseconds since the epoch, to
        a minute; one that waits for somebody as well. Users stay, and so do publishing ids. None
        of these messages is seen any more once a step has got hold of them, if there is still
        work to do.

        It may be called while the one other call is under way, and that one meanwhile.

        Fires with whether more steps are needed; fails with Unavailable.
        """

    def close() -> Deferred[None]:
        """Let go of everything; fires when another process can open it."""


class IConnection(Interface):
    """The connection of a session, seen from the exchange."""

    def hold(cause: object) -> None:
        """Read no more until every cause is released."""

    def release(cause: object) -> None:
        """Take back a hold; one that is not there is ignored."""

    def end(code: Code, reason: str) -> None:
        """End the session at once and the connection in good order; version 2 is told why."""

    def drop() -> None:
        """End the session and the connection at once; nothing more goes out on it."""

    def refused(code: Code, count: int, detail: str = "") -> None:
        """So many requests were refused with that code; for the log."""


class IOutput(Interface):
    """What goes out on one connection: gathered, and written once per reactor turn."""

    backlog: int = Attribute("Bytes that the transport has not taken.")

    def write(data: bytes) -> None:
        """Append bytes that are no message."""

    def write_messages(frames: list[bytes], offsets: Sequence[int]) -> None:
        """Append one frame for each offset, which is not 0; of more frames the first."""

    def withdraw() -> list[tuple[int, bytes]]:
        """Offset and frame of each message of which nothing was written, which now never is."""

    def untaken() -> list[tuple[int, bytes]]:
        """Offset and frame of each message that was not wholly taken, oldest first."""


class INeighbours(Interface):
    """What a shared store tells, in the reactor thread, of what the other processes do."""

    def rung(user_ids: Sequence[int] | None) -> None:
        """Something may wait for these users, or, with None, for any: read their mailboxes."""

    def replaced(user_id: int, number: int) -> None:
        """The user's session of that number is another process's now: end it, if it is here."""

    def came_or_went(name: str, online: bool, time: int) -> None:
        """A user of another process is on-line, or not any more; nanoseconds since the epoch."""

    def lease_lost() -> None:
        """Other processes may take the users of this one: end every session, now."""


class ISharedStore(IStore):
    """A store that several processes use at once.

    It decides who may log in: ``number`` of a Registration is 0 where another process has the
    user. What it stores is not delivered past the mailbox, which other processes fill as well:
    a session that is up to date reads it again when it is ``rung``.
    """

    serving: bool = Attribute("Whether no other process can have taken this one's users.")

    def attach(neighbours: INeighbours) -> None:
        """Tell what the other processes do."""
