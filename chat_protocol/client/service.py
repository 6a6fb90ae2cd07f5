"""The client: a service that keeps a user logged in and its messages delivered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, cast

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.client.argument_types import check_type
from chat_protocol.client.attempts import (
    ConnectionAttempts,
    WatchedEndpoint,
    end_error,
    is_permanent,
)
from chat_protocol.client.backoff import FIRST_DELAY, LASTING, MAX_DELAY, Backoff
from chat_protocol.client.connection import Connection, LoginResult
from chat_protocol.client.events import Ended, Event, Observer, Offline, Online, PresenceChanged
from chat_protocol.client.inbox import Inbox
from chat_protocol.client.messages import ReceivedMessage, ResumeState
from chat_protocol.client.outbox import Outbox, OutgoingMessage
from chat_protocol.client.queries import QueryMethods
from chat_protocol.client.receiving import MESSAGE_OVERHEAD, ReceiveMethods
from chat_protocol.client.requests import DEFAULT_TIMEOUT
from chat_protocol.client.state import ENDED_STATES, TRANSITIONS, State, Trigger
from chat_protocol.client.waiters import Waiters
from chat_protocol.domain.login_rules import is_device_name
from chat_protocol.domain.names import canonical_username
from chat_protocol.domain.structural import ClientEndpoint, ReactorTime
from chat_protocol.errors import (
    ChatError,
    FrameLengthError,
    InvalidUsername,
    NotConnected,
    Replaced,
    RequestTimeout,
)
from chat_protocol.version import __version__
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    REGISTRY,
    Ack,
    Close,
    Deliver,
    Message,
    Presence,
    Scope,
)
from chat_protocol.wire.schema import Registry
from chat_protocol.wire.types import STRING

__all__ = [
    "DEFAULT_HEARTBEAT",
    "DEFAULT_IN_FLIGHT",
    "DEFAULT_WINDOW",
    "UNREAD_LIMIT",
    "ChatClient",
    "State",
]

DEFAULT_HEARTBEAT = 30
"""Heartbeat interval in seconds. A server that sends nothing for twice as long is considered lost.
"""

DEFAULT_WINDOW = 250
"""Maximum number of received, unacknowledged messages; it bounds the client's queue."""

DEFAULT_IN_FLIGHT = 100
"""Maximum number of unacknowledged outgoing messages; further messages wait in a queue."""

UNREAD_LIMIT = 1024 * 1024
"""Bytes of untaken messages at which a version 1 connection pauses reading."""


