"""What the lines of a conversation do, and what is shown in it."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import datetime, timezone
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from chat_protocol.cli.commands import help_text
from chat_protocol.cli.exit_codes import failed, no_user, send_failed
from chat_protocol.cli.intents import Help, Mistake, Say, ShowHistory, ShowUsers
from chat_protocol.cli.lines import parse_line
from chat_protocol.cli.options import check_text
from chat_protocol.cli.questions import each_message, users_in_sentences
from chat_protocol.cli.session import Session
from chat_protocol.cli.terminal import Console
from chat_protocol.cli.text import arrival, excerpt, quoted, quoted_list, visible
from chat_protocol.client import Event, PresenceChanged, ReceivedMessage, State
from chat_protocol.errors import ChatError, UserNotFound

__all__ = ["SLOW", "Conversation"]

SLOW = 1.0
"""Seconds without an answer after which a message is said to be on its way."""

_MAX_KNOWN = 1000
"""Names that are remembered as those one has talked with, the latest."""

_MAX_PRESENCE = 100
"""Comings and goings that wait to be shown; while nobody reads these, more are left out."""

_VERSION_1 = (
    "the server speaks version 1: there is no /all, /users and /history, nobody is seen to come "
    "and go, and what is on its way when the connection breaks may be lost"
)


class Conversation:
    """What is typed goes to the client, and what comes from it is shown.

    Args:
        session: whose client it is; ends when nothing can be shown.
        console: shows lines.
        reactor: measures time.
    """

    def __init__(self, session: Session, console: Console, reactor: Any) -> None:
        self._session = session
        self._client = session.client
        self._console = console
        self._reactor = reactor
        self._partners: tuple[str, ...] = ()
        self._known: dict[str, None] = {}
        self._version: int | None = None
        self._presences = 0

    @property
    def label(self) -> str:
        """What stands in front of the line being typed: who writes, and to whom."""
        to = f" to {quoted_list(self._partners)}" if self._partners else ""
        away = "" if self._online else " (not connected)"
        return f"{quoted(self._client.username)}{to}{away}> "

    @property
    def _online(self) -> bool:
        return self._client.state is State.ONLINE

    # What happens by itself.

    def say(self, sentence: str) -> None:
        """Show something that is no message, without waiting until it is shown."""
        self._console.refresh()
        self._show(f"* {visible(sentence)}")

    def _show(self, line: str) -> Deferred[None]:
        return self._console.show(line).addErrback(self._not_shown)

    def _not_shown(self, failure: Failure) -> None:
        error = failure.value
        assert isinstance(error, Exception)
        self._session.end(error)

    def logged_in(self, version: int) -> None:
        """Say what the server cannot do, if that is new."""
        if version == 1 and self._version != 1:
            self.say(_VERSION_1)
        self._version = version

    def happened(self, event: Event) -> None:
        """Show who comes and goes."""
        if isinstance(event, PresenceChanged) and self._presences < _MAX_PRESENCE:
            self._presences += 1
            what = "is here" if event.online else "has left"
            shown = self._show(f"* {quoted(event.username)} {what}")
            shown.addCallback(self._presence_shown)

    def _presence_shown(self, _: None) -> None:
        self._presences -= 1

    async def show_arrivals(self) -> None:
        """Show messages as they come; ends as :meth:`ChatClient.messages` does."""
        async for message in self._client.messages():
            self._remember(message.sender)
            now = datetime.now(timezone.utc)
            await self._console.show(arrival(message, now, self._client.username))
            self._client.acknowledge(message)

    # What is typed.

    async def handle(self, line: str) -> None:
        """Do what a line says, to the end: a message is stored then, or it is told why not."""
        wish = parse_line(line, self._known)
        if isinstance(wish, Help):
            await self._show(help_text())
        elif isinstance(wish, Mistake):
            await self._show(f"* {visible(wish.sentence)}")
        elif isinstance(wish, ShowUsers):
            await self._ask(self._show_users(), "")
        elif isinstance(wish, ShowHistory):
            with_ = wish.with_ or (self._partners[0] if len(self._partners) == 1 else "")
            await self._ask(self._show_history(with_, wish.limit), with_)
        elif isinstance(wish, Say):
            if wish.to:
                # Even before the answer: what is typed meanwhile is not meant for the one before.
                self._talk_to(wish.to)
            if wish.to is None and not self._partners:
                await self._show("* to whom? Write NAME: text first; /help says more")
            else:
                await self._send(self._partners if wish.to is None else wish.to, wish.text)

    async def _send(self, to: tuple[str, ...], text: str) -> None:
        try:
            check_text(text, "the text")
        except UsageError as problem:
            await self._show(f"* not sent: {problem}")
            return
        sent = self._client.send(to, text) if to else self._client.send_to_all(text)
        whom = quoted_list(to)
        reminder = ""

        def delayed(what: str) -> None:
            # What is said later must say of which message.
            nonlocal reminder
            reminder = f" {whom}: {excerpt(text)}"
            self.say(f"{what}{reminder}")

        slow = self._reactor.callLater(SLOW, delayed, "sending to")
        if not self._online and not sent.called:
            slow.cancel()
            delayed("not connected; when it is again this will be sent to")
        try:
            await sent
        except ChatError as error:
            why = send_failed(error, self._session.server, to)
            await self._show(f"* not sent{reminder and f' to{reminder}'}: {why}")
            if isinstance(error, UserNotFound) and self._partners == to:
                self._talk_to(())
        else:
            for name in to:
                self._remember(name)
            await self._show(f"* stored for{reminder or f' {whom}'}")
        finally:
            if slow.active():
                slow.cancel()

    async def _ask(self, question: Coroutine[Any, Any, None], name: str) -> None:
        if not self._online:
            self.say("not connected; the answer comes when it is again")
        try:
            await question
        except UserNotFound:
            await self._show(f"* {no_user(name)}")
        except ChatError as error:
            await self._show(f"* {failed(error, self._session.server)}")

    async def _show_users(self) -> None:
        for sentence in await users_in_sentences(self._client):
            await self._show(f"* {sentence}")

    async def _show_history(self, with_: str, limit: int) -> None:
        def show(page: Sequence[ReceivedMessage]) -> Deferred[None]:
            now = datetime.now(timezone.utc)
            return self._show("\n".join(arrival(message, now) for message in page))

        count = await each_message(self._client, with_, limit, show)
        messages = "1 message" if count == 1 else f"{count or 'no'} messages"
        await self._show(f"* {messages}{with_ and f' with {quoted(with_)}'}")

    def _talk_to(self, partners: tuple[str, ...]) -> None:
        self._partners = partners
        self._console.refresh()

    def _remember(self, name: str) -> None:
        self._known.pop(name, None)
        self._known[name] = None
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]
