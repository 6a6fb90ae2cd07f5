"""The embedded store: one SQLite file, one writer, one fsync for each batch."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from importlib.resources import files
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from chat_protocol.domain.batch import Batch, Lookup, Page, Run, Stored
from chat_protocol.errors import StoreUnusable, Unavailable
from chat_protocol.interfaces import IStore
from chat_protocol.stores.worker import IWorker, ThreadWorker
from chat_protocol.wire.codes import Code

__all__ = ["SQLiteStore"]

T = TypeVar("T")

APPLICATION_ID = 0x43686174
"""Marks the file as one of ours (``PRAGMA application_id``): "Chat" in ASCII."""

SCHEMA_VERSION = 1
"""``PRAGMA user_version`` of the newest schema."""

_PRAGMAS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 2000;
PRAGMA journal_size_limit = 33554432;
PRAGMA busy_timeout = 5000;
PRAGMA cache_size = -16384;
"""

_COUNTS_KEPT = 100_000
"""Mailboxes whose number of messages is kept in memory."""

_INSERT_MESSAGES = """
INSERT INTO message (offset, sender, recipient, time, text)
SELECT ?1 + key, value->>0, value->>1, value->>2,
       CAST(substr(?2, value->>3, value->>4) AS TEXT)
FROM json_each(?3)
"""

_INSERT_INBOX = """
INSERT OR IGNORE INTO inbox (user, offset)
SELECT value->>0, value->>1 FROM json_each(?1)
"""

_PAGE = """
SELECT inbox.offset, user.name, message.time, message.text
FROM inbox JOIN message USING (offset) JOIN user ON user.id = message.sender
WHERE inbox.user = ? AND inbox.offset > ?
ORDER BY inbox.offset
"""


class Database:
    """The open file; used from one thread at a time, and blocking.

    Args:
        path: of the file; beside it stand ``-wal``, ``-shm`` and ``-lock``.
        mailbox_limit: messages that may wait for one user; 0: no limit.

    Raises:
        StoreUnusable: see :meth:`IStore.open`.
    """

    def __init__(self, path: str, mailbox_limit: int) -> None:
        self._limit = mailbox_limit
        self._counts: dict[int, int] = {}
        self._lock = _lock(path)
        try:
            self._connection = _connect(path)
        except BaseException:
            os.close(self._lock)
            raise
        (last,) = self._one("SELECT max(offset) FROM message")
        self._last_offset: int = last or 0
        (self.registered,) = self._one("SELECT count(*) FROM user")

    def _one(self, query: str, *values: Any) -> Any:
        return self._connection.execute(query, values).fetchone()

    def close(self) -> None:
        """Merge the write-ahead log into the file and unlock it."""
        self._connection.close()
        os.close(self._lock)

    def commit(self, batch: Batch) -> None:
        """See IStore."""
        execute = self._connection.execute
        offset, registered = self._last_offset, self.registered
        try:
            execute("BEGIN IMMEDIATE")
            self._register(batch)
            self._judge(batch.runs)
            self._insert(batch.runs)
            self._move(batch)
            execute("COMMIT")
        except BaseException as error:
            self._last_offset, self.registered = offset, registered
            self._counts.clear()
            # SQLite rolls back by itself on some errors, a full disk among them.
            with suppress(sqlite3.Error):
                execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise Unavailable(f"SQLite: {error}") from error
            raise

    def _register(self, batch: Batch) -> None:
        execute = self._connection.execute
        for registration in batch.registrations:
            name, when = registration.name, registration.when
            user_id = self._user_id(name)
            if user_id:
                execute("UPDATE user SET last_login = ? WHERE id = ?", (when, user_id))
            else:
                new = execute("INSERT INTO user (name, last_login) VALUES (?, ?)", (name, when))
                user_id = new.lastrowid or 0
                self.registered += 1
            registration.user_id = user_id

    def _judge(self, runs: list[Run]) -> None:
        """Find the recipients and how many messages each mailbox takes; number these."""
        last = self._last_offset
        for run in runs:
            run.accepted = len(run.texts)
            run.refusal = Code.OK
            if run.live is None:
                if not run.recipient_id:
                    run.recipient_id = self._user_id(run.recipient.name)
                if not run.recipient_id:
                    run.accepted = 0
                    run.refusal = Code.USER_NOT_FOUND
                    continue
                if self._limit:
                    self._judge_mailbox(run)
            run.offset = last + 1
            last += run.accepted
        self._last_offset = last

    def _judge_mailbox(self, run: Run) -> None:
        waiting = self._count(run.recipient_id)
        room = max(0, self._limit - waiting)
        if run.accepted > room:
            run.accepted = room
            run.refusal = Code.MAILBOX_FULL
        self._counts[run.recipient_id] = waiting + run.accepted

    def _count(self, user_id: int) -> int:
        count = self._counts.get(user_id)
        if count is None:
            if len(self._counts) >= _COUNTS_KEPT:
                self._counts.clear()
            (count,) = self._one("SELECT count(*) FROM inbox WHERE user = ?", user_id)
            self._counts[user_id] = count
        return count

    def _user_id(self, name: str) -> int:
        row = self._one("SELECT id FROM user WHERE name = ?", name)
        return row[0] if row is not None else 0

    def _insert(self, runs: list[Run]) -> None:
        """All messages in one statement: the GIL is given up once, not once a row."""
        rows = []
        texts = [b"\0"]  # never empty: substr() of an empty blob is NULL
        waiting = []
        first = 0
        position = 2
        for run in runs:
            accepted = run.accepted
            if not accepted:
                continue
            first = first or run.offset
            ends = f"{run.sender.user.id},{run.recipient_id},"
            for text, frame in zip(run.texts[:accepted], run.frames, strict=False):
                time = int.from_bytes(frame[-8:], "big", signed=True)
                size = len(text)
                rows.append(f"[{ends}{time},{position},{size}]")
                position += size
            texts += run.texts[:accepted]
            if run.live is None:
                waiting += [
                    f"[{run.recipient_id},{offset}]"
                    for offset in range(run.offset, run.offset + accepted)
                ]
        if rows:
            self._connection.execute(
                _INSERT_MESSAGES, (first, b"".join(texts), f"[{','.join(rows)}]")
            )
        if waiting:
            self._connection.execute(_INSERT_INBOX, (f"[{','.join(waiting)}]",))

    def _move(self, batch: Batch) -> None:
        execute = self._connection.execute
        for user_id, message in batch.returned:
            execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", (user_id, message.offset))
            self._counts.pop(user_id, None)
        for user_id, offset in batch.taken.items():
            execute("DELETE FROM inbox WHERE user = ? AND offset <= ?", (user_id, offset))
            self._counts.pop(user_id, None)

    def read(self, queries: Sequence[Page | Lookup]) -> None:
        """See IStore."""
        try:
            for query in queries:
                if isinstance(query, Page):
                    self._read_page(query)
                else:
                    query.user_id = self._user_id(query.name)
        except sqlite3.Error as error:
            raise Unavailable(f"SQLite: {error}") from error

    def _read_page(self, page: Page) -> None:
        messages = page.messages = []
        size = 0
        query = f"{_PAGE} LIMIT {page.max_messages + 1}"
        with closing(self._connection.execute(query, (page.user_id, page.after))) as rows:
            for offset, sender, time, text in rows:
                if len(messages) == page.max_messages or size >= page.max_bytes:
                    page.complete = False
                    return
                messages.append(Stored(offset, sender.decode(), time & 0xFFFFFFFFFFFFFFFF, text))
                size += len(text)
        page.complete = True


