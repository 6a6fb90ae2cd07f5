"""What has happened on a server since its start, in plain numbers."""

from __future__ import annotations

from typing import TypeVar

from twisted.python.failure import Failure

from chat_protocol.errors import Refused
from chat_protocol.wire.codes import Code

__all__ = ["Counters"]

K = TypeVar("K")


class Counters:
    """Numbers that only grow. They are read when somebody asks; to count costs an addition."""

    __slots__ = ("connections", "limits", "logins", "refusals")

    def __init__(self) -> None:
        self.connections = 0
        """That were taken."""
        self.limits: dict[str, int] = {}
        """How often each limit was met, by its name in docs/protocol.md, section "Limits"."""
        self.logins: dict[tuple[int, Code], int] = {}
        """How often a login ended so, by its version and what was answered."""
        self.refusals: dict[Code, int] = {}
        """Requests that were refused, of any kind."""

    def limit(self, name: str, times: int = 1) -> None:
        """A limit was met, so often."""
        _add(self.limits, name, times)

    def refused(self, code: Code, times: int) -> None:
        """So many requests were refused."""
        _add(self.refusals, code, times)

    def login(self, version: int, code: Code = Code.OK) -> None:
        """A login was answered."""
        _add(self.logins, (version, code), 1)

    def login_failed(self, failure: Failure, version: int) -> Failure:
        """An errback: a login was refused, or met a fault."""
        error = failure.value
        self.login(version, error.code if isinstance(error, Refused) else Code.ERROR)
        return failure


def _add(counts: dict[K, int], key: K, times: int) -> None:
    counts[key] = counts.get(key, 0) + times
