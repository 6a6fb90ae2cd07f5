"""What of a batch is accepted, and the rows that it becomes: decided with the locks held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from chat_protocol.domain.batch import Publication, Run
from chat_protocol.domain.session import Session
from chat_protocol.wire.codes import Code

__all__ = ["BLOCK", "Admission", "Known", "Rows"]

BLOCK = 2048
"""Offsets in a block of ``message_block``."""

PUBLISHING_IDS = 1000
"""Of each sender so many are looked back on at least."""

_KEPT = 100_000
"""Pairs of users who have talked that are kept in memory."""

_PUBLISHERS_KEPT = 1000
"""Sessions whose publishing ids are kept in memory."""


class Known:
    """What one node knows of its own sessions' users, and need not read again."""

    def __init__(self) -> None:
        self.peers: set[tuple[int, int]] = set()
        self._published: dict[tuple[int, int], set[int]] = {}

    def forget(self) -> None:
        """A batch failed: what it did not store is not known."""
        self.peers.clear()
        self._published.clear()

    def publishes(self, session: Session) -> bool:
        """Whether the publishing ids of a session's user are known."""
        return (session.user.id, session.number) in self._published

    def read_published(
        self,
        messages: Sequence[Run | Publication],
        publishers: set[int],
        rows: Iterable[tuple[int, int]],
    ) -> None:
        """Take in the rows of ``publishing`` of some users."""
        if len(self._published) + len(publishers) > _PUBLISHERS_KEPT:
            self._published.clear()
        ids: dict[int, set[int]] = {user_id: set() for user_id in publishers}
        for user_id, publishing_id in rows:
            ids[user_id].add(publishing_id + 2**63)
        for message in messages:
            session = message.sender
            if session.user.id in ids:
                self._published[session.user.id, session.number] = ids[session.user.id]

    def published(self, session: Session) -> set[int]:
        """The publishing ids under which messages of a session's user are stored."""
        return self._published.setdefault((session.user.id, session.number), set())


class Rows:
    """What a batch adds, by column."""

    def __init__(self) -> None:
        self.messages: tuple[list[int], list[int], list[int], list[int], list[bytes]] = (
            [],
            [],
            [],
            [],
            [],
        )
        """Offset, sender, recipient, time and text of messages to one user."""
        self.publications: list[tuple[object, ...]] = []
        self.inbox: tuple[list[int], list[int]] = ([], [])
        self.conversations: tuple[list[int], list[int], list[int], list[int]] = ([], [], [], [])
        self.peers: tuple[list[int], list[int]] = ([], [])
        self.published: tuple[list[int], list[int]] = ([], [])
        self.forgotten: tuple[list[int], list[int]] = ([], [])

    def converse(self, one: int, other: int, last: int, count: int) -> None:
        """So many messages between two users, the last with that offset."""
        values = (min(one, other), max(one, other), last, count)
        for column, value in zip(self.conversations, values, strict=True):
            column.append(value)


