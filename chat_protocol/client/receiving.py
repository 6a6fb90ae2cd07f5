"""How the application takes what has come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from twisted.internet.defer import Deferred, maybeDeferred

from chat_protocol.client.connection import Connection
from chat_protocol.client.inbox import Inbox
from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.errors import NotConnected, Replaced

__all__ = ["Receiving"]


class Receiving:
    """A part of ChatClient: messages one by one, in a loop or in a callback.

    One taker at a time, unless acknowledging is by hand: who asks for the next message
    acknowledges the one before, whoever has taken that.
    """

    _connection: Connection | None
    _inbox: Inbox

    def receive(self) -> Deferred[ReceivedMessage]:
        """The next message in the order of arrival.

        Fires at once if one is there. Fails with NotConnected when the client has stopped and all
        messages are taken. Unless acknowledging is by hand, this acknowledges the message before.
        """
        message = self._inbox.take()
        if self._connection is not None:
            self._connection.regulate()
        return message

    def messages(self) -> AsyncIterator[ReceivedMessage]:
        """The messages as they arrive, for ``async for``, each as :meth:`receive` gives it.

        The loop ends after stopService(), when the messages that had arrived are taken; the
        reason comes out of it when the client gave up. Leaving the loop loses nothing: the next
        one goes on from there. The last message is acknowledged when that happens, or by
        :meth:`acknowledge`.
        """
        return _Messages(self.receive)

    def consume(self, callback: Callable[[ReceivedMessage], object]) -> Deferred[None]:
        """Call ``callback`` with each message, one after the other.

        If it returns a Deferred or is a coroutine function, the next call waits for it, and the
        message is acknowledged after it. Fires and fails as :meth:`messages` ends, and fails with
        what the callback raises: that message is not acknowledged. Cancel to stop.
        """

        async def consuming() -> None:
            async for message in self.messages():
                await maybeDeferred(callback, message)

        return Deferred.fromCoroutine(consuming())

    def acknowledge(self, message: ReceivedMessage) -> None:
        """This message and all before it are taken for good: they need not come again."""
        self._inbox.acknowledge(message.offset)


class _Messages(AsyncIterator[ReceivedMessage]):
    """Received messages for ``async for``, until the application has stopped the client.

    Args:
        receive: see Receiving.
    """

    def __init__(self, receive: Callable[[], Deferred[ReceivedMessage]]) -> None:
        self._receive = receive

    async def __anext__(self) -> ReceivedMessage:
        try:
            return await self._receive()
        except Replaced:
            raise
        except NotConnected:
            # Whatever else makes a client give up is a refusal.
            raise StopAsyncIteration from None
