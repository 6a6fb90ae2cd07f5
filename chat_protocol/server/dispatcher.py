"""The dispatcher: from a payload to the handler of its command, and from its outcome to a code.

Exceptions become codes in one place, :meth:`Dispatcher._failed`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.counters import Counters
from chat_protocol.errors import (
    Malformed,
    NotLoggedIn,
    OutcomeUnknown,
    RateLimited,
    Refused,
    UnknownCommand,
)
from chat_protocol.server.peer import Peer
from chat_protocol.server.rate_limiter import RateLimiter
from chat_protocol.wire.codec import (
    HIGHEST_VERSION,
    MIN_FRAME,
    declaration_of,
    decode_header,
    encode,
    encode_answers,
    encode_body,
)
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    REGISTRY,
    Ack,
    Close,
    Heartbeat,
    Login,
    Login2,
    Response,
    Response2,
)
from chat_protocol.wire.schema import Declaration, Needs, Registry, Sender, declaration

__all__ = ["BulkHandler", "Dispatcher", "Handler", "Outcome", "Request", "Route"]

MAX_DETAIL = 500
"""Longest detail of an answer, in characters."""

_IGNORED = (Response, Response2)
"""They get no answer: else two programs could answer each other for ever."""

_NEVER_RATE_LIMITED = (Ack, Close, Heartbeat, Login2)
"""Above the rate limit the server handles them, and reads the connection more slowly."""


_LOGINS = (Login, Login2)


class Request(NamedTuple):
    """What is needed of a request to answer it."""

    correlation_id: bytes
    """Four bytes, as received."""
    version: int
    """The version to answer in."""
    answer: Any
    """The class of the declared answer; None: a Response."""

    def encode(self, outcome: Any, detail: str = "") -> bytes:
        """Return the frame of the answer."""
        detail = detail[:MAX_DETAIL]
        if isinstance(outcome, bytes):
            return encode_body(self.answer, outcome, int.from_bytes(self.correlation_id, "big"))
        if not isinstance(outcome, Code):
            return encode(outcome, int.from_bytes(self.correlation_id, "big"))
        if self.answer is not None:
            return self.encode(self.answer(outcome, detail))
        return encode_answers(outcome, [self.correlation_id], self.version, detail)


Outcome: TypeAlias = "Code | Any | Deferred[Any] | None"
"""What a handler returns: a code, the declared answer or the bytes of its fields, or a Deferred of
one of them. None: the handler has the answer written by other means."""

Handler: TypeAlias = "Callable[[Any, Any, Request], Outcome]"
"""Called with the connection, the command and the request. The preconditions of the declaration
hold. To refuse the request, it raises Refused."""

BulkHandler: TypeAlias = "Callable[[Any, bytes, int], int]"
"""Called with a connection that has a session, the bytes that were read, and the position of a
whole frame of the command. Returns the position of the first byte that it did not handle. If that
is the same position, the frame goes to the handler. A fault ends the connection."""


class Route(NamedTuple):
    """A row of the dispatcher's table."""

    command: type[Any]
    handler: Handler
    bulk_handler: BulkHandler | None = None


class Dispatcher:
    """Maps the keys of commands to the factory's handlers.

    Args:
        routes: one for each command that clients send.
        registry: has these commands.
        rate_limiter: asked before a request of version 2 is handled.
        counters: count internal faults.

    Raises:
        TypeError: a command that clients send has no handler, or two.
    """

    log = Logger()

    def __init__(
        self,
        routes: Iterable[Route],
        rate_limiter: RateLimiter,
        counters: Counters,
        registry: Registry = REGISTRY,
    ) -> None:
        self._registry = registry
        self._rate_limiter = rate_limiter
        self._counters = counters
        self._handlers: dict[type[Any], Handler] = {}
        self.bulk_handlers: dict[bytes, BulkHandler] = {}
        """By version and key, as they stand in a frame."""
        for command, handler, bulk_handler in routes:
            if command in self._handlers:
                raise TypeError(f"{command.__name__} has two handlers")
            self._handlers[command] = handler
            if bulk_handler is not None:
                declared = declaration(command)
                kind = struct.pack(">BH", declared.versions[0], declared.key)
                self.bulk_handlers[kind] = bulk_handler
        for declared in registry:
            if Sender.CLIENT in declared.sender and declared.command not in self._handlers:
                raise TypeError(f"{declared.command.__name__} has no handler")

    def dispatch(self, peer: Peer, payload: bytes) -> None:
        """Handle one payload of at least MIN_FRAME bytes, and answer it unless it is a Response."""
        header = decode_header(payload)
        version = min(max(header.version, 1), HIGHEST_VERSION)
        request = Request(payload[3:7], version, None)
        try:
            declared = declaration_of(header, self._registry)
            if declared.command in _IGNORED:
                return
            handler = self._handlers.get(declared.command)
            if handler is None:
                raise UnknownCommand(f"only servers send {declared.command.__name__}")
            request = Request(payload[3:7], version, declared.answer)
            self._check(declared, peer, version)
            command = self._decode(declared, peer, payload)
            outcome = handler(peer, command, request)
        except Exception:
            self._failed(Failure(), peer, request)  # type: ignore[no-untyped-call]
        else:
            if isinstance(outcome, Deferred):
                self._answer_later(declared, outcome, peer, request)
            elif outcome is not None:
                peer.answer(request.encode(outcome))

    def _decode(self, declared: Declaration, peer: Peer, payload: bytes) -> Any:
        try:
            return declared.decode(payload, MIN_FRAME)
        except Malformed:
            if declared.command in _LOGINS:
                # It costs as much as any other login.
                self._rate_limiter.count_login(peer)
            raise

    def _check(self, declared: Declaration, peer: Peer, version: int) -> None:
        if declared.needs is Needs.LOGIN and peer.session is None:
            raise NotLoggedIn(f"{declared.command.__name__} needs a login")
        if peer.budget < 1 and version > 1 and declared.command not in _NEVER_RATE_LIMITED:
            self._rate_limiter.admit(peer)

    def _answer_later(
        self, declared: Declaration, outcome: Deferred[Any], peer: Peer, request: Request
    ) -> None:
        peer.waits_for(outcome)
        if declared.exclusive:
            peer.pause(outcome)
        outcome.addCallback(request.encode)
        outcome.addCallbacks(peer.answer, self._failed, errbackArgs=(peer, request))
        outcome.addBoth(self._answered, outcome, peer)

    def _answered(self, result: object, outcome: Deferred[Any], peer: Peer) -> None:
        if isinstance(result, Failure):
            self.log.failure("An answer to {peer} failed", result, peer=peer.peer)
        peer.waits_no_more(outcome)
        peer.resume(outcome)

    def _failed(self, failure: Failure, peer: Peer, request: Request) -> None:
        error = failure.value
        if isinstance(error, Refused):
            if isinstance(error, RateLimited) and error.limit:
                self._rate_limiter.met(error.limit, peer, "refused, {why}", why=error.detail)
            peer.refused(error.code, 1, error.detail)
            peer.answer(request.encode(error.code, error.detail))
        elif isinstance(error, OutcomeUnknown):
            # Any answer could be wrong.
            peer.abort()
        elif not isinstance(error, CancelledError):
            self.log.failure("A handler failed for {peer}", failure, peer=peer.peer)
            self._counters.refused(Code.ERROR, 1)
            peer.answer(request.encode(Code.ERROR))
