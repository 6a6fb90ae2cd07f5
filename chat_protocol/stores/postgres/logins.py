"""The logins of a batch: which of them get the session of their user."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from chat_protocol.domain.messages import Registration

__all__ = ["Holder", "Logins"]


class Holder(NamedTuple):
    """The session that a user has."""

    node: int
    number: int
    token: str
    """See Logins.tokens."""
    alive: bool
    """Whether the lease of the node has not run out."""


class Logins:
    """Decides on the logins of a batch; ``user_id`` and ``number`` of each are filled in.

    A login gets the session if the user has none, if the node of that session is dead, or if it
    shows the token of that session.

    Args:
        registrations: the logins.
        node: this one.
        ids: of all users concerned, by their names.
        holders: the sessions that there are, by user id.
        numbers: new numbers of sessions, one for each registration.
    """

    def __init__(
        self,
        registrations: Sequence[Registration],
        node: int,
        ids: Mapping[str, int],
        holders: Mapping[int, Holder],
        numbers: Sequence[int],
    ) -> None:
        self.accepted: dict[int, Registration] = {}
        """By user id."""
        self.replaced: dict[int, list[tuple[int, int]]] = {}
        """Sessions that other nodes lose, by node: user id and number."""
        for registration, number in zip(registrations, numbers, strict=True):
            user_id = registration.user_id = ids[registration.name]
            registration.number = 0
            holder = holders.get(user_id)
            if user_id in self.accepted or not _may_log_in(registration, node, holder):
                continue
            registration.number = number
            self.accepted[user_id] = registration
            if holder is not None and holder.node != node:
                self.replaced.setdefault(holder.node, []).append((user_id, holder.number))

    @property
    def tokens(self) -> list[str]:
        """The hashes of the tokens, in the order of ``accepted``; empty: it cannot be shown."""
        return [_hash(registration.token) for registration in self.accepted.values()]


def _may_log_in(registration: Registration, node: int, holder: Holder | None) -> bool:
    if holder is None or not holder.alive:
        return True
    if holder.node == node:
        # This node knows its sessions: this one is over, and about to be released.
        return True
    return bool(holder.token) and hmac.compare_digest(holder.token, _hash(registration.shown))


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest() if token else ""
