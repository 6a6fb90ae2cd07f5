"""One connection to a server: requests out, answers and what the server pushes in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.client.requests import Requests
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
from chat_protocol.server.sniffer import why_lost
from chat_protocol.transport.framing import FrameReceiver
from chat_protocol.transport.keepalive import keep_alive
from chat_protocol.wire.codec import (
    MAX_FRAME,
    MAX_FRAME_BEFORE_LOGIN,
    MIN_FRAME,
    decode,
    encode,
)
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Close,
    Deliver,
    Heartbeat,
    HistoryAnswer,
    Login2,
    LoginAnswer,
    Message,
    Presence,
    Response,
    Response2,
    UsersAnswer,
)

__all__ = [
    "CLOSE_TIMEOUT",
    "UNREAD_LIMIT_FACTOR",
    "Connection",
    "Granted",
    "Owner",
    "check_length",
]

UNREAD_LIMIT_FACTOR = 16
"""How many times the limit may wait in version 1 while a request is unanswered.

An answer comes behind the messages that the server sent before it. An application that waits for
an answer before it takes the next message would else wait for what is never read.
"""

CLOSE_TIMEOUT = 5.0
"""Seconds until a connection that does not close in order is cut."""

_PUSHED = (Message, Deliver, Presence, Close)
_ANSWERS = (Response, Response2, LoginAnswer, HistoryAnswer, UsersAnswer)

_PREFIX = 4

_KEEPS_NO_ANSWER = 0
"""The correlationId of what the client wants no answer to."""


class State(Enum):
    """The life of a connection; it goes through it in this order and skips none."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Granted:
    """What a login brought (clause S30); of version 1, only that."""

    version: int
    publishing_id: int = 0
    pending: int = 0
    session: str = ""
    heartbeat: int = 0
    window: int = 0


class Owner(Protocol):
    """Whom a connection belongs to."""

    def connected(self, connection: Connection) -> None:
        """It is there."""

    def pushed(self, connection: Connection, command: Any, size: int) -> None:
        """The server sent something of its own accord, in a payload of ``size`` bytes."""

    def lost(self, connection: Connection, reason: NotConnected) -> None:
        """It is gone; its requests have failed."""

    def unread(self) -> tuple[int, int]:
        """How many bytes wait for the application, and how many may."""


