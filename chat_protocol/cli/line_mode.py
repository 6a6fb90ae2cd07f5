"""The line mode: handles typed lines, and shows messages and presence."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import datetime, timezone
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from chat_protocol.cli.commands import help_text
from chat_protocol.cli.exit_codes import request_failed, send_failed, unknown_user
from chat_protocol.cli.intents import InvalidInput, SendText, ShowHelp, ShowHistory, ShowUsers
from chat_protocol.cli.lines import parse_line
from chat_protocol.cli.options import check_text
from chat_protocol.cli.queries import describe_users, page_messages
from chat_protocol.cli.session import VERSION_1_NOTICE, ClientSession
from chat_protocol.cli.terminal import Console
from chat_protocol.cli.text import as_display, excerpt, quoted, quoted_list, visible
from chat_protocol.client import Event, PresenceChanged, ReceivedMessage, State
from chat_protocol.errors import ChatError, UserNotFound

__all__ = ["SLOW_ANSWER", "LineMode"]

SLOW_ANSWER = 1.0
"""Seconds without an answer after which a message is shown as still being sent."""

_MAX_KNOWN = 1000
"""Maximum number of remembered partners, the most recent."""

_MAX_QUEUED_PRESENCE = 100
"""Maximum number of presence lines waiting for output; further ones are dropped."""


class LineMode:
    """Send typed lines to the client and show what the client reports.

    Args:
        session: the client's session; it ends when the output fails.
        console: shows lines.
        reactor: schedules calls.
    """

    def __init__(self, session: ClientSession, console: Console, reactor: Any) -> None:
        self._session = session
        self._client = session.client
        self._console = console
        self._reactor = reactor
        self._partners: tuple[str, ...] = ()
        self._known: dict[str, None] = {}
        self._version: int | None = None
        self._queued_presence = 0

    @property
    def prompt(self) -> str:
        """The text in front of the line being typed: the username and the recipients."""
        to = f" to {quoted_list(self._partners)}" if self._partners else ""
        suffix = "" if self._online else " (not connected)"
        return f"{quoted(self._client.username)}{to}{suffix}> "

    @property
    def _online(self) -> bool:
        return self._client.state is State.ONLINE

    # Incoming.

    def notify(self, sentence: str) -> None:
        """Show a sentence that is not a message, without waiting for the output."""
        self._console.refresh()
        self._show_line(f"* {visible(sentence)}")

    def _show_line(self, line: str) -> Deferred[None]:
        return self._console.show(line).addErrback(self._output_failed)

    def _output_failed(self, failure: Failure) -> None:
        error = failure.value
        assert isinstance(error, Exception)
        self._session.end(error)

    def logged_in(self, version: int) -> None:
        """Report the limitations of a version 1 server once."""
        if version == 1 and self._version != 1:
            self.notify(VERSION_1_NOTICE)
        self._version = version

    def observe(self, event: Event) -> None:
        """Show a user who goes online or offline."""
        if isinstance(event, PresenceChanged) and self._queued_presence < _MAX_QUEUED_PRESENCE:
            self._queued_presence += 1
            what = "is online" if event.online else "went offline"
            shown = self._show_line(f"* {quoted(event.username)} {what}")
            shown.addCallback(self._presence_shown)

    def _presence_shown(self, _: None) -> None:
        self._queued_presence -= 1

    async def show_messages(self) -> None:
        """Show incoming messages; ends as :meth:`ChatClient.messages` does."""
        async for message in self._client.messages():
            if not message.own:
                self._remember(message.sender)
            now = datetime.now(timezone.utc)
            await self._console.show(as_display(message, now, self._client.username))
            self._client.acknowledge(message)

    # Typed lines.

    async def handle(self, line: str) -> None:
        """Carry out a line; a message is stored, or its failure shown, when this returns."""
        intent = parse_line(line, self._known)
        if isinstance(intent, ShowHelp):
            await self._show_line(help_text())
        elif isinstance(intent, InvalidInput):
            await self._show_line(f"* {visible(intent.sentence)}")
        elif isinstance(intent, ShowUsers):
            await self._run_query(self._show_users(), "")
        elif isinstance(intent, ShowHistory):
            with_ = intent.with_ or (self._partners[0] if len(self._partners) == 1 else "")
            await self._run_query(self._show_history(with_, intent.limit), with_)
        elif isinstance(intent, SendText):
            if intent.to:
                # Before the answer: lines typed meanwhile are meant for the new recipients.
                self._set_partners(intent.to)
            if intent.to is None and not self._partners:
                await self._show_line("* no recipient: write NAME: text first; /help shows more")
            else:
                await self._send(self._partners if intent.to is None else intent.to, intent.text)

    async def _send(self, to: tuple[str, ...], text: str) -> None:
        try:
            check_text(text, "the text")
        except UsageError as problem:
            await self._show_line(f"* not sent: {problem}")
            return
        sent = self._client.send(to, text) if to else self._client.send_to_all(text)
        recipients = quoted_list(to)
        reminder = ""

        def announce(what: str) -> None:
            # After other output, the outcome must name its message.
            nonlocal reminder
            reminder = f" {recipients}: {excerpt(text)}"
            self.notify(f"{what}{reminder}")

        slow = self._reactor.callLater(SLOW_ANSWER, announce, "still sending to")
        if not self._online and not sent.called:
            slow.cancel()
            announce("not connected; will send after reconnecting to")
        try:
            await sent
        except ChatError as error:
            reason = send_failed(error, self._session.server, to)
            await self._show_line(f"* not sent{reminder and f' to{reminder}'}: {reason}")
            if isinstance(error, UserNotFound) and self._partners == to:
                self._set_partners(())
        else:
            for name in to:
                self._remember(name)
            await self._show_line(f"* stored for{reminder or f' {recipients}'}")
        finally:
            if slow.active():
                slow.cancel()

    async def _run_query(self, query: Coroutine[Any, Any, None], name: str) -> None:
        if not self._online:
            self.notify("not connected; the answer will follow after reconnecting")
        try:
            await query
        except UserNotFound:
            await self._show_line(f"* {unknown_user(name)}")
        except ChatError as error:
            await self._show_line(f"* {request_failed(error, self._session.server)}")

    async def _show_users(self) -> None:
        for sentence in await describe_users(self._client):
            await self._show_line(f"* {sentence}")

    async def _show_history(self, with_: str, limit: int) -> None:
        def show(page: Sequence[ReceivedMessage]) -> Deferred[None]:
            now = datetime.now(timezone.utc)
            return self._show_line("\n".join(as_display(message, now) for message in page))

        count = await page_messages(self._client, with_, limit, show)
        messages = "1 message" if count == 1 else f"{count or 'no'} messages"
        await self._show_line(f"* {messages}{with_ and f' with {quoted(with_)}'}")

    def _set_partners(self, partners: tuple[str, ...]) -> None:
        self._partners = partners
        self._console.refresh()

    def _remember(self, name: str) -> None:
        self._known.pop(name, None)
        self._known[name] = None
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]
