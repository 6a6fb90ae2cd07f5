"""The client: a service that keeps a user logged in, and the promise with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from random import Random
from typing import Any

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chat_protocol.client.attempts import Attempts, WatchedEndpoint, ended, is_final
from chat_protocol.client.backoff import FIRST_DELAY, LASTING, MAX_DELAY, Backoff
from chat_protocol.client.connection import Connection, Granted
from chat_protocol.client.events import Ended, Event, Observer, Offline, Online, PresenceChanged
from chat_protocol.client.inbox import Inbox
from chat_protocol.client.messages import ReceivedMessage, ResumeState
from chat_protocol.client.outbox import Outbox, Outgoing
from chat_protocol.client.questions import Questions
from chat_protocol.client.receiving import Receiving
from chat_protocol.client.requests import DEFAULT_TIMEOUT
from chat_protocol.client.state import NEXT, OVER, Happening, State
from chat_protocol.client.waiters import Waiters
from chat_protocol.errors import (
    ChatError,
    InvalidUsername,
    NotConnected,
    Replaced,
    RequestTimeout,
)
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    Close,
    Deliver,
    Message,
    Presence,
    Scope,
)
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
"""Seconds; a server that is silent for twice as long is given up."""

DEFAULT_WINDOW = 250
"""Messages that may have come and not be acknowledged; they are what the client may hold."""

DEFAULT_IN_FLIGHT = 100
"""Messages that may be unanswered at a time; what is sent beyond them waits its turn."""

UNREAD_LIMIT = 1024 * 1024
"""Bytes of messages that wait for the application before a version 1 connection stops reading."""

_MESSAGE_OVERHEAD = 256
"""Bytes that a waiting message weighs on top of its payload."""


class ChatClient(Receiving, Questions, ClientService):
    """A user who is logged in whenever that is possible, from startService() to stopService().

    It reconnects by itself. With a server that speaks version 2 each message that is sent is
    stored once and each that arrives comes once and in order, whatever connection or server dies
    in between (clauses S39 and S44). With a version 1 server it speaks that; :class:`Online` says
    so, and what is not promised then.

    Every call returns a Deferred; what the server refuses is raised as an error below
    :class:`chat_protocol.errors.Refused`. Calls wait while there is no connection, and fail with
    NotConnected when the client is stopped or gives up.

    Args:
        endpoint: where the server is.
        username: as whom to log in.
        reactor: measures time.
        password: for servers that ask for one. It goes over the connection as it is.
        resume: where an earlier process of this application ended; see :attr:`resume_state`.
        acknowledge: whether a message is acknowledged by itself: after the callback of
            :meth:`consume`, and else when the next one is asked for. If not, by
            :meth:`acknowledge`.
        presence: whether to be told of users who come and go.
        heartbeat: seconds; 0: none.
        window: see DEFAULT_WINDOW.
        in_flight: see DEFAULT_IN_FLIGHT; at most IN_FLIGHT_LIMIT.
        max_unread: see UNREAD_LIMIT; sixteen times as many while a request waits.
        timeout: seconds that a login or a question waits for its answer.
        max_delay: see MAX_DELAY.
        random: for the delays between attempts.
        wall_clock: nanoseconds since the epoch, for the time of messages.

    Raises:
        ValueError: the password has more than 65,535 bytes, or in_flight is less than 1.
    """

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        username: str,
        reactor: IReactorTime,
        *,
        password: str | None = None,
        resume: ResumeState = ResumeState(),  # noqa: B008
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
    ) -> None:
        if password is not None:
            STRING.encode(password)
        self.username = username
        self._properties = {
            "product": "chat-protocol",
            "version": version("chat-protocol"),
            "heartbeat": str(heartbeat),
            "window": str(window),
            **({"presence": "1"} if presence else {}),
            **({} if password is None else {"password": password}),
        }
        self._token = resume.session
        self._had_session = bool(resume.session)
        self._max_unread = max_unread
        self._window = max(window, DEFAULT_WINDOW)
        self._wall_clock = wall_clock
        self._clock = reactor
        self._telling: IDelayedCall | None = None
        self._state = State.NEW
        self._end: ChatError | None = None
        self._connection: Connection | None = None
        self._observers: list[Observer] = []
        self._stops: Waiters[None] = Waiters()
        self._online_since: float | None = None
        self._retry_delay = FIRST_DELAY
        self._backoff = Backoff(random or Random(), max_delay)
        self._attempts = Attempts()
        self._outbox = Outbox(in_flight, resume.publishing_id)
        self._inbox = Inbox(resume.offset, acknowledge, self._send_ack)
        factory = Factory.forProtocol(lambda: Connection(self, reactor, timeout))
        factory.noisy = False
        watched = WatchedEndpoint(endpoint, self._attempts.ended)
        super().__init__(watched, factory, self._retry_in, reactor)

    @property
    def state(self) -> State:
        """What it is doing now."""
        return self._state

    @property
    def version(self) -> int | None:
        """The version of the protocol that is spoken; None while not logged in."""
        connection = self._connection
        return connection.version if connection and self._state is State.ONLINE else None

    @property
    def resume_state(self) -> ResumeState:
        """What to remember for the next process of this application.

        An application that stores the offset of each message together with what it makes of it,
        and its own messages with their publishing ids before it sends them, and sends those
        without an answer again, has the promise across its own restarts.
        """
        return ResumeState(self._outbox.last_id, self._inbox.acknowledged, self._token)

    @property
    def stopped_by_application(self) -> bool:
        """Whether its end, if there is one, came from stopService()."""
        return self._end is None

    def add_observer(self, observer: Observer) -> None:
        """Call ``observer`` with each :data:`Event` from now on."""
        self._observers.append(observer)

    def remove_observer(self, observer: Observer) -> None:
        """Call it no more."""
        self._observers.remove(observer)

    # The life of the service.

    def startService(self) -> None:
        """Begin to connect, for the first time or again when stopService() has fired.

        Nothing happens while the client runs, or is on its way to stop.
        """
        if self._state in (State.NEW, State.STOPPED):
            self._step(Happening.START)
            self._end = None
            self._inbox.open()
            super().startService()

    def stopService(self) -> Deferred[None]:
        """Log out and stop; fires when the connection is gone.

        That takes CLOSE_TIMEOUT at most. In version 2 the name is free then, unless it took so
        long. What is not answered by then fails with NotConnected. Never fails; to cancel it
        stops the waiting only.
        """
        if self._state in (State.NEW, State.STOPPED):
            return succeed(None)
        stopped = self._stops.wait()
        self._give_up(None)
        return stopped

    def when_online(self, fail_after_failures: int | None = None) -> Deferred[None]:
        """Fires when the user is logged in, at once if that is so.

        Fails with the server's refusal if trying again is of no use - an unknown or unusable
        name, a wrong password, a name in use elsewhere at the first login - and with NotConnected
        when the client is stopped.

        Args:
            fail_after_failures: fail with the reason of the last attempt when so many have
                failed; None: the client tries for as long as it takes.
        """
        if self._state is State.ONLINE:
            return succeed(None)
        if self._state in OVER:
            return fail(self._why_ended())
        return self._attempts.wait(fail_after_failures)

    def _give_up(self, reason: ChatError | None) -> None:
        if self._state in (State.CONNECTING, State.ONLINE):
            self._step(Happening.STOP)
            self._end = reason
            stopping = Deferred.fromCoroutine(self._stop())
            stopping.addErrback(lambda failure: self._log.failure("stopping", failure))

    async def _stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._outbox.offline()
        connection = self._connection
        if connection is not None:
            await connection.close()
        stopped = super().stopService()
        if connection is None:
            at_once = stopped.called
            await stopped
            if not at_once:
                # ClientService is in the middle of a step, and would take no stop from an
                # application that is told of this one.
                await deferLater(self._clock, 0)
        # Else it fires when this returns: it learns of the end of the connection last.
        self._step(Happening.ENDED)
        reason = self._end
        error = partial(ended, reason)
        # All that waits is taken first: whoever is told of the end may start the client again.
        ending = [
            *self._outbox.give_up(error),
            *self._inbox.close(error),
            *self._attempts.give_up(error),
        ]
        for waiting, why in ending:
            if not waiting.called:
                waiting.errback(why)
        self._tell(Ended(reason))
        self._stops.succeed(None)

    # Sending.

    def send(self, to: str | Sequence[str], text: str, *, publishing_id: int = 0) -> Deferred[None]:
        """Send a text to one or several users, who need not be there now.

        Fires when the server has it stored: awaiting it is the back-pressure. All or nothing: if
        one recipient is refused, nobody gets it. Version 1 has no message to several, so each
        gets one of its own there, and a refusal may come after others are stored.

        Fails with UserNotFound, MailboxFull and the like, with ValueError when the text or a name
        has more than 65,535 bytes of UTF-8, with TooManyUnsent when UNSENT_LIMIT wait already.
        In version 1 also with NotConnected or RequestTimeout, and then it may have been stored.

        Args:
            to: a name, or several.
            text: at most 65,535 bytes of UTF-8.
            publishing_id: chosen by an application that remembers its messages across restarts:
                growing, above all that it has given and above that of :attr:`resume_state` when
                it was first on-line; give one to every message or to none.
        """
        names = (to,) if isinstance(to, str) else tuple(to)
        return self._send(Scope.USERS, names, text, publishing_id)

    def send_to_all(self, text: str, *, publishing_id: int = 0) -> Deferred[None]:
        """Send a text to every user that the server knows; see :meth:`send`.

        Fails with UnknownCommand if the server speaks version 1.
        """
        return self._send(Scope.EVERYONE, (), text, publishing_id)

    def _send(self, scope: int, to: tuple[str, ...], text: str, id_: int) -> Deferred[None]:
        if self._state in OVER:
            return fail(self._why_ended())
        return self._outbox.add(Outgoing(self.username, text, scope, to, self._wall_clock(), id_))

    # The connection's owner.

    def connected(self, connection: Connection) -> None:
        """See Owner: log in."""
        self._connection = connection
        logging_in = Deferred.fromCoroutine(self._log_in(connection))
        logging_in.addErrback(lambda failure: self._log.failure("logging in", failure))

    async def _log_in(self, connection: Connection) -> None:
        token = {"session": self._token} if self._token else {}
        try:
            granted = await connection.log_in(self.username, {**self._properties, **token})
        except (ChatError, ValueError) as error:
            if isinstance(error, (NotConnected, RequestTimeout)):
                # The login may have reached the server, and its session outlive the connection.
                self._had_session = True
            if not connection.is_open:
                return
            reason = error if isinstance(error, ChatError) else InvalidUsername(str(error))
            if is_final(reason, self._had_session):
                self._give_up(reason)
            else:
                self._attempts.refused(reason)
                connection.abort(str(reason), reason)
            return
        if connection.is_open:
            self._begin_session(connection, granted)

    def _begin_session(self, connection: Connection, granted: Granted) -> None:
        self._step(Happening.LOGGED_IN)
        self._token = granted.session
        self._had_session = True
        self._online_since = self._clock.seconds()
        self._window = max(self._window, granted.window)
        self._outbox.online(connection, granted.publishing_id)
        self._tell(Online(granted.version, granted.pending))
        self._attempts.succeeded()

    def pushed(self, connection: Connection, command: Any, size: int) -> None:
        """See Owner."""
        if isinstance(command, (Message, Deliver)):
            self._inbox.put(ReceivedMessage.of(command), size + _MESSAGE_OVERHEAD)
            if self._inbox.numbered > self._window:
                connection.abort(f"the server sent more than the window of {self._window} messages")
            connection.regulate()
        elif isinstance(command, Presence):
            self._tell(PresenceChanged(command.username, bool(command.online), command.time))
        elif isinstance(command, Close):
            self._told_to_go(connection, command)

    def _told_to_go(self, connection: Connection, close: Close) -> None:
        connection.expect_end(f"the server ended the connection: {close.reason or close.code}")
        if close.code == Code.REPLACED:
            # The session is another connection's, and so is the name.
            self._token = ""
            self._had_session = False
            self._give_up(Replaced(close.reason or "another connection took the session over"))
        elif close.code == Code.GOING_AWAY:
            self._backoff.spread()

    def lost(self, connection: Connection, reason: NotConnected) -> None:
        """See Owner."""
        self._connection = None
        self._outbox.offline()
        self._step(Happening.LOST)
        since, self._online_since = self._online_since, None
        lasting = min(self._retry_delay, LASTING)
        if since is not None and self._clock.seconds() - since > lasting:
            self._backoff.succeeded()
        self._attempts.ended(reason)

    def unread(self) -> tuple[int, int]:
        """See Owner."""
        return self._inbox.size, self._max_unread

    # The rest.

    def _retry_in(self, _: int) -> float:
        """The delay before the next attempt; ClientService asks whenever one has failed."""
        self._retry_delay = delay = self._backoff.next()
        # Not at once: who is told may stop the service, which is in the middle of a step here.
        self._telling = self._clock.callLater(0, self._tell_offline, delay)
        return delay

    def _tell_offline(self, delay: float) -> None:
        self._telling = None
        self._tell(Offline(self._attempts.reason, delay))
        self._attempts.count()

    def _send_ack(self, offset: int) -> None:
        if self._connection is not None and self._connection.version > 1:
            self._connection.tell(Ack(offset))

    def _why_ended(self) -> ChatError:
        return ended(self._end)

    def _step(self, happening: Happening) -> None:
        self._state = NEXT[self._state, happening]

    def _tell(self, event: Event) -> None:
        for observer in list(self._observers):
            try:
                observer(event)
            except Exception:
                self._log.failure("an observer failed with {event}", event=event)
