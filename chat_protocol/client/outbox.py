"""Outgoing messages, sent again until the server has answered them (clauses S37 to S39)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults
from twisted.python.failure import Failure

from chat_protocol.client.connection import Connection, check_length
from chat_protocol.client.waiters import PendingFailure
from chat_protocol.domain.admission import MAX_PUBLISHING_ID
from chat_protocol.errors import (
    Malformed,
    NotConnected,
    OutOfOrder,
    TooManyUnsent,
    Unavailable,
    UnknownCommand,
)
from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Message, Publish, Scope

__all__ = ["IN_FLIGHT_LIMIT", "MAX_DISTANCE", "UNSENT_LIMIT", "Outbox", "OutgoingMessage"]

IN_FLIGHT_LIMIT = 1000
"""Maximum number of unacknowledged messages. A server deduplicates over at least this many."""

MAX_DISTANCE = 2**32
"""Maximum distance of the first publishing id of a process from the highest one stored."""

UNSENT_LIMIT = 10_000
"""Maximum number of messages waiting to be sent."""


_NO_ID_LEFT = (
    "no publishing id is left for this user: the server has stored the highest one, 2^63 - 1. Send"
    " under another name"
)


@dataclass(eq=False, slots=True)
class OutgoingMessage:
    """A message that the server has not answered yet."""

    sender: str
    text: str
    scope: int
    to: tuple[str, ...]
    time: int
    publishing_id: int = 0
    """0 until the message is first sent, unless the application chose an id."""
    may_be_stored: bool = False
    """Whether the server reported an id at least this high as stored, after the connection was
    lost."""
    stored: Deferred[None] = field(default_factory=Deferred)

    def check(self) -> None:
        """Raise ValueError unless the text and the names fit into one frame."""
        if self.scope == Scope.USERS and not self.to:
            raise ValueError("to must name at least one user")
        # The server would close every connection that sends a longer frame.
        check_length(encode(self.publish()))

    def publish(self) -> Publish:
        """Return the version 2 command for this message."""
        return Publish(self.publishing_id, self.text, self.scope, self.to, self.time)


class Outbox:
    """The queue of unsent messages, and the messages in flight in the order of sending.

    In version 2, messages in flight survive the connection. They are sent again under the same
    publishing ids, before any new message. If the server answers Unavailable to a message that may
    already be stored, the outbox reconnects and sends it again until the outcome is certain. In
    version 1, messages in flight fail with the connection, because their outcome is unknown.

    Args:
        in_flight: maximum number of unacknowledged messages.
        last_id: highest publishing id that an earlier process used; 0: it is not known. Then the
            first id is at a random distance above the highest that is stored, so that two processes
            that share a device by mistake do not take each other's ids.
        random: chooses that distance.
    """

    def __init__(self, in_flight: int, last_id: int, random: Random) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, not {in_flight}")
        self._limit = min(in_flight, IN_FLIGHT_LIMIT)
        self._unsent: deque[OutgoingMessage] = deque()
        self._in_flight: dict[OutgoingMessage, None] = {}
        self._connection: Connection | None = None
        self._application_ids: bool | None = None
        self._last_application_id = 0
        self._sending = False
        self._distance = 0 if last_id else random.randrange(MAX_DISTANCE)
        self.last_id = last_id
        """The highest publishing id in use."""

    def add(self, outgoing: OutgoingMessage) -> Deferred[None]:
        """Queue a message; the Deferred fires when the server has stored it.

        It fails with the server's refusal, with ValueError if the message cannot be sent, and with
        TooManyUnsent if UNSENT_LIMIT messages are queued. Canceling it before the message is sent
        removes the message; later it only stops the waiting.
        """
        try:
            outgoing.check()
            self._check_id(outgoing.publishing_id)
            if len(self._unsent) >= UNSENT_LIMIT:
                raise TooManyUnsent(
                    f"{UNSENT_LIMIT} messages are waiting to be sent already; "
                    "wait until some are stored"
                )
        except (ValueError, TooManyUnsent) as error:
            return fail(error)
        self._application_ids = bool(outgoing.publishing_id)
        self._last_application_id = outgoing.publishing_id
        self.last_id = max(self.last_id, outgoing.publishing_id)
        outgoing.stored = Deferred(lambda _: self._cancelled(outgoing))
        self._unsent.append(outgoing)
        self._send()
        return outgoing.stored

    def online(self, connection: Connection, last_stored: int, resumed: bool) -> None:
        """Send the messages in flight again after a login, then those in the queue.

        Args:
            connection: the connection that has logged in.
            last_stored: highest publishing id that the server has stored for this device.
            resumed: whether the server knew the device. If not, it does not know either which of
                the messages in flight are stored, so they fail.
        """
        distance = min(self._distance, (MAX_PUBLISHING_ID - last_stored) // 2)
        self.last_id = max(self.last_id, last_stored + max(0, distance))
        self._distance = 0
        # Set the connection last: a callback must not send a new message before those in flight.
        for outgoing in list(self._in_flight):
            if connection.version == 1:
                self._finish(
                    outgoing, _outcome_unknown(NotConnected("the server now speaks version 1"))
                )
            elif not resumed:
                self._finish(
                    outgoing,
                    _outcome_unknown(NotConnected("the server no longer knows this device")),
                )
            else:
                # The server has not stored an id above its highest, so a refusal of it is certain.
                outgoing.may_be_stored = outgoing.publishing_id <= last_stored
                self._transmit(connection, outgoing)
        self._connection = connection
        self._send()

    def offline(self) -> None:
        """Stop sending, because the connection has ended."""
        self._connection = None

    def fail_all(self, error: Callable[[], Exception]) -> list[PendingFailure]:
        """Remove all messages and return their Deferreds, in order, with their errors."""
        self._connection = None
        in_flight, self._in_flight = self._in_flight, {}
        unsent, self._unsent = self._unsent, deque()
        failures: list[PendingFailure] = [
            (message.stored, _outcome_unknown(error())) for message in in_flight
        ]
        return failures + [(message.stored, error()) for message in unsent]

    def _check_id(self, publishing_id: int) -> None:
        if self._application_ids not in (None, bool(publishing_id)):
            raise ValueError("publishing_id: pass one with every message of a client or with none")
        if not 0 <= publishing_id <= MAX_PUBLISHING_ID:
            raise ValueError(f"publishing_id must be from 0 to 2^63 - 1, not {publishing_id}")
        if 0 < publishing_id <= self._last_application_id:
            raise ValueError(
                f"publishing_id must grow: {publishing_id} is not above {self._last_application_id}"
            )

    def _send(self) -> None:
        if self._sending:
            # Called for a message that failed at once; the loop below continues with the next.
            return
        self._sending = True
        try:
            while (connection := self._connection) and connection.is_open:
                if not self._unsent or len(self._in_flight) >= self._limit:
                    break
                outgoing = self._unsent.popleft()
                if not outgoing.publishing_id:
                    if self.last_id >= MAX_PUBLISHING_ID and connection.version > 1:
                        self._finish(outgoing, Malformed(_NO_ID_LEFT))
                        continue
                    self.last_id += 1
                    outgoing.publishing_id = self.last_id
                self._in_flight[outgoing] = None
                self._transmit(connection, outgoing)
        finally:
            self._sending = False

    def _transmit(self, connection: Connection, outgoing: OutgoingMessage) -> None:
        if connection.version == 1:
            answered = self._transmit_version_1(connection, outgoing)
        else:
            answered = connection.request(outgoing.publish(), no_timeout=True).addCallback(
                _raise_refusal
            )
        answered.addBoth(self._answered, outgoing, connection)

    @staticmethod
    def _transmit_version_1(connection: Connection, outgoing: OutgoingMessage) -> Deferred[Any]:
        """Send one Message to each recipient, because version 1 allows only one."""
        if outgoing.scope == Scope.EVERYONE:
            return fail(
                UnknownCommand("the server speaks version 1, which cannot send to everyone")
            )
        answers = [
            connection.request(
                Message(outgoing.text, outgoing.sender, to, outgoing.time)
            ).addCallback(_raise_refusal)
            for to in dict.fromkeys(outgoing.to)
        ]
        return gatherResults(answers, consumeErrors=True).addErrback(_first_error)

    def _answered(self, result: object, outgoing: OutgoingMessage, connection: Connection) -> None:
        error = result.value if isinstance(result, Failure) else None
        if isinstance(error, NotConnected):
            if connection.version > 1:
                # Sent again over the next connection.
                return
            error = _outcome_unknown(error)
        elif outgoing.may_be_stored and isinstance(error, Unavailable):
            # Retry over the next connection: after a delay, and ahead of newer messages.
            connection.abort(f"the server could not confirm that a message was stored: {error}")
            return
        self._finish(outgoing, error)
        self._send()

    def _finish(self, outgoing: OutgoingMessage, error: BaseException | None) -> None:
        self._in_flight.pop(outgoing, None)
        stored = outgoing.stored
        if stored.called:
            return
        if error is None:
            stored.callback(None)
        else:
            stored.errback(error)

    def _cancelled(self, outgoing: OutgoingMessage) -> None:
        if outgoing in self._unsent:
            self._unsent.remove(outgoing)


def _raise_refusal(answer: Any) -> None:
    if answer.code == Code.OUT_OF_ORDER:
        detail = getattr(answer, "detail", "")
        why = detail or "a later message is stored already, and this one was not stored"
        error = OutOfOrder(f"{why}; sent again, this message would be behind later ones")
        error.detail = detail
        raise error
    if answer.code != Code.OK:
        raise Connection.refusal(answer)


def _first_error(failure: Failure) -> Failure:
    error = failure.value
    assert isinstance(error, FirstError)
    return error.subFailure


def _outcome_unknown(reason: Exception) -> Exception:
    if not isinstance(reason, NotConnected):
        return reason
    error = type(reason)(f"{reason}; the message may or may not have been stored")
    error.__cause__ = reason.__cause__
    return error
