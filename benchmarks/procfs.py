"""What a server has cost so far, from /proc (proc(5))."""

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
    """A process and all below it."""

    cpu: float
    """Seconds of processor, user's and system's, of all threads; in steps of 10 ms."""
    rss: int
    """Bytes in memory."""


def read_costs(pid: int) -> Reading:
    """The costs of a process, its threads and its children that live."""
    cpu, rss = 0, 0
    for one in _tree(pid):
        # One that ended meanwhile costs nothing more.
        with suppress(OSError):
            # The name in brackets may hold anything, so count from its end.
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
    """Seconds for which the processors of this machine were in use, by whomever; with those that
    a hypervisor gave to others."""
    with Path("/proc/stat").open() as stat:
        user, nice, system, _idle, _iowait, *others = map(int, stat.readline().split()[1:])
    # What guests have used is in the user's time already.
    return (user + nice + system + sum(others[:3])) / _TICKS


def listener(port: int) -> int | None:
    """The process of this machine that listens on a TCP port, if it may be looked at."""
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
