"""The steps of a login in either version, from a name to a session."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.directory import Directory
from chat_protocol.domain.exchange import Exchange
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.login_rules import LoginRequest
from chat_protocol.domain.messages import Registration
from chat_protocol.domain.names import canonical_username, check_new_username
from chat_protocol.domain.peer import IConnection
from chat_protocol.domain.queries import Lookup
from chat_protocol.domain.users import Claim, Session
from chat_protocol.errors import (
    AuthenticationFailed,
    InvalidUsername,
    Unavailable,
    UserAlreadyLogged,
)
from chat_protocol.server.authentication import Authenticator, certifies
from chat_protocol.server.peer import Observer, Peer
from chat_protocol.server.presence import PresenceFeed
from chat_protocol.server.rate_limiter import RateLimiter
from chat_protocol.server.state import ConnectionEvent, ConnectionState
from chat_protocol.wire.codes import Code

__all__ = ["REPLACED", "LoginProcedure"]

_ENDED = "the connection has ended, so there is no session"

REPLACED = "a new connection of yours took over"
"""Reason of a Close with Code.REPLACED."""


class LoginProcedure:
    """Gives connections their sessions.

    Args:
        directory: claims devices of users.
        exchange: registers users, and serves the deliveries.
        limits: for the deliveries.
        rate_limiter: counts logins.
        authenticator: checks passwords and certificates; None: none is needed.
        certified_name: returns the name in the certificate that a client has shown, or None.
        observers: are told of each new session, and of each login without the right password.
        presence: is told of each user who comes online.
        distrust_tokens: lets no token stand for a password; called when the passwords were read
            again.
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
        presence: PresenceFeed,
        distrust_tokens: Callable[[], Deferred[None]],
        wall_clock: Callable[[], int],
    ) -> None:
        self._directory = directory
        self._exchange = exchange
        self._limits = limits
        self._rate_limiter = rate_limiter
        self._authenticator = authenticator
        self._certified_name = certified_name
        self._observers = observers
        self._presence = presence
        self._distrust_tokens = distrust_tokens
        self._readings = authenticator.readings if authenticator is not None else 0
        self._wall_clock = wall_clock

    async def claim(
        self, peer: Peer, username: str, password: str | None, login: LoginRequest
    ) -> tuple[Claim, Registration]:
        """Register a user if it is new, and claim the device for a connection.

        :meth:`begin_session` or :meth:`give_up` must follow. Until then the server does not read
        from a session that the login takes over.

        Args:
            peer: the connection that logs in.
            username: as in the Login. Empty: the name in the client's certificate.
            password: as in the Login; None: there was none.
            login: what it asks for, not verified yet.

        Returns:
            The claim, and the answer of the store.

        Raises:
            InvalidUsername: no new user can have that name, and no user has it.
            UserAlreadyLogged: the connection has a session, or see login_rules.decide.
            AuthenticationFailed, RateLimited: see Authenticator.check and login_rules.decide.
            Unavailable: the store cannot register the user now, or the connection has ended.
            OutcomeUnknown: see Logins.register.
        """
        name = canonical_username(username or self._certified_name(peer) or "")
        known = self._authenticator is not None and self._authenticator.knows(peer.host, name)
        self._rate_limiter.check_login(peer, name, known)
        if peer.session is not None:
            raise UserAlreadyLogged(f"this connection is {peer.session.user.name}'s")
        login = await self._verify(peer, name, password, login)
        await self._check_name(name)
        if peer.state is not ConnectionState.CONNECTED:
            raise Unavailable(_ENDED)
        token = secrets.token_urlsafe(24) if login.version > 1 else ""
        claim = self._directory.claim(name, login, token)
        before = self._directory.taken_over(claim)
        if before is not None:
            before.connection.pause(peer)
        peer.step(ConnectionEvent.LOGIN)
        user = claim.user
        registration = Registration(
            name,
            self._wall_clock(),
            login,
            token,
            frozenset(one.device_id for one in user.sessions + user.senders),
        )
        try:
            await self._exchange.logins.register(registration)
        except BaseException:
            self.give_up(peer, claim)
            raise
        user.id, user.has_devices = registration.user_id, registration.has_devices
        claim.device_id = registration.device_id
        if registration.number:
            claim.number = registration.number
            claim.verified, claim.trusted = registration.verified, registration.trusted
            claim.ends = tuple(
                one for one in user.sessions + user.senders if one.number in registration.ends
            )
            for number in registration.ends:
                self._directory.replaced(number)
        return claim, registration

    async def _verify(
        self, peer: Peer, name: str, password: str | None, login: LoginRequest
    ) -> LoginRequest:
        """Return what the login asks for, with what is known about who the user is."""
        authenticator, certified = self._authenticator, self._certified_name(peer)
        if certified is not None and certifies(certified, name):
            return login._replace(verified=True)
        if authenticator is None:
            return login
        readings = authenticator.readings
        if readings != self._readings:
            await self._distrust_tokens()
            self._readings = readings
        if password is None and login.shown and authenticator.takes_passwords:
            # The token may stand for it.
            return login._replace(needs_proof=True)
        try:
            verified = await authenticator.check(peer.host, name, password, login.version)
        except AuthenticationFailed:
            for observer in self._observers:
                observer.not_authenticated(peer, name)
            raise
        return login._replace(verified=verified)

    async def _check_name(self, name: str) -> None:
        """Check a name against the rules for new users, unless a user has it already."""
        try:
            check_new_username(name)
        except InvalidUsername:
            lookup = Lookup(name)
            await self._exchange.query(lookup)
            if not lookup.user_id:
                raise

    def give_up(self, peer: Peer, claim: Claim) -> None:
        """Give up a claim. The session that it would have taken over goes on.

        In a cluster that session ends, because the store has replaced it already.
        """
        self._directory.give_up(claim)
        if claim.number:
            self._exchange.logins.release(claim)
            self._end_others(claim)
        before = self._directory.taken_over(claim)
        if before is not None:
            before.connection.resume(peer)
        if peer.state is ConnectionState.LOGGING_IN:
            peer.step(ConnectionEvent.LOGIN_REFUSED)

    def begin_session(self, peer: Peer, claim: Claim, window: int = 0) -> Session:
        """Begin the session of a claim, and end those that it replaces.

        Args:
            peer: the connection that logs in.
            claim: of the user.
            window: see Delivery.

        Raises:
            Unavailable: the connection has ended in the meantime. The claim is given up.
            UserAlreadyLogged: so has the session, by a later login. The claim is given up.
        """
        user = claim.user
        if peer.state is not ConnectionState.LOGGING_IN:
            self.give_up(peer, claim)
            raise Unavailable(_ENDED)
        try:
            self._directory.check(claim)
        except UserAlreadyLogged:
            self.give_up(peer, claim)
            raise
        delivery = Delivery(
            user.name, (user.id, claim.device_id), peer.output, self._limits, self._exchange, window
        )
        session = Session(claim, peer.output, IConnection(peer), delivery)
        # Before the other session ends: the user stays online.
        came_online = self._directory.begin(claim, session)
        self._end_others(claim)
        peer.begin_session(session)
        if session.receives:
            delivery.begin()
        for observer in self._observers:
            observer.logged_in(peer, session)
        if came_online:
            self._presence.came_online(user)
        return session

    @staticmethod
    def _end_others(claim: Claim) -> None:
        for session in claim.ends:
            session.connection.end(Code.REPLACED, REPLACED)
