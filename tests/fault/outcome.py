"""What the programs share: the options of the server, the check of its store, and the verdict."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.fault.history import History

__all__ = ["SERVER_OPTIONS", "STORE", "check_store", "codes_of", "conclude"]

STORE = "sqlite:chat.db"

SERVER_OPTIONS = (
    *("--store", STORE, "--login-rate", "0"),
    *("--login-rate-per-address", "0", "--connection-rate-per-address", "0"),
)
"""Peers that reconnect all the time must not meet rate limits."""

_SHOWN = 20


def check_store(directory: Path) -> list[str]:
    """Return what ``chatadmin check`` finds wrong with the store in a directory."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("chatadmin")), "--store", STORE, "check"],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    return [f"chatadmin check: {done.stdout} {done.stderr}"] if done.returncode else []


def codes_of(histories: Iterable[History]) -> Counter[int]:
    """Return how many messages were answered with each code; code 0: without an answer."""
    return Counter(one.code for history in histories for one in history.sent.values())


def conclude(faults: Sequence[str], promise: str) -> int:
    """Print the faults, or that the promise was kept, and return the exit code."""
    for fault in faults[:_SHOWN]:
        print("FAULT", " ".join(fault.split()))
    if len(faults) > _SHOWN:
        print(f"FAULT: {len(faults) - _SHOWN} more")
    print("FAIL" if faults else f"PASS: {promise}", flush=True)
    return 1 if faults else 0