class Connection(FrameReceiver):
    """The protocol behind :class:`chat_protocol.client.ChatClient`.

    Args:
        owner: is told what happens.
        clock: measures time-outs and heartbeats.
        timeout: seconds that a request waits for its answer, unless it says otherwise.
    """

    MAX_LENGTH = MAX_FRAME

    _log = Logger()

    def __init__(self, owner: Owner, clock: IReactorTime, timeout: float) -> None:
        self.version = 1
        """The version that is spoken: 1 until the server has shown that it knows more."""
        self._owner = owner
        self._max_frame = MAX_FRAME_BEFORE_LOGIN
        self._bounded = False
        self._clock = clock
        self._timeout = timeout
        self._requests = Requests(clock)
        self._state = State.OPEN
        self._end: tuple[str, BaseException | None] | None = None
        self._watchers: Waiters[None] = Waiters()
        self._cut: IDelayedCall | None = None
        self._heard = False
        self._silence = 0.0
        self._heartbeat = LoopingCall(self._beat)
        self._heartbeat.clock = clock

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._state is State.OPEN

    async def log_in(self, username: str, properties: dict[str, str]) -> Granted:
        """Log in with version 2, or with what the server makes of it (clause S28).

        Raises:
            Refused: by its code, the server's refusal.
            NotConnected, RequestTimeout: see :meth:`request`.
        """
        answer = await self.request(Login2(username, properties))
        if isinstance(answer, LoginAnswer):
            self.version = 2
        if answer.code != Code.OK:
            raise self.refusal(answer)
        if self.version == 1:
            self._max_frame = MAX_FRAME
            self._bounded = True
            return Granted(1)
        number = _numbers(answer.properties)
        granted = Granted(
            self.version,
            number("publishing-id"),
            number("pending"),
            answer.properties.get("session", ""),
            number("heartbeat"),
            number("window"),
        )
        self._max_frame = number("max-frame-length") or MAX_FRAME
        if granted.heartbeat and self.is_open:
            # Twice as often as promised: an answer, too, is to come within the time.
            beating = self._heartbeat.start(granted.heartbeat / 2, now=False)
            beating.addErrback(lambda failure: self._log.failure("heartbeat", failure))
        return granted

    def request(self, command: Any, patient: bool = False) -> Deferred[Any]:
        """Send a command; fires with the command that answers it.

        Fails with NotConnected, with RequestTimeout, or with ValueError if a value does not fit
        its field or the whole the longest frame; then nothing was sent. Cancelling gives up
        waiting, no more.

        Args:
            command: one of :mod:`chat_protocol.wire.commands`.
            patient: wait for the answer as long as the connection lasts.
        """
        if self._state is not State.OPEN:
            return fail(self._not_connected())
        correlation_id = self._requests.next_id()
        try:
            frame = encode(command, correlation_id)
            check_length(frame, self._max_frame)
        except ValueError as error:
            return fail(error)
        answer = self._requests.wait(correlation_id, None if patient else self._timeout)
        answer.addBoth(self._request_ended)
        self._transport.write(frame)
        self.regulate()
        return answer

    def tell(self, command: Any) -> None:
        """Send a command whose answer, if there is one, nobody waits for."""
        if self._state is State.OPEN:
            self._transport.write(encode(command, _KEEPS_NO_ANSWER))

    @staticmethod
    def refusal(answer: Any) -> Refused:
        """The error that an answer other than OK stands for."""
        return refusal(answer.code, getattr(answer, "detail", ""))

    def close(self) -> Deferred[None]:
        """Log out and end the connection, at the latest after CLOSE_TIMEOUT.

        Fires when it is gone, and never fails. In version 2 the name is free then (clause S55).
        """
        if self._state is State.OPEN:
            self._cut = self._clock.callLater(CLOSE_TIMEOUT, self._abort)
            if self.version == 1:
                self._transport.loseConnection()
            else:
                # The server answers, and then it ends the connection.
                self.tell(Close(Code.OK, ""))
            self._ending("this client has disconnected", None)
        return self.when_closed()

    def expect_end(self, why: str) -> None:
        """The server has said that it ends the connection: send nothing more, wait for the end."""
        if self._state is State.OPEN:
            self._cut = self._clock.callLater(CLOSE_TIMEOUT, self._abort)
            self._ending(why, None)

    def abort(self, why: str, cause: BaseException | None = None) -> None:
        """End the connection now."""
        self.stop_parsing()
        if self._state is State.OPEN:
            self._ending(why, cause)
            self._abort()

    def when_closed(self) -> Deferred[None]:
        """Fires when the connection has ended."""
        if self._state is State.CLOSED:
            return succeed(None)
        return self._watchers.wait()

    def regulate(self) -> None:
        """In version 1, stop reading when too much waits, go on when half of it is gone.

        In version 2 the window bounds what can come: nothing is ever in the way of an answer.
        Nor is it before the login, when all that waits came over earlier connections.
        """
        if self._state is not State.OPEN or not self._bounded:
            return
        unread, limit = self._owner.unread()
        if self._requests:
            limit *= UNREAD_LIMIT_FACTOR
        if unread >= limit:
            if not self.paused:
                self.pauseProducing()
        elif self.paused and unread <= limit // 2:
            self.resumeProducing()

    # What Twisted calls.

    def connectionMade(self) -> None:
        """Have the kernel find out, within a minute, that a silent server is gone."""
        keep_alive(self.transport)
        self._owner.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """Note that the server lives."""
        self._heard = True
        super().dataReceived(data)

    def stringReceived(self, string: bytes) -> None:
        """Hand a payload to the request that it answers, or to the owner."""
        try:
            header, command = decode(string)
        except UnknownCommand as error:
            self._log.debug("ignoring a frame: {error}", error=error)
            return
        except Malformed as error:
            self.abort(f"the server sent a broken frame: {error}", error)
            return
        if isinstance(command, _PUSHED):
            self._owner.pushed(self, command, len(string))
        elif not isinstance(command, _ANSWERS):
            self._log.debug("ignoring a {key}, which only clients send", key=header.key)
        elif not self._requests.answer(header.correlation_id, command):
            self._log.debug("no request waits for answer {id}", id=header.correlation_id)

    def lengthLimitExceeded(self, length: int) -> None:
        """End the connection: the bytes that follow mean nothing."""
        error = FrameLengthError(
            f"a frame of {length} bytes, there are none outside {MIN_FRAME} to {self.MAX_LENGTH}"
        )
        self.abort(f"the server sent {error}; is it a chat server?", error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let everything end that depends on the connection."""
        if isinstance(reason.value, ConnectionDone):
            self._ending("the server closed the connection", reason.value)
        else:
            self._ending(_why_lost(reason), reason.value)
        if self._cut is not None:
            self._cut.cancel()
        # What came before the end and waits because reading was paused: at most one read.
        self.paused = False
        super().dataReceived(b"")
        self._requests.fail(self._not_connected)
        self._owner.lost(self, self._not_connected())
        # Only now: whoever waits for the end is told when the owner knows of it.
        self._state = State.CLOSED
        self._watchers.succeed(None)

    # The rest.

    @property
    def _transport(self) -> Any:
        """The transport, which is there since before the owner has the connection."""
        return self.transport

    def _request_ended(self, result: Any) -> Any:
        self.regulate()
        return result

    def _beat(self) -> None:
        """Send a sign of life, and look for those of the server."""
        interval = self._heartbeat.interval or 0
        self._silence = 0 if self._heard else self._silence + interval
        self._heard = False
        if self._silence >= 4 * interval:
            self.abort(f"the server has been silent for {self._silence:g} seconds")
        else:
            self.tell(Heartbeat())

    def _ending(self, why: str, cause: BaseException | None) -> None:
        """From here on nothing is sent; the first reason given is the reason."""
        if self._state is State.OPEN:
            self._state = State.CLOSING
            self._end = why, cause
            if self._heartbeat.running:
                self._heartbeat.stop()

    def _abort(self) -> None:
        self._cut = None
        # Not every transport of an endpoint can abort, a process' pipes for one.
        abort = getattr(self.transport, "abortConnection", self._transport.loseConnection)
        abort()

    def _not_connected(self) -> NotConnected:
        why, cause = self._end or ("", None)
        error = NotTrusted(why) if _is_distrust(cause) else NotConnected(why)
        error.__cause__ = cause
        return error


def check_length(frame: bytes, limit: int = MAX_FRAME) -> None:
    """Raise ValueError if a server would end the connection for the length of a frame."""
    length = len(frame) - _PREFIX
    if length > limit:
        raise ValueError(f"a frame of {length} bytes, at most {limit} can be sent")


def _is_distrust(cause: BaseException | None) -> bool:
    """Whether it was the client that did not like the server's certificate."""
    # By their names, for the extra that these come with may not be installed.
    if type(cause).__module__.startswith("service_identity"):
        return True
    return type(cause).__module__.startswith("OpenSSL") and "verify failed" in str(cause)


def _why_lost(reason: Failure) -> str:
    if type(reason.value).__module__.startswith("service_identity"):
        return "the server's certificate is for another name"
    if _is_distrust(reason.value):
        return "the server's certificate has expired, or is of an authority that is not trusted"
    return f"the connection was lost: {why_lost(reason)}"


def _numbers(properties: dict[str, str]) -> Any:
    def number(name: str) -> int:
        text = properties.get(name, "")
        return int(text) if text.isdecimal() and text.isascii() and len(text) <= 20 else 0

    return number
