"""The steps of a login, whatever its version: from a name to a session."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from chat_protocol.domain.names import normalise_username
from chat_protocol.domain.session import Claim, Session
from chat_protocol.errors import Unavailable, UserAlreadyLogged
from chat_protocol.server.state import Event, State
from chat_protocol.wire.codes import Code

if TYPE_CHECKING:
    from twisted.logger import Logger

    from chat_protocol.domain.counters import Counters
    from chat_protocol.domain.delivery import Delivery
    from chat_protocol.domain.directory import Directory
    from chat_protocol.domain.exchange import Exchange
    from chat_protocol.server.authentication import Authenticator
    from chat_protocol.server.cluster import Neighbours
    from chat_protocol.server.connection import ChatProtocol
    from chat_protocol.server.presence import Presences
    from chat_protocol.server.rate_limiter import Fairness
    from chat_protocol.server.sniffer import Opening
    from chat_protocol.server.timeouts import Patience

__all__ = ["LoginSteps"]

_ENDED = "the connection has ended, so there is no session"

_REPLACED = "a new connection of yours took over"


class LoginSteps:
    """Mixed into the factory, whose attributes these are."""

    if TYPE_CHECKING:
        _authenticator: Authenticator | None
        counters: Counters
        directory: Directory
        exchange: Exchange
        fairness: Fairness
        log: Logger
        neighbours: Neighbours | None
        opening: Opening
        patience: Patience
        presences: Presences
        wall_clock: Callable[[], int]

    def login_name(self, connection: ChatProtocol, username: str) -> str:
        """The normalised name of a Login; an empty one is that of the client's certificate."""
        return normalise_username(username or self.opening.name_of(connection) or "")

    async def claim(
        self,
        connection: ChatProtocol,
        name: str,
        password: str | None,
        version: int,
        shown: str = "",
    ) -> Claim:
        """The user of a normalised name, registered and this connection's.

        :meth:`begin_session` or :meth:`give_up` follows.

        Args:
            shown: the token of the session that the user has, to take it over. It is not read from
                until the login has succeeded, which ends it, or failed.

        Raises:
            UserAlreadyLogged: the connection has a session, or the user has one.
            AuthenticationFailed, RateLimited: see Authenticator.check.
            Unavailable: see Exchange.register; or the connection has ended.
        """
        self.fairness.check_login(connection, name)
        if connection.session is not None:
            raise UserAlreadyLogged(f"this connection is {connection.session.user.name}'s")
        if self._authenticator is not None:
            certified = self.opening.name_of(connection)
            await self._authenticator.check(connection.host, name, password, version, certified)
            if connection.state is not State.CONNECTED:
                raise Unavailable(_ENDED)
        session = self._session_to_take_over(name, shown)
        if session is None:
            user = self.directory.claim(name)
        else:
            user = session.user
            self.directory.claim_next(user)
            session.connection.hold(connection)
        connection.step(Event.LOGIN)
        claim = Claim(user, secrets.token_urlsafe(24) if version > 1 else "")
        try:
            answer = await self.exchange.logins.register(
                name, self.wall_clock(), claim.token, shown
            )
        except BaseException:
            self.give_up(connection, claim)
            raise
        user.id = answer.user_id
        claim.number = answer.number
        return claim

    def _session_to_take_over(self, name: str, token: str) -> Session | None:
        """The session of that name, if it has that token."""
        session = self.directory.session_of(name)
        if session is None or not session.token:
            return None
        return session if hmac.compare_digest(session.token.encode(), token.encode()) else None

    def give_up(self, connection: ChatProtocol, claim: Claim) -> None:
        """A login came to nothing; a session that it was to take over goes on.

        Where several processes share the store it does not: there it was replaced already.
        """
        user = claim.user
        self.directory.release(user)
        if claim.number:
            self.exchange.logins.release(claim)
            if user.session is not None:
                user.session.connection.end(Code.REPLACED, _REPLACED)
        elif user.session is not None:
            user.session.connection.release(connection)
        if connection.state is State.LOGGING_IN:
            connection.step(Event.LOGIN_REFUSED)

    def begin_session(
        self, connection: ChatProtocol, claim: Claim, delivery: Delivery, version: int
    ) -> Session:
        """A claimed user is on-line; the session that is taken over, if it is still there, ends.

        Raises:
            Unavailable: the connection has ended in the meantime; the login is given up.
        """
        user = claim.user
        if not connection.logging_in:
            self.give_up(connection, claim)
            raise Unavailable(_ENDED)
        if user.session is not None:
            user.session.connection.end(Code.REPLACED, _REPLACED)
        session = Session(user, connection.output, connection, delivery, version)
        session.token, session.number = claim.token, claim.number
        user.session = session
        if self.neighbours is not None:
            self.neighbours.begins(session)
        connection.begin_session(session)
        self.patience.logged_in(connection)
        self.fairness.begin(connection, user.name)
        delivery.begin()
        self.counters.login(version)
        self.log.info("{peer} logged in", peer=connection.peer)
        self.presences.tell(user.name, True, self.wall_clock(), connection)
        return session
