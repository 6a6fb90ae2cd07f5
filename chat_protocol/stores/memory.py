"""The store that forgets: everything is in memory, as in the published servers."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from itertools import islice

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from chat_protocol.domain.batch import Batch, Lookup, Page, Run, Stored
from chat_protocol.interfaces import IStore
from chat_protocol.wire.codes import Code

__all__ = ["MemoryStore"]


class _Account:
    """A user and its mailbox."""

    __slots__ = ("id", "last_login", "mailbox")

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.last_login = 0
        self.mailbox: deque[Stored] = deque()


@implementer(IStore)
class MemoryStore:
    """Users and waiting messages in memory; a delivered message is gone.

    Every Deferred has fired when it is returned. Nothing survives the process.

    Args:
        mailbox_limit: messages that may wait for one user; 0: no limit.
    """

    description = "memory: (forgets everything when the server stops)"

    def __init__(self, mailbox_limit: int = 0) -> None:
        self._limit = mailbox_limit
        self._by_name: dict[str, _Account] = {}
        self._by_id: list[_Account] = []
        self._last_offset = 0

    @classmethod
    def from_url(cls, rest: str, mailbox_limit: int, reactor: object) -> MemoryStore:
        """The store of ``memory:``, which takes nothing more."""
        if rest:
            raise ValueError("memory: takes nothing behind it")
        return cls(mailbox_limit)

    @property
    def registered(self) -> int:
        """How many users there are."""
        return len(self._by_id)

    def open(self) -> Deferred[None]:
        """See IStore."""
        return succeed(None)

    def close(self) -> Deferred[None]:
        """See IStore."""
        return succeed(None)

    def commit(self, batch: Batch) -> Deferred[None]:
        """See IStore."""
        for registration in batch.registrations:
            account = self._by_name.get(registration.name)
            if account is None:
                account = self._by_name[registration.name] = _Account(len(self._by_id) + 1)
                self._by_id.append(account)
            account.last_login = registration.when
            registration.user_id = account.id
        for run in batch.runs:
            self._store(run)
        for user_id, message in batch.returned:
            mailbox = self._by_id[user_id - 1].mailbox
            if message not in mailbox:
                insort(mailbox, message)
        for user_id, offset in batch.taken.items():
            mailbox = self._by_id[user_id - 1].mailbox
            while mailbox and mailbox[0].offset <= offset:
                mailbox.popleft()
        return succeed(None)

    def _store(self, run: Run) -> None:
        accepted = len(run.texts)
        mailbox = None
        if run.live is None:
            account = self._by_name.get(run.recipient.name)
            if account is None:
                run.refusal = Code.USER_NOT_FOUND
                return
            run.recipient_id = account.id
            mailbox = account.mailbox
            if self._limit:
                room = max(0, self._limit - len(mailbox))
                if accepted > room:
                    accepted = room
                    run.refusal = Code.MAILBOX_FULL
        run.accepted = accepted
        run.offset = self._last_offset + 1
        self._last_offset += accepted
        if mailbox is not None:
            mailbox.extend(run.stored())

    def read(self, queries: Sequence[Page | Lookup]) -> Deferred[None]:
        """See IStore."""
        for query in queries:
            if isinstance(query, Page):
                self._read_page(query)
            else:
                account = self._by_name.get(query.name)
                query.user_id = account.id if account is not None else 0
        return succeed(None)

    def _read_page(self, page: Page) -> None:
        mailbox = self._by_id[page.user_id - 1].mailbox
        # What was sent but not yet marked as taken stands in front.
        start = next((i for i, one in enumerate(mailbox) if one.offset > page.after), len(mailbox))
        size = 0
        for message in islice(mailbox, start, start + page.max_messages):
            page.messages.append(message)
            size += len(message.text)
            if size >= page.max_bytes:
                break
        page.complete = start + len(page.messages) == len(mailbox)
