"""The protocol of version 1 for a Twisted client of a few lines, without reconnects."""

from __future__ import annotations

import sys
import time
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chat_protocol.client.connection import Connection
from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.client.requests import DEFAULT_TIMEOUT
from chat_protocol.domain.structural import ReactorTime
from chat_protocol.errors import FrameLengthError, NotConnected
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Message

__all__ = ["Version1Client"]


class Version1Client(Connection):
    """One connection in version 1, which all servers of the protocol speak.

    ::

        class Printer(Version1Client):
            def message_received(self, message):
                print(f"{message.sender}: {message.text}")

        client = await connectProtocol(endpoint, Printer(reactor))
        await client.join("alice")
        await client.say("bob", "hello")

    Answers are matched to their requests. What is unanswered when the connection ends fails with
    NotConnected, and may have been stored or not. ChatClient reconnects, and does more.

    Args:
        reactor: times the waiting for answers.
        timeout: seconds that a request waits for its answer.
    """

    def __init__(
        self, reactor: IReactorTime | ReactorTime, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        super().__init__(_Events(self), cast(IReactorTime, reactor), timeout)
        self.username = ""
        """The name that is logged in; empty before."""

    def join(self, username: str) -> Deferred[None]:
        """Log in. Waiting messages arrive behind the answer.

        Fails with UserAlreadyLogged, and with other subclasses of Refused; NotConnected;
        RequestTimeout.
        """
        return Deferred.fromCoroutine(self._join(username))

    async def _join(self, username: str) -> None:
        await self.log_in(username, None)
        self.username = username

    def say(self, to: str, text: str) -> Deferred[None]:
        """Send a text to a user. Fires when the server has answered OK; see :meth:`join`."""
        message = Message(text, self.username, to, time.time_ns())
        return self.request(message).addCallback(_check)

    def message_received(self, message: ReceivedMessage) -> None:
        """Override to take a message. The server counts it as delivered."""

    def connection_ended(self, reason: NotConnected) -> None:
        """Override to note the end of the connection."""


class _Events:
    """The Owner of a connection; passes on what an application wants to know."""

    def __init__(self, client: Version1Client) -> None:
        self._client = client

    def connected(self, connection: Connection) -> None:
        """Wait for join()."""

    def pushed(self, connection: Connection, command: Any, size: int) -> None:
        if isinstance(command, Message):
            message = ReceivedMessage.of(command, self._client.username)
            self._client.message_received(message.replied_by(self._client.say))

    def cannot_read(self, error: FrameLengthError) -> None:
        """Wait for the end of the connection."""

    def lost(self, connection: Connection, reason: NotConnected) -> None:
        self._client.connection_ended(reason)

    def unread(self) -> tuple[int, int]:
        return 0, sys.maxsize


def _check(answer: Any) -> None:
    if answer.code != Code.OK:
        raise Connection.refusal(answer)
