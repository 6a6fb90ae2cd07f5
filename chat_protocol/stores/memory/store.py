"""A store in memory: what it has is lost when the server stops, as in the published servers."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import merge
from itertools import islice
from time import perf_counter

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from chat_protocol.domain.admission import admit, publish
from chat_protocol.domain.entries import Entry
from chat_protocol.domain.login_rules import SENDER_SECONDS, is_device
from chat_protocol.domain.messages import Batch, Message, PositionKey, Registration, by_user
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Account, Conversation, Lookup, Page, Query, UserList
from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.time_marks import TimeMarks
from chat_protocol.domain.users import Session, User
from chat_protocol.stores.memory.broadcasts import Broadcasts
from chat_protocol.stores.memory.mailbox import Mailbox
from chat_protocol.stores.memory.user_record import Device, UserRecord
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope

__all__ = ["HISTORY_BYTES", "HISTORY_LOOKS", "TO_EVERYONE_BYTES", "MemoryStore"]

HISTORY_BYTES = 16 * 1024 * 1024
"""Bytes of messages that are kept as history. Above it the oldest are dropped."""

HISTORY_LOOKS = 20_000
"""Pieces of history, the newest ones, that one question looks at: everybody else waits for it."""

_MOMENTS = 10_000
"""Such times that are kept. Above it every second one is dropped."""

_FORGOTTEN_AT_ONCE = 1000
"""Mailboxes and pieces of history that one step of the removal looks at."""

_FORGET_SECONDS = 0.005
"""How long one step looks at users with several devices."""

TO_EVERYONE_BYTES = 16 * 1024 * 1024
"""Bytes of messages to everyone that are kept for users who are offline. Above it the oldest are
dropped."""


@implementer(IStore)
class MemoryStore:
    """Keeps users and waiting messages in memory, and of other messages the last HISTORY_BYTES.

    Every Deferred has fired when it is returned. Nothing survives the process.

    Args:
        mailbox_limit: messages that may wait for one user; 0: no limit.
        last_offset: the offsets of messages begin above it.
        wall_clock: returns nanoseconds since the epoch.
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
        """Offset of the last expired message."""
        self._swept = 0
        """Mailboxes from which expired messages are removed."""
        self._by_name: dict[str, UserRecord] = {}
        self._by_id: list[UserRecord] = []
        self._with_devices: dict[int, UserRecord] = {}
        """Users with more than one device or name under which they send, by their ids."""
        self._last_offset = last_offset
        self._to_everyone = Broadcasts(TO_EVERYONE_BYTES)
        self._history: deque[tuple[int, Entry]] = deque()
        """Size in bytes and messages."""
        self._history_size = 0

    @classmethod
    def from_url(cls, rest: str, mailbox_limit: int, reactor: object) -> MemoryStore:
        """Return the store of ``memory:``.

        Its offsets begin at the microseconds since the epoch: clients drop messages with offsets
        that they have seen (clause S44), and a former process may have used lower ones.
        """
        if rest:
            raise ValueError("memory: takes nothing behind it")
        return cls(mailbox_limit, time.time_ns() // 1000)

    @property
    def registered(self) -> int:
        """See IStore."""
        return len(self._by_id)

    def open(self) -> Deferred[None]:
        return succeed(None)

    def close(self) -> Deferred[None]:
        return succeed(None)

    def commit(self, batch: Batch) -> Deferred[None]:
        for registration in batch.registrations:
            self._register(registration)
        for (user_id, device_id), offset in batch.positions.items():
            self._by_id[user_id - 1].move(device_id, offset)
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
        for session in batch.released:
            device = self._by_id[session.user.id - 1].devices.get(session.device_id)
            if device is not None:
                device.ended = self._wall_clock()
        return succeed(None)

    def _register(self, registration: Registration) -> None:
        account = self._by_name.get(registration.name)
        if account is None:
            account = UserRecord(registration.name, len(self._by_id) + 1, self._last_offset)
            self._by_name[registration.name] = account
            self._by_id.append(account)
        else:
            self._forget_overrun(account, registration.when, registration.online)
        account.log_in(registration, self._last_offset)
        if len(account.devices) > 1 or not is_device(registration.login.device):
            account.forget_senders(registration.when - SENDER_SECONDS * 10**9)
            self._with_devices[account.id] = account

    def _append(self, message: Message) -> None:
        """Store an admitted message."""
        entry = message.entry()
        for user_id in message.recipient_ids:
            self._by_id[user_id - 1].mailbox.append(entry)
        sender = message.sender
        account = self._with_devices.get(sender.user.id)
        if account is not None and account.id not in message.recipient_ids:
            message.copied = account.copy(entry, self.mailbox_limit)
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
        record = self._by_id[user_id - 1]
        mailbox = self._mailbox(record) if self._forgotten else record.mailbox
        room = limit - mailbox.count
        return room if room > 0 else 0

    def published(self, sender: Session) -> Ranges:
        record = self._by_id[sender.user.id - 1]
        device = record.devices.get(sender.device_id)
        if device is None or device.name != sender.device:
            device = record.device(sender.device)
        return device.publishing_ids

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
        """Remove one expired thing; return False if there is none."""
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

    def _mailbox(self, account: UserRecord) -> Mailbox:
        """Return a mailbox without expired messages."""
        if self._forgotten:
            account.mailbox.remove(self._forgotten)
        return account.mailbox

    # Devices.

    def devices(self, user_id: int) -> list[int]:
        """Return the ids of a user's devices."""
        return [device.id for device in self._by_id[user_id - 1].receiving]

    def forget_devices(
        self, when: int, absent: int, online: Collection[PositionKey]
    ) -> Deferred[list[PositionKey]]:
        overrun: list[PositionKey] = []
        online_of = by_user(online)
        deadline = perf_counter() + _FORGET_SECONDS
        for user_id in list(self._with_devices):
            if perf_counter() > deadline:
                break
            # Behind the others, which come first in the next step.
            account = self._with_devices.pop(user_id)
            here = online_of.get(user_id, set())
            overrun += self._forget_overrun(account, when, here)
            account.forget_absent(when - absent, when, here)
            account.forget_senders(when - SENDER_SECONDS * 10**9)
            if len(account.devices) > 1 or not account.receiving:
                self._with_devices[user_id] = account
        return succeed(overrun)

    def _forget_overrun(
        self, account: UserRecord, when: int, online: Collection[int]
    ) -> list[PositionKey]:
        """Forget devices that are too far behind; return those that are online and stay."""
        if not self.mailbox_limit or not account.has_devices:
            return []
        behind = {
            one.id: self._count(account, max(one.position, self._forgotten))
            for one in account.receiving
        }
        if min(behind.values()) > self.mailbox_limit:
            return []
        overrun = [id_ for id_, count in behind.items() if count > self.mailbox_limit]
        for device_id in overrun:
            if device_id not in online:
                account.forget(account.devices[device_id], when)
        return [(account.id, one) for one in overrun if one in online]

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        for query in queries:
            if isinstance(query, Page):
                self._read_page(query)
            elif isinstance(query, Lookup):
                self._read_lookup(query)
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

    def _behind(self, account: UserRecord, device: Device, after: int) -> Iterator[Entry]:
        """Iterate over the messages that a device gets behind an offset."""
        after = max(after, device.position, self._forgotten)
        own = self._mailbox(account).behind(after)
        if account.copies:
            own = merge(own, self._copies_for(account, device, after), key=_offset)
        return merge(own, self._to_everyone.behind(after, account.name), key=_offset)

    def _copies_for(self, account: UserRecord, device: Device, after: int) -> list[Entry]:
        limit = self.mailbox_limit
        room = limit - self._count(account, after) if limit else sys.maxsize
        return account.copies_for(device, max(after, device.first), room)

    def _count(self, account: UserRecord, after: int) -> int:
        """Return how many messages that others have sent are behind an offset."""
        count = self._mailbox(account).count_behind(after)
        return count + self._to_everyone.count(after, account.name)

    def _read_page(self, page: Page) -> None:
        account = self._by_id[page.user_id - 1]
        page.clear()
        device = account.devices.get(page.device_id)
        if device is None or device.position < 0:
            return
        for entry in self._behind(account, device, page.after):
            if not page.add(entry):
                return

    def _read_lookup(self, lookup: Lookup) -> None:
        account = self._by_name.get(lookup.name)
        lookup.user_id = account.id if account is not None else 0
        device = account.find(lookup.device) if account is not None else None
        if account is not None and device is not None:
            lookup.device_id, lookup.known = device.id, True
            lookup.has_devices = account.has_devices

    def _read_account(self, account: Account) -> None:
        found = self._by_id[account.user_id - 1]
        device = found.devices.get(account.device_id)
        ids = device.publishing_ids if device is not None else None
        account.publishing_id = ids.edges[-1] - 1 if ids else 0
        if device is not None and device.position >= 0:
            after = max(device.position, self._forgotten)
            copies = self._copies_for(found, device, after) if found.copies else ()
            account.pending = self._count(found, after) + sum(len(one.frames) for one in copies)

    def _read_conversation(self, asked: Conversation) -> None:
        me = self._by_id[asked.user_id - 1]
        other = self._by_id[asked.with_id - 1] if asked.with_id else None
        asked.clear()
        for _, kept in islice(reversed(self._history), HISTORY_LOOKS):
            if kept.end - 1 <= self._forgotten:
                return
            end = min(kept.end, asked.before) if asked.before else kept.end
            begin = max(kept.offset, self._forgotten + 1)
            if begin >= end or not _between(kept, me, other):
                continue
            is_whole = (begin, end) == (kept.offset, kept.end)
            if not asked.add(kept if is_whole else kept.between(begin, end)):
                return


def _between(message: Entry, me: UserRecord, other: UserRecord | None) -> bool:
    """Whether one of the two sent it to the other; without another, whether it is mine."""
    if other is None:
        return message.sender == me.name or _is_to(message, me)
    if message.sender == me.name:
        return _is_to(message, other)
    return message.sender == other.name and _is_to(message, me)


def _is_to(message: Entry, account: UserRecord) -> bool:
    if message.scope == Scope.EVERYONE:
        return message.sender != account.name and message.offset > account.registered
    return account.name in message.to


def _offset(entry: Entry) -> int:
    return entry.offset


def _last(entry: Entry) -> int:
    return entry.end - 1
