"""A batch as one transaction of the SQLite store."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from chat_protocol.domain.batch import Batch, Publication, Query, Run
from chat_protocol.domain.ranges import Ranges
from chat_protocol.errors import Unavailable
from chat_protocol.stores.sqlite.file import connect, lock
from chat_protocol.stores.sqlite.memtable import read_recent
from chat_protocol.stores.sqlite.queries import Queries
from chat_protocol.stores.sqlite.retention import Moments, Sweep
from chat_protocol.stores.sqlite.segments import (
    ChunkWriter,
    Kind,
    pack_moves,
    pack_publication,
    pack_run,
)
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope

__all__ = ["PUBLISHING_IDS", "Database"]

_MAILBOXES_KEPT = 50_000
"""Mailboxes of which something is kept in memory."""

_PUBLISHERS_KEPT = 10_000
"""Senders whose last publishing ids are kept in memory."""

_EDGES_KEPT = 200_000
"""Ends of ranges of publishing ids that are kept in memory."""

PUBLISHING_IDS = 1000
"""Of each sender so many are looked back on at least."""

_BYTES_AT_HAND = 1024 * 1024
"""A larger batch takes milliseconds to be copied."""

_SWEEP_SECONDS = 0.0005
"""Of work on what is forgotten in one step: batches wait for it."""

_PATIENCE = 5000
"""Milliseconds that the worker waits for another program to let go of the file."""

_INSERT_CHUNK = """
INSERT INTO chunk (first, entries) VALUES (?, ?)
ON CONFLICT (first) DO UPDATE SET entries = CAST(entries || excluded.entries AS BLOB)
"""

_TAKE_PART = """
UPDATE inbox SET count = last - ?2
WHERE user = ?1 AND last = (SELECT min(last) FROM inbox WHERE user = ?1 AND last > ?2)
AND last - count < ?2
"""

_FORGET_IDS = """
DELETE FROM publishing WHERE (user, last) IN (
    SELECT user, last FROM json_each(?) JOIN publishing
    ON user = value->>0 AND last < value->>1
)
"""


class _Mailbox:
    """What is kept in memory of a user's mailbox."""

    __slots__ = ("filed", "seen")

    def __init__(self, filed: int, seen: int) -> None:
        self.filed = filed
        """How many messages of it are in the table; without a limit, whether any is."""
        self.seen = seen
        """What went to everyone up to there is delivered."""


