"""The methods by which an application receives messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from twisted.internet.defer import Deferred, maybeDeferred

from chat_protocol.client.connection import Connection
from chat_protocol.client.inbox import Inbox
from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.errors import NotConnected, Replaced

__all__ = ["ReceiveMethods"]


class ReceiveMethods:
    """The receiving methods of ChatClient: one message, a loop, or a callback.

    Use one of them at a time unless acknowledgement is manual: asking for the next message
    acknowledges the previous one, whichever method returned it.
    """

    _connection: Connection | None
    _inbox: Inbox

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

    def messages(self) -> AsyncIterator[ReceivedMessage]:
        """Iterate over messages with ``async for``, each as :meth:`receive` returns it.

        The loop ends after stopService(), when all received messages are taken. If the client gave
        up, the loop raises the reason. Leaving the loop loses nothing: the next loop continues from
        there. The last message is acknowledged by that next loop or by :meth:`acknowledge`.
        """
        return _Messages(self.receive)

    def consume(self, callback: Callable[[ReceivedMessage], object]) -> Deferred[None]:
        """Call ``callback`` with each message, one at a time.

        If the callback returns a Deferred or is a coroutine function, the next call waits for it,
        and the message is acknowledged after it. The returned Deferred fires and fails as
        :meth:`messages` ends. It also fails with what the callback raises; that message is not
        acknowledged. Cancel it to stop.
        """

        async def consuming() -> None:
            async for message in self.messages():
                await maybeDeferred(callback, message)

        return Deferred.fromCoroutine(consuming())

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
