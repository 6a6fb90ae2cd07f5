"""The rules of admission: which messages are stored and which are refused (docs/protocol.md).

Every store applies them through :func:`admit`, within the transaction that stores the batch. So
the decision is made on the state that the batch changes.
"""

from __future__ import annotations

from typing import Protocol

from chat_protocol.domain.messages import Message
from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.users import Session, User
from chat_protocol.wire.codes import Code

__all__ = [
    "MAX_FIRST_PUBLISHING_ID",
    "MAX_PUBLISHING_ID",
    "MAX_PUBLISHING_ID_STEP",
    "PUBLISHING_IDS",
    "Ledger",
    "admit",
    "publish",
]

PUBLISHING_IDS = 1000
"""Publishing ids of each sender that a store keeps at least: the highest ones."""

MAX_PUBLISHING_ID = 2**63 - 1
"""Highest publishing id."""

MAX_FIRST_PUBLISHING_ID = 2**62
"""Highest publishing id of a sender of whom none is stored yet."""

MAX_PUBLISHING_ID_STEP = 2**40
"""How far a publishing id may be above the highest stored one."""


class Ledger(Protocol):
    """What admission asks of a store: its state after all messages that were admitted so far."""

    mailbox_limit: int
    """Messages that may wait in one mailbox; 0: no limit."""

    def find(self, user: User) -> int:
        """Return the id of a user, by name; 0 if there is no such user."""

    def room(self, user_id: int) -> int:
        """Return how many more messages fit into a mailbox; below 0 if there is no such user."""

    def published(self, sender: Session) -> Ranges:
        """Return the publishing ids that are kept for the sender's user and device."""

    def draw(self, count: int) -> int:
        """Take ``count`` consecutive offsets, and return the first."""


def admit(message: Message, ledger: Ledger) -> bool:
    """Decide on a message that has no answer yet, and fill in its answer.

    The checks are, in this order: publishing ids in order and within bounds; recipients that exist;
    room in their mailboxes. If there is room for some of the messages, these are accepted.

    Returns:
        Whether there is something to store: the first ``accepted`` messages, from ``offset`` on.
        The store then adds their publishing ids by :func:`publish`.
    """
    accepted = len(message.texts)
    if message.publishing_id:
        accepted = _admit_publishing_ids(message, ledger.published(message.sender))
        if not accepted or message.accepted:
            return False
    recipient_ids: tuple[int, ...] = ()
    for user in message.audience.recipients:
        user_id = user.id or ledger.find(user)
        room = ledger.room(user_id) if user_id else -1
        if room < 0:
            message.refuse(Code.USER_NOT_FOUND, f"there is no user {user.name}")
            return False
        if room < accepted and not user.takes_at_once:
            limit = ledger.mailbox_limit
            message.refuse(Code.MAILBOX_FULL, f"{limit} messages wait for {user.name} already")
            if not room:
                return False
            accepted = room
        recipient_ids += (user_id,)
    message.accept(recipient_ids, accepted, ledger.draw(accepted))
    return True


def publish(message: Message, ids: Ranges) -> None:
    """Add the publishing ids of the accepted messages to those of their sender."""
    ids.append(message.publishing_id, message.publishing_id + message.accepted)
    if ids.count > 2 * PUBLISHING_IDS:
        ids.keep_highest(PUBLISHING_IDS)


def _admit_publishing_ids(message: Message, ids: Ranges) -> int:
    """Return how many messages from the front have publishing ids in order and within bounds."""
    first, count = message.publishing_id, len(message.texts)
    highest = ids.edges[-1] - 1 if ids else 0
    if first > highest:
        bound = MAX_FIRST_PUBLISHING_ID
        if highest:
            bound = min(MAX_PUBLISHING_ID, highest + MAX_PUBLISHING_ID_STEP)
        in_bounds = max(0, min(count, bound - first + 1))
        if in_bounds < count:
            message.refuse(Code.MALFORMED, f"publishingId: at most {bound} can follow {highest}")
        return in_bounds
    if count > 1:
        raise ValueError("messages that may be stored already must be submitted one by one")
    if first in ids:
        message.accepted = 1
        return 1
    if first < ids.edges[0] and ids.count >= PUBLISHING_IDS:
        message.refuse(
            Code.OUT_OF_ORDER,
            f"publishingId {first} is too far below {highest}: whether it was stored is not known",
        )
    else:
        message.refuse(Code.OUT_OF_ORDER, f"publishingId {first} was not stored, but {highest} was")
    return 0
