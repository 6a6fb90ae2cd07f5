"""The store that forgets: everything is in memory, as in the published servers."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from chat_protocol.domain.batch import (
    Account,
    Batch,
    Conversation,
    Lookup,
    Page,
    Publication,
    Query,
    Run,
    UserList,
)
from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.stored import Stored, StoredRun
from chat_protocol.interfaces import IStore
from chat_protocol.stores.memory.mailbox import Mailbox
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope

__all__ = ["MemoryStore"]

PUBLISHING_IDS = 1000
"""Of each sender so many are looked back on at least."""

HISTORY_BYTES = 16 * 1024 * 1024
"""Of messages that are kept as history; past it the oldest go."""

MARK_SECONDS = 60
"""So exactly it is known when a message was stored."""

_MOMENTS = 10_000
"""Past it every second one is dropped."""

_FORGOTTEN_AT_ONCE = 1000
"""Mailboxes and pieces of history that a step of forgetting looks at."""

TO_EVERYONE_BYTES = 16 * 1024 * 1024
"""Of messages to everyone that are kept for those who are off-line; past it the oldest go."""


class _Account:
    """A user and its mailbox."""

    __slots__ = ("id", "last_login", "mailbox", "name", "publishing_ids", "registered", "seen")

    def __init__(self, name: str, id_: int, last_offset: int) -> None:
        self.name = name
        self.id = id_
        self.last_login = 0
        self.mailbox = Mailbox()
        self.registered = self.seen = last_offset
        """The last offset before the user was; the last to everyone that is delivered."""
        self.publishing_ids: Ranges | None = None

    def publish(self, publishing_id: int, count: int) -> None:
        """Messages are stored under this id and those that follow."""
        ids = self.publishing_ids
        if ids is None:
            ids = self.publishing_ids = Ranges()
        ids.add(publishing_id, publishing_id + count)
        if ids.count > 2 * PUBLISHING_IDS:
            ids.keep_highest(PUBLISHING_IDS)


@implementer(IStore)
class MemoryStore:
    """Users and waiting messages in memory, of the others the last HISTORY_BYTES.

    Every Deferred has fired when it is returned. Nothing survives the process.

    Args:
        mailbox_limit: messages that may wait for one user; 0: no limit.
        last_offset: messages are numbered above it.
        wall_clock: nanoseconds since the epoch.
    """

    description = "memory: (forgets everything when the server stops)"

    def __init__(
        self,
        mailbox_limit: int = 0,
        last_offset: int = 0,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._limit = mailbox_limit
        self._wall_clock = wall_clock
        self._moments: deque[tuple[int, int]] = deque()
        """Times, and the last offset that was stored by then."""
        self._marked = self._last_stored = 0
        self._forgotten = 0
        """The last offset that is."""
        self._swept = 0
        """Mailboxes from which the forgotten is gone."""
        self._by_name: dict[str, _Account] = {}
        self._by_id: list[_Account] = []
        self._last_offset = last_offset
        self._to_everyone: deque[Stored] = deque()
        self._to_everyone_size = 0
        self._history: deque[tuple[int, Stored | StoredRun]] = deque()
        """With the bytes of each."""
        self._history_size = 0

    @classmethod
    def from_url(cls, rest: str, mailbox_limit: int, reactor: object) -> MemoryStore:
        """The store of ``memory:``, which takes nothing more.

        It begins to number at the microsecond: clients that come back drop the numbers that they
        have seen (clause S44), and this process must not use those of the last one again.
        """
        if rest:
            raise ValueError("memory: takes nothing behind it")
        return cls(mailbox_limit, time.time_ns() // 1000)

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
                account = _Account(registration.name, len(self._by_id) + 1, self._last_offset)
                self._by_name[registration.name] = account
                self._by_id.append(account)
            account.last_login = registration.when
            registration.user_id = account.id
        if batch.messages:
            self._mark()
            self._last_stored = self._wall_clock()
        for message in batch.messages:
            if isinstance(message, Run):
                self._take_run(message)
            else:
                self._take_publication(message)
        for user_id, stored in batch.returned:
            self._by_id[user_id - 1].mailbox.give_back(stored)
        for user_id, offset in batch.taken.items():
            account = self._by_id[user_id - 1]
            account.seen = max(account.seen, offset)
            account.mailbox.take(offset)
        return succeed(None)

    def _take_run(self, run: Run) -> None:
        accepted = len(run.texts)
        mailbox = None
        if run.waits:
            account = self._by_name.get(run.recipient.name)
            if account is None:
                run.refuse(Code.USER_NOT_FOUND, f"there is no user {run.recipient.name}")
                return
            run.recipient_id = account.id
            mailbox = self._mailbox(account)
            if self._limit:
                room = max(0, self._limit - len(mailbox))
                if accepted > room:
                    accepted = room
                    run.refuse_rest(
                        Code.MAILBOX_FULL,
                        f"{self._limit} messages wait for {run.recipient.name} already",
                    )
        run.accepted = accepted
        run.offset = self._last_offset + 1
        self._last_offset += accepted
        if accepted:
            stored = run.stored()
            if mailbox is not None:
                mailbox.append(stored)
            self._remember(run.size, stored)
            if run.publishing_id:
                self._by_id[run.sender.user.id - 1].publish(run.publishing_id, accepted)

    def _take_publication(self, publication: Publication) -> None:
        sender = self._by_id[publication.sender.user.id - 1]
        publishing_id = publication.publishing_id
        if publishing_id and publishing_id in (sender.publishing_ids or ()):
            return
        accounts = []
        for user in publication.recipients:
            account = self._by_name.get(user.name)
            if account is None:
                publication.refuse(Code.USER_NOT_FOUND, f"there is no user {user.name}")
                return
            if self._limit and len(self._mailbox(account)) >= self._limit:
                publication.refuse(
                    Code.MAILBOX_FULL, f"{self._limit} messages wait for {user.name} already"
                )
                return
            accounts.append(account)
        publication.recipient_ids = [account.id for account in accounts]
        self._last_offset += 1
        publication.offset = self._last_offset
        stored = publication.stored()
        if publication.scope == Scope.EVERYONE:
            self._to_everyone.append(stored)
            self._to_everyone_size += stored.size
            while self._to_everyone_size > TO_EVERYONE_BYTES:
                self._to_everyone_size -= self._to_everyone.popleft().size
        for account in accounts:
            account.mailbox.append(stored)
        if publishing_id:
            sender.publish(publishing_id, 1)
        self._remember(publication.size, stored)

    def _remember(self, size: int, messages: Stored | StoredRun) -> None:
        self._history.append((size, messages))
        self._history_size += size
        while self._history_size > HISTORY_BYTES:
            self._history_size -= self._history.popleft()[0]

    def _mark(self) -> None:
        """Have it known by when all until now was stored, if that was not done a minute ago."""
        now, moments = self._wall_clock(), self._moments
        if 0 <= now - self._marked < MARK_SECONDS * 10**9:
            return
        self._marked = now
        if len(moments) >= _MOMENTS:
            moments = self._moments = deque(islice(moments, 0, None, 2))
        moments.append((self._last_stored, self._last_offset))

    def forget(self, before: int) -> Deferred[bool]:
        """See IStore."""
        self._mark()
        # Not all in their order: a clock may be set back.
        last = max((last for time, last in self._moments if time <= before), default=0)
        if last > self._forgotten:
            self._forgotten = last
            self._swept = 0
            while self._moments[0][1] < last:
                self._moments.popleft()
        for _ in range(_FORGOTTEN_AT_ONCE):
            if not self._sweep():
                return succeed(False)
        return succeed(True)

    def _sweep(self) -> bool:
        """Let one thing go that is forgotten; False if there is none."""
        last, everyones, history = self._forgotten, self._to_everyone, self._history
        if everyones and everyones[0].offset <= last:
            self._to_everyone_size -= everyones.popleft().size
        elif history and history[0][1].offset <= last:
            self._history_size -= history.popleft()[0]
        elif self._swept < len(self._by_id) and last:
            self._mailbox(self._by_id[self._swept])
            self._swept += 1
        else:
            return False
        return True

    def _mailbox(self, account: _Account) -> Mailbox:
        """What waits, but for what is forgotten."""
        if self._forgotten:
            account.mailbox.take(self._forgotten)
        return account.mailbox

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        """See IStore."""
        for query in queries:
            if isinstance(query, Page):
                self._read_page(query)
            elif isinstance(query, Lookup):
                account = self._by_name.get(query.name)
                query.user_id = account.id if account is not None else 0
            elif isinstance(query, Account):
                self._read_account(query)
            elif isinstance(query, UserList):
                names = sorted(name for name in self._by_name if name > query.after)
                query.users = [
                    (name, self._by_name[name].last_login) for name in names[: query.limit]
                ]
            else:
                self._read_conversation(query)
        return succeed(None)

    def _unseen(self, account: _Account, after: int) -> Iterator[Stored]:
        """What went to everyone behind an offset and is not the user's own."""
        everyones = self._to_everyone
        after = max(after, self._forgotten)
        if not everyones or everyones[-1].offset <= after:
            return iter(())
        start = bisect_right(everyones, after, key=lambda stored: stored.offset)
        return (one for one in islice(everyones, start, None) if one.sender != account.name)

    def _read_page(self, page: Page) -> None:
        account = self._by_id[page.user_id - 1]
        # What was sent but not yet marked as taken stands in front.
        own = self._mailbox(account).behind(page.after)
        page.clear()
        for part in merge(own, self._unseen(account, max(account.seen, page.after))):
            if not page.add(part):
                return

    def _read_account(self, account: Account) -> None:
        found = self._by_id[account.user_id - 1]
        account.publishing_id = found.publishing_ids.edges[-1] - 1 if found.publishing_ids else 0
        account.pending = len(self._mailbox(found)) + sum(
            1 for _ in self._unseen(found, found.seen)
        )

    def _read_conversation(self, asked: Conversation) -> None:
        me = self._by_id[asked.user_id - 1]
        other = self._by_id[asked.with_id - 1] if asked.with_id else None
        size = 0
        for _, kept in reversed(self._history):
            if not _between(kept, me, other):
                continue
            for one in reversed(kept.messages()):
                if one.offset <= self._forgotten:
                    break
                if asked.before and one.offset >= asked.before:
                    continue
                size += one.size
                full = len(asked.messages) == asked.limit
                if full or (asked.messages and size > asked.max_bytes):
                    asked.messages.reverse()
                    return
                asked.messages.append(one)
        asked.messages.reverse()


def _between(message: Stored | StoredRun, me: _Account, other: _Account | None) -> bool:
    """Whether one of the two sent it to the other; without another, whether it is mine."""
    if other is None:
        return message.sender == me.name or _is_to(message, me)
    if message.sender == me.name:
        return _is_to(message, other)
    return message.sender == other.name and _is_to(message, me)


def _is_to(message: Stored | StoredRun, account: _Account) -> bool:
    if message.scope == Scope.EVERYONE:
        return message.sender != account.name and message.offset > account.registered
    return account.name in message.to
