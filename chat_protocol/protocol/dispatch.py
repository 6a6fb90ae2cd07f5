"""From a payload to the handler of its command, and from what the handler says to a code.

The one place where exceptions become codes: :meth:`Dispatcher.dispatch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.errors import NotLoggedIn, Refused
from chat_protocol.wire.codec import MIN_FRAME, declaration_of, decode_header
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import REGISTRY
from chat_protocol.wire.declaration import Declaration, Needs, Sender

if TYPE_CHECKING:
    from chat_protocol.protocol.connection import ChatProtocol

__all__ = ["Dispatcher", "Outcome", "handles"]

Outcome: TypeAlias = "Code | Deferred[Code] | None"
"""What a handler returns: the code of the answer, now or later; None if it sees to it itself."""

Handler: TypeAlias = "Callable[[Any, ChatProtocol, Any, bytes], Outcome]"
H = TypeVar("H", bound=Handler)


def handles(command: type[Any]) -> Callable[[H], H]:
    """Make a method of the factory the handler of a command.

    It is called with the connection, the command and the four bytes of its correlationId, when
    the preconditions of the declaration hold. It may raise Refused.
    """

    def mark(handler: H) -> H:
        handler.handled_command = command  # type: ignore[attr-defined]
        return handler

    return mark


class Dispatcher:
    """The handlers of a factory, by version and key.

    Args:
        factory: its methods marked with :func:`handles` are found here.

    Raises:
        TypeError: a command that clients send has no handler, or two.
    """

    log = Logger()

    def __init__(self, factory: Any) -> None:
        found: dict[type[Any], Callable[[ChatProtocol, Any, bytes], Outcome]] = {}
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
                self._handlers[declared] = found[declared.command]

    def dispatch(self, connection: ChatProtocol, payload: bytes) -> None:
        """Handle one payload of at least MIN_FRAME bytes; every request gets one answer."""
        correlation_id = payload[3:7]
        try:
            header = decode_header(payload)
            declared = declaration_of(header)
            handler = self._handlers.get(declared)
            if handler is None:
                # What only servers send: a Response, to be ignored.
                return
            self._check(declared, connection)
            command = declared.decode(payload, MIN_FRAME)
            outcome = handler(connection, command, correlation_id)
        except Exception:
            self._failed(Failure(), connection, correlation_id)  # type: ignore[no-untyped-call]
        else:
            if isinstance(outcome, Deferred):
                self._answer_later(declared, outcome, connection, correlation_id)
            elif outcome is not None:
                connection.answer(outcome, correlation_id)

    def _answer_later(
        self,
        declared: Declaration,
        outcome: Deferred[Code],
        connection: ChatProtocol,
        correlation_id: bytes,
    ) -> None:
        connection.unanswered.add(outcome)
        if declared.exclusive:
            connection.hold(outcome)
        outcome.addCallbacks(
            connection.answer,
            self._failed,
            callbackArgs=(correlation_id,),
            errbackArgs=(connection, correlation_id),
        )
        outcome.addBoth(self._answered, outcome, connection)

    def _answered(self, result: object, outcome: Deferred[Code], connection: ChatProtocol) -> None:
        if isinstance(result, Failure):
            self.log.failure("An answer to {peer} failed", result, peer=connection.peer)
        connection.unanswered.discard(outcome)
        connection.release(outcome)

    def _check(self, declared: Declaration, connection: ChatProtocol) -> None:
        if declared.needs is Needs.LOGIN and connection.session is None:
            raise NotLoggedIn(f"{declared.command.__name__} needs a login")

    def _failed(self, failure: Failure, connection: ChatProtocol, correlation_id: bytes) -> None:
        error = failure.value
        if isinstance(error, Refused):
            connection.refused(error.code, 1, error.detail)
            connection.answer(error.code, correlation_id)
        elif not isinstance(error, CancelledError):
            self.log.failure("A handler failed for {peer}", failure, peer=connection.peer)
            connection.answer(Code.ERROR, correlation_id)
