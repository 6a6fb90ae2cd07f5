"""A conversation line by line."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from chat_protocol.cli.conversation import Conversation
from chat_protocol.cli.exit_codes import Exit, Failed
from chat_protocol.cli.in_flight import Unanswered
from chat_protocol.cli.intents import Quit
from chat_protocol.cli.lines import parse_line
from chat_protocol.cli.options import DEFAULT_PATIENCE, Settings
from chat_protocol.cli.session import Session
from chat_protocol.cli.terminal import Console, PlainConsole
from chat_protocol.cli.text import quoted
from chat_protocol.errors import ChatError

__all__ = ["converse"]


async def converse(reactor: Any, settings: Settings) -> Exit:
    """Talk until the end of the input, /quit, or the end of the session.

    Args:
        reactor: any.
        settings: where, and as whom; a name that is missing is asked for.
    """
    console = PlainConsole(reactor)
    talk = await _log_in(reactor, settings, console)
    if talk is not None:
        await talk.run(wait=sys.stdin is None or not sys.stdin.isatty())
    return Exit.OK


async def _log_in(reactor: Any, settings: Settings, console: Console) -> _Talk | None:
    """Log in, asking for a name, until one is accepted; None at the end of the input."""
    if settings.user is not None:
        talk = _Talk(reactor, settings, settings.user, console)
        await talk.session.open()
        return talk
    while True:
        await console.show("What is your name?")
        name = await console.read(lambda: "name> ")
        if name is None:
            return None
        if not name.strip():
            continue
        talk = _Talk(reactor, settings, name.strip(), console)
        try:
            await talk.session.open()
        except Failed as problem:
            if problem.code is not Exit.REFUSED:
                raise
            await console.show(f"* {problem}")
        else:
            return talk


class _Talk:
    """A conversation with all that belongs to it."""

    def __init__(self, reactor: Any, settings: Settings, username: str, console: Console) -> None:
        self._console = console
        self._settings = settings
        self.session = Session(reactor, settings, username, self._say, presence=True)
        self._conversation = Conversation(self.session, console, reactor)
        self._unanswered = Unanswered(reactor, self.session, settings.timeout)

    def _say(self, sentence: str) -> None:
        self._conversation.say(sentence)

    async def run(self, wait: bool) -> None:
        """Talk, and log out.

        Args:
            wait: read the next line when the last one is done; else the typing goes on meanwhile.
        """
        session, conversation = self.session, self._conversation
        me = quoted(session.client.username)
        await self._console.show(f"Connected to {session.server} as {me}; /help says what to type.")
        conversation.logged_in(session.client.version or 0)
        session.on_login = conversation.logged_in
        session.client.add_observer(conversation.happened)
        arrivals = Deferred.fromCoroutine(conversation.show_arrivals())
        arrivals.addErrback(self._no_more_arrivals)
        try:
            await session.run(self._type(wait))
        except BaseException:
            # What cannot be shown would hold up the end.
            arrivals.cancel()
            raise
        finally:
            await arrivals

    def _no_more_arrivals(self, failure: Failure) -> None:
        # The end of a client is told by its session.
        if not failure.check(ChatError, CancelledError):  # type: ignore[no-untyped-call]
            error = failure.value
            assert isinstance(error, Exception)
            self.session.end(error)

    async def _type(self, wait: bool) -> None:
        """Handle the lines in their order until there are no more."""
        conversation, unanswered = self._conversation, self._unanswered
        faults: list[Failure] = []
        while (line := await self._console.read(lambda: conversation.label)) is not None:
            if isinstance(parse_line(line), Quit):
                break
            handled = Deferred.fromCoroutine(conversation.handle(line))
            unanswered.add(handled).addErrback(faults.append)
            if wait:
                await unanswered.at_most(0)
            if faults:
                break
        if unanswered.count:
            answers = "an answer" if unanswered.count == 1 else f"{unanswered.count} answers"
            conversation.say(f"waiting for {answers} of the server; Ctrl-C leaves at once")
            if self._settings.patience is None:
                self.session.be_patient_for(DEFAULT_PATIENCE)
            await unanswered.at_most(0)
        for fault in faults:
            fault.raiseException()
