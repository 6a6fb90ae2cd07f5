"""The methods by which an application receives messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.client.connection import Connection
from chat_protocol.client.inbox import Inbox
from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.errors import NotConnected, Replaced

__all__ = ["MESSAGE_OVERHEAD", "OnError", "ReceiveMethods"]

MESSAGE_OVERHEAD = 256
"""Bytes added to the size of a queued message."""

OnError = Callable[[Exception, ReceivedMessage], Any]
"""Is told what a callback of :meth:`ReceiveMethods.consume` has raised, and the message. May return
a Deferred or be a coroutine function. The result says whether to go on."""


class ReceiveMethods:
    """The receiving methods of ChatClient: one message, a loop, or a callback.

    Use one of them at a time unless acknowledgement is manual: asking for the next message
    acknowledges the previous one, whichever method returned it.

    The last message before stopService() has no next one. Whoever leaves a loop with ``break``
    acknowledges it by :meth:`acknowledge`, or finishes with :meth:`drain`; with :meth:`next` it is
    acknowledged at the end of the block. Otherwise the server delivers it again.
    """

    _connection: Connection | None
    _inbox: Inbox
    _log: Logger

    if TYPE_CHECKING:

        def stopService(self) -> Deferred[None]: ...

        def _fail(self, error: Exception) -> None: ...

    def receive(self) -> Deferred[ReceivedMessage]:
        """Return the next message in order of arrival.

        The Deferred fires at once if a message is queued. It fails with NotConnected when the
        client has stopped and all messages are taken. Unless acknowledgement is manual, this call
        acknowledges the previous message.
        """
        message = self._inbox.take()
        if self._connection is not None:
            self._connection.apply_backpressure()
        return message

    def next(self) -> AbstractAsyncContextManager[ReceivedMessage]:
        """Receive a message in ``async with``, and acknowledge it at the end of the block.

        If the block raises or is canceled, the message is not acknowledged, and the next call
        returns it again. The errors are those of :meth:`receive`.
        """
        return self._next()

    @asynccontextmanager
    async def _next(self) -> AsyncIterator[ReceivedMessage]:
        message = await self.receive()
        try:
            yield message
        except BaseException:
            self.give_back(message)
            raise
        self.acknowledge(message)

    def give_back(self, message: ReceivedMessage) -> None:
        """Have the next call of :meth:`receive` return a message again.

        It must have been received, and not be acknowledged yet.
        """
        self._inbox.give_back(message, MESSAGE_OVERHEAD + len(message.text))

    def messages(self) -> AsyncIterator[ReceivedMessage]:
        """Iterate over messages with ``async for``, each as :meth:`receive` returns it.

        The loop ends after stopService(), when all received messages are taken. If the client gave
        up, the loop raises the reason. Leaving the loop loses nothing: the next loop continues from
        there. The last message is acknowledged by that next loop or by :meth:`acknowledge`.
        """
        return _Messages(self.receive)

    def drain(self) -> AsyncIterator[ReceivedMessage]:
        """Iterate over the messages that have arrived, and stop the client behind the last one.

        The client takes no more messages from the call on: the server keeps them for the next
        process of the user and device. Each message is acknowledged when the next is requested, the
        last one when the loop ends; then the client logs out as by stopService(). With manual
        acknowledgement the application does that. Whoever leaves the loop early calls stopService()
        itself.
        """
        self._inbox.take_no_more()
        return _Drain(self.receive, self._inbox, self.stopService)

    def consume(
        self,
        callback: Callable[[ReceivedMessage], object],
        *,
        on_error: OnError | None = None,
    ) -> Deferred[None]:
        """Call ``callback`` with each message, one at a time.

        If the callback returns a Deferred or is a coroutine function, the next call waits for it,
        and the message is acknowledged after it. The returned Deferred fires and fails as
        :meth:`messages` ends. Cancel it to stop.

        What the callback raises is logged with the offset of the message. Then, unless ``on_error``
        says otherwise, the message is not acknowledged, the client ends with that error, and so
        does the returned Deferred.

        Args:
            callback: takes a message.
            on_error: is called with the error and the message. If its result is true, the message
                counts as handled, and the next one follows.
        """

        canceled = False

        async def consume() -> None:
            async for message in self.messages():
                try:
                    await maybeDeferred(callback, message)
                except Exception as error:
                    if canceled:
                        raise
                    await self._callback_failed(error, message, on_error)

        def cancel(_: Deferred[None]) -> None:
            nonlocal canceled
            canceled = True
            running.cancel()

        consuming: Deferred[None] = Deferred(cancel)
        running = Deferred.fromCoroutine(consume())
        running.addBoth(_pass_on, consuming)
        return consuming

    async def _callback_failed(
        self, error: Exception, message: ReceivedMessage, on_error: OnError | None
    ) -> None:
        """Log an error of a callback. Raises it unless the next message is to follow."""
        self._log.failure(
            "the callback of consume() failed for the message {offset} from {sender!a}",
            offset=message.offset,
            sender=message.sender,
        )
        if on_error is not None and await maybeDeferred(on_error, error, message):
            return
        self.give_back(message)
        self._fail(error)
        raise error

    def acknowledge(self, message: ReceivedMessage) -> None:
        """Acknowledge this message and all before it, so that they are not delivered again."""
        self._inbox.acknowledge(message.offset)


class _Messages(AsyncIterator[ReceivedMessage]):
    """Iterator behind :meth:`ReceiveMethods.messages`; ends when the application has stopped the
    client.

    Args:
        receive: see ReceiveMethods.
    """

    def __init__(self, receive: Callable[[], Deferred[ReceivedMessage]]) -> None:
        self._receive = receive

    async def __anext__(self) -> ReceivedMessage:
        try:
            return await self._receive()
        except Replaced:
            raise
        except NotConnected:
            # Every other reason to give up is a Refused, which the loop raises.
            raise StopAsyncIteration from None


class _Drain(AsyncIterator[ReceivedMessage]):
    """Iterator behind :meth:`ReceiveMethods.drain`.

    Args:
        receive: see ReceiveMethods.
        inbox: of the client.
        stop: stops the client.
    """

    def __init__(
        self,
        receive: Callable[[], Deferred[ReceivedMessage]],
        inbox: Inbox,
        stop: Callable[[], Deferred[None]],
    ) -> None:
        self._receive = receive
        self._inbox = inbox
        self._stop = stop

    async def __anext__(self) -> ReceivedMessage:
        if not self._inbox:
            self._inbox.acknowledge_taken()
            # In version 1, some may arrive until the connection has ended.
            await self._stop()
        if not self._inbox:
            raise StopAsyncIteration
        return await self._receive()


def _pass_on(result: Any, to: Deferred[None]) -> None:
    if isinstance(result, Failure):
        to.errback(result)
    else:
        to.callback(None)
