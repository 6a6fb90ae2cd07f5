"""Messages on their way to the server: resent until they are answered (clauses S37 to S39)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults
from twisted.python.failure import Failure

from chat_protocol.client.connection import Connection
from chat_protocol.errors import ChatError, NotConnected, TooManyUnsent, UnknownCommand
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Message, Publish, Scope
from chat_protocol.wire.fields import STRING, UINT64

__all__ = ["IN_FLIGHT_LIMIT", "UNSENT_LIMIT", "Outbox", "Outgoing"]

IN_FLIGHT_LIMIT = 1000
"""Messages that may be unanswered at a time: so far back a server knows what it has stored."""

UNSENT_LIMIT = 10_000
"""Messages that may wait to be sent, because others are in flight or there is no connection."""


@dataclass(eq=False, slots=True)
class Outgoing:
    """A message, until the server has answered it."""

    sender: str
    text: str
    scope: int
    to: tuple[str, ...]
    time: int
    publishing_id: int = 0
    """0 until it is sent for the first time, unless the application chose one."""
    stored: Deferred[None] = field(default_factory=Deferred)

    def check(self) -> None:
        """Raise ValueError unless the text and the names can be sent."""
        for text in (self.text, *self.to):
            STRING.encode(text)
        if self.scope == Scope.USERS and not self.to:
            raise ValueError("to: name at least one user")


class Outbox:
    """The queue of what is to be sent, and what is in flight, in the order of sending.

    In version 2 what is in flight outlives the connection and is sent again, under the same
    publishing ids, before anything new. In version 1 it fails with the connection: nobody knows
    then whether it was stored.

    Args:
        in_flight: messages that may be unanswered at a time.
        last_id: the highest publishing id that was used, by an earlier process.
    """

    def __init__(self, in_flight: int, last_id: int) -> None:
        self._limit = min(in_flight, IN_FLIGHT_LIMIT)
        self._unsent: deque[Outgoing] = deque()
        self._in_flight: dict[Outgoing, None] = {}
        self._connection: Connection | None = None
        self._chooses: bool | None = None
        self._chosen = 0
        self.last_id = last_id
        """The highest publishing id in use."""

    def add(self, outgoing: Outgoing) -> Deferred[None]:
        """Send a message as soon as its turn comes; fires when the server has it stored.

        Fails with the server's refusal, with ValueError if it cannot be sent as it is, and with
        TooManyUnsent if UNSENT_LIMIT wait already. A message that is cancelled before it was sent
        never will be; later that takes back nothing.
        """
        try:
            outgoing.check()
            self._check_id(outgoing.publishing_id)
            if len(self._unsent) >= UNSENT_LIMIT:
                raise TooManyUnsent(f"{UNSENT_LIMIT} messages wait to be sent: wait for some first")
        except (ValueError, TooManyUnsent) as error:
            return fail(error)
        self._chooses = bool(outgoing.publishing_id)
        self._chosen = outgoing.publishing_id
        outgoing.stored = Deferred(lambda _: self._cancelled(outgoing))
        self._unsent.append(outgoing)
        self._send()
        return outgoing.stored

    def online(self, connection: Connection, last_stored: int) -> None:
        """Logged in: send again what is unanswered, then what waits.

        Args:
            connection: that has a session.
            last_stored: the highest publishing id that the server knows of this user.
        """
        self._connection = connection
        self.last_id = max(self.last_id, last_stored)
        again = list(self._in_flight)
        for outgoing in again:
            if connection.version == 1:
                self._end(outgoing, _unknown(NotConnected("the server is another one")))
            else:
                self._transmit(outgoing)
        self._send()

    def offline(self) -> None:
        """The connection is gone."""
        self._connection = None

    def fail(self, error: Callable[[], ChatError]) -> None:
        """Nothing will be sent any more: everything fails, in its order."""
        self._connection = None
        for outgoing in [*self._in_flight, *self._unsent]:
            self._end(outgoing, error())
        self._unsent.clear()

    def _check_id(self, publishing_id: int) -> None:
        if self._chooses not in (None, bool(publishing_id)):
            raise ValueError("publishing_id: give one for each message of a client, or for none")
        if publishing_id:
            UINT64.encode(publishing_id)
            if publishing_id <= self._chosen:
                raise ValueError(f"publishing_id: {publishing_id} is not above {self._chosen}")

    def _send(self) -> None:
        while self._unsent and len(self._in_flight) < self._limit and self._may_send:
            outgoing = self._unsent.popleft()
            if not outgoing.publishing_id:
                outgoing.publishing_id = self.last_id + 1
            self.last_id = max(self.last_id, outgoing.publishing_id)
            self._in_flight[outgoing] = None
            self._transmit(outgoing)

    @property
    def _may_send(self) -> bool:
        return self._connection is not None and self._connection.is_open

    def _transmit(self, outgoing: Outgoing) -> None:
        connection = self._connection
        assert connection is not None
        if connection.version == 1:
            answered = self._transmit_1(connection, outgoing)
        else:
            publish = Publish(
                outgoing.publishing_id, outgoing.text, outgoing.scope, outgoing.to, outgoing.time
            )
            answered = connection.request(publish, patient=True).addCallback(_check)
        answered.addBoth(self._answered, outgoing, connection.version)

    @staticmethod
    def _transmit_1(connection: Connection, outgoing: Outgoing) -> Deferred[Any]:
        """Version 1 knows one recipient a message: several get one each."""
        if outgoing.scope == Scope.EVERYONE:
            return fail(
                UnknownCommand("the server speaks version 1, which cannot send to everyone")
            )
        answers = [
            connection.request(
                Message(outgoing.text, outgoing.sender, to, outgoing.time)
            ).addCallback(_check)
            for to in dict.fromkeys(outgoing.to)
        ]
        return gatherResults(answers, consumeErrors=True).addErrback(_first_error)

    def _answered(self, result: object, outgoing: Outgoing, version: int) -> None:
        error = result.value if isinstance(result, Failure) else None
        if isinstance(error, NotConnected):
            if version > 1:
                # It is sent again when there is a connection.
                return
            error = _unknown(error)
        self._end(outgoing, error)
        self._send()

    def _end(self, outgoing: Outgoing, error: BaseException | None) -> None:
        self._in_flight.pop(outgoing, None)
        stored = outgoing.stored
        if stored.called:
            return
        if error is None:
            stored.callback(None)
        else:
            stored.errback(error)

    def _cancelled(self, outgoing: Outgoing) -> None:
        if outgoing in self._unsent:
            self._unsent.remove(outgoing)


def _check(answer: Any) -> None:
    if answer.code != Code.OK:
        raise Connection.refusal(answer)


def _first_error(failure: Failure) -> Failure:
    error = failure.value
    assert isinstance(error, FirstError)
    return error.subFailure


def _unknown(reason: NotConnected) -> NotConnected:
    error = NotConnected(f"{reason}; whether the message was stored is not known")
    error.__cause__ = reason.__cause__
    return error
