"""From a payload to the handler of its command, and from what the handler says to a code.

The one place where exceptions become codes: :meth:`Dispatcher.dispatch`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.errors import NotLoggedIn, RateLimited, Refused, UnknownCommand
from chat_protocol.wire.codec import (
    HIGHEST_VERSION,
    MIN_FRAME,
    declaration_of,
    decode_header,
    encode,
    encode_answers,
)
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    REGISTRY,
    Ack,
    Close,
    Heartbeat,
    Login2,
    Response,
    Response2,
)
from chat_protocol.wire.schema import Declaration, Needs, Sender

if TYPE_CHECKING:
    from chat_protocol.server.connection import ChatProtocol

__all__ = ["Dispatcher", "Outcome", "Request", "handles"]

Outcome: TypeAlias = "Code | Any | Deferred[Any] | None"
"""What a handler returns: the code of the answer, or the declared answer itself, now or later;
None if it sees to it itself."""

Handler: TypeAlias = "Callable[[Any, ChatProtocol, Any, Request], Outcome]"
H = TypeVar("H", bound=Handler)


MAX_DETAIL = 500
"""Characters of the longest detail of an answer."""

_IGNORED = (Response, Response2)
"""Were they answered, two programs could answer each other for ever."""


_UNREFUSED = (Ack, Close, Heartbeat, Login2)
"""Never refused for being too many; where they are, the connection is read more slowly."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an answer has to know of its request."""

    correlation_id: bytes
    """Four bytes, as they stood there."""
    version: int
    """In which it is to be answered."""
    answer: type[Any] | None
    """The declared answer; None: a Response."""

    def encode(self, outcome: Any, detail: str = "") -> bytes:
        """The frame of the answer."""
        detail = detail[:MAX_DETAIL]
        if not isinstance(outcome, Code):
            return encode(outcome, int.from_bytes(self.correlation_id, "big"))
        if self.answer is not None:
            return self.encode(self.answer(outcome, detail))
        return encode_answers(outcome, [self.correlation_id], self.version, detail)


def handles(command: type[Any]) -> Callable[[H], H]:
    """Make a method of the factory the handler of a command.

    It is called with the connection, the command and the Request, when the preconditions of the
    declaration hold. It may raise Refused.
    """

    def mark(handler: H) -> H:
        handler.handled_command = command  # type: ignore[attr-defined]
        return handler

    return mark


class Dispatcher:
    """The handlers of a factory, by command.

    Args:
        factory: its methods marked with :func:`handles` are found here.

    Raises:
        TypeError: a command that clients send has no handler, or two.
    """

    log = Logger()

    def __init__(self, factory: Any) -> None:
        found: dict[type[Any], Callable[[ChatProtocol, Any, Request], Outcome]] = {}
        for name in dir(type(factory)):
            command = getattr(getattr(type(factory), name, None), "handled_command", None)
            if command is not None:
                if command in found:
                    raise TypeError(f"{command.__name__} has two handlers")
                found[command] = getattr(factory, name)
        self._handlers = {}
        for declared in REGISTRY:
            if Sender.CLIENT in declared.sender:
                if declared.command not in found:
                    raise TypeError(f"{declared.command.__name__} has no handler")
                self._handlers[declared.command] = found[declared.command]

    def dispatch(self, connection: ChatProtocol, payload: bytes) -> None:
        """Handle one payload of at least MIN_FRAME bytes; each but a Response gets one answer."""
        header = decode_header(payload)
        version = min(max(header.version, 1), HIGHEST_VERSION)
        request = Request(payload[3:7], version, None)
        try:
            declared = declaration_of(header)
            if declared.command in _IGNORED:
                return
            handler = self._handlers.get(declared.command)
            if handler is None:
                raise UnknownCommand(f"only servers send {declared.command.__name__}")
            request = Request(payload[3:7], version, declared.answer)
            self._check(declared, connection, version)
            command = declared.decode(payload, MIN_FRAME)
            outcome = handler(connection, command, request)
        except Exception:
            self._failed(Failure(), connection, request)  # type: ignore[no-untyped-call]
        else:
            if isinstance(outcome, Deferred):
                self._answer_later(declared, outcome, connection, request)
            elif outcome is not None:
                connection.answer(request.encode(outcome))

    def _answer_later(
        self,
        declared: Declaration,
        outcome: Deferred[Any],
        connection: ChatProtocol,
        request: Request,
    ) -> None:
        connection.unanswered.add(outcome)
        if declared.exclusive:
            connection.hold(outcome)
        outcome.addCallback(request.encode)
        outcome.addCallbacks(connection.answer, self._failed, errbackArgs=(connection, request))
        outcome.addBoth(self._answered, outcome, connection)

    def _answered(self, result: object, outcome: Deferred[Any], connection: ChatProtocol) -> None:
        if isinstance(result, Failure):
            self.log.failure("An answer to {peer} failed", result, peer=connection.peer)
        connection.unanswered.discard(outcome)
        connection.release(outcome)

    def _check(self, declared: Declaration, connection: ChatProtocol, version: int) -> None:
        if declared.needs is Needs.LOGIN and connection.session is None:
            raise NotLoggedIn(f"{declared.command.__name__} needs a login")
        if connection.budget < 1 and version > 1 and declared.command not in _UNREFUSED:
            connection.factory.fairness.admit(connection)

    def _failed(self, failure: Failure, connection: ChatProtocol, request: Request) -> None:
        error = failure.value
        if isinstance(error, Refused):
            if isinstance(error, RateLimited) and error.limit:
                connection.factory.fairness.met(
                    error.limit, connection, "refused, {why}", why=error.detail
                )
            connection.refused(error.code, 1, error.detail)
            connection.answer(request.encode(error.code, error.detail))
        elif not isinstance(error, CancelledError):
            self.log.failure("A handler failed for {peer}", failure, peer=connection.peer)
            connection.factory.counters.refused(Code.ERROR, 1)
            connection.answer(request.encode(Code.ERROR))