@implementer(IStore)
class SQLiteStore:
    """Users, mailboxes and messages in one file; OK means on the disk (fsync).

    Args:
        path: of the file; created if there is none.
        mailbox_limit: messages that may wait for one user; 0: no limit.
        worker: where the blocking calls go.
    """

    def __init__(self, path: str, mailbox_limit: int, worker: IWorker) -> None:
        self.description = f"sqlite:{path} (synced to disk before OK)"
        self._path = path
        self._limit = mailbox_limit
        self._worker = worker
        self._database: Database | None = None

    @classmethod
    def from_url(cls, rest: str, mailbox_limit: int, reactor: Any) -> SQLiteStore:
        """The store of ``sqlite:PATH``."""
        if not rest or rest.startswith(":"):
            raise ValueError("sqlite: wants the path of a file behind it, as in sqlite:chat.db")
        return cls(os.path.abspath(rest), mailbox_limit, ThreadWorker(reactor, "sqlite"))

    @property
    def registered(self) -> int:
        """How many users there are."""
        return self._database.registered if self._database is not None else 0

    def open(self) -> Deferred[None]:
        """See IStore."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self._database = await self._worker.run(lambda: Database(self._path, self._limit))

    def commit(self, batch: Batch) -> Deferred[None]:
        """See IStore."""
        return self._run(lambda database: database.commit(batch))

    def read(self, queries: Sequence[Page | Lookup]) -> Deferred[None]:
        """See IStore."""
        return self._run(lambda database: database.read(queries))

    def close(self) -> Deferred[None]:
        """See IStore."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            await self._worker.run(database.close)
        await self._worker.stop()

    def _run(self, function: Callable[[Database], T]) -> Deferred[T]:
        database = self._database
        if database is None:
            raise RuntimeError("the store is not open")
        return self._worker.run(lambda: function(database))


def _lock(path: str) -> int:
    """Take the lock that only one process can have; the kernel frees it, whatever happens."""
    try:
        lock = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnusable(
            f"{path} cannot be opened: {error.strerror} ({error.filename}); give --store"
            " sqlite:PATH in a directory that exists and can be written to"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise StoreUnusable(f"{path} cannot be locked: {error.strerror}") from error
        raise StoreUnusable(
            f"{path} is in use by another process; stop that server first, or give this one"
            " a file of its own with --store sqlite:PATH"
        ) from error
    return lock


def _connect(path: str) -> sqlite3.Connection:
    connection = None
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.text_factory = bytes
        _check(connection, path)
        connection.executescript(_PRAGMAS)
        _create(connection)
    except (sqlite3.Error, StoreUnusable) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, StoreUnusable):
            raise
        raise StoreUnusable(
            f"{path} cannot be used: SQLite says: {error}; check the file, or give another one"
            " with --store sqlite:PATH"
        ) from error
    return connection


def _check(connection: sqlite3.Connection, path: str) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != APPLICATION_ID and (application_id or version or tables):
        raise StoreUnusable(
            f"{path} is a database of another program; give another file with --store sqlite:PATH"
        )
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} was written by a newer version of this server (schema {version}, this one"
            f" knows {SCHEMA_VERSION}); use that version"
        )


def _create(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version:
        return
    schema = files("chat_protocol.stores").joinpath("schema/sqlite-1.sql").read_text()
    connection.executescript(
        f"BEGIN IMMEDIATE; {schema}"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        "COMMIT;"
    )
