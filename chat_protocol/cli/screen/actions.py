"""Between the full screen's model and the client: what is typed is done, what comes is shown."""

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
from chat_protocol.cli.exit_codes import fact, failed, send_failed
from chat_protocol.cli.in_flight import Unanswered
from chat_protocol.cli.intents import (
    CloseTalk,
    Help,
    Mistake,
    Nothing,
    OpenTalk,
    Quit,
    Ring,
    Say,
    ShowHistory,
    ShowUsers,
    Wish,
)
from chat_protocol.cli.lines import parse_line
from chat_protocol.cli.options import DEFAULT_PATIENCE, check_text
from chat_protocol.cli.questions import users_in_sentences
from chat_protocol.cli.screen.conversations import EVERYONE, Talk
from chat_protocol.cli.screen.history import load_older, load_recent
from chat_protocol.cli.screen.model import MAX_PEOPLE, Link, Model
from chat_protocol.cli.session import Session
from chat_protocol.client import Event, Offline, Online, PresenceChanged
from chat_protocol.errors import ChatError

__all__ = ["CATCHING_UP", "SLICE", "Actions", "Stamps"]

SLICE = 100
"""Messages that are taken before keys and the screen have a turn."""

CATCHING_UP = 2.0
"""Seconds without a message of the mailbox after which no more are expected."""

_USERS_PAGE = 1_000

_KEYS_HELP = """\
  Tab                complete a name or a command
  PageUp, PageDown   older and newer messages; End, with nothing typed: the newest
  Alt-1 to Alt-9     that conversation; Ctrl-N, Ctrl-P, Alt-arrows: the next, the one before
  Alt-A              the next with something unread
  Up, Down           what you typed before
  Alt-Enter          a new line within the message
  Ctrl-C             empty the line; leave, if it is empty; Ctrl-Z: to the shell"""

_VERSION_1 = (
    "the server speaks version 1: there is no /all, /users and /history, nobody is seen to come "
    "and go, and what is on its way when the connection breaks may be lost"
)