class ChatClient(ReceiveMethods, QueryMethods, ClientService):
    """Keep a user logged in from startService() to stopService().

    The client reconnects by itself. With a version 2 server, each sent message is stored once, and
    each received message arrives once and in order, even if connections or servers fail (clauses
    S39 and S44). With a version 1 server the client speaks version 1; :class:`Online` reports it
    and describes the weaker guarantees.

    Every call returns a Deferred. A refusal by the server is raised as a subclass of
    :class:`chat_protocol.errors.Refused`. Calls wait while there is no connection. They fail with
    NotConnected when the client is stopped or gives up.

    Args:
        endpoint: connects to the server.
        username: name to log in with.
        reactor: schedules timeouts and retries.
        password: for servers that require one. It is sent in plain text unless the endpoint is TLS.
        resume: state of an earlier process of this application; see :attr:`resume_state`.
        device: name of this installation, 1 to 64 characters of ASCII without spaces: chosen once,
            kept by the application. A user may be online from several devices, and each gets all
            messages. Empty: that of ``resume``, else the unnamed device.
        receive: False: the client only asks and sends. It can log in beside the user's devices. It
            can send under a ``device`` only, which no other client uses at the same time.
        take_over: whether the first login takes over the session of this device, if the server
            verifies who the user is. The client that had it stops with Replaced.
        acknowledge: whether messages are acknowledged automatically: after the callback of
            :meth:`consume`, otherwise when the next message is requested. If False, the application
            calls :meth:`acknowledge`.
        presence: whether to report users who go online or offline.
        heartbeat: seconds; 0: no heartbeats.
        window: see DEFAULT_WINDOW.
        in_flight: see DEFAULT_IN_FLIGHT; at most IN_FLIGHT_LIMIT.
        max_unread: see UNREAD_LIMIT; multiplied by 16 while a request is pending.
        timeout: seconds that a login or a query waits for its answer.
        max_delay: see MAX_DELAY.
        random: source of randomness for the delays between attempts.
        wall_clock: returns nanoseconds since the epoch, for the time of messages.
        registry: the commands, with one's own for :meth:`request` if there are some.

    Raises:
        ValueError: the password has more than 65,535 bytes, in_flight is less than 1, no device can
            have that name, or ``resume`` is of another device.
    """

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint | ClientEndpoint,
        username: str,
        reactor: IReactorTime | ReactorTime,
        *,
        password: str | None = None,
        resume: ResumeState = ResumeState(),  # noqa: B008
        device: str = "",
        receive: bool = True,
        take_over: bool = False,
        acknowledge: bool = True,
        presence: bool = False,
        heartbeat: int = DEFAULT_HEARTBEAT,
        window: int = DEFAULT_WINDOW,
        in_flight: int = DEFAULT_IN_FLIGHT,
        max_unread: int = UNREAD_LIMIT,
        timeout: float = DEFAULT_TIMEOUT,
        max_delay: float = MAX_DELAY,
        random: Random | None = None,
        wall_clock: Callable[[], int] = time.time_ns,
        registry: Registry = REGISTRY,
    ) -> None:
        clock = cast(IReactorTime, reactor)
        check_type("username", username, str)
        check_type("password", password, str, type(None))
        check_type("resume", resume, ResumeState)
        check_type("device", device, str)
        for name, value in (("heartbeat", heartbeat), ("window", window), ("in_flight", in_flight)):
            check_type(name, value, int)
        if password is not None:
            STRING.encode(password)
        if device and not is_device_name(device):
            raise ValueError("device: 1 to 64 characters of ASCII, from ! to ~")
        if device and resume.device not in ("", device):
            raise ValueError(f"resume is of the device {resume.device!r}, not of {device!r}")
        self.username = username
        """The user's name; in its normal form from the first login on."""
        self._own_name = username
        with suppress(InvalidUsername):
            self._own_name = canonical_username(username)
        self._device = device or resume.device
        self._receives = receive
        self._take_over = take_over
        random = random or Random()
        self._properties = {
            "product": "chat-protocol",
            "version": __version__,
            "heartbeat": str(heartbeat),
            "window": str(window),
            **({"presence": "1"} if presence else {}),
            **({"device": self._device} if self._device else {}),
            **({} if receive else {"receive": "0"}),
            **({} if password is None else {"password": password}),
        }
        self._token = resume.session
        self._had_session = bool(resume.session)
        self._unreadable = 0
        """Frames that were too long since a message arrived."""
        self._max_unread = max_unread
        self._window = max(window, DEFAULT_WINDOW)
        self._wall_clock = wall_clock
        self._clock = clock
        self._offline_call: IDelayedCall | None = None
        self._state = State.NEW
        self._end_reason: Exception | None = None
        self._connection: Connection | None = None
        self._observers: list[Observer] = []
        self._stop_waiters: Waiters[None] = Waiters()
        self._online_since: float | None = None
        self._retry_delay = FIRST_DELAY
        self._backoff = Backoff(random, max_delay)
        self._attempts = ConnectionAttempts()
        self._outbox = Outbox(in_flight, resume.publishing_id, random)
        self._inbox = Inbox(resume.offset, acknowledge, self._send_ack)
        factory = Factory.forProtocol(lambda: Connection(self, clock, timeout, registry))
        factory.noisy = False
        watched = WatchedEndpoint(
            cast(IStreamClientEndpoint, endpoint), self._attempts.connection_ended
        )
        super().__init__(watched, factory, self._next_delay, clock)

    @property
    def state(self) -> State:
        """The current state."""
        return self._state

    @property
    def version(self) -> int | None:
        """The protocol version in use; None while not logged in."""
        connection = self._connection
        return connection.version if connection and self._state is State.ONLINE else None

    @property
    def resume_state(self) -> ResumeState:
        """The state to save for the next process of this application.

        To keep the delivery guarantees across its own restarts, an application does three things.
        It stores the offset of each received message in the same transaction as the message's
        effects. It stores its own messages with their publishing ids before it sends them. After a
        restart it sends those without an answer again.
        """
        return ResumeState(
            self._outbox.last_id, self._inbox.acknowledged, self._token, self._device
        )

    @property
    def stopped_by_application(self) -> bool:
        """Whether the client's end, if it has ended, came from stopService()."""
        return self._end_reason is None

    def show(self, token: str) -> None:
        """Show this token at the next login; see ResumeState."""
        self._token = token

    def add_observer(self, observer: Observer) -> None:
        """Call ``observer`` with each later :data:`Event`."""
        self._observers.append(observer)

    def remove_observer(self, observer: Observer) -> None:
        """Stop calling ``observer``."""
        self._observers.remove(observer)

    # Start and stop.

    def startService(self) -> None:
        """Start connecting; call it again after stopService() has fired.

        It does nothing while the client is running or stopping.
        """
        if self._state in (State.NEW, State.STOPPED):
            self._transition(Trigger.START)
            self._end_reason = None
            self._inbox.open()
            super().startService()

    def stopService(self) -> Deferred[None]:
        """Log out and stop; the Deferred fires when the connection has ended.

        That takes at most CLOSE_TIMEOUT. In version 2 the name is free then, unless the timeout was
        reached. Requests without an answer fail with NotConnected. The Deferred never fails;
        canceling it only stops the waiting.
        """
        if self._state in (State.NEW, State.STOPPED):
            return succeed(None)
        stopped = self._stop_waiters.wait()
        self._begin_stop(None)
        return stopped

    def when_online(self, fail_after_failures: int | None = None) -> Deferred[None]:
        """Return a Deferred that fires when the user is logged in, at once if already so.

        It fails with the server's refusal if retrying is pointless: an unknown or invalid name, a
        wrong password, or at the first login a name in use. It fails with NotConnected when the
        client is stopped.

        Args:
            fail_after_failures: fail with the last attempt's reason after this many failed
                attempts; None: keep retrying.
        """
        if self._state is State.ONLINE:
            return succeed(None)
        if self._state in ENDED_STATES:
            return fail(self._end_error())
        return self._attempts.wait(fail_after_failures)

    def _fail(self, error: Exception) -> None:
        self._begin_stop(error)

    def _begin_stop(self, reason: Exception | None) -> None:
        if self._state in (State.CONNECTING, State.ONLINE):
            self._transition(Trigger.STOP)
            self._end_reason = reason
            stopping = Deferred.fromCoroutine(self._stop_in_order())
            stopping.addErrback(
                lambda failure: self._log.failure("unexpected error while stopping", failure)
            )

    async def _stop_in_order(self) -> None:
        if self._offline_call is not None:
            self._offline_call.cancel()
            self._offline_call = None
        self._outbox.offline()
        connection = self._connection
        if connection is not None:
            await connection.close()
        stopped = super().stopService()
        if connection is None:
            at_once = stopped.called
            await stopped
            if not at_once:
                # ClientService is in the middle of a state change: a stop from a callback
                # would be lost.
                await deferLater(self._clock, 0)
        # Else it fires when this returns, because it learns of the end of the connection last.
        self._transition(Trigger.ENDED)
        reason = self._end_reason
        error = partial(end_error, reason)
        # Collect all waiting Deferreds first: a callback may start the client again.
        failures = [
            *self._outbox.fail_all(error),
            *self._inbox.close(error),
            *self._attempts.fail_all(error),
        ]
        for waiting, reason_to_fail in failures:
            if not waiting.called:
                waiting.errback(reason_to_fail)
        self._notify(Ended(reason))
        self._stop_waiters.fire(None)

    # Sending.

    def send(self, to: str | Sequence[str], text: str, *, publishing_id: int = 0) -> Deferred[None]:
        """Send a text to one or several users, online or not.

        The Deferred fires when the server has stored the message; await it for backpressure.
        Delivery is all or nothing: if one recipient is refused, nobody gets the message. Version 1
        sends one message to each recipient, so a refusal may come after others are stored.

        It fails with UserNotFound, MailboxFull and other refusals, also with Malformed if no
        publishing id is left; with ValueError if the text or a name has more than 65,535 bytes of
        UTF-8, or if a client with ``receive=False`` has no device; and with TooManyUnsent if
        UNSENT_LIMIT messages are waiting. In version 1 it can also fail with NotConnected or
        RequestTimeout; then the message may have been stored.

        Args:
            to: a name, or several.
            text: at most 65,535 bytes of UTF-8.
            publishing_id: chosen by an application that remembers its messages across restarts. Ids
                grow and start above that of :attr:`resume_state` after the first login. Pass one
                with every message or with none.
        """
        check_type("to", to, str, Sequence)
        names = (to,) if isinstance(to, str) else tuple(to)
        for name in names:
            check_type("to", name, str)
        return self._send(Scope.USERS, names, text, publishing_id)

    def send_to_all(self, text: str, *, publishing_id: int = 0) -> Deferred[None]:
        """Send a text to every registered user; see :meth:`send`.

        The Deferred fails with UnknownCommand if the server speaks version 1.
        """
        return self._send(Scope.EVERYONE, (), text, publishing_id)

    def send_many(
        self, messages: Iterable[tuple[str | Sequence[str], str]]
    ) -> Deferred[list[Exception | None]]:
        """Send several messages, each a pair of recipients and text, in this order.

        The Deferred fires when each is stored or has failed, with what :meth:`send` would have
        failed with for each of them; None: it is stored. It never fails.
        """
        sending = [self.send(to, text).addErrback(_error_of) for to, text in messages]
        return gatherResults(sending)

    def _send(self, scope: int, to: tuple[str, ...], text: str, id_: int) -> Deferred[None]:
        check_type("text", text, str)
        check_type("publishing_id", id_, int)
        if self._state in ENDED_STATES:
            return fail(self._end_error())
        if not (self._receives or self._device):
            return fail(
                ValueError("a client with receive=False sends under a device: give device=")
            )
        return self._outbox.add(
            OutgoingMessage(self.username, text, scope, to, self._wall_clock(), id_)
        )

    # Called by the connection: the interface Owner.

    def connected(self, connection: Connection) -> None:
        self._connection = connection
        logging_in = Deferred.fromCoroutine(self._log_in(connection))
        logging_in.addErrback(
            lambda failure: self._log.failure("unexpected error while logging in", failure)
        )

    async def _log_in(self, connection: Connection) -> None:
        properties = dict(self._properties)
        if self._token:
            properties["session"] = self._token
        if self._take_over and not self._had_session:
            properties["takeover"] = "1"
        try:
            login = await connection.log_in(self.username, properties)
        except (ChatError, ValueError) as error:
            if isinstance(error, (NotConnected, RequestTimeout)):
                # The login may have reached the server, and its session may outlive the connection.
                self._had_session = True
            if not connection.is_open:
                return
            reason = error if isinstance(error, ChatError) else InvalidUsername(str(error))
            if is_permanent(reason, self._had_session):
                self._begin_stop(reason)
            else:
                self._attempts.login_failed(reason)
                connection.abort(str(reason), reason)
            return
        if connection.is_open:
            self._begin_session(connection, login)

    def _begin_session(self, connection: Connection, login: LoginResult) -> None:
        self._transition(Trigger.LOGGED_IN)
        self._token = login.session
        self._had_session = True
        self.username = self._own_name
        self._online_since = self._clock.seconds()
        self._window = max(self._window, login.window)
        self._outbox.online(connection, login.publishing_id, login.resumed)
        self._notify(Online(login.version, login.pending, login.resumed))
        self._attempts.logged_in()

    def pushed(self, connection: Connection, command: Any, size: int) -> None:
        if isinstance(command, (Message, Deliver)):
            self._unreadable = 0
            message = ReceivedMessage.of(command, self._own_name).replied_by(self.send)
            self._inbox.put(message, size + MESSAGE_OVERHEAD)
            if self._inbox.numbered_count > self._window:
                connection.abort(f"the server exceeded the window of {self._window} messages")
            connection.apply_backpressure()
        elif isinstance(command, Presence):
            self._notify(PresenceChanged(command.username, bool(command.online), command.time))
        elif isinstance(command, Close):
            self._handle_close(connection, command)

    def _handle_close(self, connection: Connection, close: Close) -> None:
        connection.expect_close(
            f"the server closed the connection: {close.reason or f'code 0x{close.code:04X}'}"
        )
        if close.code == Code.REPLACED:
            # Another connection owns the session and the name now.
            self._token = ""
            self._had_session = False
            self._begin_stop(Replaced(close.reason or "another connection took over the session"))
        elif close.code == Code.GOING_AWAY:
            self._backoff.spread()

    def cannot_read(self, error: FrameLengthError) -> None:
        self._unreadable += 1
        if self._unreadable > 1:
            # It would come again with each login.
            self._begin_stop(error)

    def lost(self, connection: Connection, reason: NotConnected) -> None:
        self._connection = None
        self._outbox.offline()
        self._transition(Trigger.LOST)
        since, self._online_since = self._online_since, None
        lasting = min(self._retry_delay, LASTING)
        if since is not None and self._clock.seconds() - since > lasting:
            self._backoff.succeeded()
        self._attempts.connection_ended(reason)

    def unread(self) -> tuple[int, int]:
        return self._inbox.size, self._max_unread

    # Internals.

    def _next_delay(self, _: int) -> float:
        """Return the delay before the next attempt; ClientService calls it after each failure."""
        self._retry_delay = delay = self._backoff.next()
        # Deferred to the next turn: an observer may stop the service, which is changing state here.
        self._offline_call = self._clock.callLater(0, self._notify_offline, delay)
        return delay

    def _notify_offline(self, delay: float) -> None:
        self._offline_call = None
        self._notify(Offline(self._attempts.reason, delay))
        self._attempts.attempt_failed()

    def _send_ack(self, offset: int) -> None:
        if self._connection is not None and self._connection.version > 1:
            self._connection.send(Ack(offset))

    def _end_error(self) -> Exception:
        return end_error(self._end_reason)

    def _transition(self, trigger: Trigger) -> None:
        self._state = TRANSITIONS[self._state, trigger]

    def _notify(self, event: Event) -> None:
        self._log_event(event)
        for observer in list(self._observers):
            try:
                observer(event)
            except Exception:
                self._log.failure(
                    "an observer raised an exception while handling {event}", event=event
                )

    def _log_event(self, event: Event) -> None:
        info, name = self._log.info, self.username
        if isinstance(event, Online):
            info(
                "{name!a} is online in version {version}; {pending} messages wait",
                name=name,
                version=event.version,
                pending=event.pending,
            )
        elif isinstance(event, Offline):
            info(
                "{name!a} is offline: {reason}; trying again in {seconds:.1f} s",
                name=name,
                reason=event.reason,
                seconds=event.retry_in,
            )
        elif isinstance(event, Ended) and event.reason is None:
            info("the client of {name!a} has stopped", name=name)
        elif isinstance(event, Ended):
            info("the client of {name!a} gave up: {reason}", name=name, reason=event.reason)


def _error_of(failure: Failure) -> Exception:
    error: Any = failure.value
    return error  # type: ignore[no-any-return]
