"""A model of a disk: which files a power cut may leave, given a trace of writes and syncs.

After a power cut each sector holds one of the contents that it has had since the last sync of its
file. The same is true of the size of each file and of each name in the directory. So any subset of
the writes that were not synced may be there, and each of them in parts.

After a failed sync the kernel takes the pages for written, as Linux does. Whether they are on the
disk is not known, and later syncs do not change that, until the same pages are written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fault.shim import Kind, Record

__all__ = ["Disk"]

_SECTOR = 512
_PAGE = 4096

_KEPT = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Probabilities that a write that was not synced is on the disk; each cut chooses one."""

_TORN = (0.0, 0.3, 1.0)
"""Probabilities that such a write is there in parts; each cut chooses one."""


class _Write(NamedTuple):
    place: int
    data: bytes

    def aligned(self, unit: int) -> tuple[int, int]:
        """Return the range of bytes, extended to whole units."""
        end = self.place + len(self.data)
        return self.place // unit * unit, -(-end // unit) * unit


class _Resize(NamedTuple):
    size: int


class _File:
    """An inode: its content as of the last sync, and the changes since."""

    def __init__(self) -> None:
        self._synced = bytearray()
        self._doubtful: dict[int, list[bytes]] = {}
        """The contents that a sector may have beside the synced one, by the place of the sector:
        they were written and their sync failed."""
        self.pending: list[_Write | _Resize] = []

    def sync(self, count: int) -> None:
        """Make the first pending changes permanent."""
        synced, cached = self._synced, self._cached()
        for change in self.pending[:count]:
            _apply(synced, change)
            _apply(cached, change)
            if self._doubtful and isinstance(change, _Write):
                begin, end = change.aligned(_PAGE)
                # A page is written with all that the cache holds of it.
                _apply(synced, _Write(begin, bytes(cached[begin:end])))
                for place in range(begin, end, _SECTOR):
                    self._doubtful.pop(place, None)
        del self.pending[:count]

    def fail_sync(self) -> None:
        """Leave it open whether the pending writes are on the disk."""
        cached = self._cached()
        for change in self.pending:
            _apply(cached, change)
            if isinstance(change, _Write):
                for place in range(*change.aligned(_SECTOR), _SECTOR):
                    content = bytes(cached[place : place + _SECTOR])
                    self._doubtful.setdefault(place, []).append(content)
        self.pending = [change for change in self.pending if isinstance(change, _Resize)]

    def _cached(self) -> bytearray:
        """Return the content in the kernel's cache before the pending changes."""
        cached = bytearray(self._synced)
        for place, contents in self._doubtful.items():
            _apply(cached, _Write(place, contents[-1]))
        return cached

    def after_cut(self, choice: _Choice) -> bytes:
        """Return the content after a power cut."""
        image, cached = bytearray(self._synced), self._cached()
        for place, contents in self._doubtful.items():
            if choice.keep():
                _apply(image, _Write(place, choice.one_of(contents)))
        for change, ranges in zip(self.pending, choice.ranges(self.pending), strict=True):
            _apply(cached, change)
            for begin, end in ranges:
                if isinstance(change, _Resize):
                    _apply(image, change)
                else:
                    # The kernel writes a sector with all that its cache holds of it.
                    _apply(image, _Write(begin, bytes(cached[begin:end])))
        return bytes(image)


def _apply(content: bytearray, change: _Write | _Resize) -> None:
    if isinstance(change, _Resize):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
    else:
        place, data = change
        content.extend(bytes(max(0, place - len(content))))
        content[place : place + len(data)] = data


