"""One connection to a server: requests out, answers and messages in."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.client.inbox import Inbox
from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.client.requests import DEFAULT_TIMEOUT, Requests
from chat_protocol.errors import FrameLengthError, Malformed, NotConnected, UnknownCommand
from chat_protocol.protocol.framing import FrameReceiver
from chat_protocol.protocol.keepalive import keep_alive
from chat_protocol.wire.codec import MAX_FRAME, MIN_FRAME, Header, decode, encode
from chat_protocol.wire.commands import Message, Response

__all__ = ["CLOSE_TIMEOUT", "UNREAD_LIMIT", "UNREAD_LIMIT_FACTOR", "Connection"]

UNREAD_LIMIT = 1024 * 1024
"""Bytes of messages that wait for the application before the connection stops reading."""

UNREAD_LIMIT_FACTOR = 16
"""How many times the limit may wait while a request is unanswered.

An answer comes behind the messages that the server sent before it. An application that waits for
an answer before it takes the next message would else wait for what is never read.
"""

CLOSE_TIMEOUT = 5.0
"""Seconds until a connection that does not close in order is cut."""

_MESSAGE_OVERHEAD = 256
"""Bytes that a waiting message weighs on top of its payload."""


class State(Enum):
    """The life of a connection; it goes through it in this order and skips none."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Connection(FrameReceiver):
    """The protocol behind :class:`chat_protocol.client.Client`.

    Args:
        clock: measures time-outs.
        timeout: seconds that each request waits for its answer.
        max_unread: see UNREAD_LIMIT.
    """

    MAX_LENGTH = MAX_FRAME

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        timeout: float = DEFAULT_TIMEOUT,
        max_unread: int = UNREAD_LIMIT,
    ) -> None:
        self._clock = clock
        self._max_unread = max_unread
        self._requests = Requests(clock, timeout)
        self._inbox = Inbox()
        self._state = State.OPEN
        self._end: tuple[str, BaseException | None] | None = None
        self._watchers: list[Deferred[NotConnected | None]] = []
        self._cut: IDelayedCall | None = None
        self._closed_here = False
        self._handlers: dict[type[Any], Callable[[Header, Any, int], None]] = {
            Response: self._answered,
            Message: self._delivered,
        }

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._state is State.OPEN

    @property
    def closed_here(self) -> bool:
        """Whether the end, if there is one, came from :meth:`close`."""
        return self._closed_here

    def request(self, command: Any) -> Deferred[Any]:
        """Send a command; fires with the command that answers it.

        Fails with NotConnected, with RequestTimeout, or with ValueError if a value does not fit
        its field; then nothing was sent. Cancelling gives up waiting, no more.
        """
        if self._state is not State.OPEN:
            return fail(self._not_connected())
        correlation_id = self._requests.next_id()
        try:
            frame = encode(command, correlation_id)
        except ValueError as error:
            return fail(error)
        answer = self._requests.wait(correlation_id)
        answer.addBoth(self._request_ended)
        self._transport.write(frame)
        self._regulate()
        return answer

    def receive(self) -> Deferred[ReceivedMessage]:
        """The next message; see :meth:`Inbox.take`."""
        message = self._inbox.take()
        self._regulate()
        return message

    def close(self) -> None:
        """End the connection when what was written has gone out, or after CLOSE_TIMEOUT."""
        if self._state is State.OPEN:
            self._closed_here = True
            self._ending("this client has disconnected", None)
            self._transport.loseConnection()
            self._cut = self._clock.callLater(CLOSE_TIMEOUT, self._abort)

    def when_closed(self) -> Deferred[NotConnected | None]:
        """Fires when the connection has ended, with the error if it was not :meth:`close`."""
        if self._state is State.CLOSED:
            return succeed(self._outcome())
        watcher: Deferred[NotConnected | None] = Deferred(self._watchers.remove)
        self._watchers.append(watcher)
        return watcher

    # What Twisted calls.

    def connectionMade(self) -> None:
        """Have the kernel find out, within a minute, that a silent server is gone."""
        keep_alive(self.transport)

    def stringReceived(self, string: bytes) -> None:
        """Hand a payload to the handler of its command."""
        try:
            header, command = decode(string)
        except UnknownCommand as error:
            self._log.debug("ignoring a frame: {error}", error=error)
            return
        except Malformed as error:
            self._refuse(f"the server sent a broken frame: {error}", error)
            return
        handler = self._handlers.get(type(command))
        if handler is None:
            self._log.debug("ignoring a {command}", command=type(command).__name__)
        else:
            handler(header, command, len(string))

    def lengthLimitExceeded(self, length: int) -> None:
        """End the connection: the bytes that follow mean nothing."""
        error = FrameLengthError(
            f"a frame of {length} bytes, there are none outside {MIN_FRAME} to {self.MAX_LENGTH}"
        )
        self._refuse(f"the server sent {error}; is it a chat server?", error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let everything end that depends on the connection."""
        if isinstance(reason.value, ConnectionDone):
            self._ending("the server closed the connection", reason.value)
        else:
            self._ending(f"the connection was lost: {reason.getErrorMessage()}", reason.value)
        self._state = State.CLOSED
        if self._cut is not None:
            self._cut.cancel()
        # What came before the end and waits because reading was paused: at most one read.
        self.paused = False
        self.dataReceived(b"")
        self._requests.fail(self._not_connected)
        self._inbox.close(self._not_connected)
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(self._outcome())

    # Commands from the server.

    def _answered(self, header: Header, response: Any, size: int) -> None:
        if not self._requests.answer(header.correlation_id, response):
            self._log.debug("no request waits for answer {id}", id=header.correlation_id)

    def _delivered(self, header: Header, message: Message, size: int) -> None:
        received = ReceivedMessage(message.from_, message.message, message.time, message.to)
        self._inbox.put(received, size + _MESSAGE_OVERHEAD)
        self._regulate()

    # The rest.

    @property
    def _transport(self) -> Any:
        """The transport, which is there since before the application has the connection."""
        return self.transport

    def _request_ended(self, result: Any) -> Any:
        self._regulate()
        return result

    def _regulate(self) -> None:
        """Stop reading when too much waits, go on when half of it is gone."""
        if self._state is not State.OPEN:
            return
        limit = self._max_unread * (UNREAD_LIMIT_FACTOR if self._requests else 1)
        if self._inbox.size >= limit:
            if not self.paused:
                self.pauseProducing()
        elif self.paused and self._inbox.size <= limit // 2:
            self.resumeProducing()

    def _refuse(self, why: str, error: Exception) -> None:
        """End the connection because of what the server sent."""
        self.stop_parsing()
        if self._state is State.OPEN:
            self._ending(why, error)
            self._abort()

    def _ending(self, why: str, cause: BaseException | None) -> None:
        """From here on nothing is sent; the first reason given is the reason."""
        if self._state is State.OPEN:
            self._state = State.CLOSING
            self._end = why, cause

    def _abort(self) -> None:
        self._cut = None
        # Not every transport of an endpoint can abort, a process' pipes for one.
        abort = getattr(self.transport, "abortConnection", self._transport.loseConnection)
        abort()

    def _not_connected(self) -> NotConnected:
        why, cause = self._end or ("", None)
        error = NotConnected(why)
        error.__cause__ = cause
        return error

    def _outcome(self) -> NotConnected | None:
        return None if self._closed_here else self._not_connected()
