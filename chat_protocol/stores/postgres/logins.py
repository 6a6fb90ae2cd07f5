"""The logins of a batch: which of them get a session, and which sessions they end."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple, cast

from chat_protocol.domain.login_rules import Holder, decide, is_device
from chat_protocol.domain.messages import Registration
from chat_protocol.errors import Refused

__all__ = ["HeldSession", "Logins", "hash_token"]


class HeldSession(NamedTuple):
    """A session that a user has. Provides login_rules.Holder."""

    user_id: int
    number: int
    node: int
    device: str
    token: str
    """See :func:`hash_token`."""
    verified: bool
    trusted: bool
    under_way: bool = False

    def has_token(self, token: str) -> bool:
        if self.under_way or not self.token:
            return False
        return hmac.compare_digest(self.token, hash_token(token))


class Logins:
    """Decides on the logins of a batch, and fills in what the registrations want to know of that.

    Args:
        node: this one.
        ids: of all users concerned, by their names.
        held: their sessions at nodes that live.
        over: the numbers of sessions of this node that have ended.
        proofs: hashes of tokens of ended sessions that stand for the password of a user, with the
            id of the user.
    """

    def __init__(
        self,
        node: int,
        ids: Mapping[str, int],
        held: Iterable[HeldSession],
        over: Collection[int],
        proofs: Collection[tuple[int, str]],
    ) -> None:
        self._node = node
        self._ids = ids
        self.held: dict[int, list[HeldSession]] = {}
        """By user id: the sessions behind the logins that were decided on."""
        self.online: dict[Registration, frozenset[str]] = {}
        """The devices of the user that had a session before an accepted login."""
        for session in held:
            if session.number not in over:
                self.held.setdefault(session.user_id, []).append(session)
        self._proofs = set(proofs)
        self.accepted: list[Registration] = []
        self.replaced: dict[int, list[tuple[int, int]]] = {}
        """Sessions that other nodes lose, by node: user id and number."""
        self.ended: list[tuple[int, int]] = []
        """All sessions that end: user id and number."""
        self.spent: list[str] = []
        """Hashes of tokens that stand for a password no more."""

    def decide(self, registration: Registration, number: int) -> None:
        """Decide on one login.

        Args:
            registration: the login.
            number: of its session.
        """
        login = registration.login
        user_id = registration.user_id = self._ids.get(registration.name, 0)
        registration.number = 0
        holders = self.held.setdefault(user_id, [])
        shown = hash_token(login.shown)
        proof = login.needs_proof and (user_id, shown) in self._proofs
        try:
            decision = decide(registration.name, login, cast("list[Holder]", holders), proof)
        except Refused as error:
            registration.refused = error
            return
        registration.refused = None
        registration.number = number
        registration.verified, registration.trusted = decision.verified, decision.trusted
        self.online[registration] = frozenset(one.device for one in holders)
        ends = cast("tuple[HeldSession, ...]", decision.ends)
        registration.ends = tuple(one.number for one in ends if one.node == self._node)
        registration.came_online = is_device(login.device) and not any(
            is_device(one.device) for one in holders
        )
        for one in ends:
            self.ended.append((user_id, one.number))
            if one.node != self._node:
                self.replaced.setdefault(one.node, []).append((user_id, one.number))
        if decision.spends:
            self._spend(user_id, shown)
        token = hash_token(registration.token)
        self.held[user_id] = [one for one in self.held[user_id] if one not in ends]
        self.held[user_id].append(
            HeldSession(
                *(user_id, number, self._node, login.device, token),
                *(decision.verified, decision.trusted, True),
            )
        )
        self.accepted.append(registration)

    def _spend(self, user_id: int, shown: str) -> None:
        self.spent.append(shown)
        self._proofs.discard((user_id, shown))
        self.held[user_id] = [
            one._replace(verified=False) if one.token == shown else one
            for one in self.held[user_id]
        ]


def hash_token(token: str) -> str:
    """Return what the database has of a token; empty if there is none."""
    return sha256(token.encode()).hexdigest() if token else ""
