"""What has happened on a server since its start, in plain numbers."""

from __future__ import annotations

__all__ = ["Counters"]


class Counters:
    """Numbers that only grow. They are read when somebody asks; to count costs an addition."""

    __slots__ = ("limits",)

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        """How often each limit was met, by its name in docs/protocol.md, section "Limits"."""

    def limit(self, name: str, times: int = 1) -> None:
        """A limit was met, so often."""
        self.limits[name] = self.limits.get(name, 0) + times
