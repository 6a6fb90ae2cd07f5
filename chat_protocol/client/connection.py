"""One connection to a server: requests, their answers, and commands that the server pushes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.client.repeated_call import RepeatedCall
from chat_protocol.client.requests import PendingRequests
from chat_protocol.client.waiters import Waiters
from chat_protocol.errors import (
    FrameLengthError,
    Malformed,
    NotConnected,
    NotTrusted,
    Refused,
    UnknownCommand,
    refusal,
)
from chat_protocol.transport.framing import FrameReceiver
from chat_protocol.transport.keepalive import keep_alive
from chat_protocol.transport.loss import why_lost
from chat_protocol.wire.codec import (
    MAX_FRAME,
    MAX_FRAME_BEFORE_LOGIN,
    MIN_FRAME,
    decode,
    encode,
)
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    REGISTRY,
    Close,
    Deliver,
    Heartbeat,
    Login,
    Login2,
    LoginAnswer,
    Message,
    Presence,
)
from chat_protocol.wire.schema import Registry, Sender, declaration

__all__ = [
    "CLOSE_TIMEOUT",
    "UNREAD_LIMIT_FACTOR",
    "Connection",
    "LoginResult",
    "Owner",
    "check_length",
]

UNREAD_LIMIT_FACTOR = 16
"""Factor on the unread limit while a request is pending in version 1.

An answer arrives behind the messages that the server sent before it. Without the factor, an
application that awaits an answer before it takes the next message would wait forever."""

CLOSE_TIMEOUT = 5.0
"""Seconds after which a connection that does not close is aborted."""

_PUSHED = (Message, Deliver, Presence, Close)

_PREFIX = 4

_NO_CORRELATION_ID = 0
"""The correlation id of commands whose answer the client ignores."""


class _Phase(Enum):
    """The phases of a connection, in order."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LoginResult:
    """What the server granted at login (clause S30); in version 1 only the version."""

    version: int
    publishing_id: int = 0
    pending: int = 0
    session: str = ""
    heartbeat: int = 0
    window: int = 0
    resumed: bool = True
    """Whether the server knew the device. A server that does not say so is taken to know it."""


class Owner(Protocol):
    """The object that owns a connection and handles its events."""

    def connected(self, connection: Connection) -> None:
        """Handle a new connection."""

    def pushed(self, connection: Connection, command: Any, size: int) -> None:
        """Handle a command that the server sent unasked, in a payload of ``size`` bytes."""

    def cannot_read(self, error: FrameLengthError) -> None:
        """Handle a frame of a session that is too long; the connection ends next."""

    def lost(self, connection: Connection, reason: NotConnected) -> None:
        """Handle the end of the connection; its requests have failed already."""

    def unread(self) -> tuple[int, int]:
        """Return how many bytes wait for the application, and the limit."""


