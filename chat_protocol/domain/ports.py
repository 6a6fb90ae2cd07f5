"""The ports of the domain: stores, and what a shared store calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from chat_protocol.domain.messages import Batch, PositionKey
from chat_protocol.domain.queries import Query

__all__ = ["IClusterListener", "ISharedStore", "IStore"]


class IStore(Interface):
    """Keeps users, mailboxes and messages.

    A mailbox is a log of one user's messages in the order of their offsets. A message stays in it
    until each device of the user has moved its position behind it.

    There is one caller of commit() and read(), which makes one call at a time: the next one when
    the Deferred of the last one has fired. Offsets grow from commit to commit and, within a commit,
    from message to message. No offset is used twice.
    """

    description: str = Attribute("For the log: what the store is, and how durable an OK is.")
    registered: int = Attribute("Registered users, as of the last commit.")

    def open() -> Deferred[None]:
        """Open the store.

        Fires when the store can take batches. Fails with StoreUnusable, whose text tells the
        operator what is wrong and what to do.
        """

    def commit(batch: Batch) -> Deferred[None]:
        """Store a batch.

        The order is: registrations, positions, messages, released sessions. So a position that
        moves makes room in its mailbox for the messages of the same batch. Each message is admitted
        by domain.admission.admit; the accepted ones enter the mailbox of each recipient. Moving a
        position is idempotent.

        Fires when the batch is as durable as the store promises. By then the store has filled in
        ``user_id`` of each registration and, by admission, the answer of each message.

        Fails with Unavailable if nothing of the batch is stored now or later. Fails with
        OutcomeUnknown if the store cannot tell, as after a failed sync. Any other failure is a
        fault of the program, and nothing is stored. A store without transactions logs a fault and
        refuses the message that met it with Code.ERROR; the server then disconnects its sender.
        """

    def read(queries: Sequence[Query]) -> Deferred[None]:
        """Answer queries about what is committed. This works on a full disk as well.

        Fires when the queries are filled in. Fails with Unavailable.
        """

    def forget(before: int) -> Deferred[bool]:
        """Remove some of the expired messages, in a step of some milliseconds.

        A message is expired if it was stored before a time, in nanoseconds since the epoch, to a
        precision of one minute; even if it still waits in a mailbox. Users and publishing ids stay.
        After the first step no query returns an expired message.

        A commit() or read() may be under way when this call is made, and may be made while it is.
        There is one forget() at a time.

        Fires with whether more steps are needed. Fails with Unavailable.
        """

    def forget_devices(
        when: int, absent: int, online: Collection[PositionKey]
    ) -> Deferred[list[PositionKey]]:
        """Forget some of the devices that users have no more, in a step of some milliseconds.

        The next step goes on where this one ends. Only users with several devices are concerned.

        These are the devices that have been offline for longer than ``absent``, and those that are
        further behind than a mailbox may hold, while another device of the user is not. What a user
        has sent from other devices does not count for that. A user's last device stays. Publishing
        ids stay as long as those of a name under which the user only sends: SENDER_SECONDS.

        Another call may be under way when this one is made.

        Args:
            when: nanoseconds since the epoch.
            absent: in nanoseconds.
            online: the devices of such users that have a session at this server. They are not
                forgotten.

        Fires with the devices of ``online`` that are too far behind; they are forgotten by a later
        call, when their sessions have ended. Fails with Unavailable.
        """

    def close() -> Deferred[None]:
        """Close the store. Fires when another process can open it."""


class IClusterListener(Interface):
    """Is told by a shared store, in the reactor thread, what the other nodes do."""

    def notified(user_ids: Sequence[int] | None) -> None:
        """Read the mailboxes of these users, or with None of all: there may be new messages."""

    def replaced(user_id: int, number: int) -> None:
        """End a session of this node, if it has it: a login at another node has taken it over."""

    def presence_changed(name: str, online: bool, time: int) -> None:
        """Note that a user came online or went offline, at any node.

        ``time`` is in nanoseconds since the epoch.
        """

    def lease_lost() -> None:
        """End all sessions now: other nodes may take over the users of this one."""


class ISharedStore(IStore):
    """A store that the nodes of a cluster share.

    The store decides by login_rules.decide which logins succeed: ``number`` of a Registration is 0
    if it is refused, for the reason in ``refused``. It reports to all nodes which users come online
    and go offline (IClusterListener.presence_changed). Other nodes write to the mailboxes as well.
    So a session reads its mailbox when the store notifies it, and no message is delivered as it is
    stored.
    """

    serving: bool = Attribute("Whether no other node can have taken over the users of this one.")

    def attach(listener: IClusterListener, token_seconds: float) -> None:
        """Set the listener that is told what the other nodes do.

        ``token_seconds``: see Limits.
        """

    def distrust_tokens() -> Deferred[None]:
        """Let no token of any session stand for a password; see domain.tokens.EndedTokens.

        Fires when that is stored. Fails with Unavailable.
        """
