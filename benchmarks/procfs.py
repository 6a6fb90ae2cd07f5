"""Read the CPU time and the memory of processes from /proc (proc(5))."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["Reading", "listener", "machine_time", "read_costs"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LISTEN = "0A"


class Reading(NamedTuple):
    """The CPU time and memory of a process and its descendants."""

    cpu: float
    """User and system CPU time of all threads in seconds, with a resolution of 10 ms."""
    rss: int
    """Resident memory in bytes."""


def read_costs(pid: int) -> Reading:
    """Return the CPU time and memory of a process, its threads and its living descendants."""
    cpu, rss = 0, 0
    for one in _tree(pid):
        # A descendant may have ended in the meantime.
        with suppress(OSError):
            # The command name in parentheses may contain spaces, so split after it.
            values = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            cpu += int(values[11]) + int(values[12])
            rss += int(values[21])
    return Reading(cpu / _TICKS, rss * _PAGE)


def _tree(pid: int) -> list[int]:
    found = [pid]
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            found += [below for child in children for below in _tree(int(child))]
    return found


def machine_time() -> float:
    """Return the CPU time of all programs on this machine in seconds, including stolen time."""
    with Path("/proc/stat").open() as stat:
        user, nice, system, _idle, _iowait, *others = map(int, stat.readline().split()[1:])
    # Guest time is omitted because user time includes it.
    return (user + nice + system + sum(others[:3])) / _TICKS


def listener(port: int) -> int | None:
    """Return the pid of the process that listens on a TCP port of this machine.

    None if there is none, or if the permissions do not suffice to find it.
    """
    wanted = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                local, state, inode = (line.split()[n] for n in (1, 3, 9))
                if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                    wanted.add(f"socket:[{inode}]")
    for pid in filter(str.isdecimal, os.listdir("/proc") if wanted else ()):
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{descriptor}") in wanted:
                        return int(pid)
    return None