class _Choice:
    """Decides for one power cut which pending changes are on the disk."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._kept = random.choice(_KEPT)
        self._torn = random.choice(_TORN)
        self._in_order = random.random() < 0.5
        """Whether the changes of each file reach the disk in their order."""

    def keep(self) -> bool:
        """Return whether a change is on the disk."""
        return self._random.random() < self._kept

    def one_of(self, contents: Sequence[bytes]) -> bytes:
        """Return the content of a sector."""
        return self._random.choice(contents)

    def ranges(self, changes: Sequence[_Write | _Resize]) -> list[list[tuple[int, int]]]:
        """Return for each change the ranges of bytes that are on the disk; a resize has one."""
        if self._in_order:
            last = self._random.randint(0, len(changes))
            kept = [number < last for number in range(len(changes))]
            torn = [number == last - 1 for number in range(len(changes))]
        else:
            kept = [self.keep() for _ in changes]
            torn = [self._random.random() < self._torn for _ in changes]
        return [
            self._ranges_of(change, in_parts) if there else []
            for change, there, in_parts in zip(changes, kept, torn, strict=True)
        ]

    def _ranges_of(self, change: _Write | _Resize, in_parts: bool) -> list[tuple[int, int]]:
        if isinstance(change, _Resize):
            return [(0, 0)]
        begin, end = change.aligned(_SECTOR)
        if not in_parts:
            return [(begin, end)]
        unit = self._random.choice((_SECTOR, _PAGE))
        edges = [begin, *range((begin // unit + 1) * unit, end, unit), end]
        return [part for part in pairwise(edges) if self._random.random() < 0.5]


class Disk:
    """The files of one directory.

    Args:
        ignore_syncs: syncs make nothing permanent.
    """

    def __init__(self, ignore_syncs: bool = False) -> None:
        self._ignore_syncs = ignore_syncs
        self._inodes: dict[int, _File] = {}
        self._names: dict[str, _File] = {}
        self._synced_names: dict[str, _File] = {}
        self._pending_names: list[dict[str, _File | None]] = []
        self._syncing: dict[int, int] = {}
        """How many changes were pending when the current sync of a file began."""
        self.writes = self.bytes = self.syncs = self.failed_syncs = 0

    def follow(self, record: Record) -> None:
        """Apply a record of a trace."""
        kind, id_, value, data = record
        if kind is Kind.WRITE:
            self._inodes[id_].pending.append(_Write(value, data))
            self.writes += 1
            self.bytes += len(data)
        elif kind is Kind.TRUNCATE:
            self._inodes[id_].pending.append(_Resize(value))
        elif kind is Kind.CREATE:
            self._inodes[id_] = _File()
            self._rename({data.decode(): self._inodes[id_]})
        elif kind is Kind.UNLINK:
            self._rename({data.decode(): None})
        elif kind is Kind.RENAME:
            new, old = data.decode().split("\0")
            self._rename({new: self._names[old], old: None})
        elif kind is Kind.PROCESS:
            self._syncing.clear()
        elif kind is Kind.SYNC_BEGIN:
            self._syncing[id_] = len(self._inodes[id_].pending if id_ else self._pending_names)
        elif kind is Kind.SYNC_FAILED and id_:
            self.failed_syncs += 1
            self._inodes[id_].fail_sync()
        elif kind is Kind.SYNC_END and not self._ignore_syncs:
            self._sync(id_, self._syncing.pop(id_))

    def _rename(self, change: dict[str, _File | None]) -> None:
        _change_names(self._names, change)
        self._pending_names.append(change)

    def _sync(self, id_: int, count: int) -> None:
        self.syncs += 1
        if id_:
            self._inodes[id_].sync(count)
            return
        for change in self._pending_names[:count]:
            _change_names(self._synced_names, change)
        del self._pending_names[:count]

    def cut(self, random: Random, directory: Path) -> None:
        """Write the files that a power cut at this moment may leave into an empty directory."""
        choice = _Choice(random)
        names = dict(self._synced_names)
        for change in self._pending_names:
            if choice.keep():
                _change_names(names, change)
        for name, file in names.items():
            (directory / name).write_bytes(file.after_cut(choice))


def _change_names(names: dict[str, _File], change: dict[str, _File | None]) -> None:
    for name, file in change.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file