class Database:
    """The open file; used by one thread at a time.

    A batch is written by :meth:`write` and :meth:`sync`, or both in one by :meth:`commit`.

    Args:
        path: of the file; beside it stand ``-wal``, ``-shm`` and ``-lock``.
        mailbox_limit: messages that may wait for one user; 0: no limit.
        wall_clock: nanoseconds since the epoch.
        say: takes sentences for the operator while the file is opened.

    Raises:
        StoreUnusable: see :meth:`IStore.open`.
    """

    def __init__(
        self,
        path: str,
        mailbox_limit: int,
        wall_clock: Callable[[], int] = time.time_ns,
        say: Callable[[str], object] = str,
    ) -> None:
        self._limit = mailbox_limit
        self._lock = lock(path)
        try:
            self._connection = connect(path, say)
        except BaseException:
            self._lock.undo()
            raise
        self._moments = Moments(self._connection, wall_clock)
        self._load()

    def _load(self) -> None:
        """Learn from the file what is kept in memory."""
        self._recent, below, last = read_recent(self._connection)
        self._queries = Queries(self._connection, self._recent, below)
        # What the last process had not come to.
        self._sweep = Sweep(self._connection, below) if below else None
        self._mailboxes: dict[int, _Mailbox] = {}
        self._publishing: dict[int, Ranges] = {}
        self._edges = 0
        self._writer = ChunkWriter(last)
        self._moments.load()
        (everyones,) = self._one("SELECT max(offset) FROM everyone")
        self._last_to_everyone: int = everyones or 0
        (self.registered,) = self._one("SELECT count(*) FROM user")
        self._stale = False

    def _one(self, query: str, *values: Any) -> Any:
        return self._connection.execute(query, values).fetchone()

    def close(self) -> None:
        """Merge the write-ahead log into the file and unlock it."""
        with suppress(Unavailable, sqlite3.Error):
            self._begin()
            self._moments.mark(self._writer, at_once=True)
            self.sync()
        self._connection.close()
        self._lock.release()

    def read(self, queries: Sequence[Query]) -> None:
        """See IStore."""
        try:
            if self._stale:
                self._load()
            for query in queries:
                self._queries.answer(query)
        except sqlite3.Error as error:
            raise Unavailable(f"SQLite: {error}") from error

    # A batch.

    def at_hand(self, batch: Batch) -> bool:
        """Whether :meth:`write` finds all that it needs in memory, so that it does not block."""
        if self._stale or self._recent.full or batch.registrations:
            return False
        mailboxes, limit = self._mailboxes, self._limit
        size = 0
        for message in batch.messages:
            size += message.size
            if message.publishing_id and message.sender.user.id not in self._publishing:
                return False
            if isinstance(message, Run):
                recipient = message.recipient_id
                if not recipient or (limit and message.waits and recipient not in mailboxes):
                    return False
            else:
                for user in message.recipients:
                    if not user.id or (limit and user.id not in mailboxes):
                        return False
        moved = [waiting.user_id for waiting in batch.returned]
        for user_id in (*moved, *batch.taken):
            mailbox = mailboxes.get(user_id)
            if mailbox is None or mailbox.filed:
                return False
        return size <= _BYTES_AT_HAND

    def commit(self, batch: Batch) -> None:
        """Write and sync; blocks, and waits for a program that holds the file."""
        try:
            self._begin()
            if self._recent.full:
                self._file()
            self._write(batch)
        except BaseException as error:
            self._undo(error)
        self.sync()

    def _begin(self) -> None:
        if self._stale:
            self._load()
        self._connection.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        finally:
            self._connection.execute("PRAGMA busy_timeout = 0")

    def write(self, batch: Batch) -> bool:
        """Write a batch that is at hand, as far as the cache of the kernel; :meth:`sync` follows.

        Returns:
            Whether it did; False: another program holds the file.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        try:
            self._write(batch)
        except BaseException as error:
            self._undo(error)
        return True

    def sync(self) -> None:
        """Make what was written last for good: fsync."""
        try:
            self._connection.commit()
        except BaseException as error:
            self._undo(error)

    def _undo(self, error: BaseException) -> None:
        # SQLite rolls back by itself on some errors, a full disk among them.
        with suppress(sqlite3.Error):
            self._connection.rollback()
        self._stale = True
        if isinstance(error, sqlite3.Error):
            raise Unavailable(f"SQLite: {error}") from error
        raise error

    def _write(self, batch: Batch) -> None:
        self._register(batch)
        if batch.messages:
            self._moments.stored(self._writer)
        for message in batch.messages:
            if isinstance(message, Run):
                self._take_run(message)
            else:
                self._take_publication(message)
        self._move(batch)
        rows = self._writer.rows()
        self._recent.wrote(sum(len(entries) for _, entries in rows))
        self._connection.executemany(_INSERT_CHUNK, rows)

    def _register(self, batch: Batch) -> None:
        execute = self._connection.execute
        for registration in batch.registrations:
            name, when = registration.name, registration.when
            user_id = self._queries.user_id(name)
            if user_id:
                execute("UPDATE user SET last_login = ? WHERE id = ?", (when, user_id))
            else:
                last = self._writer.last_offset
                new = execute(
                    "INSERT INTO user (name, last_login, registered, seen) VALUES (?, ?, ?, ?)",
                    (name, when, last, last),
                )
                user_id = new.lastrowid or 0
                self.registered += 1
            registration.user_id = user_id

    def _take_run(self, run: Run) -> None:
        """Find the recipient and how many messages its mailbox takes; store these."""
        run.accepted = len(run.texts)
        run.refusal = Code.OK
        recipient = run.recipient_id = run.recipient_id or self._queries.user_id(run.recipient.name)
        if not recipient:
            run.refuse(Code.USER_NOT_FOUND, f"there is no user {run.recipient.name}")
            return
        if run.waits and self._limit:
            room = self._room(recipient)
            if run.accepted > room:
                run.accepted = room
                run.refuse_rest(
                    Code.MAILBOX_FULL,
                    f"{self._limit} messages wait for {run.recipient.name} already",
                )
        if not run.accepted:
            return
        sender = run.sender.user.id
        writer = self._writer
        writer.add(pack_run(run, sender), run.accepted)
        end = writer.last_offset + 1
        run.offset = end - run.accepted
        self._recent.add_run(sender, recipient, run.offset, end, run.waits)
        first = run.publishing_id
        if first:
            self._recent.add_publishing(sender, first, first + run.accepted)
            self._remember(sender, first, first + run.accepted)

    def _take_publication(self, publication: Publication) -> None:
        publication.refuse(Code.OK, "")
        sender = publication.sender.user.id
        publishing_id = publication.publishing_id
        if publishing_id and publishing_id in self._ids_of(sender):
            return
        if not self._find_recipients(publication):
            return
        self._writer.add(pack_publication(publication, sender), 1)
        offset = publication.offset = self._writer.last_offset
        self._recent.add_publication(sender, publication.recipient_ids, offset, publishing_id)
        if publishing_id:
            self._remember(sender, publishing_id, publishing_id + 1)
        if publication.scope == Scope.EVERYONE:
            self._connection.execute("INSERT INTO everyone VALUES (?, ?)", (offset, sender))
            self._last_to_everyone = offset

    def _find_recipients(self, publication: Publication) -> bool:
        ids = publication.recipient_ids = []
        for user in publication.recipients:
            user_id = user.id or self._queries.user_id(user.name)
            if not user_id:
                publication.refuse(Code.USER_NOT_FOUND, f"there is no user {user.name}")
                return False
            if self._limit and not self._room(user_id):
                publication.refuse(
                    Code.MAILBOX_FULL, f"{self._limit} messages wait for {user.name} already"
                )
                return False
            ids.append(user_id)
        return True

    # Forgetting.

    def forget(self, before: int) -> bool:
        """See IStore; blocks as :meth:`commit` does."""
        try:
            self._begin()
            more = self._forget(before)
        except BaseException as error:
            self._undo(error)
        self.sync()
        return more

    def _forget(self, before: int) -> bool:
        self._moments.mark(self._writer)
        if self._sweep is not None:
            if self._sweep.step(_SWEEP_SECONDS):
                return True
            self._sweep = None
        below = self._moments.before(before)
        if below <= self._queries.below:
            return False
        # From now on nobody sees them; to take them out of the tables takes its time.
        if below > self._recent.filed + 1:
            self._file()
        self._connection.execute("UPDATE forgotten SET below = ?", (below,))
        self._recent.forget(below)
        self._queries.below = below
        for user_id in [one for one, mailbox in self._mailboxes.items() if mailbox.filed]:
            del self._mailboxes[user_id]
        self._sweep = Sweep(self._connection, below)
        return True

    # What is kept in memory.

    def _mailbox(self, user_id: int) -> _Mailbox:
        mailbox = self._mailboxes.get(user_id)
        if mailbox is None:
            if len(self._mailboxes) >= _MAILBOXES_KEPT:
                self._mailboxes.clear()
            filed = self._queries.count_inbox(user_id, bool(self._limit))
            (seen,) = self._one("SELECT seen FROM user WHERE id = ?", user_id)
            mailbox = self._mailboxes[user_id] = _Mailbox(filed, seen)
        return mailbox

    def _room(self, user_id: int) -> int:
        """How many more messages a mailbox takes."""
        return max(0, self._limit - self._mailbox(user_id).filed - self._recent.count(user_id))

    def _ids_of(self, sender: int) -> Ranges:
        ids = self._publishing.get(sender)
        if ids is None:
            if len(self._publishing) >= _PUBLISHERS_KEPT or self._edges >= _EDGES_KEPT:
                self._publishing.clear()
                self._edges = 0
            ids = self._publishing[sender] = self._queries.publishing_ids(sender)
            self._edges += len(ids.edges)
        return ids

    def _remember(self, sender: int, begin: int, end: int) -> None:
        ids = self._ids_of(sender)
        before = len(ids.edges)
        ids.add(begin, end)
        if ids.count > 2 * PUBLISHING_IDS:
            ids.keep_highest(PUBLISHING_IDS)
        self._edges += len(ids.edges) - before

    def _file(self) -> None:
        """Have the tables know what so far only the chunks do."""
        self._writer.end_chunk()
        recent, writer = self._recent, self._writer
        for user_id in recent.mailboxes:
            mailbox = self._mailboxes.get(user_id)
            if mailbox is not None:
                mailbox.filed += recent.count(user_id)
        lowest = [
            (sender, self._ids_of(sender).edges[0] - 2**63) for sender in sorted(recent.publishing)
        ]
        if lowest:
            self._connection.execute(_FORGET_IDS, (json.dumps(lowest),))
        recent.file(self._connection, writer.last_offset)

    def _move(self, batch: Batch) -> None:
        returned = []
        for user_id, message in batch.returned:
            if message.offset < self._queries.below:
                continue
            mailbox = self._mailbox(user_id)
            if mailbox.filed and self._queries.in_inbox(user_id, message.offset):
                continue
            if self._recent.give_back(user_id, message.offset):
                returned.append((user_id, message.offset))
        if returned:
            self._writer.add(pack_moves(Kind.RETURNED, returned), 0)
        taken = [
            (user_id, offset)
            for user_id, offset in batch.taken.items()
            if self._take(user_id, offset)
        ]
        if taken:
            self._writer.add(pack_moves(Kind.TAKEN, taken), 0)

    def _take(self, user_id: int, offset: int) -> bool:
        """Empty a mailbox up to an offset; whether the chunks have to tell it."""
        execute = self._connection.execute
        mailbox = self._mailbox(user_id)
        if mailbox.filed:
            execute("DELETE FROM inbox WHERE user = ? AND last <= ?", (user_id, offset))
            execute(_TAKE_PART, (user_id, offset))
            mailbox.filed = self._queries.count_inbox(user_id, bool(self._limit))
        if mailbox.seen < min(offset, self._last_to_everyone):
            execute("UPDATE user SET seen = ? WHERE id = ?", (offset, user_id))
            mailbox.seen = offset
        return self._recent.take(user_id, offset)
