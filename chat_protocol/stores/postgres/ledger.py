"""What admission asks of the PostgreSQL store, answered from what was read under the locks."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping

from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.users import Session, User
from chat_protocol.stores.postgres.known import Published

__all__ = ["Ledger"]


class Ledger:
    """See domain.admission.Ledger.

    Args:
        mailbox_limit: messages that may wait in one mailbox; 0: no limit.
        ids: of users by their names, where a message did not know the id.
        waiting: by user id, the number of messages in the mailbox; all users concerned that exist.
        published: what each session that publishes has published.
        offset: the first of the offsets that were drawn: enough for all messages of the batch.
    """

    def __init__(
        self,
        mailbox_limit: int,
        ids: Mapping[str, int],
        waiting: Mapping[int, int],
        published: Mapping[Session, Published],
        offset: int,
    ) -> None:
        self.mailbox_limit = mailbox_limit
        self.added: Counter[int] = Counter()
        """By user, how many messages the batch adds to the mailbox."""
        self._ids = ids
        self._waiting = waiting
        self._published = published
        self._next = offset

    def find(self, user: User) -> int:
        return self._ids.get(user.name, 0)

    def room(self, user_id: int) -> int:
        waiting = self._waiting.get(user_id, -1)
        if waiting < 0:
            return -1
        if not self.mailbox_limit:
            return sys.maxsize
        return max(0, self.mailbox_limit - waiting - self.added[user_id])

    def published(self, sender: Session) -> Ranges:
        return self._published[sender].ids

    def draw(self, count: int) -> int:
        offset = self._next
        self._next += count
        return offset
