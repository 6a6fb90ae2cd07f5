"""Whether a file of the SQLite store is whole, and says the same in all its tables."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from chat_protocol.domain.names import normalise_username
from chat_protocol.domain.ranges import Ranges
from chat_protocol.errors import InvalidUsername
from chat_protocol.stores.admin import Findings
from chat_protocol.stores.sqlite.memtable import read_recent
from chat_protocol.stores.sqlite.segments import (
    Entry,
    Kind,
    entries_of,
    messages_of,
    recipients_of,
)
from chat_protocol.wire.commands import Scope

__all__ = ["check_database"]

_MOST_FAULTS = 20

_PARSE_ERRORS = (struct.error, ValueError, IndexError)
"""What taking a chunk to pieces raises that is damaged."""

_RECORD = struct.Struct(">IIII")


_RECORDS = "SELECT records FROM conversation WHERE filing = ? ORDER BY low"


class _Enough(Exception):
    """As many faults were found as are told."""


def check_database(connection: sqlite3.Connection) -> Findings:
    """Look at all of it, as of this moment."""
    connection.execute("BEGIN")
    try:
        return _Check(connection).run()
    finally:
        connection.execute("ROLLBACK")


class _Check:
    """One check.

    Args:
        connection: in a transaction; texts are bytes.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._connection = connection
        self._faults: list[str] = []
        self._names: dict[int, str] = {}
        self._chunks = self._messages = 0

    def run(self) -> Findings:
        """All of it, one thing after the other."""
        try:
            for (line,) in self._execute(f"PRAGMA integrity_check({_MOST_FAULTS})"):
                if line != b"ok":
                    self._fault(f"SQLite: {line.decode(errors='replace')}")
            if not self._faults:
                self._check_users()
                self._check_messages()
                self._check_publishing_ids()
        except sqlite3.DatabaseError as error:
            self._faults.append(f"SQLite: {error}")
        except _Enough:
            self._faults.append("and perhaps more")
        looked_at = (
            f"{len(self._names)} users, {self._messages} messages in {self._chunks} chunks,"
            " mailboxes, conversations and publishing ids"
        )
        return Findings(looked_at, self._faults)

    def _fault(self, sentence: str) -> None:
        if len(self._faults) == _MOST_FAULTS:
            raise _Enough
        self._faults.append(sentence)

    def _check_users(self) -> None:
        for id_, name in self._execute("SELECT id, name FROM user"):
            try:
                self._names[id_] = name.decode()
                right = normalise_username(self._names[id_]) == self._names[id_]
            except (UnicodeDecodeError, InvalidUsername):
                right = False
            if not right:
                self._fault(f"user {id_} has a name that no user can have")
                self._names[id_] = ""

    def _check_messages(self) -> None:
        _, below, _ = read_recent(self._connection)
        to_everyone: list[int] = []
        waiting = _Waiting(self._execute(_WAITING, (below,)))
        filings = iter(self._execute("SELECT first, last FROM filing ORDER BY first").fetchall())
        filing = next(filings, None)
        runs: list[tuple[int, int, int, int]] = []
        end = 0
        chunks = self._execute(
            "SELECT first, entries FROM chunk WHERE first >= ? ORDER BY first", (below,)
        )
        for first, data in chunks:
            self._chunks += 1
            while filing is not None and first > filing[1]:
                self._check_filing(filing, below, runs)
                runs = []
                filing = next(filings, None)
            if first < end:
                self._fault(f"the messages from {first} on are there twice")
            addressed: dict[int, Ranges] = {}
            try:
                end = max(end, first)
                for entry in entries_of(first, data):
                    end = max(end, entry.offset + entry.messages)
                    self._look_at(entry, first, data, runs, addressed, to_everyone)
                self._messages += len(messages_of(first, data, first, end))
            except _PARSE_ERRORS:
                self._fault(f"the chunk of message {first} cannot be read")
                continue
            for user, offset in waiting.missing(end, addressed):
                self._fault(f"message {offset} waits for {self._name(user)}, and is not there")
        while filing is not None:
            self._check_filing(filing, below, runs)
            runs = []
            filing = next(filings, None)
        for user, offset in waiting.missing(2**63, {}):
            self._fault(f"message {offset} waits for {self._name(user)}, and is not there")
        rows = self._execute("SELECT offset FROM everyone WHERE offset >= ?", (below,))
        for offset in {offset for (offset,) in rows} ^ set(to_everyone):
            self._fault(f"message {offset} went to everyone, or not: the tables differ")

    def _look_at(
        self,
        entry: Entry,
        first: int,
        data: bytes,
        runs: list[tuple[int, int, int, int]],
        addressed: dict[int, Ranges],
        to_everyone: list[int],
    ) -> None:
        """Note what an entry says."""
        if entry.end > len(data):
            raise ValueError("too short")
        if not entry.messages or entry.kind == Kind.GONE:
            return
        begin, end = entry.offset, entry.offset + entry.messages
        recipients = recipients_of(entry, data)
        for user in (entry.sender, *recipients):
            if user not in self._names:
                self._fault(f"message {begin} is from or to a user {user}, whom there is not")
        for recipient in recipients:
            runs.append((entry.sender, recipient, begin, end))
            addressed.setdefault(recipient, Ranges()).add(begin, end)
        if entry.kind == Kind.PUBLICATION and not recipients:
            (message,) = messages_of(first, data, begin, end)
            if message.scope != Scope.EVERYONE:
                self._fault(f"message {begin} is to nobody")
            to_everyone.append(begin)

    def _check_filing(
        self, filing: tuple[int, int], below: int, runs: list[tuple[int, int, int, int]]
    ) -> None:
        """Whether the conversations of a filing are those of its chunks."""
        first, last = filing
        if first < below:
            return
        expected = sorted(
            _RECORD.pack(one, other, begin - first, end - begin)
            for sender, recipient, begin, end in runs
            for one, other in {(sender, recipient), (recipient, sender)}
        )
        rows = self._execute(
            "SELECT records FROM conversation WHERE filing = ? ORDER BY low", (first,)
        )
        if b"".join(records for (records,) in rows) != b"".join(expected):
            self._fault(f"the conversations of the messages {first} to {last} are not all there")

    def _check_publishing_ids(self) -> None:
        before = (0, 0)
        for user, last, count in self._execute(
            "SELECT user, last, count FROM publishing ORDER BY user, last"
        ):
            if user not in self._names:
                self._fault(f"there are publishing ids of a user {user}, whom there is not")
            if count < 1 or (user == before[0] and last - count < before[1]):
                self._fault(f"the publishing ids of {self._name(user)} overlap")
            before = (user, last)

    def _name(self, user: int) -> str:
        return ascii(self._names.get(user, f"a user {user}, whom there is not"))


_WAITING = """
SELECT max(last - count + 1, ?1) AS begin, last + 1, user FROM inbox WHERE last >= ?1 ORDER BY begin
"""


class _Waiting:
    """What waits, followed from the lowest offset to the highest.

    Args:
        rows: begin, end and user, by their begin.
    """

    def __init__(self, rows: Iterable[tuple[int, int, int]]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)
        self._open: list[tuple[int, int, int]] = []

    def missing(self, end: int, addressed: dict[int, Ranges]) -> Iterator[tuple[int, int]]:
        """User and offset of what waits below an offset and is not among what they were sent.

        Args:
            end: the offset behind a chunk.
            addressed: what the chunk has, by recipient.
        """
        while self._next is not None and self._next[0] < end:
            heappush(self._open, self._next)
            self._next = next(self._rows, None)
        while self._open and self._open[0][0] < end:
            begin, stop, user = heappop(self._open)
            place = begin
            for found_begin, found_end in addressed.get(user, Ranges()).between(
                begin, min(stop, end)
            ):
                if found_begin > place:
                    break
                place = found_end
            if place < min(stop, end):
                yield user, place
            if stop > end:
                heappush(self._open, (end, stop, user))
