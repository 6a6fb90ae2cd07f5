"""A store in memory: what it has is lost when the server stops, as in the published servers."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from heapq import merge
from itertools import islice

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from chat_protocol.domain.admission import admit, publish
from chat_protocol.domain.entries import Entry
from chat_protocol.domain.messages import Batch, Message
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Account, Conversation, Lookup, Page, Query, UserList
from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.time_marks import TimeMarks
from chat_protocol.domain.users import Session, User
from chat_protocol.stores.memory.broadcasts import Broadcasts
from chat_protocol.stores.memory.mailbox import Mailbox
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope

__all__ = ["MemoryStore"]

HISTORY_BYTES = 16 * 1024 * 1024
"""Of messages that are kept as history; past it the oldest go."""

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
        self.publishing_ids: dict[str, Ranges] = {}
        """By device."""


@implementer(IStore)
class MemoryStore:
    """Users and waiting messages in memory, of the others the last HISTORY_BYTES.

    Every Deferred has fired when it is returned. Nothing survives the process.

    Args:
        mailbox_limit: messages that may wait for one user; 0: no limit.
        last_offset: messages are numbered above it.
        wall_clock: nanoseconds since the epoch.
    """

    log = Logger()
    description = "memory: (forgets everything when the server stops)"

    def __init__(
        self,
        mailbox_limit: int = 0,
        last_offset: int = 0,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.mailbox_limit = mailbox_limit
        self._wall_clock = wall_clock
        self._marks = TimeMarks(wall_clock)
        self._moments: deque[tuple[int, int]] = deque()
        """Times, and the last offset that was stored by then, both ascending."""
        self._forgotten = 0
        """The last offset that is."""
        self._swept = 0
        """Mailboxes from which the forgotten is gone."""
        self._by_name: dict[str, _Account] = {}
        self._by_id: list[_Account] = []
        self._last_offset = last_offset
        self._to_everyone = Broadcasts(TO_EVERYONE_BYTES)
        self._history: deque[tuple[int, Entry]] = deque()
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
        return succeed(None)

    def close(self) -> Deferred[None]:
        return succeed(None)

    def commit(self, batch: Batch) -> Deferred[None]:
        for registration in batch.registrations:
            account = self._by_name.get(registration.name)
            if account is None:
                account = _Account(registration.name, len(self._by_id) + 1, self._last_offset)
                self._by_name[registration.name] = account
                self._by_id.append(account)
            account.last_login = registration.when
            registration.user_id = account.id
        for (user_id, _), offset in batch.positions.items():
            account = self._by_id[user_id - 1]
            if offset > account.seen:
                account.seen = offset
                account.mailbox.take(offset)
        if batch.messages:
            self._mark()
            self._marks.stored()
        for message in batch.messages:
            try:
                if admit(message, self):
                    self._append(message)
            except Exception:
                # There is no transaction to roll back, so the others are not stored again.
                self.log.failure("A message met a fault")
                message.refuse(Code.ERROR, "")
        return succeed(None)

    def _append(self, message: Message) -> None:
        """Store an admitted message."""
        entry = message.entry()
        for user_id in message.recipient_ids:
            self._by_id[user_id - 1].mailbox.append(entry)
        if entry.scope == Scope.EVERYONE:
            self._to_everyone.append(entry)
        if message.publishing_id:
            publish(message, self.published(message.sender))
        self._remember(message.size, entry)

    # What admission asks for: see domain.admission.Ledger.

    def find(self, user: User) -> int:
        account = self._by_name.get(user.name)
        return account.id if account is not None else 0

    def room(self, user_id: int) -> int:
        limit = self.mailbox_limit
        if not limit:
            return sys.maxsize
        room = limit - self._mailbox(self._by_id[user_id - 1]).count
        return room if room > 0 else 0

    def published(self, sender: Session) -> Ranges:
        publishing_ids = self._by_id[sender.user.id - 1].publishing_ids
        ids = publishing_ids.get(sender.device)
        if ids is None:
            ids = publishing_ids[sender.device] = Ranges()
        return ids

    def draw(self, count: int) -> int:
        first = self._last_offset + 1
        self._last_offset += count
        return first

    def _remember(self, size: int, messages: Entry) -> None:
        self._history.append((size, messages))
        self._history_size += size
        while self._history_size > HISTORY_BYTES:
            self._history_size -= self._history.popleft()[0]

    def _mark(self) -> None:
        """Note by what time everything until now was stored, at most once in MARK_SECONDS."""
        time, moments = self._marks.due(), self._moments
        if not time:
            return
        if len(moments) >= _MOMENTS:
            moments = self._moments = deque(islice(moments, 0, None, 2))
        moments.append((time, self._last_offset))

    def forget(self, before: int) -> Deferred[bool]:
        self._mark()
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
        last, history = self._forgotten, self._history
        if self._to_everyone.expire(last):
            return True
        if history and _last(history[0][1]) <= last:
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

    def _read_page(self, page: Page) -> None:
        account = self._by_id[page.user_id - 1]
        # What was sent but not yet marked as taken stands in front.
        own = self._mailbox(account).behind(page.after)
        page.clear()
        after = max(account.seen, page.after, self._forgotten)
        unseen = self._to_everyone.behind(after, account.name)
        for entry in merge(own, unseen, key=_offset):
            if not page.add(entry):
                return

    def _read_account(self, account: Account) -> None:
        found = self._by_id[account.user_id - 1]
        ids = found.publishing_ids.get("")
        account.publishing_id = ids.edges[-1] - 1 if ids else 0
        after = max(found.seen, self._forgotten)
        account.pending = self._mailbox(found).count + self._to_everyone.count(after, found.name)

    def _read_conversation(self, asked: Conversation) -> None:
        me = self._by_id[asked.user_id - 1]
        other = self._by_id[asked.with_id - 1] if asked.with_id else None
        newest: list[Entry] = []
        left, size = asked.limit, 0
        for _, kept in reversed(self._history):
            if not left or kept.end - 1 <= self._forgotten:
                break
            if not _between(kept, me, other):
                continue
            end = min(kept.end, asked.before) if asked.before else kept.end
            begin = max(kept.offset, self._forgotten + 1, end - left)
            for offset in range(end - 1, begin - 1, -1):
                one = kept.between(offset, offset + 1)
                size += one.size
                if newest and size > asked.max_bytes:
                    left = 0
                    break
                newest.append(one)
                left -= 1
        asked.entries = newest[::-1]


def _between(message: Entry, me: _Account, other: _Account | None) -> bool:
    """Whether one of the two sent it to the other; without another, whether it is mine."""
    if other is None:
        return message.sender == me.name or _is_to(message, me)
    if message.sender == me.name:
        return _is_to(message, other)
    return message.sender == other.name and _is_to(message, me)


def _is_to(message: Entry, account: _Account) -> bool:
    if message.scope == Scope.EVERYONE:
        return message.sender != account.name and message.offset > account.registered
    return account.name in message.to


def _offset(entry: Entry) -> int:
    return entry.offset


def _last(entry: Entry) -> int:
    return entry.end - 1
