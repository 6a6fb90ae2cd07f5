"""Actions of the full screen: carry out typed lines, and pass client events to the model."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from chat_protocol.cli.commands import help_text
from chat_protocol.cli.exit_codes import describe_failure, request_failed, send_failed
from chat_protocol.cli.in_flight import InFlight
from chat_protocol.cli.intents import (
    CloseConversation,
    Intent,
    InvalidInput,
    NoIntent,
    OpenConversation,
    Quit,
    SendText,
    SetBell,
    ShowHelp,
    ShowHistory,
    ShowUsers,
)
from chat_protocol.cli.lines import parse_line
from chat_protocol.cli.options import DEFAULT_RECONNECT_TIMEOUT, check_text
from chat_protocol.cli.queries import describe_users
from chat_protocol.cli.screen.conversations import EVERYONE, Conversation
from chat_protocol.cli.screen.history import load_older, load_recent
from chat_protocol.cli.screen.model import MAX_PRESENCE, ConnectionStatus, Model
from chat_protocol.cli.session import VERSION_1_NOTICE, ClientSession
from chat_protocol.client import Event, Offline, Online, PresenceChanged
from chat_protocol.errors import ChatError

__all__ = ["MAILBOX_TIMEOUT", "MESSAGES_PER_TURN", "Actions", "UniqueClock"]

MESSAGES_PER_TURN = 100
"""Messages to take before keys and drawing get a turn."""

MAILBOX_TIMEOUT = 2.0
"""Seconds without a message from the mailbox after which no more are expected."""

_USERS_PAGE = 1_000

_KEYS_HELP = """\
  Tab                complete a name or a command
    PageUp, PageDown   scroll; End, if the line is empty: go to the newest message
    Alt-1 to Alt-9     go to that conversation; Ctrl-N, Ctrl-P, Alt-arrows: next, previous
    Alt-A              go to the next conversation with unread messages
    Up, Down           recall earlier lines
    Alt-Enter          insert a line break
    Ctrl-C             clear the line, or quit if it is empty; Ctrl-Z: suspend"""


class UniqueClock:
    """The client's wall clock; never returns a time twice, because times identify own messages."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> int:
        """Return nanoseconds since the epoch."""
        self.last = max(self.last + 1, time.time_ns())
        return self.last


