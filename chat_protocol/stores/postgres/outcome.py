"""What a batch came to, for those who have to be told."""

from __future__ import annotations

from chat_protocol.domain.users import Session

__all__ = ["Outcome"]


class Outcome:
    """What a stored batch means to other nodes, and to the sessions of this one."""

    def __init__(self) -> None:
        self.notified: dict[int, set[int]] = {}
        """By node, its users who have new mail."""
        self.everyone = False
        """Whether everyone has new mail."""
        self.lost: set[Session] = set()
        """Sessions of this node that another session has replaced."""
        self.replaced: dict[int, list[tuple[int, int]]] = {}
        """Sessions that other nodes lose, by node: user id and number."""
        self.offline: set[str] = set()
        """The names of users of whom no device is online any more."""
        self.new_users = 0
