"""The steps of a login in either version, from a name to a session."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence

from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.directory import Directory
from chat_protocol.domain.exchange import Exchange
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.names import canonical_username, check_new_username
from chat_protocol.domain.peer import IConnection
from chat_protocol.domain.queries import Lookup
from chat_protocol.domain.users import Claim, Session
from chat_protocol.errors import InvalidUsername, Unavailable, UserAlreadyLogged
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.peer import Observer, Peer
from chat_protocol.server.rate_limiter import RateLimiter
from chat_protocol.server.state import ConnectionEvent, ConnectionState
from chat_protocol.wire.codes import Code

__all__ = ["LoginProcedure"]

_ENDED = "the connection has ended, so there is no session"

_REPLACED = "a new connection of yours took over"


class LoginProcedure:
    """Gives connections their sessions.

    Args:
        directory: claims names.
        exchange: registers users, and serves the deliveries.
        limits: for the deliveries.
        rate_limiter: counts logins.
        authenticator: checks passwords and certificates; None: none is needed.
        certified_name: returns the name in the certificate that a client has shown, or None.
        observers: are told of each new session.
        wall_clock: returns nanoseconds since the epoch.
    """

    def __init__(
        self,
        directory: Directory,
        exchange: Exchange,
        limits: Limits,
        rate_limiter: RateLimiter,
        authenticator: Authenticator | None,
        certified_name: Callable[[Peer], str | None],
        observers: Sequence[Observer],
        wall_clock: Callable[[], int],
    ) -> None:
        self._directory = directory
        self._exchange = exchange
        self._limits = limits
        self._rate_limiter = rate_limiter
        self._authenticator = authenticator
        self._certified_name = certified_name
        self._observers = observers
        self._wall_clock = wall_clock

    async def claim(
        self,
        peer: Peer,
        username: str,
        password: str | None,
        version: int,
        shown: str = "",
    ) -> Claim:
        """Register a user if it is new, and claim the name for a connection.

        :meth:`begin_session` or :meth:`give_up` must follow.

        Args:
            peer: the connection that logs in.
            username: as in the Login. Empty: the name in the client's certificate.
            password: as in the Login; None: there was none.
            version: of the Login.
            shown: the token of the user's current session, to take it over. The server does not
                read from that session until the login has succeeded, which ends it, or failed.

        Raises:
            InvalidUsername: no new user can have that name, and no user has it.
            UserAlreadyLogged: the connection has a session, or the user has one.
            AuthenticationFailed, RateLimited: see Authenticator.check.
            Unavailable: the store cannot register the user now, or the connection has ended.
            OutcomeUnknown: see Logins.register.
        """
        name = canonical_username(username or self._certified_name(peer) or "")
        known = self._authenticator is not None and self._authenticator.knows(peer.host, name)
        self._rate_limiter.check_login(peer, name, known)
        if peer.session is not None:
            raise UserAlreadyLogged(f"this connection is {peer.session.user.name}'s")
        if self._authenticator is not None:
            certified = self._certified_name(peer)
            await self._authenticator.check(peer.host, name, password, version, certified)
        await self._check_name(name)
        if peer.state is not ConnectionState.CONNECTED:
            raise Unavailable(_ENDED)
        session = self._session_to_take_over(name, shown)
        if session is None:
            user = self._directory.claim(name)
        else:
            user = session.user
            self._directory.claim_next(user)
            session.connection.pause(peer)
        peer.step(ConnectionEvent.LOGIN)
        claim = Claim(user, secrets.token_urlsafe(24) if version > 1 else "")
        try:
            answer = await self._exchange.logins.register(
                name, self._wall_clock(), claim.token, shown
            )
        except BaseException:
            self.give_up(peer, claim)
            raise
        user.id = answer.user_id
        claim.number = answer.number
        return claim

    async def _check_name(self, name: str) -> None:
        """Check a name against the rules for new users, unless a user has it already."""
        try:
            check_new_username(name)
        except InvalidUsername:
            lookup = Lookup(name)
            await self._exchange.query(lookup)
            if not lookup.user_id:
                raise

    def _session_to_take_over(self, name: str, token: str) -> Session | None:
        """Return the session of that name if it has that token."""
        session = self._directory.session_of(name)
        if session is None or not session.token:
            return None
        return session if hmac.compare_digest(session.token.encode(), token.encode()) else None

    def give_up(self, peer: Peer, claim: Claim) -> None:
        """Give up a claim. The session that it would have taken over goes on.

        In a cluster that session ends, because the store has replaced it already.
        """
        user = claim.user
        self._directory.release(user)
        if claim.number:
            self._exchange.logins.release(claim)
            if user.session is not None:
                user.session.connection.end(Code.REPLACED, _REPLACED)
        elif user.session is not None:
            user.session.connection.resume(peer)
        if peer.state is ConnectionState.LOGGING_IN:
            peer.step(ConnectionEvent.LOGIN_REFUSED)

    def begin_session(self, peer: Peer, claim: Claim, version: int, window: int = 0) -> Session:
        """Begin the session of a claim, and end the one that it takes over.

        Args:
            peer: the connection that logs in.
            claim: of the user.
            version: of the Login.
            window: see Delivery.

        Raises:
            Unavailable: the connection has ended in the meantime. The claim is given up.
        """
        user = claim.user
        if peer.state is not ConnectionState.LOGGING_IN:
            self.give_up(peer, claim)
            raise Unavailable(_ENDED)
        if user.session is not None:
            user.session.connection.end(Code.REPLACED, _REPLACED)
        delivery = Delivery(
            user.name, (user.id, 0), peer.output, self._limits, self._exchange, window
        )
        session = Session(user, peer.output, IConnection(peer), delivery, version)
        session.token, session.number = claim.token, claim.number
        user.session = session
        peer.begin_session(session)
        delivery.begin()
        for observer in self._observers:
            observer.logged_in(peer, session)
        return session
