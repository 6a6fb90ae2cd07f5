"""The user directory: which users are online, and which logins are under way."""

from __future__ import annotations

from typing import cast
from weakref import WeakValueDictionary

from chat_protocol.domain.login_rules import Holder, LoginRequest, decide, is_device
from chat_protocol.domain.tokens import EndedTokens
from chat_protocol.domain.users import Claim, Session, User
from chat_protocol.errors import UserAlreadyLogged

__all__ = ["MAX_REPLACED", "Directory"]

MAX_REPLACED = 10_000
"""Replaced sessions that are remembered, the newest ones: a login takes less time than so many."""


class Directory:
    """The users that connections are concerned with at the moment.

    Other users are not in memory; the store knows them.

    Args:
        tokens: of ended sessions, which stand for the password.
        decides: whether to apply the rules of login. False: a store that nodes share does so.
    """

    def __init__(self, tokens: EndedTokens, decides: bool = True) -> None:
        self._tokens = tokens
        self._decides = decides
        self._users: WeakValueDictionary[str, User] = WeakValueDictionary()
        self._claims: dict[User, list[Claim]] = {}
        self._replaced: dict[int, None] = {}
        """Numbers of sessions that others have replaced, while logins are under way."""
        self._online: dict[User, None] = {}

    def user(self, name: str) -> User:
        """Return the user of a normalized name, registered or not."""
        user = self._users.get(name)
        if user is None:
            user = self._users[name] = User(name)
        return user

    def claim(self, name: str, login: LoginRequest, token: str) -> Claim:
        """Claim a device of a user for a session that is about to begin.

        :meth:`begin` or :meth:`give_up` must follow.

        Args:
            name: of the user.
            login: what the login asks for.
            token: of the session that will begin.

        Raises:
            AuthenticationFailed, UserAlreadyLogged, RateLimited: see login_rules.decide.
        """
        user = self.user(name)
        claim = Claim(user, token, login)
        claims = self._claims.get(user, [])
        if self._decides:
            sessions = user.sessions + user.senders
            proof = login.needs_proof and self._tokens.stands_for(name, login.shown)
            decision = decide(name, login, cast("list[Holder]", [*sessions, *claims]), proof)
            claim.verified, claim.trusted = decision.verified, decision.trusted
            claim.ends = cast("tuple[Session, ...]", decision.ends)
            if decision.spends:
                self._tokens.spend(login.shown, user.sessions)
        elif any(one.device == login.device and is_device(login.device) for one in claims):
            raise UserAlreadyLogged(f"{name} is logging in from this device already")
        self._claims[user] = [*claims, claim]
        return claim

    def taken_over(self, claim: Claim) -> Session | None:
        """Return the session of this server that a claim may take over."""
        login, user = claim.login, claim.user
        for session in user.sessions + user.senders:
            if session.device == login.device and (
                session.has_token(login.shown) or (login.takes_over and session.receives)
            ):
                return session
        return None

    def replaced(self, number: int) -> None:
        """Note that a session of a shared store was replaced, which may not have begun yet."""
        if self._claims:
            self._replaced[number] = None
            if len(self._replaced) > MAX_REPLACED:
                del self._replaced[next(iter(self._replaced))]

    def check(self, claim: Claim) -> None:
        """Check that no later login would have ended the session of a claim.

        Raises:
            UserAlreadyLogged: one would.
        """
        user = claim.user
        is_replaced = claim.number in self._replaced
        if not (claim.trusted or is_device(claim.device)):
            is_replaced |= bool(user.sessions) or any(
                is_device(one.device) for one in self._claims[user]
            )
        if is_replaced:
            raise UserAlreadyLogged(f"{user.name} has logged in elsewhere meanwhile")

    def begin(self, claim: Claim, session: Session) -> bool:
        """Note that the session of a claim has begun; return whether the user came online."""
        self.give_up(claim)
        user = claim.user
        came_online = session.receives and not user.sessions
        user.add(session)
        if came_online:
            self._online[user] = None
        return came_online

    def give_up(self, claim: Claim) -> None:
        """Give up a claim."""
        claims = self._claims[claim.user]
        claims.remove(claim)
        if not claims:
            del self._claims[claim.user]
        if not self._claims:
            self._replaced.clear()

    def end(self, session: Session) -> bool:
        """Note that a session has ended; return whether the user went offline."""
        user = session.user
        was_online = bool(user.sessions)
        user.remove(session)
        self._tokens.ended(session)
        went_offline = was_online and not user.sessions
        if went_offline:
            del self._online[user]
        return went_offline

    def is_online(self, name: str) -> bool:
        """Return whether the user of a normalized name is online at this server."""
        user = self._users.get(name)
        return user is not None and bool(user.sessions)

    @property
    def online(self) -> list[User]:
        """The users that are online, in the order of their logins."""
        return list(self._online)