class Actions:
    """Carry out what the user types and what the network reports.

    Args:
        reactor: schedules calls.
        model: the state of the screen.
        session: the client's session.
        unique_clock: the client's wall clock.
        timeout: seconds to wait for the last answers when the user quits.
    """

    def __init__(
        self,
        reactor: Any,
        model: Model,
        session: ClientSession,
        unique_clock: UniqueClock,
        timeout: float,
    ) -> None:
        self._reactor = reactor
        self._model = model
        self._session = session
        self._client = session.client
        self._unique_clock = unique_clock
        self._in_flight = InFlight(reactor, session, timeout)
        self._version = 0
        self._updated_users: set[str] = set()
        self._countdown = LoopingCall(model.changed)
        self._countdown.clock = reactor
        self._leaving = False
        self._recent_loaded = False
        self._mailbox_timer: IDelayedCall | None = None
        self.left: Deferred[None] = Deferred()
        """Fires when the user quits and the answers have arrived."""

    # Client events.

    def start(self) -> None:
        """Show the first notices and load users and conversations; called after the first login."""
        model = self._model
        model.add_notice(
            f"Connected to {self._session.server} as {model.capabilities.name(model.me)}.",
            home=True,
        )
        model.add_notice("Type /query NAME to open a conversation, /help for help.", home=True)
        self._session.on_login = self._logged_in
        self._logged_in(self._client.version or 0)

    def observe(self, event: Event) -> None:
        """Update the model with a client event."""
        model = self._model
        if isinstance(event, PresenceChanged):
            self._updated_users.add(event.username)
            model.presence_changed(event.username, event.online)
        elif isinstance(event, Online):
            model.connection = ConnectionStatus()
            model.pending = event.pending
            self._watch_mailbox()
            if self._countdown.running:
                self._countdown.stop()
            model.changed()
        elif isinstance(event, Offline):
            model.connection = ConnectionStatus(
                describe_failure(event.reason), self._reactor.seconds() + event.retry_in
            )
            model.pending = 0
            self._stop_watching()
            if not self._countdown.running:
                self._run(self._run_countdown())
            model.changed()

    async def _run_countdown(self) -> None:
        await self._countdown.start(1.0)

    def _watch_mailbox(self) -> None:
        """Stop expecting messages after a timeout.

        The server's count includes messages that arrived before a reconnect and were not
        acknowledged.
        """
        self._stop_watching()
        if self._model.pending:
            left = self._model.pending
            self._mailbox_timer = self._reactor.callLater(
                MAILBOX_TIMEOUT, self._check_mailbox, left
            )

    def _check_mailbox(self, left: int) -> None:
        self._mailbox_timer = None
        if self._model.pending == left:
            self._model.pending = 0
            self._mailbox_received()
            self._model.changed()
        self._watch_mailbox()

    def _stop_watching(self) -> None:
        if self._mailbox_timer is not None:
            self._mailbox_timer.cancel()
            self._mailbox_timer = None

    def stop(self) -> None:
        """Cancel the timers at the end of the run."""
        self._stop_watching()
        if self._countdown.running:
            self._countdown.stop()

    def _logged_in(self, version: int) -> None:
        if version == 1 and self._version != 1:
            self._model.add_notice(VERSION_1_NOTICE, home=True)
        self._version = version
        if version > 1:
            self._model.open(EVERYONE)
            self._run(self._load_presence())
            self._mailbox_received()

    async def _load_presence(self) -> None:
        """Load the presence of all users; events that arrive meanwhile take precedence."""
        self._updated_users.clear()
        after = ""
        try:
            while page := await self._client.users(after, _USERS_PAGE):
                for user in page:
                    if user.name not in self._updated_users:
                        self._model.set_presence(user.name, user.online)
                after = page[-1].name
                if len(self._model.presence) >= MAX_PRESENCE:
                    break
        except ChatError as error:
            self._model.add_notice(
                f"cannot load the users: {request_failed(error, self._session.server)}"
            )

    def _mailbox_received(self) -> None:
        """Load the recent conversations once, when the mailbox has been received."""
        if self._version > 1 and not self._model.pending and not self._recent_loaded:
            self._recent_loaded = True
            self._run(self._report_errors(load_recent(self._client, self._model)))

    async def receive_messages(self) -> None:
        """Show incoming messages; ends as :meth:`ChatClient.messages` does."""
        taken = 0
        async for message in self._client.messages():
            self._model.receive(message)
            self._client.acknowledge(message)
            self._mailbox_received()
            taken += 1
            if taken % MESSAGES_PER_TURN == 0:
                await deferLater(self._reactor, 0)

    # Typed lines.

    def handle_line(self, line: str) -> None:
        """Carry out a line."""
        model = self._model
        known = {
            name
            for conversation in model.conversations
            if not conversation.is_home
            for name in conversation.partners
        }
        self._execute(parse_line(line, known, screen=True))

    def send_pasted(self, lines: list[str]) -> None:
        """Send each line as a message, never as a command."""
        for line in lines:
            self._execute(SendText(None, line.rstrip()))

    def _execute(self, intent: Intent) -> None:
        model = self._model
        if isinstance(intent, SendText):
            self._send_text(intent)
        elif isinstance(intent, OpenConversation):
            self.show(model.open(self._partners(intent.to)))
        elif isinstance(intent, CloseConversation):
            if not model.close(model.current):
                model.hint = "this conversation cannot be closed"
        elif isinstance(intent, ShowUsers):
            self._run(self._report_errors(self._show_users()))
        elif isinstance(intent, ShowHistory):
            conversation = model.current if intent.with_ is None else model.open((intent.with_,))
            model.show(conversation)
            self.load_older(conversation, intent.limit)
        elif isinstance(intent, SetBell):
            model.bell = model.bell if intent.on is None else intent.on
            model.hint = f"the bell is {'on' if model.bell else 'off'}"
        elif isinstance(intent, ShowHelp):
            model.add_notice(f"Commands and keys:\n{help_text(screen=True)}\n{_KEYS_HELP}")
        elif isinstance(intent, InvalidInput):
            model.hint = intent.sentence
        elif isinstance(intent, Quit):
            self.leave()
        else:
            assert isinstance(intent, NoIntent)
        model.changed()

    def _partners(self, names: tuple[str, ...]) -> tuple[str, ...]:
        others = set(names) - {self._model.me}
        return tuple(sorted(others)) or (self._model.me,)

    def _send_text(self, intent: SendText) -> None:
        model = self._model
        conversation = model.current
        to = conversation.partners
        if intent.to is not None:
            # Do not switch to everyone: the next line must not go to all users by mistake.
            conversation = model.open(self._partners(intent.to) if intent.to else EVERYONE)
            to = intent.to
            if intent.to:
                self.show(conversation)
        if conversation.is_home:
            model.hint = (
                "no recipient: open a conversation with /query NAME; Tab completes the name"
            )
            return
        try:
            check_text(intent.text, "the text")
        except UsageError as problem:
            model.hint = f"not sent: {problem}"
            return
        self._run(
            self._in_flight.add(Deferred.fromCoroutine(self._send(conversation, to, intent.text)))
        )

    async def _send(self, conversation: Conversation, to: tuple[str, ...], text: str) -> None:
        client = self._client
        before = self._unique_clock.last
        sent = client.send(to, text) if to else client.send_to_all(text)
        # A client that has ended does not read the clock.
        timestamp = (
            self._unique_clock.last if self._unique_clock.last > before else self._unique_clock()
        )
        entry = self._model.add_outgoing(conversation, text, timestamp)
        failure_reason = None
        try:
            await sent
        except (ChatError, ValueError) as error:
            if isinstance(error, ChatError):
                failure_reason = str(send_failed(error, self._session.server, to))
            else:
                failure_reason = str(error)
        self._model.finish_outgoing(conversation, entry, failure_reason)

    async def _show_users(self) -> None:
        for sentence in await describe_users(self._client):
            self._model.add_notice(sentence)

    # Navigation.

    def show(self, conversation: Conversation) -> None:
        """Show a conversation; load its history if it was never loaded."""
        self._model.show(conversation)
        if (
            not conversation.is_home
            and not conversation.scanned
            and not conversation.complete
            and self._version > 1
        ):
            self.load_older(conversation)

    def load_older(self, conversation: Conversation, wanted: int | None = None) -> Deferred[None]:
        """Load older messages; the Deferred fires when they are in the model."""
        model = self._model
        if conversation.is_home or conversation.loading or conversation.complete:
            return succeed(None)
        if self._version < 2:
            model.hint = "the server speaks version 1, which does not support history"
            return succeed(None)
        if conversation.is_full:
            model.hint = "no more messages fit here; 'chatclient history' prints all"
            return succeed(None)
        return self._run(self._report_errors(load_older(self._client, model, conversation, wanted)))

    # Quitting.

    def leave(self) -> None:
        """Quit when all answers have arrived; at the second call, immediately."""
        if self._leaving:
            self._end()
            return
        self._leaving = True
        if self._in_flight.count:
            self._model.hint = self._in_flight.waiting_notice
            self._model.changed()
            self._session.set_reconnect_timeout(DEFAULT_RECONNECT_TIMEOUT)
            waiting = Deferred.fromCoroutine(self._in_flight.wait_until_at_most(0))
            waiting.addCallbacks(lambda _: self._end(), lambda failure: None)
        else:
            self._end()

    @property
    def leaving(self) -> bool:
        """Whether the user has quit and answers are pending."""
        return self._leaving

    def _end(self) -> None:
        if not self.left.called:
            self.left.callback(None)

    # Internals.

    async def _report_errors(self, query: Coroutine[Any, Any, object]) -> None:
        """Run a query and show its error."""
        try:
            await query
        except ChatError as error:
            # The session reports the error if the client gave up.
            if self._client.stopped_by_application:
                self._model.add_notice(str(request_failed(error, self._session.server)))

    def _run(self, work: Coroutine[Any, Any, None] | Deferred[None]) -> Deferred[None]:
        """Run it; an unexpected error ends the session."""
        doing = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        return doing.addErrback(self._fail)

    def _fail(self, failure: Failure) -> None:
        error = failure.value
        if not failure.check(CancelledError):  # type: ignore[no-untyped-call]
            assert isinstance(error, Exception)
            self._session.end(error)