class Admission:
    """Decides on the messages of a batch, in their order.

    Args:
        node: this one.
        limit: messages that may wait for one user; 0: none.
        waiting: how many wait for each user who may get one.
        sessions: node and number of the session of each user concerned who is on-line.
        blocks: the offsets that were drawn, each the first of BLOCK.
        known: what the node knows.
    """

    def __init__(
        self,
        node: int,
        limit: int,
        waiting: dict[int, int],
        sessions: dict[int, tuple[int, int]],
        blocks: list[int],
        known: Known,
    ) -> None:
        self.sessions = sessions
        self.rows = Rows()
        self.more: Counter[int] = Counter()
        """By user, how many messages more wait."""
        self.lost: set[Session] = set()
        """The sessions that are no longer this node's."""
        self._node = node
        self._limit = limit
        self._waiting = waiting
        self._known = known
        self._blocks = iter(blocks)
        self._next = 0
        self._end = 0

    @staticmethod
    def blocks(messages: Sequence[Run | Publication]) -> int:
        """How many blocks the messages may need: a run is never divided."""
        blocks, room = 0, 0
        for message in messages:
            count = len(message.texts) if isinstance(message, Run) else 1
            if count > room:
                blocks, room = blocks + 1, BLOCK
            room -= count
        return blocks

    def admit(self, messages: Iterable[Run | Publication]) -> None:
        """Fill in the store's answers."""
        for message in messages:
            session = message.sender
            if self.sessions.get(session.user.id) != (self._node, session.number):
                message.refuse(Code.UNAVAILABLE, "another connection took the session over")
                self.lost.add(session)
            elif isinstance(message, Run):
                self._admit_run(message)
            else:
                self._admit_publication(message)

    def _draw(self, count: int) -> int:
        """The first of so many offsets."""
        if self._next + count > self._end:
            self._next = next(self._blocks)
            self._end = self._next + BLOCK
        offset = self._next
        self._next += count
        return offset

    def _room(self, user_id: int) -> int:
        if not self._limit:
            return 1 << 31
        return max(0, self._limit - self._waiting[user_id] - self.more[user_id])

    def _admit_run(self, run: Run) -> None:
        run.accepted = len(run.texts)
        run.refusal = Code.OK
        recipient = run.recipient_id
        if recipient not in self._waiting:
            run.refuse(Code.USER_NOT_FOUND, f"there is no user {run.recipient.name}")
            return
        room = self._room(recipient) if run.waits else len(run.texts)
        if run.accepted > room:
            run.accepted = room
            run.refuse_rest(
                Code.MAILBOX_FULL,
                f"{self._limit} messages wait for {run.recipient.name} already",
            )
        accepted = run.accepted
        if not accepted:
            return
        offset = run.offset = self._draw(len(run.texts))
        sender = run.sender.user.id
        offsets = range(offset, offset + accepted)
        offset_column, senders, recipients, times, texts = self.rows.messages
        offset_column += offsets
        senders += [sender] * accepted
        recipients += [recipient] * accepted
        times += [int.from_bytes(frame[-8:], "big", signed=True) for frame in run.frames[:accepted]]
        texts += run.texts[:accepted]
        if run.waits:
            self.more[recipient] += accepted
            users, inbox = self.rows.inbox
            users += [recipient] * accepted
            inbox += offsets
        self._converse(sender, recipient, offsets[-1], accepted)
        first = run.publishing_id
        if first:
            published = self._known.published(run.sender)
            for publishing_id in range(first, first + accepted):
                self._remember(sender, publishing_id, published)

    def _admit_publication(self, publication: Publication) -> None:
        publication.refuse(Code.OK, "")
        published = self._known.published(publication.sender) if publication.publishing_id else None
        if published is not None and publication.publishing_id in published:
            return
        if not self._admit_recipients(publication):
            return
        offset = publication.offset = self._draw(1)
        sender = publication.sender.user.id
        ids = publication.recipient_ids
        users, inbox = self.rows.inbox
        users += ids
        inbox += [offset] * len(ids)
        for recipient in ids:
            self.more[recipient] += 1
            self._converse(sender, recipient, offset, 1)
        time = publication.time - (publication.time >> 63 << 64)
        one = ids[0] if len(ids) == 1 else 0
        several = ids if len(ids) > 1 else None
        self.rows.publications.append(
            (offset, sender, one, time, publication.text, publication.scope, several)
        )
        if published is not None:
            self._remember(sender, publication.publishing_id, published)

    def _admit_recipients(self, publication: Publication) -> bool:
        users = zip(publication.recipients, publication.recipient_ids, strict=True)
        for user, user_id in users:
            if user_id not in self._waiting:
                publication.refuse(Code.USER_NOT_FOUND, f"there is no user {user.name}")
                return False
            if not self._room(user_id):
                publication.refuse(
                    Code.MAILBOX_FULL, f"{self._limit} messages wait for {user.name} already"
                )
                return False
        return True

    def _remember(self, sender: int, publishing_id: int, published: set[int]) -> None:
        published.add(publishing_id)
        senders, ids = self.rows.published
        senders.append(sender)
        ids.append(publishing_id - 2**63)
        if len(published) > 2 * PUBLISHING_IDS:
            kept = sorted(published)[-PUBLISHING_IDS:]
            published.intersection_update(kept)
            users, lowest = self.rows.forgotten
            users.append(sender)
            lowest.append(kept[0] - 2**63)

    def _converse(self, sender: int, recipient: int, last: int, count: int) -> None:
        self.rows.converse(sender, recipient, last, count)
        known = self._known.peers
        if (sender, recipient) not in known:
            if len(known) >= _KEPT:
                known.clear()
            known.add((sender, recipient))
            users, peers = self.rows.peers
            users += [sender, recipient]
            peers += [recipient, sender]
