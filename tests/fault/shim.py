"""Trace the system calls of a server, inject errors into them, and kill it between two of them.

The library of ``shim.c`` is compiled once a run and preloaded into the server.
"""

from __future__ import annotations

import atexit
import errno
import mmap
import shutil
import struct
import subprocess
from collections.abc import Iterator
from enum import IntEnum
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

__all__ = ["NO_COMPILER", "Kind", "Record", "Shim", "compiler", "read_trace"]

NO_COMPILER = "no C compiler: install gcc"

_SOURCE = Path(__file__).with_name("shim.c")

_RECORD = struct.Struct("=IIQq")

_FIELDS = (
    *("kill_in", "write_fails_in", "writes_fail", "write_error"),
    *("sync_fails_in", "syncs_fail", "sync_error", "kill_after", "failed"),
)
"""The 32-bit integers of struct control; a suffix of 16 bytes follows."""

_SUFFIX_SIZE = 16


class Kind(IntEnum):
    """The kind of a record, as ``shim.c`` numbers them."""

    PROCESS = 1
    """A server process has started."""
    CREATE = 2
    WRITE = 3
    TRUNCATE = 4
    UNLINK = 5
    RENAME = 6
    SYNC_BEGIN = 7
    SYNC_END = 8
    SYNC_FAILED = 9
    ACCEPT = 10
    RECEIVED = 11
    SENT = 12


class Record(NamedTuple):
    """A system call that has succeeded. A sync has two records: its begin and its end."""

    kind: Kind
    id: int
    """The inode of the file, 0 for the directory; or the number of the connection."""
    value: int
    """The place in the file, or its new size, in bytes."""
    data: bytes
    """The bytes; or a name in the directory; or the new name, a NUL and the old name."""


def read_trace(path: Path) -> Iterator[Record]:
    """Iterate over the records of a trace."""
    with path.open("rb") as trace:
        while head := trace.read(_RECORD.size):
            kind, size, id_, value = _RECORD.unpack(head)
            yield Record(Kind(kind), id_, value, trace.read(size))


@cache
def compiler() -> str | None:
    """Return the path of a C compiler, None if there is none."""
    return shutil.which("gcc") or shutil.which("cc")


@cache
def _library() -> Path:
    command = compiler()
    if command is None:
        raise RuntimeError(NO_COMPILER)
    folder = mkdtemp(prefix="shim-")
    atexit.register(shutil.rmtree, folder)
    library = Path(folder, "shim.so")
    flags = ("-O2", "-Wall", "-Wextra", "-shared", "-fPIC")
    subprocess.run([command, *flags, "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    return library


class Shim:
    """The library in the servers that run in one directory, one after the other.

    Args:
        directory: of the server; changes to the files in it are traced.
    """

    def __init__(self, directory: Path) -> None:
        folder = Path(mkdtemp(prefix="trace-"))
        self.trace = folder / "trace"
        control = folder / "control"
        size = 4 * len(_FIELDS) + _SUFFIX_SIZE
        control.write_bytes(bytes(size))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), size)
        self.environment = {
            "LD_PRELOAD": str(_library()),
            "FAULT_DIRECTORY": str(directory.resolve()),
            "FAULT_TRACE": str(self.trace),
            "FAULT_CONTROL": str(control),
        }
        """The environment variables of the server."""

    def kill_in(self, records: int) -> None:
        """Kill the server with SIGKILL after this many more records."""
        self._set("kill_in", records)

    def kill_after_failure(self, records: int) -> None:
        """Kill the server with SIGKILL this many records after the next injected error."""
        self._set("kill_after", records)

    def stop(self) -> None:
        """Inject no more errors, and do not kill the server."""
        for field in ("kill_in", "write_fails_in", "sync_fails_in", "kill_after"):
            self._set(field, 0)

    def fail_on(self, suffix: str) -> None:
        """Inject errors on files whose names end with a suffix only.

        It holds for files that the server opens from now on. The empty suffix stands for all files.
        """
        self._control[-_SUFFIX_SIZE:] = suffix.encode().ljust(_SUFFIX_SIZE, b"\0")

    def fail_write(self, error: int = errno.ENOSPC) -> None:
        """Let the next write fail, once."""
        self._set("write_error", error)
        self._set("writes_fail", 1)
        self._set("write_fails_in", 1)

    def fail_sync(self, error: int = errno.EIO, after: int = 0, count: int = 1) -> None:
        """Let calls of fsync and fdatasync fail.

        Args:
            error: the errno.
            after: how many more calls succeed.
            count: how many calls fail then.
        """
        self._set("sync_error", error)
        self._set("syncs_fail", count)
        self._set("sync_fails_in", after + 1)

    @property
    def failed(self) -> int:
        """How many errors were injected so far."""
        (failed,) = struct.unpack_from("=i", self._control, 4 * _FIELDS.index("failed"))
        return int(failed)

    def _set(self, field: str, value: int) -> None:
        struct.pack_into("=i", self._control, 4 * _FIELDS.index(field), value)

    def remove(self) -> None:
        """Delete the trace."""
        self._control.close()
        shutil.rmtree(self.trace.parent)
