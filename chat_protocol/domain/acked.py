"""Delivery to a version 2 session: a window, and acknowledgements."""

from __future__ import annotations

from collections import deque

from chat_protocol.domain.batch import Publication, Run
from chat_protocol.domain.delivery import Ask, Delivery, Taken
from chat_protocol.domain.directory import User
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.stored import Stored, StoredRun
from chat_protocol.interfaces import IOutput
from chat_protocol.wire.frames import encode_delivers

__all__ = ["AckedDelivery"]


class AckedDelivery(Delivery):
    """Keeps every message in the mailbox until the session has acknowledged it.

    At most ``window`` are on their way at a time. When as many are unacknowledged, delivery is
    HELD until half of them are.

    Args:
        window: how many.
    """

    __slots__ = ("_unacked", "_window")

    def __init__(
        self, user: User, output: IOutput, limits: Limits, ask: Ask, taken: Taken, window: int
    ) -> None:
        super().__init__(user, output, limits, ask, taken)
        self._window = window
        self._unacked: deque[int] | None = None

    def ack(self, offset: int) -> bool:
        """See Delivery; what was never sent cannot be acknowledged."""
        unacked = self._unacked
        last = 0
        while unacked and unacked[0] <= offset:
            last = unacked.popleft()
        if not unacked:
            self._unacked = None
        if last:
            self._taken(self._user, last)
            if not self._output.backlog:
                self._catch_up()
        return bool(last)

    def _room(self) -> int:
        return self._window - len(self._unacked or ())

    def _catch_up(self) -> None:
        # Not for each acknowledgement: pages of one message would be read.
        if 2 * self._room() >= self._window:
            super()._catch_up()

    def _write_run(self, run: Run) -> None:
        count = run.accepted
        offsets = range(run.offset, run.offset + count)
        self._sent = offsets[-1]
        texts, sender, recipient = run.texts[:count], run.sender.user.name, run.recipient.name
        frames = encode_delivers(run.offset, texts, sender, recipient, run.frames[:count])
        self._send(frames, offsets)

    def _write_part(self, part: Stored | StoredRun) -> None:
        self._send(part.deliver_frames(), range(part.offset, part.end))

    def _write_publication(self, publication: Publication) -> None:
        offset = publication.offset
        self._send(publication.deliver_frames(), range(offset, offset + 1))

    def _send(self, frames: list[bytes], offsets: range) -> None:
        if self._unacked is None:
            self._unacked = deque()
        self._unacked.extend(offsets)
        self._output.write_messages(frames, offsets)
