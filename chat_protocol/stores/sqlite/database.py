"""A batch as one transaction of the SQLite store."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any, NoReturn

from chat_protocol.domain.admission import admit
from chat_protocol.domain.login_rules import is_device
from chat_protocol.domain.messages import Batch, Message, PositionKey, Registration, by_user
from chat_protocol.domain.queries import Query
from chat_protocol.errors import OutcomeUnknown, StoreUnusable, Unavailable
from chat_protocol.stores.broadcast_index import BroadcastIndex
from chat_protocol.stores.sqlite.damage import DAMAGE, describe
from chat_protocol.stores.sqlite.devices import Devices
from chat_protocol.stores.sqlite.file import connect, lock
from chat_protocol.stores.sqlite.ledger import Ledger
from chat_protocol.stores.sqlite.mailbox_reader import MailboxReader
from chat_protocol.stores.sqlite.memtable import read_memtable
from chat_protocol.stores.sqlite.place import Place
from chat_protocol.stores.sqlite.positions import Positions
from chat_protocol.stores.sqlite.queries import Queries
from chat_protocol.stores.sqlite.retention import Purge
from chat_protocol.stores.sqlite.segments import SegmentWriter, pack_messages
from chat_protocol.stores.sqlite.time_index import TimeIndex
from chat_protocol.stores.sqlite.wal import is_refused, overwrite_last_commit

__all__ = ["Database"]

QUICK_SECONDS = 0.001
"""A sync that takes less is a quick one."""

_QUICK_SYNCS = 256
"""Quick syncs in a row after which the next one is expected to be quick."""

_CHECKPOINT_PAGES = 2000
"""Pages in the write-ahead log at which they are moved into the file, about."""

_PAGES_OF_BATCH, _BYTES_OF_PAGE = 8, 2048
"""Pages that a batch writes at most to the log if it is small, and the bytes that take a page more.
SQLite does not tell how many there are."""

_PAGES_OF_STEP = 100
"""Pages that a step of removing what is expired, or absent devices, writes to the log, about."""

_BYTES_AT_HAND = 1024 * 1024
"""A larger batch takes milliseconds to be copied."""

_PURGE_SECONDS = 0.0005
"""Work on expired messages in one step: batches wait for it."""

_FORGET_SECONDS = 0.005
"""Work on absent devices in one step: batches wait for it."""

_NEXT_WITH_DEVICES = "SELECT user FROM device WHERE user > ? ORDER BY user LIMIT 1"

_BUSY_MILLISECONDS = 5000
"""How long the worker waits for another program that has the file locked."""

_WRITE_SEGMENT = """
INSERT INTO segment (first, records, checksum) VALUES (?, ?, ?)
ON CONFLICT (first) DO UPDATE
SET records = CAST(records || excluded.records AS BLOB), checksum = excluded.checksum
"""

_BROADCASTS = "SELECT offset, sender FROM everyone WHERE offset > ? AND offset >= ? ORDER BY offset"


class Database:
    """The open file; used by one thread at a time.

    A batch is stored by :meth:`write` and :meth:`sync_and_checkpoint`, or by :meth:`commit`, which
    does both.

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
        self._wall_clock = wall_clock
        self._lock = lock(path)
        try:
            self._connection = connect(path, say)
        except BaseException:
            self._lock.undo()
            raise
        self._time_index = TimeIndex(self._connection, wall_clock)
        self._looked_at = 0
        """The user at whose devices :meth:`forget_devices` has looked last."""
        self._broadcasts: BroadcastIndex[int] = BroadcastIndex()
        self._quick_syncs = 0
        """In a row."""
        self._logged_pages = 0
        """Pages, about, in the write-ahead log: those that this process has written."""
        self._unknown = False
        """Whether the outcome of the last commit is unknown: see stores/sqlite/wal.py."""
        self._path = path
        self.place = Place(path)
        """Where the file was when it was opened."""
        try:
            self._load()
            # The last process may have been killed.
            ended = "UPDATE device SET ended = ? WHERE ended IS NULL"
            self._connection.execute(ended, (self._wall_clock(),))
        except (sqlite3.Error, *DAMAGE) as error:
            self._connection.close()
            self._lock.undo()
            raise StoreUnusable(describe(error, path)) from error

    def _load(self) -> None:
        """Read from the file what is kept in memory."""
        connection = self._connection
        self._memtable, expired, last = read_memtable(connection)
        self._writer = SegmentWriter(last)
        self._load_broadcasts(expired)
        memtable, writer, limit = self._memtable, self._writer, self._limit
        reader = MailboxReader(connection, memtable, expired, self._broadcasts, limit)
        self._mailboxes = reader
        self._queries = Queries(connection, memtable, reader)
        ledger = Ledger(limit, connection, self._queries, reader, memtable, writer)
        self._ledger = ledger
        self._positions = Positions(connection, ledger, memtable, writer, self._broadcasts)
        self._devices = Devices(connection, ledger, self._positions, reader, writer, limit)
        self._time_index.load()
        # What the last process did not come to.
        self._purge = Purge(connection, expired) if expired else None
        (self.registered,) = self._one("SELECT count(*) FROM user")
        self._stale = False

    def _load_broadcasts(self, expired: int) -> None:
        """Read what the index does not have, and remove what was not committed."""
        index = self._broadcasts
        (last,) = self._one("SELECT coalesce(max(offset), 0) FROM everyone")
        index.discard_above(last)
        rows = self._connection.execute(_BROADCASTS, (index.last, expired))
        for offset, sender in rows:
            index.append(sender, offset, offset + 1)

    def _one(self, query: str, *values: Any) -> Any:
        return self._connection.execute(query, values).fetchone()

    def close(self) -> None:
        """Move the write-ahead log into the file and unlock it."""
        with suppress(Unavailable, OutcomeUnknown, sqlite3.Error):
            self._begin()
            self._time_index.mark(self._writer, at_once=True)
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
        except (sqlite3.Error, *DAMAGE) as error:
            raise Unavailable(describe(error, self._path)) from error

    # A batch.

    def at_hand(self, batch: Batch) -> bool:
        """Return whether :meth:`write` finds all that it needs in memory, and does not block."""
        if self._stale or self._unknown or self._memtable.full:
            return False
        if batch.registrations or batch.released:
            return False
        size = 0
        for message in batch.messages:
            size += message.size
            if not self._ledger.at_hand(message):
                return False
        for user_id, _ in batch.positions:
            mailbox = self._ledger.mailboxes.get(user_id)
            if mailbox is None or mailbox.flushed or mailbox.positions is not None:
                return False
        return size <= _BYTES_AT_HAND

    def commit(self, batch: Batch) -> None:
        """Write and sync; blocks, and waits for a program that has the file locked."""
        try:
            self.place.check()
            self._begin()
            if self._memtable.full:
                self._flush()
            self._write(batch)
        except BaseException as error:
            self._undo(error)
        self.sync_and_checkpoint()

    def write(self, batch: Batch) -> bool:
        """Write a batch that is at hand to the caches; a sync follows.

        Returns:
            False if another program has the file locked: nothing is written then.
        """
        self.place.check()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        try:
            self._write(batch)
        except BaseException as error:
            self._undo(error)
        return True

    @property
    def syncs_quickly(self) -> bool:
        """Whether :meth:`sync` is expected to block for less than QUICK_SECONDS."""
        return self._quick_syncs >= _QUICK_SYNCS and self._logged_pages < _CHECKPOINT_PAGES

    def sync_and_checkpoint(self) -> None:
        """Commit what was written, sync it, and move a long write-ahead log into the file."""
        self.sync()
        if self._logged_pages >= _CHECKPOINT_PAGES and self._has_room():
            # What cannot be moved stays in the log until the next time.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint").fetchall()
            self._logged_pages = 0

    def _has_room(self) -> bool:
        """Return whether the file system has room for a checkpoint.

        One that fails has taken the room all the same: there would be none for the log either.
        """
        (pages,), (size,) = (
            self._connection.execute(f"PRAGMA {name}").fetchone()
            for name in ("page_count", "page_size")
        )
        try:
            disk = os.statvfs(self._path)
            growth = pages * size - os.stat(self._path).st_size
        except OSError:
            # The file is not in its place any more, which the next batch finds out.
            return False
        return bool(growth < disk.f_bavail * disk.f_frsize)

    def sync(self) -> None:
        """Commit what was written, and sync it."""
        started = perf_counter()
        self._commit()
        is_quick = perf_counter() - started < QUICK_SECONDS
        self._quick_syncs = self._quick_syncs + 1 if is_quick else 0

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if not is_refused(error):
                self._unknown = True
                self._roll_back()
                with suppress(sqlite3.Error), self._patient():
                    self._settle()
            self._undo(error)

    def _begin(self) -> None:
        """Begin a transaction, with everything in memory as the file says."""
        with self._patient():
            self._settle()
            if self._stale:
                self._load()
            self._connection.execute("BEGIN IMMEDIATE")

    def _settle(self) -> None:
        """Make it known, if it is not, that the last commit is not stored, nor ever will be."""
        if self._unknown:
            overwrite_last_commit(self._connection)
            self._unknown = False

    @contextmanager
    def _patient(self) -> Iterator[None]:
        """Wait for another program that has the file locked."""
        self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA busy_timeout = 0")

    def _undo(self, error: BaseException) -> NoReturn:
        """Go back to the last commit, and raise what the caller of the store is to know."""
        self._roll_back()
        if not isinstance(error, sqlite3.Error):
            raise error
        if self._unknown:
            raise OutcomeUnknown(f"SQLite: {error}") from error
        raise Unavailable(describe(error, self._path)) from error

    def _roll_back(self) -> None:
        # SQLite rolls back by itself on some errors, a full disk among them.
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")
        self._stale = True

    def _write(self, batch: Batch) -> None:
        for registration in batch.registrations:
            self._register(registration)
        if batch.messages:
            self._time_index.stored(self._writer)
        if batch.positions:
            self._positions.move(batch.positions)
        for message in batch.messages:
            if admit(message, self._ledger):
                self._store(message)
        for session in batch.released:
            self._devices.ended(session.user.id, session.device_id, self._wall_clock())
        rows = self._writer.rows()
        size = sum(len(records) for _, records, _ in rows)
        self._memtable.wrote(size)
        self._logged_pages += _PAGES_OF_BATCH + size // _BYTES_OF_PAGE
        self._connection.executemany(_WRITE_SEGMENT, rows)

    def _register(self, registration: Registration) -> None:
        execute = self._connection.execute
        name, when = registration.name, registration.when
        row = self._one("SELECT id, devices FROM user WHERE name = ?", name)
        user_id, devices = row if row is not None else (0, -1)
        if user_id:
            execute("UPDATE user SET last_login = ? WHERE id = ?", (when, user_id))
        else:
            last = self._writer.last_offset
            new = execute(
                "INSERT INTO user (name, last_login, registered, seen, devices)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, when, last, last, devices),
            )
            user_id = new.lastrowid or 0
            self.registered += 1
        registration.user_id = user_id
        self._devices.log_in(registration, devices)

    def _store(self, message: Message) -> None:
        """Store an admitted message."""
        sender, publishing_id = message.sender, message.publishing_id
        user_id, recipients = sender.user.id, message.recipient_ids
        device_id = self._ledger.device(user_id, sender.device) if sender.device else 0
        entry, begin = message.entry(), message.offset
        end = begin + message.accepted
        self._writer.add(pack_messages(entry, user_id, device_id, recipients, publishing_id))
        if recipients:
            self._memtable.add_messages(user_id, recipients, begin, end)
        else:
            rows = [(offset, user_id) for offset in range(begin, end)]
            self._connection.executemany("INSERT INTO everyone VALUES (?, ?)", rows)
            self._broadcasts.append(user_id, begin, end)
        if publishing_id:
            self._ledger.publish(message, device_id)
        if sender.user.has_devices or not is_device(sender.device):
            self._positions.copy(message, device_id)

    def _flush(self) -> None:
        """Write to the tables what so far only the segments and the memtable know."""
        self._logged_pages = _CHECKPOINT_PAGES
        try:
            self._writer.end_segment()
            self._ledger.flushing()
            self._memtable.flush(self._connection, self._writer.last_offset)
        except DAMAGE as error:
            raise Unavailable(describe(error, self._path)) from error

    # Devices.

    def forget_devices(
        self, when: int, absent: int, online: Collection[PositionKey]
    ) -> list[PositionKey]:
        """See IStore; blocks as :meth:`commit` does."""
        try:
            try:
                self._begin()
                before = self._connection.total_changes
                overrun = self._forget_devices(when, absent, online)
                self._connection.executemany(_WRITE_SEGMENT, self._writer.rows())
                unchanged = self._connection.total_changes == before
            except BaseException as error:
                self._undo(error)
            if unchanged:
                self._connection.execute("ROLLBACK")
            else:
                self._logged_pages += _PAGES_OF_STEP
                self.sync_and_checkpoint()
        except OutcomeUnknown as error:
            # Whatever the outcome, a later step goes on from there.
            raise Unavailable(str(error)) from error
        return overrun

    def _forget_devices(
        self, when: int, absent: int, online: Collection[PositionKey]
    ) -> list[PositionKey]:
        deadline = perf_counter() + _FORGET_SECONDS
        overrun: list[PositionKey] = []
        devices, online_of = self._devices, by_user(online)
        while perf_counter() < deadline:
            row = self._one(_NEXT_WITH_DEVICES, self._looked_at)
            if row is None:
                self._looked_at = 0
                break
            (user_id,) = row
            self._looked_at = user_id
            here = online_of.get(user_id, set())
            overrun += [(user_id, one) for one in devices.forget_overrun(user_id, when, here)]
            devices.forget_absent(user_id, when - absent, when, here)
            devices.forget_senders(user_id, when)
        return overrun

    # Retention.

    def expire(self, before: int) -> bool:
        """See IStore.forget; blocks as :meth:`commit` does."""
        try:
            try:
                self._begin()
                more = self._expire(before)
            except BaseException as error:
                self._undo(error)
            self._logged_pages += _PAGES_OF_STEP
            self.sync_and_checkpoint()
            self._broadcasts.discard_below(self._mailboxes.expired)
        except OutcomeUnknown as error:
            # Whatever the outcome, the next step goes on from there.
            raise Unavailable(str(error)) from error
        return more

    def _expire(self, before: int) -> bool:
        self._time_index.mark(self._writer)
        if self._purge is not None:
            if self._purge.step(_PURGE_SECONDS):
                return True
            self._purge = None
        expired = self._time_index.stored_before(before)
        if expired <= self._mailboxes.expired:
            return False
        # They are unseen from now on; to remove them from the tables takes its time.
        if expired > self._memtable.flushed + 1:
            self._flush()
        self._connection.execute("UPDATE state SET expired = ?", (expired,))
        self._memtable.expire(expired)
        self._mailboxes.expired = expired
        mailboxes = self._ledger.mailboxes
        for user_id in [one for one, mailbox in mailboxes.items() if mailbox.flushed]:
            del mailboxes[user_id]
        self._purge = Purge(self._connection, expired)
        return True
