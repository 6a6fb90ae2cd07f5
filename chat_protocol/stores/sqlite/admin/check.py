"""The check of a SQLite file: whether it is damaged, and whether its tables agree."""

from __future__ import annotations

import sqlite3
import struct

from chat_protocol.domain.names import canonical_username
from chat_protocol.domain.ranges import Ranges
from chat_protocol.errors import InvalidUsername
from chat_protocol.stores.admin import Findings
from chat_protocol.stores.sqlite.admin.waiting import Waiting
from chat_protocol.stores.sqlite.conversations import Run, pack_postings
from chat_protocol.stores.sqlite.damage import SegmentDamaged, verify
from chat_protocol.stores.sqlite.memtable import read_memtable
from chat_protocol.stores.sqlite.segments import (
    Kind,
    Record,
    entries_between,
    recipients_of,
    records_of,
)

__all__ = ["check_database"]

_MAX_FAULTS = 20

_PARSE_ERRORS = (struct.error, ValueError, IndexError)
"""What unpacking a damaged segment raises."""

_WAITING = """
SELECT max(last - count + 1, ?1) AS begin, last + 1, user FROM inbox WHERE last >= ?1 ORDER BY begin
"""


class _TooManyFaultsError(Exception):
    """More faults were found than are reported."""


def check_database(connection: sqlite3.Connection) -> Findings:
    """Look at everything.

    Args:
        connection: in a transaction; texts are bytes.
    """
    return _Check(connection).run()


class _Check:
    """One check.

    Args:
        connection: see :func:`check_database`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._connection = connection
        self._faults: list[str] = []
        self._names: dict[int, str] = {}
        self._segments = self._messages = 0
        self._runs: list[Run] = []
        """What the segments of the flush say that is being checked."""
        self._to_everyone: set[int] = set()

    def run(self) -> Findings:
        """Check one table after the other."""
        try:
            for (line,) in self._execute(f"PRAGMA integrity_check({_MAX_FAULTS})"):
                if line != b"ok":
                    self._fault(f"SQLite: {line.decode(errors='replace')}")
            if not self._faults:
                self._check_users()
                self._check_devices()
                self._check_messages()
                self._check_publishing_ids()
        except sqlite3.DatabaseError as error:
            self._faults.append(f"SQLite: {error}")
        except _TooManyFaultsError:
            self._faults.append("and perhaps more")
        looked_at = (
            f"{len(self._names)} users, {self._messages} messages in {self._segments} segments,"
            " mailboxes, conversations and publishing ids"
        )
        return Findings(looked_at, self._faults)

    def _fault(self, sentence: str) -> None:
        if len(self._faults) == _MAX_FAULTS:
            raise _TooManyFaultsError
        self._faults.append(sentence)

    def _name(self, user: int) -> str:
        return ascii(self._names.get(user, f"a user {user}, who does not exist"))

    def _check_users(self) -> None:
        for id_, name in self._execute("SELECT id, name FROM user"):
            try:
                self._names[id_] = name.decode()
                right = canonical_username(self._names[id_]) == self._names[id_]
            except (UnicodeDecodeError, InvalidUsername):
                right = False
            if not right:
                self._fault(f"user {id_} has a name that no user can have")
                self._names[id_] = ""

    def _check_devices(self) -> None:
        for (user,) in self._execute("SELECT DISTINCT user FROM device"):
            if user not in self._names:
                self._fault(f"there are devices of a user {user}, who does not exist")

    # Messages, in the order of their offsets; mailboxes and conversations beside them.

    def _check_messages(self) -> None:
        try:
            _, expired, _ = read_memtable(self._connection)
        except SegmentDamaged as error:
            self._fault(str(error))
            return
        waiting = Waiting(self._execute(_WAITING, (expired,)))
        flushes = iter(self._execute("SELECT first, last FROM flush ORDER BY first").fetchall())
        flush = next(flushes, None)
        end = 0
        segments = self._execute(
            "SELECT first, records, checksum FROM segment WHERE first >= ? ORDER BY first",
            (expired,),
        )
        for first, data, expected in segments:
            self._segments += 1
            while flush is not None and first > flush[1]:
                self._check_flush(flush, expired)
                flush = next(flushes, None)
            if first < end:
                self._fault(f"the messages from {first} on are there twice")
            end = max(end, first)
            sent: dict[int, Ranges] = {}
            try:
                verify(first, data, expected)
                for record in records_of(first, data):
                    end = max(end, record.offset + record.messages)
                    self._check_record(record, first, data, sent)
            except SegmentDamaged as error:
                self._fault(str(error))
                continue
            except _PARSE_ERRORS:
                self._fault(f"the segment of message {first} cannot be read")
                continue
            self._report_missing(waiting, end, sent)
        while flush is not None:
            self._check_flush(flush, expired)
            flush = next(flushes, None)
        self._report_missing(waiting, 2**63, {})
        rows = self._execute("SELECT offset FROM everyone WHERE offset >= ?", (expired,))
        for offset in {offset for (offset,) in rows} ^ self._to_everyone:
            self._fault(f"message {offset} went to everyone, or not: the tables differ")

    def _report_missing(self, waiting: Waiting, end: int, sent: dict[int, Ranges]) -> None:
        for user, offset in waiting.missing(end, sent):
            self._fault(f"message {offset} waits for {self._name(user)}, and is not there")

    def _check_record(
        self, record: Record, first: int, data: bytes, sent: dict[int, Ranges]
    ) -> None:
        """Check a record, and note what it says."""
        if record.end > len(data):
            raise ValueError("the segment is too short")
        if record.kind != Kind.MESSAGES:
            return
        begin, end = record.offset, record.offset + record.messages
        recipients = recipients_of(record, data)
        for user in (record.sender, *recipients):
            if user not in self._names:
                self._fault(f"message {begin} is from or to a user {user}, who does not exist")
        for recipient in recipients:
            self._runs.append((record.sender, recipient, begin, end))
            sent.setdefault(recipient, Ranges()).add(begin, end)
        if not recipients:
            self._to_everyone.update(range(begin, end))
        for entry in entries_between(first, data, begin, end, lambda *_: ""):
            self._messages += len(entry.frames)
            if len(entry.to) != len(recipients):
                self._fault(f"message {begin} has not as many recipients as names of them")

    def _check_flush(self, flush: tuple[int, int], expired: int) -> None:
        """Check that the conversations of a flush are those of its segments."""
        first, last = flush
        runs, self._runs = self._runs, []
        if first < expired:
            return
        rows = self._execute(
            "SELECT postings FROM conversation WHERE flush = ? ORDER BY low", (first,)
        )
        if b"".join(postings for (postings,) in rows) != pack_postings(first, runs):
            self._fault(f"the conversations of the messages {first} to {last} are not all there")

    def _check_publishing_ids(self) -> None:
        before = (0, 0, 0)
        for user, device, last, count in self._execute(
            "SELECT user, device, last, count FROM publishing ORDER BY user, device, last"
        ):
            if user not in self._names:
                self._fault(f"there are publishing ids of a user {user}, who does not exist")
            if count < 1 or ((user, device) == before[:2] and last - count < before[2]):
                self._fault(f"the publishing ids of {self._name(user)} overlap")
            before = (user, device, last)