class Connection(FrameReceiver):
    """The protocol behind :class:`chat_protocol.client.ChatClient`.

    Args:
        owner: handles the events of the connection.
        clock: schedules timeouts and heartbeats.
        timeout: default seconds that a request waits for its answer.
        registry: the commands, with one's own if there are some.
    """

    MAX_LENGTH = MAX_FRAME

    _log = Logger()

    def __init__(
        self, owner: Owner, clock: IReactorTime, timeout: float, registry: Registry = REGISTRY
    ) -> None:
        self._registry = registry
        self.version = 1
        """Protocol version in use: 1 until the server has answered in version 2."""
        self._owner = owner
        self._max_frame = MAX_FRAME_BEFORE_LOGIN
        self._limits_unread = False
        self._has_session = False
        self._clock = clock
        self._timeout = timeout
        self._requests = PendingRequests(clock)
        self._phase = _Phase.OPEN
        self._close_reason: tuple[str, BaseException | None] | None = None
        self._close_waiters: Waiters[None] = Waiters()
        self._abort_timer: IDelayedCall | None = None
        self._data_received = False
        self._silent_for = 0.0
        self._heartbeat = RepeatedCall(clock, self._send_heartbeat)

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._phase is _Phase.OPEN

    async def log_in(self, username: str, properties: dict[str, str] | None) -> LoginResult:
        """Log in with version 2, or with version 1 if the server does not know version 2 (clause
        S28).

        Args:
            username: the name.
            properties: of the login; None: log in with version 1.

        Raises:
            Refused: the server refused the login; the subclass tells the code.
            NotConnected, RequestTimeout: see :meth:`request`.
        """
        if properties is None:
            answer = await self.request(Login(username))
        else:
            answer = await self.request(Login2(username, properties))
            if isinstance(answer, LoginAnswer):
                self.version = 2
            elif answer.code not in (Code.OK, Code.USER_ALREADY_LOGGED):
                # A server of version 1, which may not take what follows the name.
                return await self.log_in(username, None)
        if answer.code != Code.OK:
            raise self.refusal(answer)
        self._has_session = True
        if self.version == 1:
            self._max_frame = MAX_FRAME
            self._limits_unread = True
            return LoginResult(1)
        number = _number_reader(answer.properties)
        result = LoginResult(
            self.version,
            number("publishing-id"),
            number("pending"),
            answer.properties.get("session", ""),
            number("heartbeat"),
            number("window"),
            answer.properties.get("resumed") != "0",
        )
        self._max_frame = number("max-frame-length") or MAX_FRAME
        if result.heartbeat and self.is_open:
            # Twice as often as granted, so that the answers also arrive within the interval.
            self._heartbeat.start(result.heartbeat / 2)
        return result

    def request(self, command: Any, no_timeout: bool = False) -> Deferred[Any]:
        """Send a command and return a Deferred that fires with its answer.

        It fails with NotConnected or RequestTimeout. It fails with ValueError if a value does not
        fit its field or the frame is too long; then nothing was sent. Canceling it only stops the
        waiting.

        Args:
            command: one of :mod:`chat_protocol.wire.commands`.
            no_timeout: wait for the answer as long as the connection lasts.
        """
        if self._phase is not _Phase.OPEN:
            return fail(self._closed_error())
        correlation_id = self._requests.next_id()
        try:
            frame = encode(command, correlation_id)
            check_length(frame, self._max_frame)
        except ValueError as error:
            return fail(error)
        answer = self._requests.add(correlation_id, None if no_timeout else self._timeout)
        answer.addBoth(self._request_finished)
        self._transport.write(frame)
        self.apply_backpressure()
        return answer

    def send(self, command: Any) -> None:
        """Send a command and ignore its answer."""
        if self._phase is _Phase.OPEN:
            self._transport.write(encode(command, _NO_CORRELATION_ID))

    @staticmethod
    def refusal(answer: Any) -> Refused:
        """Return the error for an answer other than OK."""
        return refusal(answer.code, getattr(answer, "detail", ""))

    def close(self) -> Deferred[None]:
        """Log out and close the connection, within CLOSE_TIMEOUT.

        The Deferred fires when the connection has ended, and never fails. In version 2 the name is
        free at that point (clause S55).
        """
        if self._phase is _Phase.OPEN:
            self._abort_timer = self._clock.callLater(CLOSE_TIMEOUT, self._abort)
            if self.version == 1:
                self._transport.loseConnection()
            else:
                # The server answers and then closes the connection.
                self.send(Close(Code.OK, ""))
            self._begin_closing("the client disconnected", None)
        return self.when_closed()

    def expect_close(self, reason: str) -> None:
        """Send nothing more and wait for the end, because the server announced it."""
        if self._phase is _Phase.OPEN:
            self._abort_timer = self._clock.callLater(CLOSE_TIMEOUT, self._abort)
            self._begin_closing(reason, None)

    def abort(self, reason: str, cause: BaseException | None = None) -> None:
        """End the connection now."""
        self.stop_parsing()
        if self._phase is _Phase.OPEN:
            self._begin_closing(reason, cause)
            self._abort()

    def when_closed(self) -> Deferred[None]:
        """Return a Deferred that fires when the connection has ended."""
        if self._phase is _Phase.CLOSED:
            return succeed(None)
        return self._close_waiters.wait()

    def apply_backpressure(self) -> None:
        """In version 1, pause reading at the unread limit and resume below half of it.

        In version 2 the window bounds unread messages, so nothing can delay an answer. Before the
        login all unread messages came over earlier connections, so they do not count.
        """
        if self._phase is not _Phase.OPEN or not self._limits_unread:
            return
        unread, limit = self._owner.unread()
        if self._requests:
            limit *= UNREAD_LIMIT_FACTOR
        if unread >= limit:
            if not self.paused:
                self.pauseProducing()
        elif self.paused and unread <= limit // 2:
            self.resumeProducing()

    # Called by Twisted.

    def connectionMade(self) -> None:
        # The kernel detects a vanished server within a minute.
        keep_alive(self.transport)
        self._owner.connected(self)

    def dataReceived(self, data: bytes) -> None:
        self._data_received = True
        super().dataReceived(data)

    def stringReceived(self, string: bytes) -> None:
        """Pass a payload to the request that it answers, or to the owner."""
        try:
            header, command = decode(string, self._registry)
        except UnknownCommand as error:
            self._log.debug("ignored a frame: {error}", error=error)
            return
        except Malformed as error:
            self.abort(f"the server sent a malformed frame: {error}", error)
            return
        if isinstance(command, _PUSHED):
            self._owner.pushed(self, command, len(string))
        elif Sender.SERVER not in declaration(type(command)).sender:
            self._log.debug(
                "ignored a frame with key {key}, which only clients may send", key=header.key
            )
        elif header.correlation_id == _NO_CORRELATION_ID:
            # The answer to a heartbeat or an Ack.
            pass
        elif not self._requests.answer(header.correlation_id, command):
            self._log.debug(
                "ignored an answer with the unknown correlation id {id}", id=header.correlation_id
            )

    def lengthLimitExceeded(self, length: int) -> None:
        """Abort the connection, because the following bytes cannot be framed."""
        error = FrameLengthError(
            f"a frame length of {length} bytes; valid are {MIN_FRAME} to {self.MAX_LENGTH}"
        )
        if self._has_session:
            self._owner.cannot_read(error)
        self.abort(f"the server sent {error}. Check that it is a chat server.", error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail the pending requests and report the loss to the owner."""
        if isinstance(reason.value, ConnectionDone):
            self._begin_closing("the server closed the connection", reason.value)
        else:
            self._begin_closing(_describe_loss(reason), reason.value)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        # While reading was paused, one read may have buffered frames: parse them now.
        self.paused = False
        super().dataReceived(b"")
        self._requests.fail_all(self._closed_error)
        self._owner.lost(self, self._closed_error())
        # Last, so that the owner knows before the callers of when_closed do.
        self._phase = _Phase.CLOSED
        self._close_waiters.fire(None)

    # Internals.

    @property
    def _transport(self) -> Any:
        """The transport; set before the owner gets the connection."""
        return self.transport

    def _request_finished(self, result: Any) -> Any:
        self.apply_backpressure()
        return result

    def _send_heartbeat(self) -> None:
        """Send a heartbeat and check that the server has sent something."""
        interval = self._heartbeat.interval
        self._silent_for = 0 if self._data_received else self._silent_for + interval
        self._data_received = False
        if self._silent_for >= 4 * interval:
            self.abort(f"the server sent nothing for {self._silent_for:g} seconds")
        else:
            self.send(Heartbeat())

    def _begin_closing(self, reason: str, cause: BaseException | None) -> None:
        """Stop sending. The first reason given is kept."""
        if self._phase is _Phase.OPEN:
            self._phase = _Phase.CLOSING
            self._close_reason = reason, cause
            self._heartbeat.stop()

    def _abort(self) -> None:
        self._abort_timer = None
        # Some transports cannot abort, such as the pipes of a process.
        abort = getattr(self.transport, "abortConnection", self._transport.loseConnection)
        abort()

    def _closed_error(self) -> NotConnected:
        reason, cause = self._close_reason or ("", None)
        error = NotTrusted(reason) if _is_certificate_error(cause) else NotConnected(reason)
        error.__cause__ = cause
        return error


def check_length(frame: bytes, limit: int = MAX_FRAME) -> None:
    """Raise ValueError if the frame is longer than the server accepts."""
    length = len(frame) - _PREFIX
    if length > limit:
        raise ValueError(f"the frame has {length} bytes; the maximum is {limit}")


def _is_certificate_error(cause: BaseException | None) -> bool:
    """Return whether the client rejected the server's certificate."""
    # By module name, because the optional packages may not be installed.
    if type(cause).__module__.startswith("service_identity"):
        return True
    return type(cause).__module__.startswith("OpenSSL") and "verify failed" in str(cause)


def _describe_loss(reason: Failure) -> str:
    if type(reason.value).__module__.startswith("service_identity"):
        return "the server's certificate is for another host name"
    if _is_certificate_error(reason.value):
        return "the server's certificate has expired or is not signed by a trusted authority"
    return f"the connection was lost: {why_lost(reason)}"


def _number_reader(properties: dict[str, str]) -> Any:
    def number(name: str) -> int:
        text = properties.get(name, "")
        return int(text) if text.isdecimal() and text.isascii() and len(text) <= 20 else 0

    return number
