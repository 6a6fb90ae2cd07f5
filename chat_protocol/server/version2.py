"""The handlers of the commands that version 2 adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred

from chat_protocol.domain.acked import AckedDelivery
from chat_protocol.domain.batch import Account, Conversation, Lookup, Publication, UserList
from chat_protocol.errors import Malformed, UserNotFound
from chat_protocol.server.dispatcher import Request, handles
from chat_protocol.server.login import LoginSteps
from chat_protocol.wire.codec import MAX_FRAME
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    Close,
    Heartbeat,
    History,
    HistoryAnswer,
    Login2,
    LoginAnswer,
    Publish,
    Scope,
    StoredMessage,
    Users,
    UsersAnswer,
    UserStatus,
)

if TYPE_CHECKING:
    from chat_protocol.domain.counters import Counters
    from chat_protocol.domain.directory import Directory, User
    from chat_protocol.domain.exchange import Exchange
    from chat_protocol.domain.limits import Limits
    from chat_protocol.server.connection import ChatProtocol
    from chat_protocol.server.presence import Presences
    from chat_protocol.server.watches import Heartbeats

__all__ = ["Version2Handlers"]

DEFAULT_WINDOW = 1000
"""Unacknowledged messages on their way to a session that asks for nothing else."""

MAX_HEARTBEAT = 3600
"""Seconds; a longer heartbeat is not granted."""

DEFAULT_PAGE = 100
MAX_PAGE = 1000
"""Users or messages in an answer; a client that asks for 0 gets the default."""

_DELIVER_BYTES = 40
"""Bytes of a Deliver but for its text and the names, rounded up."""

_ANSWER_BYTES = MAX_FRAME - 1024
"""Bytes after which an answer ends, whatever was asked for."""


class _Wishes(NamedTuple):
    """The properties of a login, as far as the server understands them."""

    window: int
    heartbeat: int
    presence: bool
    session: str
    password: str | None

    @classmethod
    def of(cls, properties: Mapping[str, str], limits: Limits) -> _Wishes:
        """What cannot be read is as if it were not there."""
        return cls(
            min(_number(properties, "window") or DEFAULT_WINDOW, limits.window),
            min(_number(properties, "heartbeat"), MAX_HEARTBEAT),
            properties.get("presence") == "1",
            properties.get("session", ""),
            properties.get("password"),
        )


@cache
def _version() -> str:
    # Read from a file, in a fraction of a millisecond.
    return version("chat-protocol")


def _number(properties: Mapping[str, str], name: str) -> int:
    text = properties.get(name, "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else 0


class Version2Handlers(LoginSteps):
    """Mixed into the factory, whose attributes these are."""

    if TYPE_CHECKING:
        counters: Counters
        directory: Directory
        exchange: Exchange
        heartbeats: Heartbeats
        limits: Limits
        presences: Presences
        wall_clock: Callable[[], int]

        def recipient(self, name: str) -> User:
            """See ChatFactory."""

    @handles(Login2)
    def handle_login_2(
        self, connection: ChatProtocol, command: Login2, request: Request
    ) -> Deferred[LoginAnswer]:
        """Give the connection a version 2 session."""
        wishes = _Wishes.of(command.properties, self.limits)
        logged_in = Deferred.fromCoroutine(self._log_in_2(connection, command.username, wishes))
        return logged_in.addErrback(self.counters.login_failed, 2)

    async def _log_in_2(
        self, connection: ChatProtocol, username: str, wishes: _Wishes
    ) -> LoginAnswer:
        name = self.login_name(connection, username)
        claim = await self.claim(connection, name, wishes.password, 2, wishes.session)
        account = Account(claim.user.id)
        try:
            await self.exchange.query(account)
        except BaseException:
            self.give_up(connection, claim)
            raise
        exchange, window = self.exchange, wishes.window
        delivery = AckedDelivery(
            claim.user, connection.output, self.limits, exchange.ask, exchange.taken, window
        )
        session = self.begin_session(connection, claim, delivery, 2)
        session.published = account.publishing_id
        if wishes.heartbeat:
            self.heartbeats.expect(connection, wishes.heartbeat)
        if wishes.presence:
            self.presences.watch(connection)
        granted = {
            "product": "chat-protocol",
            "version": _version(),
            "heartbeat": str(wishes.heartbeat),
            "window": str(window),
            "max-frame-length": str(MAX_FRAME),
            "publishing-id": str(account.publishing_id),
            "pending": str(account.pending),
            "session": session.token,
        }
        return LoginAnswer(Code.OK, "", granted)

    @handles(Publish)
    def handle_publish(self, connection: ChatProtocol, command: Publish, request: Request) -> None:
        """Pass a message on to several or to all; the exchange answers it."""
        session = connection.session
        assert session is not None
        if command.scope == Scope.USERS:
            if not command.to:
                raise Malformed("to: a message to users names at least one")
            limit = self.limits.recipients
            if len(command.to) > limit:
                raise Malformed(f"to: {len(command.to)} users, at most {limit} can be named")
            recipients = tuple(dict.fromkeys(self._named(name) for name in command.to))
        elif command.scope == Scope.EVERYONE:
            if command.to:
                raise Malformed("to: a message to everyone names nobody")
            recipients = ()
        else:
            raise Malformed(f"scope: there is no scope {command.scope}")
        session.published = max(session.published, command.publishing_id)
        text = command.message.encode()
        names = sum(len(user.name.encode()) + 2 for user in (session.user, *recipients))
        if len(text) + names + _DELIVER_BYTES > MAX_FRAME:
            raise Malformed("message: with its recipients it is too long to be delivered")
        self.exchange.submit(
            Publication(
                session,
                request.correlation_id,
                command.publishing_id,
                text,
                command.scope,
                recipients,
                command.time,
            )
        )

    def _named(self, name: str) -> User:
        try:
            return self.recipient(name)
        except UserNotFound as error:
            raise UserNotFound(f"{error.detail}, so there is no such user") from None

    @handles(Ack)
    def handle_ack(self, connection: ChatProtocol, command: Ack, request: Request) -> None:
        """Take messages out of the mailbox."""
        assert connection.session is not None
        if connection.session.delivery.ack(command.offset):
            # It counts as no request: who gets much acknowledges much.
            connection.budget += 1

    @handles(History)
    def handle_history(
        self, connection: ChatProtocol, command: History, request: Request
    ) -> Deferred[HistoryAnswer]:
        """Messages between the user and another."""
        return Deferred.fromCoroutine(self._read_history(connection, command))

    async def _read_history(self, connection: ChatProtocol, command: History) -> HistoryAnswer:
        assert connection.session is not None
        with_id = 0
        if command.with_:
            other = self._named(command.with_)
            lookup = Lookup(other.name)
            await self.exchange.query(lookup)
            with_id = lookup.user_id
            if not with_id:
                raise UserNotFound(f"there is no user {other.name}")
        limit = min(command.limit or DEFAULT_PAGE, MAX_PAGE)
        user_id = connection.session.user.id
        asked = Conversation(user_id, with_id, command.before, limit, _ANSWER_BYTES)
        await self.exchange.query(asked)
        messages: list[StoredMessage] = []
        size = 0
        for offset, sender, time, text, scope, to in reversed(asked.messages):
            size += 4 * len(to) + sum(len(name.encode()) for name in (sender, *to)) + len(text) + 30
            if messages and size > _ANSWER_BYTES:
                break
            messages.append(StoredMessage(offset, text.decode(), sender, scope, to, time))
        return HistoryAnswer(Code.OK, "", tuple(reversed(messages)))

    @handles(Users)
    def handle_users(
        self, connection: ChatProtocol, command: Users, request: Request
    ) -> Deferred[UsersAnswer]:
        """Who is registered, and who of them is on-line."""
        return Deferred.fromCoroutine(self._read_users(command))

    async def _read_users(self, command: Users) -> UsersAnswer:
        asked = UserList(command.after, min(command.limit or DEFAULT_PAGE, MAX_PAGE))
        await self.exchange.query(asked)
        users = []
        size = 0
        for name, last_login in asked.users:
            size += len(name.encode()) + 11
            if size > _ANSWER_BYTES:
                break
            if asked.online is None:
                online = self.directory.session_of(name) is not None
            else:
                online = name in asked.online
            users.append(UserStatus(name, int(online), last_login))
        return UsersAnswer(Code.OK, "", tuple(users))

    @handles(Close)
    def handle_close(self, connection: ChatProtocol, command: Close, request: Request) -> None:
        """Log out: the name is free before the answer goes out."""

        def free(_: None) -> None:
            connection.answer(request.encode(Code.OK))
            connection.close()

        freed = connection.log_out()
        if not freed.called:
            connection.hold(request)
        freed.addCallback(free)

    @handles(Heartbeat)
    def handle_heartbeat(
        self, connection: ChatProtocol, command: Heartbeat, request: Request
    ) -> Code:
        """Say that the server is there as well."""
        return Code.OK
