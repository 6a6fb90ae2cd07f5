"""The rows that the messages of a batch become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chat_protocol.domain.admission import publish
from chat_protocol.domain.messages import Message
from chat_protocol.stores.postgres.bigints import Bigints
from chat_protocol.stores.postgres.known import Known, Published

__all__ = ["Rows"]

ENTRY_BYTES = 65536
"""At most so many bytes are in a row, unless it is one message: it is read as a whole."""


class Rows:
    """The rows of a batch, as the columns of each table.

    Args:
        known: peers that it knows get no rows.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self.lasts = Bigints()
        self.counts = Bigints()
        self.senders = Bigints()
        self.devices = Bigints()
        self.scopes = Bigints()
        self.recipients = Bigints()
        """0 where there is not exactly one."""
        self.several: list[str | None] = []
        """Where there are several: their ids, as an array in the syntax of SQL."""
        self.frames: list[bytes] = []
        self.inbox = Bigints(), Bigints(), Bigints()
        self.copies = Bigints(), Bigints(), Bigints(), Bigints()
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
        ids, sender = message.recipient_ids, message.sender.user.id
        several = f"{{{','.join(map(str, ids))}}}" if len(ids) > 1 else None
        for last, frames in _entries(message):
            count = len(frames)
            self.lasts.append(last)
            self.counts.append(count)
            self.senders.append(sender)
            self.devices.append(device)
            self.scopes.append(message.audience.scope)
            self.recipients.append(ids[0] if len(ids) == 1 else 0)
            self.several.append(several)
            self.frames.append(b"".join(frames))
            for recipient in ids:
                _append(self.inbox, recipient, last, count)
                self._converse(sender, recipient, last, count)

    def copy(self, message: Message, device: int) -> None:
        """Add an admitted message for the other devices of its sender."""
        for last, frames in _entries(message):
            _append(self.copies, message.sender.user.id, last, len(frames), device)

    def _converse(self, sender: int, recipient: int, last: int, count: int) -> None:
        low, high = min(sender, recipient), max(sender, recipient)
        _append(self.conversations, low, high, last, count)
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


def _entries(message: Message) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the last offset and the frames of each row that an admitted message becomes."""
    last, size = message.offset - 1, 0
    frames: list[bytes] = []
    for frame in message.frames[: message.accepted]:
        size += len(frame)
        if frames and size > ENTRY_BYTES:
            yield last, frames
            frames, size = [], len(frame)
        frames.append(frame)
        last += 1
    yield last, frames


def _append(columns: Iterable[list[int]], *row: int) -> None:
    for column, value in zip(columns, row, strict=True):
        column.append(value)
