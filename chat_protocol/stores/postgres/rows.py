"""The rows that the messages of a batch become."""

from __future__ import annotations

from chat_protocol.domain.admission import publish
from chat_protocol.domain.messages import Message
from chat_protocol.stores.postgres.bigints import Bigints
from chat_protocol.stores.postgres.known import Known, Published

__all__ = ["Rows"]


class Rows:
    """The rows of a batch, as the columns of each table.

    Args:
        known: peers that it knows get no rows.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self.offsets = Bigints()
        self.senders = Bigints()
        self.devices = Bigints()
        self.recipients = Bigints()
        """0 where there is not exactly one."""
        self.several: list[str | None] = []
        """Where there are several: their ids, as an array in the syntax of SQL."""
        self.scopes = Bigints()
        self.times = Bigints()
        self.texts: list[bytes] = []
        self.inbox = Bigints(), Bigints()
        self.copies = Bigints(), Bigints(), Bigints()
        self.conversations = Bigints(), Bigints(), Bigints(), Bigints()
        self.peers: list[tuple[int, int]] = []
        self.published: dict[tuple[int, int, int], int] = {}
        """By user, device and first id: the last id of a range."""
        self.unpublished: dict[tuple[int, int], int] = {}
        """By user and device: lower ids are looked back on no more."""

    def add(self, message: Message, device: int) -> None:
        """Add an admitted message.

        Args:
            message: with at least one accepted message.
            device: the id of the device that sent it.
        """
        offset, count, ids = message.offset, message.accepted, message.recipient_ids
        offsets = range(offset, offset + count)
        sender = message.sender.user.id
        several = len(ids) > 1
        self.offsets += offsets
        self.senders += [sender] * count
        self.devices += [device] * count
        self.recipients += [ids[0] if len(ids) == 1 else 0] * count
        self.several += [f"{{{','.join(map(str, ids))}}}" if several else None] * count
        self.scopes += [int(message.audience.scope)] * count
        frames = message.frames[:count]
        self.times += [int.from_bytes(frame[-8:], "big", signed=True) for frame in frames]
        self.texts += message.texts[:count]
        users, inbox = self.inbox
        for recipient in ids:
            users += [recipient] * count
            inbox += offsets
            self._converse(sender, recipient, offsets[-1], count)

    def copy(self, message: Message, device: int) -> None:
        """Add an admitted message for the other devices of its sender."""
        users, offsets, devices = self.copies
        count = message.accepted
        users += [message.sender.user.id] * count
        offsets += range(message.offset, message.offset + count)
        devices += [device] * count

    def _converse(self, sender: int, recipient: int, last: int, count: int) -> None:
        low, high = min(sender, recipient), max(sender, recipient)
        for column, value in zip(self.conversations, (low, high, last, count), strict=True):
            column.append(value)
        if self._known.meet(low, high):
            self.peers += [(low, high), (high, low)]

    def publish(self, message: Message, device: int, published: Published) -> None:
        """Note the publishing ids of an admitted message."""
        ids, sender = published.ids, message.sender.user.id
        begin, end = (ids.edges[0], ids.edges[-1]) if ids else (0, 0)
        publish(message, ids)
        if message.publishing_id != end:
            published.row = message.publishing_id
        self.published[sender, device, published.row] = ids.edges[-1] - 1
        if begin and ids.edges[0] != begin:
            self.unpublished[sender, device] = ids.edges[0]