class Stamps:
    """The wall clock of a client, which gives no time twice: messages are recognised by it."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> int:
        """Nanoseconds since the epoch."""
        self.last = max(self.last + 1, time.time_ns())
        return self.last


class Actions:
    """What the keys and the network cause.

    Args:
        reactor: measures time.
        model: what is shown.
        session: whose client it is.
        stamps: the wall clock of that client.
        timeout: seconds that a server has for the last answers when one leaves.
    """

    def __init__(
        self, reactor: Any, model: Model, session: Session, stamps: Stamps, timeout: float
    ) -> None:
        self._reactor = reactor
        self._model = model
        self._session = session
        self._client = session.client
        self._stamps = stamps
        self._unanswered = Unanswered(reactor, session, timeout)
        self._version = 0
        self._fresh: set[str] = set()
        self._countdown = LoopingCall(model.changed)
        self._countdown.clock = reactor
        self._leaving = False
        self._recent = False
        self._watch: IDelayedCall | None = None
        self.left: Deferred[None] = Deferred()
        """Fires when the user wants to leave and the answers are there."""

    # What happens by itself.

    def begin(self) -> None:
        """The first login is done."""
        model = self._model
        model.say(f"Connected to {self._session.server} as {model.look.name(model.me)}.", home=True)
        model.say("/query NAME begins a conversation, /help says what else there is.", home=True)
        self._session.on_login = self._logged_in
        self._logged_in(self._client.version or 0)

    def happened(self, event: Event) -> None:
        """What a client tells its observers."""
        model = self._model
        if isinstance(event, PresenceChanged):
            self._fresh.add(event.username)
            model.came_or_went(event.username, event.online)
        elif isinstance(event, Online):
            model.link = Link()
            model.catching_up = event.pending
            self._watch_catching_up()
            if self._countdown.running:
                self._countdown.stop()
            model.changed()
        elif isinstance(event, Offline):
            model.link = Link(fact(event.reason), self._reactor.seconds() + event.retry_in)
            model.catching_up = 0
            self._unwatch()
            if not self._countdown.running:
                self._do(self._count_down())
            model.changed()

    async def _count_down(self) -> None:
        await self._countdown.start(1.0)

    def _watch_catching_up(self) -> None:
        """Not all that the server counted need come: some came before the connection broke."""
        self._unwatch()
        if self._model.catching_up:
            left = self._model.catching_up
            self._watch = self._reactor.callLater(CATCHING_UP, self._look_at_catching_up, left)

    def _look_at_catching_up(self, left: int) -> None:
        self._watch = None
        if self._model.catching_up == left:
            self._model.catching_up = 0
            self._caught_up()
            self._model.changed()
        self._watch_catching_up()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def stop(self) -> None:
        """The run is over."""
        self._unwatch()
        if self._countdown.running:
            self._countdown.stop()

    def _logged_in(self, version: int) -> None:
        if version == 1 and self._version != 1:
            self._model.say(_VERSION_1, home=True)
        self._version = version
        if version > 1:
            self._model.open(EVERYONE)
            self._do(self._load_people())
            self._caught_up()

    async def _load_people(self) -> None:
        """Who there is; what is told of them meanwhile is newer."""
        self._fresh.clear()
        after = ""
        try:
            while page := await self._client.users(after, _USERS_PAGE):
                for user in page:
                    if user.name not in self._fresh:
                        self._model.present(user.name, user.online)
                after = page[-1].name
                if len(self._model.people) >= MAX_PEOPLE:
                    break
        except ChatError as error:
            self._model.say(f"who is here is not known: {failed(error, self._session.server)}")

    def _caught_up(self) -> None:
        """Once, when all that waited has come: the conversations of the last time."""
        if self._version > 1 and not self._model.catching_up and not self._recent:
            self._recent = True
            self._do(self._tell(load_recent(self._client, self._model)))

    async def take_arrivals(self) -> None:
        """Show messages as they come; ends as :meth:`ChatClient.messages` does."""
        taken = 0
        async for message in self._client.messages():
            self._model.arrived(message)
            self._client.acknowledge(message)
            self._caught_up()
            taken += 1
            if taken % SLICE == 0:
                await deferLater(self._reactor, 0)

    # What is typed.

    def typed(self, line: str) -> None:
        """Do what a line says."""
        model = self._model
        known = {name for talk in model.talks if not talk.is_home for name in talk.partners}
        self._carry_out(parse_line(line, known, screen=True))

    def pasted(self, lines: list[str]) -> None:
        """Send each as a message, whatever it looks like."""
        for line in lines:
            self._carry_out(Say(None, line.rstrip()))

    def _carry_out(self, wish: Wish) -> None:
        model = self._model
        if isinstance(wish, Say):
            self._say(wish)
        elif isinstance(wish, OpenTalk):
            self.show(model.open(self._partners(wish.to)))
        elif isinstance(wish, CloseTalk):
            if not model.close(model.current):
                model.hint = "this one stays"
        elif isinstance(wish, ShowUsers):
            self._do(self._tell(self._show_users()))
        elif isinstance(wish, ShowHistory):
            talk = model.current if wish.with_ is None else model.open((wish.with_,))
            model.show(talk)
            self.load_older(talk, wish.limit)
        elif isinstance(wish, Ring):
            model.bell = model.bell if wish.on is None else wish.on
            model.hint = f"the bell is {'on' if model.bell else 'off'}"
        elif isinstance(wish, Help):
            model.say(f"What you can type, and the keys:\n{help_text(screen=True)}\n{_KEYS_HELP}")
        elif isinstance(wish, Mistake):
            model.hint = wish.sentence
        elif isinstance(wish, Quit):
            self.leave()
        else:
            assert isinstance(wish, Nothing)
        model.changed()

    def _partners(self, names: tuple[str, ...]) -> tuple[str, ...]:
        others = set(names) - {self._model.me}
        return tuple(sorted(others)) or (self._model.me,)

    def _say(self, wish: Say) -> None:
        model = self._model
        talk = model.current
        to = talk.partners
        if wish.to is not None:
            # What went to everyone once is no reason that the next line does.
            talk = model.open(self._partners(wish.to) if wish.to else EVERYONE)
            to = wish.to
            if wish.to:
                self.show(talk)
        if talk.is_home:
            model.hint = "to whom? /query NAME begins a conversation; Tab completes the name"
            return
        try:
            check_text(wish.text, "the text")
        except UsageError as problem:
            model.hint = f"not sent: {problem}"
            return
        self._do(self._unanswered.add(Deferred.fromCoroutine(self._send(talk, to, wish.text))))

    async def _send(self, talk: Talk, to: tuple[str, ...], text: str) -> None:
        client = self._client
        before = self._stamps.last
        sent = client.send(to, text) if to else client.send_to_all(text)
        # A client that has ended takes no time for a message.
        stamp = self._stamps.last if self._stamps.last > before else self._stamps()
        entry = self._model.written(talk, text, stamp)
        why_not = None
        try:
            await sent
        except (ChatError, ValueError) as error:
            if isinstance(error, ChatError):
                why_not = str(send_failed(error, self._session.server, to))
            else:
                why_not = str(error)
        self._model.settled(talk, entry, why_not)

    async def _show_users(self) -> None:
        for sentence in await users_in_sentences(self._client):
            self._model.say(sentence)

    # What is looked at.

    def show(self, talk: Talk) -> None:
        """Bring a conversation to the screen; its past, if there is nothing to see yet."""
        self._model.show(talk)
        if not talk.is_home and not talk.scanned and not talk.complete and self._version > 1:
            self.load_older(talk)

    def load_older(self, talk: Talk, wanted: int | None = None) -> Deferred[None]:
        """Fetch what was said before all that is here; fires when it is."""
        model = self._model
        if talk.is_home or talk.loading or talk.complete:
            return succeed(None)
        if self._version < 2:
            model.hint = "the server speaks version 1, which has no history"
            return succeed(None)
        if talk.full:
            model.hint = "that is as much as fits here; 'chatclient history' prints all"
            return succeed(None)
        return self._do(self._tell(load_older(self._client, model, talk, wanted)))

    # The end.

    def leave(self) -> None:
        """End when all is answered; asked a second time, at once."""
        if self._leaving:
            self._end()
            return
        self._leaving = True
        if self._unanswered.count:
            count = self._unanswered.count
            answers = "an answer" if count == 1 else f"{count} answers"
            self._model.hint = f"waiting for {answers} of the server; Ctrl-C leaves at once"
            self._model.changed()
            self._session.be_patient_for(DEFAULT_PATIENCE)
            waiting = Deferred.fromCoroutine(self._unanswered.at_most(0))
            waiting.addCallbacks(lambda _: self._end(), lambda failure: None)
        else:
            self._end()

    @property
    def leaving(self) -> bool:
        """Whether the user wants to leave and answers are awaited."""
        return self._leaving

    def _end(self) -> None:
        if not self.left.called:
            self.left.callback(None)

    # How it is carried out.

    async def _tell(self, question: Coroutine[Any, Any, object]) -> None:
        """Carry out a question; a refusal is told."""
        try:
            await question
        except ChatError as error:
            # That the client has given up is told by its session.
            if self._client.stopped_by_application:
                self._model.say(str(failed(error, self._session.server)))

    def _do(self, work: Coroutine[Any, Any, None] | Deferred[None]) -> Deferred[None]:
        """Carry it out; whatever is wrong with this program ends it."""
        doing = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        return doing.addErrback(self._fault)

    def _fault(self, failure: Failure) -> None:
        error = failure.value
        if not failure.check(CancelledError):  # type: ignore[no-untyped-call]
            assert isinstance(error, Exception)
            self._session.end(error)
