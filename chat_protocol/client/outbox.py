"""Messages on their way to the server: resent until they are answered (clauses S37 to S39)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults
from twisted.python.failure import Failure

from chat_protocol.client.connection import Connection, check_length
from chat_protocol.client.waiters import Ending
from chat_protocol.errors import ChatError, NotConnected, TooManyUnsent, Unavailable, UnknownCommand
from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Message, Publish, Scope

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
    uncertain: bool = False
    """It was sent on a connection that is gone, and is stored, as far as can be told."""
    stored: Deferred[None] = field(default_factory=Deferred)

    def check(self) -> None:
        """Raise ValueError unless the text and the names can be sent, in one frame."""
        if self.scope == Scope.USERS and not self.to:
            raise ValueError("to: name at least one user")
        # A longer one would end each connection that it is sent on.
        check_length(encode(self.publish()))

    def publish(self) -> Publish:
        """The command of version 2."""
        return Publish(self.publishing_id, self.text, self.scope, self.to, self.time)


class Outbox:
    """The queue of what is to be sent, and what is in flight, in the order of sending.

    In version 2 what is in flight outlives the connection and is sent again, under the same
    publishing ids, before anything new. If the store is Unavailable then for one that seems to be
    stored, it is sent once more, on another connection, until that is certain. In version 1 it
    fails with the connection: nobody knows then whether it was stored.

    Args:
        in_flight: messages that may be unanswered at a time.
        last_id: the highest publishing id that was used, by an earlier process.
    """

    def __init__(self, in_flight: int, last_id: int) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight: {in_flight} is less than 1")
        self._limit = min(in_flight, IN_FLIGHT_LIMIT)
        self._unsent: deque[Outgoing] = deque()
        self._in_flight: dict[Outgoing, None] = {}
        self._connection: Connection | None = None
        self._chooses: bool | None = None
        self._chosen = 0
        self._sending = False
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
        self.last_id = max(self.last_id, outgoing.publishing_id)
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
        self.last_id = max(self.last_id, last_stored)
        # Nothing new is sent before all that is in flight, whatever the application does now.
        for outgoing in list(self._in_flight):
            if connection.version == 1:
                self._end(outgoing, _unknown(NotConnected("the server is another one")))
            else:
                # One above what the server has is not stored: it can still be refused.
                outgoing.uncertain = outgoing.publishing_id <= last_stored
                self._transmit(connection, outgoing)
        self._connection = connection
        self._send()

    def offline(self) -> None:
        """The connection is gone."""
        self._connection = None

    def give_up(self, error: Callable[[], ChatError]) -> list[Ending]:
        """Nothing will be sent any more: who waits, in their order, and what is to be told them."""
        self._connection = None
        in_flight, self._in_flight = self._in_flight, {}
        unsent, self._unsent = self._unsent, deque()
        ending: list[Ending] = [(one.stored, _unknown(error())) for one in in_flight]
        return ending + [(one.stored, error()) for one in unsent]

    def _check_id(self, publishing_id: int) -> None:
        if self._chooses not in (None, bool(publishing_id)):
            raise ValueError("publishing_id: give one for each message of a client, or for none")
        if 0 < publishing_id <= self._chosen:
            raise ValueError(f"publishing_id: {publishing_id} is not above {self._chosen}")

    def _send(self) -> None:
        if self._sending:
            # A message that fails at once: its turn goes to the next one in the loop below.
            return
        self._sending = True
        try:
            while (connection := self._connection) and connection.is_open:
                if not self._unsent or len(self._in_flight) >= self._limit:
                    break
                outgoing = self._unsent.popleft()
                if not outgoing.publishing_id:
                    self.last_id += 1
                    outgoing.publishing_id = self.last_id
                self._in_flight[outgoing] = None
                self._transmit(connection, outgoing)
        finally:
            self._sending = False

    def _transmit(self, connection: Connection, outgoing: Outgoing) -> None:
        if connection.version == 1:
            answered = self._transmit_1(connection, outgoing)
        else:
            answered = connection.request(outgoing.publish(), patient=True).addCallback(_check)
        answered.addBoth(self._answered, outgoing, connection)

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

    def _answered(self, result: object, outgoing: Outgoing, connection: Connection) -> None:
        error = result.value if isinstance(result, Failure) else None
        if isinstance(error, NotConnected):
            if connection.version > 1:
                # It is sent again when there is a connection.
                return
            error = _unknown(error)
        elif outgoing.uncertain and isinstance(error, Unavailable):
            # With the next connection, and so after a while, and in front of what is newer.
            connection.abort(f"what became of a message is not known: {error}")
            return
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


def _unknown(reason: ChatError) -> ChatError:
    if not isinstance(reason, NotConnected):
        return reason
    error = type(reason)(f"{reason}; whether the message was stored is not known")
    error.__cause__ = reason.__cause__
    return error
