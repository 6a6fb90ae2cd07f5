"""Counters of a server since its start."""

from __future__ import annotations

from typing import TypeVar

from twisted.python.failure import Failure

from chat_protocol.errors import Refused
from chat_protocol.wire.codes import Code

__all__ = ["Counters"]

K = TypeVar("K")


class Counters:
    """Numbers that only grow. To count costs one addition; the metrics read them."""

    __slots__ = ("connections", "limits", "logins", "refusals")

    def __init__(self) -> None:
        self.connections = 0
        """Accepted connections."""
        self.limits: dict[str, int] = {}
        """How often each limit was met, by its name in docs/protocol.md, section "Limits"."""
        self.logins: dict[tuple[int, Code], int] = {}
        """Logins, by version and code of the answer."""
        self.refusals: dict[Code, int] = {}
        """Refused requests, by code."""

    def limit(self, name: str, times: int = 1) -> None:
        """Count a limit that was met."""
        _add(self.limits, name, times)

    def refused(self, code: Code, times: int) -> None:
        """Count refused requests."""
        _add(self.refusals, code, times)

    def login(self, version: int, code: Code = Code.OK) -> None:
        """Count a login by the code of its answer."""
        _add(self.logins, (version, code), 1)

    def login_failed(self, failure: Failure, version: int) -> Failure:
        """Count a login that failed, and return the failure: for use as an errback."""
        error = failure.value
        self.login(version, error.code if isinstance(error, Refused) else Code.ERROR)
        return failure


def _add(counts: dict[K, int], key: K, times: int) -> None:
    counts[key] = counts.get(key, 0) + times
