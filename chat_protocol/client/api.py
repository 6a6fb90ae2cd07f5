"""The client library's calls."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from chat_protocol.client.connection import UNREAD_LIMIT, Connection
from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.client.requests import DEFAULT_TIMEOUT
from chat_protocol.errors import NotConnected, NotLoggedIn, refusal
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import CorrelationIdTest, Login, Message, Response

__all__ = ["Client", "connect"]


def connect(
    endpoint: IStreamClientEndpoint,
    reactor: IReactorTime,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    max_unread: int = UNREAD_LIMIT,
    wall_clock: Callable[[], int] = time.time_ns,
) -> Deferred[Client]:
    """Connect to a server.

    Fires with the client, connected and not logged in. Fails with NotConnected, its
    ``__cause__`` what the endpoint said. How long connecting may take is the endpoint's affair.

    Args:
        endpoint: where the server is, of any kind.
        reactor: measures time-outs.
        timeout: seconds that each request waits for its answer.
        max_unread: bytes of messages, their bookkeeping included, that wait for the application
            before the client stops reading; sixteen times as many while a request waits.
        wall_clock: nanoseconds since the epoch, for the time of messages.
    """
    connection = Connection(reactor, timeout, max_unread)

    async def connected() -> Client:
        try:
            await connectProtocol(endpoint, connection)  # type: ignore[no-untyped-call]
        except (CancelledError, ConnectingCancelledError):
            raise
        except Exception as error:
            raise NotConnected(f"cannot connect: {error}") from error
        return Client(connection, wall_clock)

    return Deferred.fromCoroutine(connected())


class Client:
    """A connection to a server, made by :func:`connect`.

    Each request fails with NotConnected when the connection ends before the answer, with
    RequestTimeout when the answer does not come in time (whether the server acted is then not
    known; a late answer is ignored), and with an error below Refused, by the server's code, when
    the server refuses. Requests go out at once and in the order of the calls; as many as one
    likes may wait for their answers, and to wait for them is what keeps their number low.

    The Deferreds can be cancelled; that takes back nothing that was sent.
    """

    def __init__(self, connection: Connection, wall_clock: Callable[[], int]) -> None:
        self._connection = connection
        self._wall_clock = wall_clock
        self._username: str | None = None

    @property
    def username(self) -> str | None:
        """The name that this client is logged in with, as it was given to :meth:`login`."""
        return self._username

    @property
    def connected(self) -> bool:
        """Whether requests can be sent."""
        return self._connection.is_open

    def login(self, username: str) -> Deferred[None]:
        """Take a name on this connection, for as long as it lasts.

        Fires when the server has agreed; messages for that user begin to arrive. Fails with
        UserAlreadyLogged when the name is in use or this client has one, with UserNotFound when
        the server does not accept the name (version 1 has no other code for it), with ValueError
        when the name has more than 65,535 bytes of UTF-8.
        """

        def agreed(_: None) -> None:
            self._username = username

        return self._acknowledged(Login(username)).addCallback(agreed)

    def send(self, to: str, text: str) -> Deferred[None]:
        """Send a text to a user, who need not be there now.

        Fires when the server has it stored. Fails with NotLoggedIn before a login, with
        UserNotFound, and with ValueError when the text or the name has more than 65,535 bytes of
        UTF-8.
        """
        if self._username is None:
            return fail(NotLoggedIn())
        return self._acknowledged(Message(text, self._username, to, self._wall_clock()))

    def correlation_id_test(self) -> Deferred[None]:
        """Ask for an answer that comes after a random delay of up to 4 seconds.

        Not every server knows the request, and those that do not may leave it unanswered.
        """
        return self._acknowledged(CorrelationIdTest())

    def receive(self) -> Deferred[ReceivedMessage]:
        """The next message in the order of arrival.

        Fires at once if one is there. Fails with NotConnected when the connection has ended
        and all messages are taken.
        """
        return self._connection.receive()

    def messages(self) -> AsyncIterator[ReceivedMessage]:
        """The messages as they arrive, for ``async for``.

        The loop ends after :meth:`disconnect`, when the messages that had arrived are taken;
        NotConnected comes out of it when the connection ended in another way. Leaving the loop
        loses nothing: the next one goes on from there.
        """
        return _Messages(self._connection)

    def consume(self, callback: Callable[[ReceivedMessage], object]) -> Deferred[None]:
        """Call ``callback`` with each message, one after the other.

        If it returns a Deferred or is a coroutine function, the next call waits for it, and the
        client stops reading when too much waits. Fires and fails as :meth:`messages` ends, and
        fails with what the callback raises, which then gets no more calls. Cancel to stop.
        """

        async def consuming() -> None:
            async for message in self.messages():
                await maybeDeferred(callback, message)

        return Deferred.fromCoroutine(consuming())

    def disconnect(self) -> Deferred[None]:
        """End the connection; requests that wait fail with NotConnected.

        Fires when the connection is gone, at the latest a few seconds after, however the server
        behaves. Does no harm a second time.
        """
        self._connection.close()
        return self.when_disconnected().addCallback(lambda _: None)

    def when_disconnected(self) -> Deferred[NotConnected | None]:
        """Fires, and never fails, when the connection is gone.

        With None after :meth:`disconnect`, else with an error that says why; its ``__cause__``
        is FrameLengthError or Malformed if the server sent nonsense, or what the transport said.
        """
        return self._connection.when_closed()

    def _acknowledged(self, command: Any) -> Deferred[None]:
        """Send a request whose answer is a code."""

        def answered(response: Response) -> None:
            if response.code != Code.OK:
                raise refusal(response.code)

        return self._connection.request(command).addCallback(answered)


class _Messages(AsyncIterator[ReceivedMessage]):
    """An iterator over what a connection receives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __anext__(self) -> ReceivedMessage:
        try:
            return await self._connection.receive()
        except NotConnected:
            if self._connection.closed_here:
                raise StopAsyncIteration from None
            raise
