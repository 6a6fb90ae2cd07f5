"""The SQLite store's own thread: a batch as one transaction."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from chat_protocol.domain.batch import Batch, Publication, Query, Run
from chat_protocol.errors import Unavailable
from chat_protocol.stores.sqlite_file import connect, lock
from chat_protocol.stores.sqlite_queries import Queries
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope

__all__ = ["Database"]

_KEPT = 100_000
"""Mailboxes, and conversations, of which something is kept in memory."""

_PUBLISHERS_KEPT = 1000
"""Senders whose last publishing ids are kept in memory."""

PUBLISHING_IDS = 1000
"""Of each sender so many are looked back on at least."""

_INSERT_MESSAGES = """
INSERT INTO message (offset, sender, recipient, time, text)
SELECT value->>0, value->>1, value->>2, value->>3,
       CAST(substr(?1, value->>4, value->>5) AS TEXT)
FROM json_each(?2)
"""

_INSERT_PUBLICATION = """
INSERT INTO message (offset, sender, recipient, time, text, scope, recipients)
VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?, ?)
"""

_INSERT_INBOX = """
INSERT OR IGNORE INTO inbox (user, offset)
SELECT value->>0, value->>1 FROM json_each(?1)
"""

_INSERT_CONVERSATIONS = """
INSERT OR IGNORE INTO conversation (low, high, last, count)
SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?1)
"""


class _Rows:
    """What a batch adds, gathered for one statement a table.

    So the GIL is given up once a table, not once a row.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.texts = [b"\0"]  # never empty: substr() of an empty blob is NULL
        self.inbox: list[str] = []
        self.conversations: list[str] = []
        self._position = 2

    def add_run(self, run: Run, sender: int) -> None:
        """The accepted messages of a run."""
        ends = f"{sender},{run.recipient_id}"
        accepted = run.accepted
        texts = run.texts if accepted == len(run.texts) else run.texts[:accepted]
        offset, position = run.offset, self._position
        add = self.messages.append
        for text, frame in zip(texts, run.frames, strict=False):
            time = int.from_bytes(frame[-8:], "big", signed=True)
            size = len(text)
            add(f"[{offset},{ends},{time},{position},{size}]")
            offset += 1
            position += size
        self.texts += texts
        self._position = position


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
        self._peers: set[tuple[int, int]] = set()
        self._publishing: dict[int, set[int]] = {}
        self._lock = lock(path)
        try:
            self._connection = connect(path)
        except BaseException:
            os.close(self._lock)
            raise
        self._queries = Queries(self._connection)
        (last,) = self._one("SELECT max(offset) FROM message")
        self._last_offset: int = last or 0
        (last,) = self._one("SELECT max(offset) FROM message WHERE scope = 1")
        self._last_to_everyone: int = last or 0
        (self.registered,) = self._one("SELECT count(*) FROM user")

    def _one(self, query: str, *values: Any) -> Any:
        return self._connection.execute(query, values).fetchone()

    def close(self) -> None:
        """Merge the write-ahead log into the file and unlock it."""
        self._connection.close()
        os.close(self._lock)

    def read(self, queries: Sequence[Query]) -> None:
        """See IStore."""
        try:
            for query in queries:
                self._queries.answer(query)
        except sqlite3.Error as error:
            raise Unavailable(f"SQLite: {error}") from error

    def commit(self, batch: Batch) -> None:
        """See IStore."""
        execute = self._connection.execute
        before = self._last_offset, self._last_to_everyone, self.registered
        try:
            execute("BEGIN IMMEDIATE")
            self._register(batch)
            rows = _Rows()
            for message in batch.messages:
                if isinstance(message, Run):
                    self._take_run(message, rows)
                else:
                    self._take_publication(message, rows)
            self._insert(rows)
            self._move(batch)
            execute("COMMIT")
        except BaseException as error:
            self._last_offset, self._last_to_everyone, self.registered = before
            self._counts.clear()
            self._peers.clear()
            self._publishing.clear()
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
            user_id = self._queries.user_id(name)
            if user_id:
                execute("UPDATE user SET last_login = ? WHERE id = ?", (when, user_id))
            else:
                last = self._last_offset
                new = execute(
                    "INSERT INTO user (name, last_login, registered, seen) VALUES (?, ?, ?, ?)",
                    (name, when, last, last),
                )
                user_id = new.lastrowid or 0
                self.registered += 1
            registration.user_id = user_id

    def _take_run(self, run: Run, rows: _Rows) -> None:
        """Find the recipient and how many messages its mailbox takes; number these."""
        run.accepted = len(run.texts)
        run.refusal = Code.OK
        recipient = run.recipient_id = run.recipient_id or self._queries.user_id(run.recipient.name)
        if not recipient:
            run.accepted = 0
            run.refusal = Code.USER_NOT_FOUND
            return
        if run.waits and self._limit:
            waiting = self._count(recipient)
            room = max(0, self._limit - waiting)
            if run.accepted > room:
                run.accepted = room
                run.refusal = Code.MAILBOX_FULL
            self._counts[recipient] = waiting + run.accepted
        accepted = run.accepted
        offset = run.offset = self._last_offset + 1
        self._last_offset += accepted
        if not accepted:
            return
        sender = run.sender.user.id
        rows.add_run(run, sender)
        last = self._last_offset
        rows.conversations.append(f"[{self._pair(sender, recipient)}{last},{accepted}]")
        if run.waits:
            rows.inbox += [f"[{recipient},{one}]" for one in range(offset, last + 1)]

    def _take_publication(self, publication: Publication, rows: _Rows) -> None:
        publication.refuse(Code.OK, "")
        sender = publication.sender.user.id
        publishing_id = publication.publishing_id
        if publishing_id and publishing_id in self._ids_of(sender):
            return
        if not self._find_recipients(publication):
            return
        offset = publication.offset = self._last_offset = self._last_offset + 1
        recipients = publication.recipient_ids
        for recipient in recipients:
            if self._limit:
                self._counts[recipient] = self._count(recipient) + 1
            rows.conversations.append(f"[{self._pair(sender, recipient)}{offset},1]")
            rows.inbox.append(f"[{recipient},{offset}]")
        time = publication.time - (publication.time >> 63 << 64)
        one = recipients[0] if len(recipients) == 1 else 0
        several = json.dumps(recipients) if len(recipients) > 1 else None
        self._connection.execute(
            _INSERT_PUBLICATION,
            (offset, sender, one, time, publication.text, publication.scope, several),
        )
        if publication.scope == Scope.EVERYONE:
            self._last_to_everyone = offset
        if publishing_id:
            self._remember(sender, publishing_id)

    def _find_recipients(self, publication: Publication) -> bool:
        ids = publication.recipient_ids = []
        for user in publication.recipients:
            user_id = user.id or self._queries.user_id(user.name)
            if not user_id:
                publication.refuse(Code.USER_NOT_FOUND, f"there is no user {user.name}")
                return False
            if self._limit and self._count(user_id) >= self._limit:
                publication.refuse(
                    Code.MAILBOX_FULL, f"{self._limit} messages wait for {user.name} already"
                )
                return False
            ids.append(user_id)
        return True

    def _count(self, user_id: int) -> int:
        count = self._counts.get(user_id)
        if count is None:
            if len(self._counts) >= _KEPT:
                self._counts.clear()
            count = self._counts[user_id] = self._queries.count_inbox(user_id)
        return count

    def _pair(self, one: int, other: int) -> str:
        """The two ids in order, as the beginning of a row; that they talked is noted once."""
        low, high = (one, other) if one < other else (other, one)
        if (low, high) not in self._peers:
            if len(self._peers) >= _KEPT:
                self._peers.clear()
            self._peers.add((low, high))
            self._connection.executemany(
                "INSERT OR IGNORE INTO peer (user, peer) VALUES (?, ?)", {(low, high), (high, low)}
            )
        return f"{low},{high},"

    def _ids_of(self, sender: int) -> set[int]:
        ids = self._publishing.get(sender)
        if ids is None:
            if len(self._publishing) >= _PUBLISHERS_KEPT:
                self._publishing.clear()
            ids = self._publishing[sender] = self._queries.publishing_ids(sender)
        return ids

    def _remember(self, sender: int, publishing_id: int) -> None:
        ids = self._ids_of(sender)
        ids.add(publishing_id)
        execute = self._connection.execute
        execute("INSERT INTO publishing VALUES (?, ?)", (sender, publishing_id - 2**63))
        if len(ids) > 2 * PUBLISHING_IDS:
            kept = sorted(ids)[-PUBLISHING_IDS:]
            ids.intersection_update(kept)
            execute("DELETE FROM publishing WHERE user = ? AND id < ?", (sender, kept[0] - 2**63))

    def _insert(self, rows: _Rows) -> None:
        execute = self._connection.execute
        if rows.messages:
            execute(_INSERT_MESSAGES, (b"".join(rows.texts), f"[{','.join(rows.messages)}]"))
        if rows.conversations:
            execute(_INSERT_CONVERSATIONS, (f"[{','.join(rows.conversations)}]",))
        if rows.inbox:
            execute(_INSERT_INBOX, (f"[{','.join(rows.inbox)}]",))

    def _move(self, batch: Batch) -> None:
        execute = self._connection.execute
        for user_id, message in batch.returned:
            execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", (user_id, message.offset))
            self._counts.pop(user_id, None)
        for user_id, offset in batch.taken.items():
            execute("DELETE FROM inbox WHERE user = ? AND offset <= ?", (user_id, offset))
            if self._last_to_everyone:
                execute(
                    "UPDATE user SET seen = ?2 WHERE id = ?1 AND seen < ?2 AND seen < ?3",
                    (user_id, offset, self._last_to_everyone),
                )
            self._counts.pop(user_id, None)
