"""The factory of the server's connections: the user directory and the handlers of commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.admission import MAX_PUBLISHING_ID
from chat_protocol.domain.counters import Counters
from chat_protocol.domain.directory import Directory
from chat_protocol.domain.exchange import Exchange
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.login_rules import LoginRequest
from chat_protocol.domain.messages import Message
from chat_protocol.domain.metrics import Meter
from chat_protocol.domain.names import canonical_username
from chat_protocol.domain.ports import ISharedStore, IStore
from chat_protocol.domain.queries import Account, Conversation, Lookup, UserList
from chat_protocol.domain.structural import ReactorTime
from chat_protocol.domain.tokens import EndedTokens
from chat_protocol.domain.turn import Turn
from chat_protocol.domain.users import EVERYONE, Audience, Session, User
from chat_protocol.errors import InvalidUsername, Malformed, UserNotFound
from chat_protocol.server.absent_devices import AbsentDevices
from chat_protocol.server.addresses import Addresses
from chat_protocol.server.admission import Admission
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.cluster import ClusterSessions
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.connection_log import ConnectionLog
from chat_protocol.server.correlation_tests import CorrelationTests
from chat_protocol.server.dispatcher import Dispatcher, Request, Route
from chat_protocol.server.first_bytes import FirstBytes
from chat_protocol.server.gate import Gate
from chat_protocol.server.heartbeats import Heartbeats
from chat_protocol.server.hooks import Hooks, IHooks
from chat_protocol.server.log_limiter import LogLimiter
from chat_protocol.server.login import LoginProcedure
from chat_protocol.server.peer import Connection, Observer, Peer
from chat_protocol.server.presence import PresenceFeed
from chat_protocol.server.rate_limiter import RateLimiter
from chat_protocol.server.requests import ANSWER_BYTES, LoginProperties, history_answer, page_size
from chat_protocol.server.sniffer import Sniffer
from chat_protocol.server.timeouts import Timeouts
from chat_protocol.server.trusted_proxies import ClientOfProxy, TrustedProxies
from chat_protocol.server.vanished import VanishedPeers
from chat_protocol.transport.addresses import host_of
from chat_protocol.transport.backlog import Backlog
from chat_protocol.transport.epoll_reader import readers_for
from chat_protocol.transport.keepalive import keep_alive
from chat_protocol.transport.loss import why_lost
from chat_protocol.version import __version__
from chat_protocol.wire import commands
from chat_protocol.wire.bulk import ACK_SIZE, scan_acks, scan_messages, scan_publishes
from chat_protocol.wire.codec import MAX_FRAME, MIN_FRAME, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope
from chat_protocol.wire.schema import Registry

__all__ = ["ChatFactory"]

USER_SECONDS = 0.004
"""Time of a turn for reading from the connections that have a session."""

LEFT_OVER_SECONDS = 0.001
"""Time of a turn for the frames that they left over in earlier turns: those that cost much."""

NEWCOMER_SECONDS = 0.001
"""Each of the two for the connections without a session. Users wait meanwhile."""

_ANSWER_OVERHEAD = 40
"""Bytes of the payload of a HistoryAnswer with one message, without its text and names. A Deliver
is shorter."""

_BEFORE_LOGIN = {
    "frames_before_login": "closed because it has sent more than {most} frames without a login",
    "bytes_before_login": "closed because it has sent more than {most} bytes without a login",
    "tests_before_login": "closed because {most} of its CorrelationIdTests are unanswered already",
}

_EXPIRED = {
    "login_seconds": "closed because it has not logged in within {seconds:g} s",
    "frame_seconds": "closed because it has not finished a frame within {seconds:g} s",
}


class ChatFactory(ServerFactory):
    """Makes the connections of one server and handles their commands.

    Args:
        store: an open store. The factory is its only user, and does not close it.
        clock: times delays and the ends of turns.
        wall_clock: returns nanoseconds since the epoch.
        limits: on everything that a peer can make grow.
        random: chooses the delays of CorrelationIdTest.
        authenticator: checks passwords and certificates; None: none is needed.
        sniffer: looks at the first bytes of connections; by default there is no TLS and no page.
        meter: measures what becomes of messages; None: nothing is measured.
        trusted_proxies: proxies whose word on the addresses of their clients is taken.
        hooks: are asked about messages, and told of them; None: nobody is.
        registry: the commands, with one's own if there are some.
        routes: the handlers of one's own commands.
    """

    noisy = False
    log = Logger()
    connection_type = ChatProtocol

    def __init__(
        self,
        store: IStore | Any,
        clock: IReactorTime | ReactorTime,
        wall_clock: Callable[[], int],
        limits: Limits,
        random: Random | None = None,
        authenticator: Authenticator | None = None,
        sniffer: Sniffer | None = None,
        meter: Meter | None = None,
        trusted_proxies: TrustedProxies | None = None,
        hooks: IHooks | Hooks | None = None,
        registry: Registry = commands.REGISTRY,
        routes: Iterable[Route] = (),
    ) -> None:
        # Without mypy-zope, no class of a program provides an interface.
        clock = cast(IReactorTime, clock)
        self.clock = clock
        self.limits = limits
        self.sniffer = sniffer or Sniffer()
        self.trusted_proxies = trusted_proxies or TrustedProxies()
        self.counters = Counters()
        self.log_limiter = LogLimiter(clock)
        self.turn = Turn(clock)
        self.readers = readers_for(clock, self.turn, USER_SECONDS)
        self.backlog = Backlog(clock, self.turn, LEFT_OVER_SECONDS)
        self.newcomers = readers_for(clock, self.turn, NEWCOMER_SECONDS)
        self.newcomers_backlog = Backlog(clock, self.turn, NEWCOMER_SECONDS)
        self.tokens = EndedTokens(limits.token_seconds, clock.seconds)
        self.directory = Directory(self.tokens, not ISharedStore.providedBy(store))
        self.connections: set[Connection] = set()
        self._empty: list[Deferred[None]] = []

        self.rate_limiter = RateLimiter(limits, clock, self.counters, self.log_limiter)
        self.timeouts = Timeouts(limits, self._timed_out, clock)
        self.heartbeats = Heartbeats(_heartbeat_missed, clock)
        self._shared = ISharedStore(store) if ISharedStore.providedBy(store) else None
        self.presence = PresenceFeed(limits.missed_presences, wall_clock, self._shared is not None)
        self._addresses = Addresses()
        self.admission = Admission(
            limits, self.connections, self._addresses, self.rate_limiter, clock
        )
        self._correlation_tests = CorrelationTests(
            clock, random or Random(), limits.correlation_tests
        )
        self._connection_log = ConnectionLog(self.log_limiter)
        self._observers: list[Observer] = [
            self._addresses,
            self.rate_limiter,
            self.timeouts,
            self.heartbeats,
            self.presence,
            self._correlation_tests,
            self._connection_log,
        ]
        check_lease = None
        if self._shared is not None:
            cluster = ClusterSessions(
                self._shared, self.directory, self.presence, limits.token_seconds
            )
            self._observers.insert(0, cluster)
            check_lease = cluster.check_lease
        self._vanished = VanishedPeers(
            lambda: self.connections, self._peer_vanished, self.timeouts.check_frame, clock
        )
        devices = AbsentDevices(store, self.directory, limits.device_seconds, clock, wall_clock)
        self._watches = (
            self._vanished,
            self.heartbeats,
            self.timeouts,
            self.log_limiter,
            devices,
        )

        self.exchange = Exchange(
            store,
            self.turn,
            limits,
            clock,
            lambda: self.directory.online,
            check_lease,
            meter,
            self._nobody_waits,
            None if hooks is None else self._tell_hooks,
        )
        self._gate = (
            None
            if hooks is None
            else Gate(cast(IHooks, hooks), limits, clock, self.exchange.submit)
        )
        if self._gate is not None:
            self._observers.append(self._gate)
        self._login = LoginProcedure(
            self.directory,
            self.exchange,
            limits,
            self.rate_limiter,
            authenticator,
            self.sniffer.certified_name,
            self._observers,
            self.presence,
            self.distrust_tokens,
            wall_clock,
        )
        self.dispatcher = Dispatcher(
            (
                Route(commands.Login, self.handle_login),
                Route(commands.Login2, self.handle_login_2),
                # Hooks decide on each message by itself.
                Route(
                    commands.Message, self.handle_message, None if hooks else self.handle_messages
                ),
                Route(
                    commands.Publish, self.handle_publish, None if hooks else self.handle_publishes
                ),
                Route(commands.Ack, self.handle_ack, self.handle_acks),
                Route(commands.History, self.handle_history),
                Route(commands.Users, self.handle_users),
                Route(commands.CorrelationIdTest, self.handle_correlation_id_test),
                Route(commands.Close, self.handle_close),
                Route(commands.Heartbeat, self.handle_heartbeat),
                *routes,
            ),
            self.rate_limiter,
            self.counters,
            registry,
        )

    # Connections.

    def startFactory(self) -> None:
        for watch in self._watches:
            watch.start().addErrback(self._watch_failed)

    def stopFactory(self) -> None:
        for watch in self._watches:
            watch.stop()
        self.admission.close_rejected()

    def _watch_failed(self, failure: Failure) -> None:
        self.log.failure("A periodic check of connections met a fault and has stopped", failure)

    def _peer_vanished(self, connection: Connection) -> None:
        self.log.info("Closing {peer}: it has vanished without closing", peer=connection.peer)
        connection.cut_off()

    def _timed_out(self, connection: Connection, limit: str) -> None:
        seconds = getattr(self.limits, limit)
        self.rate_limiter.met(limit, connection, _EXPIRED[limit], seconds=seconds)
        connection.close()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return the protocol of a new connection, or one that rejects it."""
        if addr not in self.trusted_proxies:
            return self.admission.reject(host_of(addr)) or self.first_bytes()
        rejected = self.admission.reject_if_full("")
        if rejected is not None:
            return rejected
        first_bytes = self.first_bytes()
        first_bytes.address = ClientOfProxy(addr)
        return first_bytes

    def first_bytes(self, is_new: bool = True) -> FirstBytes:
        """Return a protocol that looks at the first bytes of a connection; see FirstBytes."""
        return FirstBytes(self, self.sniffer, is_new)

    def chat_protocol(self) -> ChatProtocol:
        """Return a protocol that can go on with a connection whose client speaks chat."""
        connection = self.connection_type()
        connection.factory = self
        return connection

    def _nobody_waits(self) -> bool:
        """Return whether no connection that is read by epoll has anything for the reactor."""
        readers, newcomers = self.readers, self.newcomers
        if readers is None or newcomers is None:
            return False
        # Last what asks the kernel.
        backlogs = self.backlog.idle and self.newcomers_backlog.idle
        return backlogs and readers.idle and newcomers.idle

    def backlog_for(self, peer: Peer) -> Backlog:
        """Return where a connection leaves work for later turns."""
        return self.newcomers_backlog if peer.session is None else self.backlog

    def too_much_before_login(self, connection: Connection, limit: str) -> None:
        """Reject a connection without a session that has met a limit."""
        self.rate_limiter.met(
            limit, connection, _BEFORE_LOGIN[limit], most=getattr(self.limits, limit)
        )
        connection.reject()

    def connected(self, connection: Connection) -> None:
        """Note a new connection."""
        self.connections.add(connection)
        self.counters.connections += 1
        for observer in self._observers:
            observer.connected(connection)
        keep_alive(connection.transport)

    def handed_over(self, before: Connection, after: Connection) -> None:
        """Note that ``after`` goes on with the connection of ``before``."""
        self.connections.discard(before)
        self.connections.add(after)
        for observer in self._observers:
            observer.handed_over(before, after)

    def disconnected(self, connection: Connection, reason: Failure) -> None:
        """Note that a connection is gone."""
        self.connections.discard(connection)
        if connection.session is None:
            self._connection_log.lost(connection, reason)
        for observer in self._observers:
            observer.disconnected(connection)
        if not self.connections:
            empty, self._empty = self._empty, []
            for one in empty:
                one.callback(None)

    def logged_out(self, peer: Peer, session: Session, reason: Failure) -> Deferred[None]:
        """End a session. Messages that the connection has not taken stay in the mailbox.

        Fires when the name is free.
        """
        session.delivery.end()
        if self.directory.end(session):
            self.presence.went_offline(session.user)
        clean = reason.check(ConnectionDone) is not None  # type: ignore[no-untyped-call]
        why = "" if clean else why_lost(reason)
        for observer in self._observers:
            observer.logged_out(peer, session, why)
        release = self.exchange.logins.release
        if self._gate is None:
            return release(session)
        return self._gate.settled(session).addCallback(lambda _: release(session))

    def _tell_hooks(self, messages: list[Message]) -> None:
        assert self._gate is not None
        self._gate.stored(messages)

    def distrust_tokens(self) -> Deferred[None]:
        """Let no token stand for a password: the passwords were read again.

        Fires when that is so at all nodes.
        """
        self.tokens.forget(one for user in self.directory.online for one in user.sessions)
        return self._shared.distrust_tokens() if self._shared is not None else succeed(None)

    def refused(self, peer: Peer, code: Code, count: int, detail: str, first: bool) -> None:
        """Note refusals. ``first``: no request of this connection met that code before."""
        if first:
            self._connection_log.refused(peer, code, detail)
        self.counters.refused(code, count)
        if code is Code.MAILBOX_FULL:
            self.counters.limit("mailbox", count)

    def length_out_of_bounds(self, connection: Connection, length: int, most: int) -> None:
        """Log that a connection ends because of the length of a frame."""
        if length < MIN_FRAME:
            limit = "MIN_FRAME"
        else:
            limit = "MAX_FRAME_BEFORE_LOGIN" if connection.session is None else "MAX_FRAME"
        self.rate_limiter.met(
            limit,
            connection,
            "closed because of a frame of {length} bytes; 7 to {most} are allowed",
            length=length,
            most=most,
        )

    def shut_down(self) -> Deferred[None]:
        """Answer all accepted requests and close all connections.

        Fires when all are closed and the positions of their deliveries are stored.
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
        self.backlog.cancel()
        self.newcomers_backlog.cancel()
        self._correlation_tests.stop()
        self.turn.cancel()

    # Login and logout.

    def handle_login(self, peer: Peer, command: commands.Login, request: Request) -> Deferred[Code]:
        """Give the connection a version 1 session."""
        logged_in = Deferred.fromCoroutine(self._log_in_1(peer, command.username))
        return logged_in.addErrback(self.counters.login_failed, 1)

    async def _log_in_1(self, peer: Peer, username: str) -> Code:
        claim, _ = await self._login.claim(peer, username, None, LoginRequest())
        self._login.begin_session(peer, claim)
        self.counters.login(1)
        return Code.OK

    def handle_login_2(
        self, peer: Peer, command: commands.Login2, request: Request
    ) -> Deferred[commands.LoginAnswer]:
        """Give the connection a version 2 session."""
        properties = LoginProperties.read(command.properties, self.limits)
        logged_in = Deferred.fromCoroutine(self._log_in_2(peer, command.username, properties))
        return logged_in.addErrback(self.counters.login_failed, 2)

    async def _log_in_2(
        self, peer: Peer, username: str, properties: LoginProperties
    ) -> commands.LoginAnswer:
        login = LoginRequest(properties.device, 2, properties.session, properties.takes_over)
        claim, registration = await self._login.claim(peer, username, properties.password, login)
        account = Account(claim.user.id, claim.device_id)
        try:
            await self.exchange.query(account)
        except BaseException:
            self._login.give_up(peer, claim)
            raise
        session = self._login.begin_session(peer, claim, properties.window)
        session.published = account.publishing_id if session.numbers else MAX_PUBLISHING_ID
        if properties.heartbeat:
            self.heartbeats.expect(peer, properties.heartbeat)
        if properties.presence:
            self.presence.watch(peer)
        self.counters.login(2)
        granted = {
            "product": "chat-protocol",
            "version": __version__,
            "heartbeat": str(properties.heartbeat),
            "window": str(properties.window),
            "max-frame-length": str(MAX_FRAME),
            "publishing-id": str(account.publishing_id if session.numbers else 0),
            "pending": str(account.pending if session.receives else 0),
            "resumed": str(int(registration.known)),
            "session": session.token,
        }
        return commands.LoginAnswer(Code.OK, "", granted)

    def handle_close(self, peer: ChatProtocol, command: commands.Close, request: Request) -> None:
        """End the session. The name is free before the answer goes out."""

        def free(_: None) -> None:
            peer.answer(request.encode(Code.OK))
            peer.close()

        freed = peer.log_out()
        if not freed.called:
            peer.pause(request)
        freed.addCallback(free)

    # Messages. The exchange answers them.

    def handle_messages(self, peer: ChatProtocol, data: bytes, position: int) -> int:
        """Take many Messages to one known recipient."""
        session = peer.session
        assert session is not None
        most = None if peer.allowance is None else peer.bulk_bytes
        scan = scan_messages(data, position, session.routes, most)
        if scan is None:
            return position
        end, audience, correlation_ids, texts, frames, _ = scan
        size = end - position
        self.exchange.submit(Message(session, audience, correlation_ids, texts, frames, size))
        if peer.allowance is not None:
            peer.spend(len(texts), size)
        return end

    def handle_message(self, peer: Peer, command: commands.Message, request: Request) -> None:
        """Take one Message."""
        audience = Audience(self._recipient(command.to))
        self._submit(peer, request, audience, command.message, command.time)

    def handle_publishes(self, peer: ChatProtocol, data: bytes, position: int) -> int:
        """Take many Publishes to one known audience."""
        if peer.budget < 1:
            # The dispatcher refuses each one. A sender of Messages is read more slowly instead.
            return position
        session = peer.session
        assert session is not None
        most = None if peer.allowance is None else peer.bulk_bytes
        scan = scan_publishes(
            data, position, session.published, session.encoded_name, session.routes, most
        )
        if scan is None:
            return position
        end, audience, correlation_ids, texts, frames, first = scan
        if first:
            session.published = first + len(texts) - 1
        size = end - position
        self.exchange.submit(
            Message(session, audience, correlation_ids, texts, frames, size, 2, first)
        )
        if peer.allowance is not None:
            peer.spend(len(texts), size)
        return end

    def handle_publish(self, peer: Peer, command: commands.Publish, request: Request) -> None:
        """Take one Publish."""
        if command.scope == Scope.USERS:
            if not command.to:
                raise Malformed("to: a message to users names at least one")
            limit = self.limits.recipients
            if len(command.to) > limit:
                raise Malformed(f"to: {len(command.to)} users, at most {limit} can be named")
            audience = Audience(*dict.fromkeys(self._named(name) for name in command.to))
        elif command.scope == Scope.EVERYONE:
            if command.to:
                raise Malformed("to: a message to everyone names nobody")
            audience = EVERYONE
        else:
            raise Malformed(f"scope: there is no scope {command.scope}")
        session = peer.session
        assert session is not None
        if command.publishing_id and not session.numbers:
            raise Malformed("publishingId: a session without a device has none (receive = 0)")
        size = _ANSWER_OVERHEAD + len(command.message.encode())
        size += len(session.user.name.encode()) + sum(2 + len(to.encode()) for to in audience.to)
        if size > MAX_FRAME:
            raise Malformed(
                f"message: with its recipients it is {size - MAX_FRAME} bytes too long"
                " to be delivered"
            )
        session.published = max(session.published, command.publishing_id)
        self._submit(peer, request, audience, command.message, command.time, command.publishing_id)

    def _submit(
        self,
        peer: Peer,
        request: Request,
        audience: Audience,
        text: str,
        time: int,
        publishing_id: int = 0,
    ) -> None:
        session = peer.session
        assert session is not None
        if all(user.id for user in audience.recipients):
            session.remember(audience, self.limits)
        to = audience.to[0] if len(audience.to) == 1 else ""
        frame = encode(commands.Message(text, session.user.name, to, time))
        message = Message(
            session,
            audience,
            [request.correlation_id],
            [text.encode()],
            [frame],
            len(frame) if to else len(frame) + len(audience.address),
            request.version,
            publishing_id,
        )
        if self._gate is None:
            self.exchange.submit(message)
        else:
            self._gate.submit(message)

    def _recipient(self, name: str) -> User:
        """Return the user of a name that a client wrote.

        Raises:
            UserNotFound: the name cannot be a username.
        """
        try:
            return self.directory.user(canonical_username(name))
        except InvalidUsername as error:
            raise UserNotFound(error.detail) from None

    def _named(self, name: str) -> User:
        try:
            return self._recipient(name)
        except UserNotFound as error:
            raise UserNotFound(f"{error.detail}, so there is no such user") from None

    def handle_acks(self, peer: ChatProtocol, data: bytes, position: int) -> int:
        """Take consecutive Acks. The highest one counts."""
        end, offset = scan_acks(data, position)
        if end != position and not self._acknowledge(peer, offset):
            peer.spend((end - position) // ACK_SIZE, 0)
        return end

    def handle_ack(self, peer: Peer, command: commands.Ack, request: Request) -> None:
        """Take one Ack."""
        if self._acknowledge(peer, command.offset):
            # It does not count as a request: a client that receives much acknowledges much.
            peer.budget += 1

    def _acknowledge(self, peer: Peer, offset: int) -> bool:
        session = peer.session
        assert session is not None
        return session.delivery.acknowledge(offset)

    # Queries.

    def handle_history(
        self, peer: Peer, command: commands.History, request: Request
    ) -> Deferred[bytes]:
        """Answer with messages between the user and another one, or all users."""
        return Deferred.fromCoroutine(self._read_history(peer, command))

    async def _read_history(self, peer: Peer, command: commands.History) -> bytes:
        assert peer.session is not None
        with_id = 0
        if command.with_:
            other = self._named(command.with_)
            lookup = Lookup(other.name)
            await self.exchange.query(lookup, peer.share)
            with_id = lookup.user_id
            if not with_id:
                raise UserNotFound(f"there is no user {other.name}")
        limit = page_size(command.limit)
        user_id = peer.session.user.id
        asked = Conversation(user_id, with_id, command.before, limit, ANSWER_BYTES)
        await self.exchange.query(asked, peer.share)
        return history_answer(asked.entries)

    def handle_users(
        self, peer: Peer, command: commands.Users, request: Request
    ) -> Deferred[commands.UsersAnswer]:
        """Answer with registered users and their state."""
        return Deferred.fromCoroutine(self._read_users(peer, command))

    async def _read_users(self, peer: Peer, command: commands.Users) -> commands.UsersAnswer:
        # No name has a control character, and PostgreSQL takes no NUL.
        after = command.after.partition("\0")[0]
        asked = UserList(after, page_size(command.limit))
        await self.exchange.query(asked, peer.share)
        users = []
        size = 0
        for name, last_login in asked.users:
            size += len(name.encode()) + 11
            if size > ANSWER_BYTES:
                break
            if asked.online is None:
                online = self.directory.is_online(name)
            else:
                online = name in asked.online
            users.append(commands.UserStatus(name, int(online), last_login))
        return commands.UsersAnswer(Code.OK, "", tuple(users))

    # Tests of the connection.

    def handle_correlation_id_test(
        self, peer: Peer, command: commands.CorrelationIdTest, request: Request
    ) -> None:
        """Answer after a random delay."""
        if peer.session is None and peer.correlation_tests >= self.limits.tests_before_login:
            self.too_much_before_login(peer, "tests_before_login")
        else:
            self._correlation_tests.add(peer, request.correlation_id, request.version)

    def handle_heartbeat(self, peer: Peer, command: commands.Heartbeat, request: Request) -> Code:
        """Answer OK."""
        return Code.OK


def _heartbeat_missed(peer: Peer) -> None:
    peer.end(Code.HEARTBEAT_MISSED, "nothing was heard for twice the heartbeat")
