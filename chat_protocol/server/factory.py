"""The factory of the server's connections: the user directory and the handlers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from chat_protocol.domain.batch import Run
from chat_protocol.domain.counters import Counters
from chat_protocol.domain.delivery import PlainDelivery
from chat_protocol.domain.directory import Directory, User
from chat_protocol.domain.exchange import Exchange
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.meter import Meter
from chat_protocol.domain.names import normalise_username
from chat_protocol.domain.session import Session
from chat_protocol.domain.turn import Turn
from chat_protocol.errors import (
    InvalidUsername,
    RateLimited,
    UserNotFound,
)
from chat_protocol.interfaces import ISharedStore, IStore
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.cluster import Neighbours
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.dispatcher import Dispatcher, Request, handles
from chat_protocol.server.log_limiter import LimitLog
from chat_protocol.server.presence import Presences
from chat_protocol.server.rate_limiter import Fairness
from chat_protocol.server.rejected import Refused, Tarpit, TurnedAway
from chat_protocol.server.sniffer import Opening
from chat_protocol.server.timeouts import Patience
from chat_protocol.server.version2 import Version2Handlers
from chat_protocol.server.watches import Heartbeats, PeerWatch
from chat_protocol.transport.epoll_reader import AT_ONCE, NEWCOMERS_AT_ONCE, readers_for
from chat_protocol.transport.keepalive import keep_alive
from chat_protocol.wire.codec import MIN_FRAME, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import CorrelationIdTest, Login, Message

__all__ = ["ChatFactory"]

CORRELATION_TEST_SECONDS = 4.0
"""The longest delay of the answer to a CorrelationIdTest."""

_LATE = {
    "login_seconds": "closed, it has not logged in within {seconds:g} s",
    "frame_seconds": "closed, it has not finished a frame within {seconds:g} s",
}


class ChatFactory(Version2Handlers, ServerFactory):
    """Makes the connections of one server and handles their commands.

    Args:
        store: an open store; the factory is its only user, and does not close it.
        clock: times delays and the ends of turns.
        wall_clock: nanoseconds since the epoch.
        limits: on everything a peer can make grow.
        random: chooses the delays of CorrelationIdTest.
        authenticator: checks passwords and certificates; without one nobody needs any.
        opening: looks at the first bytes of connections; by default there is no TLS.
        meter: is told what becomes of messages.
    """

    noisy = False
    log = Logger()
    connection_type = ChatProtocol

    def __init__(
        self,
        store: IStore,
        clock: IReactorTime,
        wall_clock: Callable[[], int],
        limits: Limits,
        random: Random | None = None,
        authenticator: Authenticator | None = None,
        opening: Opening | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._authenticator = authenticator
        self.opening = opening or Opening()
        self.clock = clock
        self.limits = limits
        self.counters = Counters()
        self.limit_log = LimitLog(clock)
        self.fairness = Fairness(limits, clock, self.counters, self.limit_log)
        self.turn = Turn(clock)
        self.readers = readers_for(clock, self.turn, AT_ONCE)
        self.newcomers = readers_for(clock, self.turn, NEWCOMERS_AT_ONCE)
        self.directory = Directory()
        self.exchange = Exchange(
            store, self.turn, limits, clock, lambda: self.directory.online, meter
        )
        self.dispatcher = Dispatcher(self)
        self.connections: set[ChatProtocol] = set()
        self._by_host: Counter[str] = Counter()
        self.wall_clock = wall_clock
        self._random = random or Random()
        self._empty: list[Deferred[None]] = []
        self.presences = Presences(limits.missed_presences)
        self.heartbeats = Heartbeats(_heartbeat_missed, clock)
        self.neighbours = Neighbours(self, store) if ISharedStore.providedBy(store) else None
        if self.neighbours is not None:
            self.turn.check = self.neighbours.check
        self._tarpit = Tarpit(clock)
        self.patience = Patience(limits, self._late, self.limit_log.look, clock)
        self._watch = PeerWatch(
            lambda: self.connections, self._peer_gone, self.patience.look_at, clock
        )

    # Connections.

    def startFactory(self) -> None:
        """See Factory: the first port listens."""
        for watch in (self._watch, self.heartbeats, self.patience):
            watch.start().addErrback(self._watch_failed)

    def stopFactory(self) -> None:
        """See Factory: the last port is closed."""
        self._watch.stop()
        self.heartbeats.stop()
        self.patience.stop()
        self._tarpit.empty()

    def _watch_failed(self, failure: Failure) -> None:
        self.log.failure("Peers are not watched any more", failure)

    def _peer_gone(self, connection: ChatProtocol) -> None:
        self.log.info("Closing {peer}: it does not answer any more", peer=connection.peer)
        connection.cut_off()

    def _late(self, connection: ChatProtocol, limit: str) -> None:
        seconds = getattr(self.limits, limit)
        self.fairness.met(limit, connection, _LATE[limit], seconds=seconds)
        connection.close()

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> ChatProtocol | Refused | TurnedAway:
        """A connection; one that is nobody's when there are too many, or they come too often."""
        limits = self.limits
        host = str(getattr(addr, "host", ""))
        if limits.connections and len(self.connections) >= limits.connections:
            self.fairness.met(
                "connections",
                host or "somebody",
                "refused, {value} connections are open (--max-connections)",
                value=limits.connections,
            )
            return TurnedAway()
        if self._has_too_many(host):
            return TurnedAway()
        if not self.fairness.accepts(host):
            return Refused(self._tarpit)
        connection = self.connection_type()
        connection.factory = self
        return connection

    def _has_too_many(self, host: str) -> bool:
        per_address = self.limits.connections_per_address
        if not per_address or not host or self._by_host[host] < per_address:
            return False
        self.fairness.met(
            "connections_per_address",
            host,
            "refused, it has {value} connections (--max-connections-per-address)",
            value=per_address,
        )
        return True

    def connected(self, connection: ChatProtocol) -> None:
        """A connection is made."""
        self.connections.add(connection)
        self.counters.connections += 1
        connection.counted_for = "" if connection.awaits_address else connection.host
        self._by_host[connection.counted_for] += 1
        self.fairness.begin(connection)
        self.patience.expect_login(connection)
        keep_alive(connection.transport)

    def came_by_proxy(self, connection: ChatProtocol) -> bool:
        """A proxy has said whose a connection is; whether that address may have it.

        If not, it ends in a moment.
        """
        connection.awaits_address = False
        self._leave_address(connection)
        host = connection.host
        too_many = self._has_too_many(host)
        connection.counted_for = host
        self._by_host[host] += 1
        self.fairness.begin(connection)
        if not too_many and self.fairness.accepts(host):
            return True
        connection.stop_parsing()
        connection.hold(self._tarpit)
        self._tarpit.add(connection.cut_off)
        return False

    def _leave_address(self, connection: ChatProtocol) -> None:
        host = connection.counted_for
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]

    def disconnected(self, connection: ChatProtocol) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self.heartbeats.forget(connection)
        self.fairness.forget(connection)
        self.patience.forget(connection)
        self._leave_address(connection)
        refusals = connection.refusals
        if sum(refusals.values()) > len(refusals):
            self.limit_log.about(
                connection,
                "refusals",
                "Refused {peer} in all: {refusals}",
                LogLevel.info,
                refusals=", ".join(f"{n} x {code.name}" for code, n in refusals.items()),
            )
        if not self.connections:
            empty, self._empty = self._empty, []
            for one in empty:
                one.callback(None)

    def left(self, connection: ChatProtocol, session: Session, why: str) -> Deferred[None]:
        """A user is off-line; what the connection has not taken goes back to the mailbox.

        Fires when the name is free.
        """
        user = session.user
        if self.neighbours is not None:
            self.neighbours.ends(session)
        self.exchange.give_back(session.delivery.end())
        user.session = None
        self.directory.release(user)
        self.presences.forget(connection)
        self.heartbeats.forget(connection)
        self.presences.tell(user.name, False, self.wall_clock())
        self.log.info("{user!a} left{why}", user=user.name, why=f": {why}" if why else "")
        return self.exchange.logins.release(session)

    def refused(self, connection: ChatProtocol, code: Code, detail: str) -> None:
        """A connection's first request that was refused with that code."""
        self.limit_log.about(
            connection,
            code.name,
            "Refused a request of {peer}: {code}{detail}",
            LogLevel.info,
            code=code.name,
            detail=f": {ascii(detail)[1:-1]}" if detail else "",
        )

    def length_out_of_bounds(self, connection: ChatProtocol, length: int) -> None:
        """A connection ends for the length of a frame."""
        if self.opening.not_frames(connection, length):
            return
        if length < MIN_FRAME:
            limit = "MIN_FRAME"
        else:
            limit = "MAX_FRAME_BEFORE_LOGIN" if connection.session is None else "MAX_FRAME"
        self.fairness.met(
            limit,
            connection,
            "closed for a frame of {length} bytes, allowed are 7 to {most}",
            length=length,
            most=connection.MAX_LENGTH,
        )

    def shut_down(self) -> Deferred[None]:
        """Answer what was accepted and close every connection.

        Fires when all are gone and what they gave back is stored.
        """
        return Deferred.fromCoroutine(self._shut_down())

    async def _shut_down(self) -> None:
        for connection in list(self.connections):
            connection.end(Code.GOING_AWAY, "the server is shutting down")
        if self.connections:
            gone: Deferred[None] = Deferred()
            self._empty.append(gone)
            await gone
        await self.exchange.when_idle()
        self.exchange.stop()
        self.turn.cancel()

    # Commands of both versions; those of version 2 alone are in Version2Handlers.

    @handles(Login)
    def handle_login(
        self, connection: ChatProtocol, command: Login, request: Request
    ) -> Deferred[Code]:
        """Give the connection a version 1 session."""
        logged_in = Deferred.fromCoroutine(self._log_in_1(connection, command.username))
        return logged_in.addErrback(self.counters.login_failed, 1)

    async def _log_in_1(self, connection: ChatProtocol, username: str) -> Code:
        claim = await self.claim(connection, self.login_name(connection, username), None, 1)
        exchange = self.exchange
        delivery = PlainDelivery(
            claim.user, connection.output, self.limits, exchange.ask, exchange.taken
        )
        self.begin_session(connection, claim, delivery, 1)
        return Code.OK

    @handles(Message)
    def handle_message(self, connection: ChatProtocol, command: Message, request: Request) -> None:
        """Pass a message on; the exchange answers it."""
        session = connection.session
        assert session is not None
        recipient = self.recipient(command.to)
        if recipient.id:
            session.remember(recipient, self.limits)
        frame = encode(Message(command.message, session.user.name, recipient.name, command.time))
        run = Run(
            session,
            recipient,
            [request.correlation_id],
            [command.message.encode()],
            [frame],
            len(frame),
            request.version,
        )
        self.exchange.submit(run)

    def recipient(self, name: str) -> User:
        """The user of a name that a client wrote; UserNotFound if nobody can have it."""
        try:
            return self.directory.user(normalise_username(name))
        except InvalidUsername as error:
            raise UserNotFound(error.detail) from None

    @handles(CorrelationIdTest)
    def handle_correlation_id_test(
        self, connection: ChatProtocol, command: CorrelationIdTest, request: Request
    ) -> Deferred[Code]:
        """Answer after a while."""
        limit = self.limits.correlation_tests
        if connection.correlation_tests >= limit:
            raise RateLimited(
                f"{limit} tests of this connection are unanswered already", "correlation_tests"
            )
        connection.correlation_tests += 1
        delay = self._random.uniform(0, CORRELATION_TEST_SECONDS)
        return deferLater(self.clock, delay, _tested, connection)


def _tested(connection: ChatProtocol) -> Code:
    connection.correlation_tests -= 1
    return Code.OK


def _heartbeat_missed(connection: ChatProtocol) -> None:
    connection.end(Code.HEARTBEAT_MISSED, "nothing was heard for twice the heartbeat")
