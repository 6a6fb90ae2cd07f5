"""One connection: the way of a payload to the factory's handlers, and its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.batch import Run
from chat_protocol.domain.rates import Allowance
from chat_protocol.domain.session import Session
from chat_protocol.interfaces import IConnection
from chat_protocol.server.rate_limiter import UNLIMITED
from chat_protocol.server.sniffer import ICarrier, why_lost
from chat_protocol.server.state import NEXT, Event, State
from chat_protocol.transport.epoll_reader import read_by
from chat_protocol.transport.framing import FrameReceiver
from chat_protocol.transport.output import Output, output_for
from chat_protocol.transport.sockets import close_below_tls, close_socket, is_tls
from chat_protocol.wire.bulk import ACK_SIZE, scan_acks, scan_messages, scan_publishes
from chat_protocol.wire.codec import MAX_FRAME, MAX_FRAME_BEFORE_LOGIN, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Close
from chat_protocol.wire.types import STRING

if TYPE_CHECKING:
    from chat_protocol.server.factory import ChatFactory

__all__ = ["ChatProtocol", "State"]


_COST_SHIFT = 10
"""A request costs 1 of the budget, and 1 more for each KiB."""


@implementer(IConnection, IHalfCloseableProtocol)
class ChatProtocol(FrameReceiver):
    """The server's side of a connection; made by :class:`ChatFactory`."""

    MAX_LENGTH = MAX_FRAME_BEFORE_LOGIN
    factory: ChatFactory
    output: Output
    allowance: Allowance | None = None
    """Where the budget comes from; None: it has no end."""
    carrier: ICarrier | None = None
    """HTTP or a WebSocket, between the transport's bytes and those of frames."""
    _descriptor: object = None
    """What reads from the socket, whatever the transport is."""
    awaits_address = False
    """Whether a proxy has yet to say whose it is."""
    rate_refusals = 0
    """Requests that were refused, one after the other, for being too many."""

    def __init__(self) -> None:
        self.state = State.CONNECTED
        self.session: Session | None = None
        self.unanswered: set[Deferred[Any]] = set()
        """Requests whose answer comes later, but for messages: the session counts those."""
        self.budget = UNLIMITED
        """Requests that are left before Fairness is asked for more."""
        self.correlation_tests = 0
        """So many of these are CorrelationIdTests."""
        self.counted_for = ""
        """The address whose connection it is; empty as long as a proxy has not said so."""
        self._holds: set[object] = set()
        self._deadline: IDelayedCall | None = None
        self.heard = True
        """Whether something came in since it was last looked at; see Heartbeats."""
        self.peer_done = False
        """Whether the peer has sent its last byte."""
        self.is_secured = False
        """Whether it began without TLS and has it now."""
        self._refusals: Counter[Code] | None = None

    # Twisted's side.

    def connectionMade(self) -> None:
        """See IProtocol."""
        self.output = output_for(self.transport, self.factory.turn, self)
        self._descriptor = read_by(self.factory.newcomers, self.transport)
        self.factory.connected(self)
        self._await_opening()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See IProtocol."""
        self.step(Event.LOST)
        self.__dict__.pop("dataReceived", None)
        self.stop_parsing()
        if self.carrier is not None:
            self.carrier.lost(reason)
            self.carrier = None
        self._end_session(reason)
        if self.session is not None:
            self.factory.exchange.give_back(self.session.delivery.gone())
        else:
            self.factory.opening.lost(self, reason)
            self.awaits_address = False
        self._set_deadline(None)
        for outcome in list(self.unanswered):
            outcome.cancel()
        self.factory.disconnected(self)
        # No cycles: a crowd that comes and goes is not left to the garbage collector, whose
        # pauses everybody would feel.
        self.session = None
        self.output.disown()

    def dataReceived(self, data: bytes) -> None:
        """See IProtocol."""
        self.heard = True
        super().dataReceived(data)

    def _await_opening(self) -> None:
        # In the instance, and taken out by the first bytes: the others pay nothing for it.
        self.dataReceived = self._first_bytes  # type: ignore[method-assign]

    def _first_bytes(self, data: bytes) -> None:
        if data:
            del self.dataReceived
            if self.awaits_address and not self.factory.came_by_proxy(self):
                return
            ended = self.state is not State.CONNECTED
            if ended or self.factory.opening.are_frames(self, data):
                self.dataReceived(data)

    def secured(self) -> None:
        """The transport speaks TLS from now on; before that nothing came in or went out."""
        self.is_secured = True
        self.output.finish()
        self.output = output_for(self.transport, self.factory.turn, self)
        self._await_opening()

    def carry(
        self,
        carrier: ICarrier,
        transport: Any,
        output: Output,
        received: Callable[[bytes], None],
    ) -> None:
        """Have the bytes carried.

        Args:
            carrier: is told of the end.
            transport: what the connection has for one from now on.
            output: to it.
            received: takes what comes in.
        """
        self.carrier = carrier
        self.transport = transport
        self.output = output
        self.dataReceived = received  # type: ignore[assignment, method-assign]

    @property
    def unfinished(self) -> object | None:
        """See FrameReceiver; of what carries the frames, too."""
        carried = self.carrier.unfinished if self.carrier is not None else None
        return super().unfinished if carried is None or self.paused else carried

    def readConnectionLost(self) -> None:
        """The peer has sent its last byte: the user is gone, the answers still go out."""
        self.peer_done = True
        if self.state is State.LINGERING:
            self._transport.loseConnection()
        elif self.state is not State.ENDING:
            self._end()

    def writeConnectionLost(self) -> None:
        """See IHalfCloseableProtocol: the last byte is out, what comes in is ignored."""

    def lengthLimitExceeded(self, length: int) -> None:
        """A frame's length is outside its bounds: the connection ends."""
        self.factory.length_out_of_bounds(self, length)
        self._end()

    def frames_received(self, data: bytes, position: int) -> int:
        """Messages to known recipients, taken many at a time."""
        session = self.session
        if session is None:
            return position
        most = None
        if self.allowance is not None:
            # Not more than there is left, so that nobody's debt grows.
            most = 64 * max(1, int(self.budget))
        scan = scan_messages(data, position, MAX_FRAME, session.routes, most)
        if scan is None:
            if session.version == 1:
                return position
            return self._take_2(session, data, position, most)
        end, recipient, correlation_ids, texts, frames, _ = scan
        self.factory.exchange.submit(
            Run(session, recipient, correlation_ids, texts, frames, end - position)
        )
        self._spend(len(correlation_ids), end - position)
        return end

    def _spend(self, requests: int, size: int) -> None:
        self.budget -= requests + (size >> _COST_SHIFT)
        if self.budget < 0:
            self.factory.fairness.overspent(self)

    def _take_2(self, session: Session, data: bytes, position: int, most: int | None) -> int:
        """The same for Publishes, and Acks."""
        end, acked = scan_acks(data, position)
        if end != position:
            if not session.delivery.ack(acked):
                self._spend((end - position) // ACK_SIZE, 0)
            return end
        if self.budget < 1:
            # Each of them is admitted or refused.
            return position
        sender = STRING.encode(session.user.name)
        scan = scan_publishes(data, position, session.published, sender, session.routes, most)
        if scan is None:
            return position
        end, recipient, correlation_ids, texts, frames, first = scan
        if first:
            session.published = first + len(texts) - 1
        size = end - position
        self.factory.exchange.submit(
            Run(session, recipient, correlation_ids, texts, frames, size, 2, first)
        )
        self._spend(len(correlation_ids), size)
        return end

    def stringReceived(self, string: bytes) -> None:
        """Any other payload."""
        self.factory.dispatcher.dispatch(self, string)
        self._spend(1, len(string))

    # The factory's side.

    @property
    def refusals(self) -> dict[Code, int]:
        """How many requests were refused, by code."""
        return dict(self._refusals or {})

    @property
    def peer(self) -> str:
        """The other end, for the log: the address, and the user if there is one."""
        address = self._transport.getPeer()
        host = getattr(address, "host", None)
        where = f"{host}:{address.port}" if host is not None else str(address)
        if is_tls(self.transport):
            where += " (TLS)"
        return where if self.session is None else f"{self.session.user.name!a} at {where}"

    @property
    def whose(self) -> str:
        """The address, and the user if there is one: the same for all connections of theirs."""
        return self.host if self.session is None else f"{self.session.user.name!a} at {self.host}"

    @property
    def host(self) -> str:
        """The peer's address without its port; empty where it has none, as on a UNIX socket."""
        return str(getattr(self._transport.getPeer(), "host", ""))

    @property
    def reads(self) -> bool:
        """Whether requests are still taken."""
        return self.state in (State.CONNECTED, State.LOGGING_IN, State.LOGGED_IN)

    @property
    def logging_in(self) -> bool:
        """Whether a login is under way."""
        return self.state is State.LOGGING_IN

    def step(self, event: Event) -> None:
        """Change the state; KeyError if this event cannot be."""
        self.state = NEXT[self.state, event]

    def begin_session(self, session: Session) -> None:
        """The user is on-line from now on."""
        self.step(Event.LOGIN_OK)
        self.session = session
        self.MAX_LENGTH = MAX_FRAME
        read_by(self.factory.readers, self._descriptor)

    def answer(self, frame: bytes) -> None:
        """Send an answer; on a connection that is gone, nothing."""
        if self.state is not State.GONE:
            self.output.write(frame)

    def log_out(self) -> Deferred[None]:
        """The user is off-line; the connection goes on for its answers.

        Fires when the name is free.
        """
        return self._end_session(connectionDone)

    def close(self) -> None:
        """Read no more, send what is owed, then end the connection.

        A peer that does not take it within ``Limits.close_seconds`` is cut off.
        """
        if self.state not in (State.ENDING, State.LINGERING, State.GONE):
            self._end()

    def cut_off(self) -> None:
        """End the connection now.

        What the kernel has not taken is lost to the peer, and so is what the peer has not taken,
        unless all of it is with the kernel.
        """
        self._set_deadline(None)
        if self.state is not State.LINGERING:
            self._transport.abortConnection()
        elif is_tls(self.transport):
            # What was written before close_notify still goes out, if the peer takes it in time.
            close_below_tls(self.transport)
            self._set_deadline(self.factory.limits.close_seconds, self._transport.abortConnection)
        elif self._half_closes:
            # A moment later: the transport may be what calls.
            self._set_deadline(0, lambda: close_socket(self.transport))
        else:
            self._transport.abortConnection()

    # IConnection

    def end(self, code: Code, reason: str) -> None:
        """See IConnection."""
        if self.state in (State.ENDING, State.LINGERING, State.GONE):
            return
        if self.session is not None and self.session.version > 1:
            self.answer(encode(Close(code, reason)))
        self.close()

    def drop(self) -> None:
        """See IConnection."""
        if self.state is not State.GONE:
            self.stop_parsing()
            self._end_session(connectionDone)
            self._transport.abortConnection()

    def hold(self, cause: object) -> None:
        """See IConnection."""
        if not self._holds:
            self.pauseProducing()
        self._holds.add(cause)

    def release(self, cause: object) -> None:
        """See IConnection."""
        if cause in self._holds:
            self._holds.discard(cause)
            if not self._holds:
                self.resumeProducing()

    def refused(self, code: Code, count: int, detail: str = "") -> None:
        """See IConnection: the first of a kind is logged, the others are counted."""
        if self._refusals is None:
            self._refusals = Counter()
        if code not in self._refusals:
            self.factory.refused(self, code, detail)
        self._refusals[code] += count
        self.factory.counters.refused(code, count)
        if code is Code.MAILBOX_FULL:
            self.factory.counters.limit("mailbox", count)

    # Inside.

    @property
    def _transport(self) -> Any:
        return self.transport

    @property
    def _half_closes(self) -> bool:
        # TLS is closed by close_notify, not by the end of the stream below it.
        transport = self.transport
        return IHalfCloseableDescriptor.providedBy(transport) and not is_tls(transport)

    def _end(self) -> None:
        self.step(Event.END)
        self.awaits_address = False
        self.stop_parsing()
        self._end_session(connectionDone)
        self._set_deadline(self.factory.limits.close_seconds)
        self._linger_if_answered()

    def _end_session(self, reason: Failure) -> Deferred[None]:
        session = self.session
        if session is None or session.delivery.closed:
            return succeed(None)
        clean = reason.check(ConnectionDone) is not None  # type: ignore[no-untyped-call]
        return self.factory.left(self, session, "" if clean else why_lost(reason))

    def _linger_if_answered(self) -> None:
        owed = self.session.outstanding if self.session is not None else 0
        if owed or self.unanswered or not self.output.empty:
            return
        self.step(Event.ANSWERED)
        self.output.finish()
        transport = self._transport
        if is_tls(transport):
            # Read on: the peer answers close_notify with its own.
            self._set_deadline(self.factory.limits.linger_seconds)
            transport.loseConnection()
            transport.resumeProducing()
        elif self.peer_done or not self._half_closes:
            transport.loseConnection()
        else:
            # Not closed at once: bytes that came in unread would make the kernel reset the
            # connection, and the peer lose the answers (RFC 9112, section 9.6).
            self._set_deadline(self.factory.limits.linger_seconds)
            transport.loseWriteConnection()
            transport.resumeProducing()

    def _set_deadline(self, seconds: float | None, call: Callable[[], None] | None = None) -> None:
        if self._deadline is not None:
            if self._deadline.active():
                self._deadline.cancel()
            self._deadline = None
        if seconds is not None:
            self._deadline = self.factory.clock.callLater(seconds, call or self.cut_off)

    # The output's side.

    def output_drained(self) -> None:
        """Everything that was written is taken."""
        session = self.session
        if session is not None:
            session.delivery.drained()
            presences = self.factory.presences
            if self in presences.behind:
                presences.drained(self)
        if self._holds:
            self.release(self.output)
        if self.state is State.ENDING:
            self._linger_if_answered()

    def output_unread(self, size: int) -> None:
        """The peer leaves answers untaken: it may not ask for more."""
        limit = self.factory.limits.answer_buffer
        if size > limit and self.output not in self._holds:
            self.hold(self.output)
            self.factory.fairness.met(
                "answer_buffer",
                self,
                "leaves more than {value} bytes of answers untaken: not read before it takes them",
                value=limit,
            )
