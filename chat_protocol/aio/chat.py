"""A client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import Deferred

from chat_protocol.aio.waiting import next_of, result_of
from chat_protocol.client.events import Observer
from chat_protocol.client.messages import ReceivedMessage, ResumeState, UserInfo
from chat_protocol.client.service import ChatClient
from chat_protocol.client.state import State
from chat_protocol.errors import NotConnected, Replaced

__all__ = ["Chat"]


class Chat:
    """A user who is logged in; :func:`chat_protocol.aio.connect` makes one.

    It is :class:`chat_protocol.client.ChatClient` for asyncio, with the same guarantees and errors.
    It reconnects by itself. Calls wait while there is no connection; they fail with NotConnected
    when the chat is closed. Limit the waiting with ``asyncio.timeout`` or ``asyncio.wait_for``.

    Use it in the event loop that made it only.

    Args:
        client: the client, which is started already.
        acknowledge: whether messages are acknowledged automatically.
    """

    def __init__(self, client: ChatClient, acknowledge: bool) -> None:
        self._client = client
        self._acknowledges = acknowledge
        self._receiving = asyncio.Lock()
        self._last: ReceivedMessage | None = None

    @property
    def username(self) -> str:
        """The user's name."""
        return self._client.username

    @property
    def state(self) -> State:
        """The current state."""
        return self._client.state

    @property
    def version(self) -> int | None:
        """The protocol version in use; None while not logged in."""
        return self._client.version

    @property
    def resume_state(self) -> ResumeState:
        """The state to save for the next process; see ChatClient.resume_state."""
        return self._client.resume_state

    def show(self, token: str) -> None:
        """Show this token at the next login; see ResumeState."""
        self._client.show(token)

    def add_observer(self, observer: Observer) -> None:
        """Call ``observer`` with each later :data:`chat_protocol.client.Event`, in the loop."""
        self._client.add_observer(observer)

    def remove_observer(self, observer: Observer) -> None:
        """Stop calling ``observer``."""
        self._client.remove_observer(observer)

    async def when_online(self) -> None:
        """Return when the user is logged in, at once if already so.

        Raises:
            Refused: the server refused the login for good.
            NotConnected: the chat is closed.
        """
        await result_of(self._client.when_online())

    # Sending.

    async def send(self, to: str | Sequence[str], text: str, *, publishing_id: int = 0) -> None:
        """Send a text to one or several users, online or not; return when the server has stored it.

        Delivery is all or nothing: if one recipient is refused, nobody gets the message. Messages
        are stored in the order of the calls. If the call is canceled while the message waits for
        its turn, the message is not sent. If it is canceled later, the message may be stored.

        Args:
            to: a name, or several.
            text: at most 65,535 bytes of UTF-8.
            publishing_id: see ChatClient.send.

        Raises:
            Refused: the server refused it; UserNotFound and MailboxFull, for example.
            ValueError: the text or a name is too long.
            TooManyUnsent: 10,000 messages are waiting.
            NotConnected: the chat is closed; or, in version 1, the connection was lost, and the
                message may be stored.
        """
        await result_of(self._client.send(to, text, publishing_id=publishing_id))

    async def send_to_all(self, text: str, *, publishing_id: int = 0) -> None:
        """Send a text to every registered user; see :meth:`send`.

        Raises:
            UnknownCommand: the server speaks version 1.
        """
        await result_of(self._client.send_to_all(text, publishing_id=publishing_id))

    async def send_many(
        self, messages: Iterable[tuple[str | Sequence[str], str]]
    ) -> list[Exception | None]:
        """Send several messages, each a pair of recipients and text, in this order.

        Returns:
            When each is stored or has failed, what :meth:`send` would have raised for each of them;
            None: it is stored.
        """
        return await result_of(self._client.send_many(messages))

    # Receiving.

    async def receive(self) -> ReceivedMessage:
        """Return the next message, in order of arrival, each once.

        This acknowledges the previous message, unless acknowledgement is manual. A call that is
        canceled or times out loses no message: the next call returns it.

        Raises:
            NotConnected: the chat is closed, and all messages are taken.
            Replaced: another process has taken over the session.
        """
        async with self._receiving:
            message = await result_of(self._client.receive(), self.give_back)
            self._last = message
            return message.replied_by(self.send)

    @asynccontextmanager
    async def next(self) -> AsyncIterator[ReceivedMessage]:
        """Receive a message in ``async with``, and acknowledge it at the end of the block.

        If the block raises or is canceled, the message is not acknowledged, and the next call
        returns it again.
        """
        message = await self.receive()
        try:
            yield message
        except BaseException:
            self.give_back(message)
            raise
        self.acknowledge(message)

    def __aiter__(self) -> AsyncIterator[ReceivedMessage]:
        """Iterate over messages, each as :meth:`receive` returns it.

        The loop ends when the chat is closed elsewhere and all messages are taken. Leaving the loop
        loses nothing: the next loop continues from there.
        """
        return self

    async def __anext__(self) -> ReceivedMessage:
        try:
            return await self.receive()
        except Replaced:
            raise
        except NotConnected:
            raise StopAsyncIteration from None

    async def drain(self) -> AsyncIterator[ReceivedMessage]:
        """Iterate over the messages that have arrived, and close the chat behind the last one.

        The chat takes no more messages from then on: the server keeps them. Each message is
        acknowledged when the next is requested, the last one when the loop ends, unless
        acknowledgement is manual.
        """
        messages = self._client.drain()
        while message := await result_of(Deferred.fromCoroutine(next_of(messages))):
            yield message.replied_by(self.send)

    def acknowledge(self, message: ReceivedMessage) -> None:
        """Acknowledge this message and all before it, so that they are not delivered again."""
        self._client.acknowledge(message)

    def give_back(self, message: ReceivedMessage) -> None:
        """Have the next call of :meth:`receive` return a message again.

        It must be the last one that was received, and not acknowledged yet.
        """
        self._client.give_back(message)
        self._last = None

    # Asking.

    async def users(self, after: str = "", limit: int = 0) -> list[UserInfo]:
        """Return users in the order of their UTF-8 names; see ChatClient.users.

        Args:
            after: return only users whose names sort after this one; empty: from the beginning.
            limit: maximum number of users; 0: the server's default.

        Raises:
            UnknownCommand: the server speaks version 1.
        """
        return await result_of(self._client.users(after, limit))

    async def history(
        self, with_: str = "", before: int = 0, limit: int = 0
    ) -> list[ReceivedMessage]:
        """Return the newest messages between this user and another, oldest first.

        Args:
            with_: the other user; empty: all messages of this user.
            before: return only messages with a lower offset, for the page before; 0: no bound.
            limit: maximum number of messages; 0: the server's default.

        Raises:
            UserNotFound: nobody has that name.
            UnknownCommand: the server speaks version 1.
        """
        messages = await result_of(self._client.history(with_, before, limit))
        return [message.replied_by(self.send) for message in messages]

    async def user_pages(self, after: str = "", limit: int = 0) -> AsyncIterator[list[UserInfo]]:
        """Iterate over all users, a list at a time; see :meth:`users`."""
        while users := await self.users(after, limit):
            yield users
            after = users[-1].name

    async def history_pages(
        self, with_: str = "", before: int = 0, limit: int = 0
    ) -> AsyncIterator[list[ReceivedMessage]]:
        """Iterate over the history, a list at a time, the newest list first; see :meth:`history`.

        The messages of a list are in order, oldest first.
        """
        while messages := await self.history(with_, before, limit):
            yield messages
            before = messages[0].offset

    async def request(self, command: Any) -> Any:
        """Send any declared command that a client may send; see ChatClient.request."""
        return await result_of(self._client.request(command))

    # The end.

    async def aclose(self) -> None:
        """Acknowledge the last message that was taken, and :meth:`abandon` the rest."""
        if self._acknowledges and self._last is not None:
            self.acknowledge(self._last)
        await self.abandon()

    async def abandon(self) -> None:
        """Log out and close the connection, and acknowledge nothing.

        This takes at most 5 s. Calls that wait fail with NotConnected.
        """
        await result_of(self._client.stopService())
