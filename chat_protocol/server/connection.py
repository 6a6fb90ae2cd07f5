"""One connection that speaks the chat protocol: from frames to handlers, and how it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.peer import IConnection
from chat_protocol.domain.rates import Allowance
from chat_protocol.domain.turn import Turn
from chat_protocol.domain.users import Session
from chat_protocol.server.dispatcher import BulkHandler, Dispatcher
from chat_protocol.server.lingering import LingeringClose
from chat_protocol.server.peer import Peer
from chat_protocol.server.presence import PresenceFeed
from chat_protocol.server.rate_limiter import UNLIMITED, RateLimiter
from chat_protocol.server.state import NEXT, ConnectionEvent, ConnectionState
from chat_protocol.transport.addresses import address_of, host_of, in_words
from chat_protocol.transport.backlog import Backlog
from chat_protocol.transport.epoll_reader import EpollReader, read_by
from chat_protocol.transport.framing import FrameReceiver
from chat_protocol.transport.output import Output, output_for
from chat_protocol.transport.sockets import READ_SIZE, clamp_window, is_tls, set_read_size
from chat_protocol.wire.codec import MAX_FRAME, MAX_FRAME_BEFORE_LOGIN, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Close

__all__ = ["QUANTUM", "ChatProtocol", "Server"]

QUANTUM = 4
"""Frames of one connection that are handled in a turn, without those that a bulk handler takes. The
others are handled in later turns, for each user or address in turn: see transport/backlog.py."""

_WINDOW = 1 << 30
"""Bound on the receive window of a session: none in practice."""

_COST_SHIFT = 10
"""A request costs 1 of the budget, and 1 more for each KiB."""


class Server(Protocol):
    """What a connection needs of the factory that made it."""

    clock: IReactorTime
    dispatcher: Dispatcher
    limits: Limits
    presence: PresenceFeed
    rate_limiter: RateLimiter
    readers: EpollReader | None
    turn: Turn

    def backlog_for(self, peer: Peer) -> Backlog:
        """Return where a connection leaves work for later turns."""

    def too_much_before_login(self, peer: Peer, limit: str) -> None:
        """Reject a connection without a session that has met a limit."""

    def disconnected(self, peer: Peer, reason: Failure) -> None:
        """Note that a connection is gone."""

    def logged_out(self, peer: Peer, session: Session, reason: Failure) -> Deferred[None]:
        """End a session. Fires when the name is free."""

    def refused(self, peer: Peer, code: Code, count: int, detail: str, first: bool) -> None:
        """Note refusals. ``first``: no request of this connection met that code before."""

    def length_out_of_bounds(self, peer: Peer, length: int, most: int) -> None:
        """Note that a connection ends because of the length of a frame."""


@implementer(IConnection, IHalfCloseableProtocol)
class ChatProtocol(FrameReceiver):
    """The server's side of a connection that speaks the chat protocol.

    The connection is handed over to it when its first bytes have arrived, on a socket, TLS or a
    WebSocket.
    """

    MAX_LENGTH = MAX_FRAME_BEFORE_LOGIN
    factory: Server
    output: Output
    allowance: Allowance | None = None
    budget: float = UNLIMITED
    rate_refusals = 0
    correlation_tests = 0
    quantum = QUANTUM
    _end_later: Callable[[], object] | None = None
    """Ends the connection when it is resumed: the peer has closed its side."""
    _bulk_handlers: Mapping[bytes, BulkHandler] = MappingProxyType({})
    _frames_before_login = 0
    _bytes_before_login = 0
    address: Any = None
    is_secured = False
    _closing: LingeringClose | None = None
    _refusals: Counter[Code] | None = None
    _pauses: set[object] | None = None
    """What has paused it; None in place of an empty set, which takes memory."""
    _unanswered: set[Deferred[Any]] | None = None
    """The same for requests that are not answered."""

    def __init__(self) -> None:
        self.state = ConnectionState.CONNECTED
        self.session: Session | None = None

    # Twisted's side.

    def connectionMade(self) -> None:
        self.seconds = self.factory.clock.seconds
        self.output = output_for(self.transport, self.factory.turn, self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.step(ConnectionEvent.LOST)
        self.stop_parsing()
        self._end_session(reason)
        if self.session is not None:
            self.session.delivery.lost()
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        for outcome in list(self.unanswered):
            outcome.cancel()
        self.factory.disconnected(self, reason)
        # No reference cycles: the garbage collector pauses the server, and connections can end in
        # great numbers.
        self.session = self._end_later = None
        self.output.disown()

    def readConnectionLost(self) -> None:
        """End the session: the peer has sent its last byte. The answers still go out."""
        if self._closing is None:
            self.end_behind_held(partial(self._end, peer_done=True))
        else:
            self._closing.peer_closed()

    def end_behind_held(self, end: Callable[[], object]) -> None:
        """End the connection when the frames that have arrived before its end are handled."""
        if self.paused and self.reads and self._partial is not None:
            self._end_later = end
        else:
            end()

    def writeConnectionLost(self) -> None:
        """Do nothing: the last byte has been sent, and what still arrives is ignored."""

    def lengthLimitExceeded(self, length: int) -> None:
        self.factory.length_out_of_bounds(self, length, self.MAX_LENGTH)
        self._end()

    def frames_received(self, data: bytes, position: int) -> int:
        """Let the bulk handler of the command take as many frames as it can."""
        handler = self._bulk_handlers.get(data[position + 4 : position + 7])
        return position if handler is None else handler(self, data, position)

    def stringReceived(self, string: bytes) -> None:
        """Handle any other payload."""
        if self.session is None and not self.may_send_before_login(len(string)):
            return
        self.factory.dispatcher.dispatch(self, string)
        if self.allowance is not None:
            self.spend(1, len(string))

    def quantum_used(self) -> None:
        """Handle the next frames in a later turn: other connections come first."""
        self.go_on_later()

    def go_on_later(self, work: Callable[[], object] | None = None) -> None:
        """Pause until a later turn; then do some work, and go on."""
        backlog = self.factory.backlog_for(self)
        if self.reads:
            self.pause(backlog)
        backlog.add(self.share, partial(self._go_on, backlog, work))

    def _go_on(self, backlog: Backlog, work: Callable[[], object] | None) -> None:
        if self.state is ConnectionState.GONE:
            return
        if self.reads:
            self.resume(backlog)
        if work is not None:
            work()

    def may_send_before_login(self, size: int) -> bool:
        """Count a frame of a connection without a session.

        Returns:
            False if it was one too many: then the connection is closed.
        """
        self._frames_before_login += 1
        self._bytes_before_login += size
        limits = self.factory.limits
        if 0 < limits.frames_before_login < self._frames_before_login:
            self.factory.too_much_before_login(self, "frames_before_login")
        elif 0 < limits.bytes_before_login < self._bytes_before_login:
            self.factory.too_much_before_login(self, "bytes_before_login")
        else:
            return True
        return False

    # The factory's side: see Peer.

    @property
    def share(self) -> Hashable:
        return address_of(self.host) if self.session is None else self.session.user

    @property
    def bulk_bytes(self) -> int:
        """Most bytes that a bulk handler may take, if there is an allowance."""
        # About what is left of the budget, so that the debt stays small.
        return 64 * max(1, int(self.budget))

    def spend(self, requests: int, size: int) -> None:
        """Count requests and their total size in bytes against the rate limits."""
        self.budget -= requests + (size >> _COST_SHIFT)
        if self.budget < 0:
            self.factory.rate_limiter.overspent(self)

    @property
    def refusals(self) -> dict[Code, int]:
        """How many requests were refused, by code."""
        return dict(self._refusals or {})

    @property
    def peer(self) -> str:
        where = in_words(self.address or self._transport.getPeer())
        if is_tls(self.transport):
            where += " (TLS)"
        return where if self.session is None else f"{self.session.user.name!a} at {where}"

    @property
    def whose(self) -> str:
        return self.host if self.session is None else f"{self.session.user.name!a} at {self.host}"

    @property
    def host(self) -> str:
        return host_of(self.address or self._transport.getPeer())

    @property
    def unfinished(self) -> object | None:
        found = super().unfinished
        if found is None and not self.paused:
            # A WebSocket passes a message on when all of it has arrived.
            found = getattr(self.transport, "unfinished", None)
        return found

    @property
    def reads(self) -> bool:
        return self.state in (
            ConnectionState.CONNECTED,
            ConnectionState.LOGGING_IN,
            ConnectionState.LOGGED_IN,
        )

    def step(self, event: ConnectionEvent) -> None:
        """Change the state. KeyError: the event cannot happen in this state."""
        self.state = NEXT[self.state, event]

    def begin_session(self, session: Session) -> None:
        """Begin a session: the user is online from now on."""
        self.step(ConnectionEvent.LOGIN_OK)
        self.session = session
        self.MAX_LENGTH = MAX_FRAME
        self._bulk_handlers = self.factory.dispatcher.bulk_handlers
        self._frames_before_login = self._bytes_before_login = 0
        read_by(self.factory.readers, self.transport, session.user)
        set_read_size(self.transport, READ_SIZE)
        clamp_window(self.transport, _WINDOW)

    @property
    def unanswered(self) -> Collection[Deferred[Any]]:
        return self._unanswered or ()

    def waits_for(self, outcome: Deferred[Any]) -> None:
        if self._unanswered is None:
            self._unanswered = set()
        self._unanswered.add(outcome)

    def waits_no_more(self, outcome: Deferred[Any]) -> None:
        if self._unanswered is not None:
            self._unanswered.discard(outcome)
            self._unanswered = self._unanswered or None

    def answer(self, frame: bytes) -> None:
        if self.state is not ConnectionState.GONE:
            self.output.write(frame)

    def log_out(self) -> Deferred[None]:
        """End the session. The connection stays open for its answers.

        Fires when the name is free.
        """
        return self._end_session(connectionDone)

    def close(self) -> None:
        """Stop reading, send the answers that are due, then end the connection.

        A peer that does not take them within ``Limits.close_seconds`` is cut off.
        """
        if self.reads:
            self._end()

    def reject(self) -> None:
        """Read nothing more, send the answers that are due, and close the connection."""
        if self.reads:
            ignore = getattr(self.transport, "ignore_rest", None)
            if ignore is not None:
                ignore()
            self._end(reads_on=False)

    def cut_off(self) -> None:
        """End the connection now.

        Bytes that the kernel has not taken are lost. If there are any, those that the peer has not
        taken are lost as well.
        """
        if self._closing is not None:
            self._closing.cut_off()
        else:
            self._transport.abortConnection()

    # IConnection

    def end(self, code: Code, reason: str) -> None:
        if not self.reads:
            return
        if self.session is not None and self.session.version > 1:
            self.answer(encode(Close(code, reason)))
        self.close()

    def abort(self) -> None:
        if self.state is not ConnectionState.GONE:
            self.stop_parsing()
            self._end_session(connectionDone)
            # The kernel would take it, and drop it with the connection.
            self.output.discard()
            self._transport.abortConnection()

    def pause(self, cause: object) -> None:
        if self._pauses is None:
            self._pauses = set()
            self.pauseProducing()
        self._pauses.add(cause)

    def resume(self, cause: object) -> None:
        if self._pauses is not None and cause in self._pauses:
            self._pauses.discard(cause)
            if not self._pauses:
                self._pauses = None
                self.resumeProducing()
                if self._end_later is not None and not self.paused and self.reads:
                    self._end_later()

    def refused(self, code: Code, count: int, detail: str = "") -> None:
        if self._refusals is None:
            self._refusals = Counter()
        self.factory.refused(self, code, count, detail, code not in self._refusals)
        self._refusals[code] += count

    # Inside.

    @property
    def _transport(self) -> Any:
        return self.transport

    def _end(self, peer_done: bool = False, reads_on: bool = True) -> None:
        self.step(ConnectionEvent.END)
        factory = self.factory
        self._closing = LingeringClose(
            self.transport, factory.limits, factory.clock, peer_done, reads_on
        )
        self.stop_parsing()
        self._end_session(connectionDone)
        self._linger_if_answered()

    def _end_session(self, reason: Failure) -> Deferred[None]:
        session = self.session
        if session is None or session.delivery.closed:
            return succeed(None)
        return self.factory.logged_out(self, session, reason)

    def _linger_if_answered(self) -> None:
        owed = self.session.outstanding if self.session is not None else 0
        if owed or self.unanswered or self.correlation_tests or not self.output.empty:
            return
        self.step(ConnectionEvent.ANSWERED)
        self.output.finish()
        assert self._closing is not None
        self._closing.linger()

    # The output's side.

    def output_taken(self) -> None:
        """Note that the transport has taken some of what was written."""
        session = self.session
        if session is not None:
            session.delivery.taken()
        if self.output.backlog:
            return
        presence = self.factory.presence
        if presence.behind:
            presence.drained(self)
        if self._pauses is not None:
            self.resume(self.output)
        if self.state is ConnectionState.ENDING:
            self._linger_if_answered()

    def output_unread(self, size: int) -> None:
        """Pause reading from a peer that leaves too many bytes of answers untaken."""
        limit = self.factory.limits.answer_buffer
        if size > limit and self.output not in (self._pauses or ()):
            self.pause(self.output)
            self.factory.rate_limiter.answers_untaken(self)
