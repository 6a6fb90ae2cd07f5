"""A conversation at the terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timezone
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from chat_protocol.cli.lines import HELP, Help, Mistake, Quit, Say, parse_line
from chat_protocol.cli.login import log_in
from chat_protocol.cli.options import Settings, check_text
from chat_protocol.cli.outcome import Exit, Failed, failed, send_failed
from chat_protocol.cli.output import write_line
from chat_protocol.cli.terminal import LineSource, PlainSource, open_editor
from chat_protocol.cli.text import arrival, quoted
from chat_protocol.client import Client
from chat_protocol.errors import ChatError, NotConnected, UserNotFound

__all__ = ["Conversation", "converse"]

_MAX_KNOWN = 1000
"""Names that are remembered as those one has talked with, the latest."""


async def converse(reactor: Any, settings: Settings, edit: bool) -> Exit:
    """Talk until the end of the input, /quit, or the end of the connection.

    Args:
        reactor: the asyncio reactor, if ``edit``.
        settings: where, and as whom; a name that is missing is asked for.
        edit: whether lines are edited with prompt_toolkit.
    """
    with open_editor() if edit else nullcontext(PlainSource(reactor)) as source:
        client = await _log_in(reactor, settings, source)
        if client is None:
            return Exit.OK
        conversation = Conversation(client, settings.server.text, write_line, source.refresh)
        me = quoted(conversation.user)
        write_line(f"Connected to {settings.server.text} as {me}; /help says what to type.")
        typing = Deferred.fromCoroutine(_type(conversation, source, wait=not edit))
        arrivals = Deferred.fromCoroutine(conversation.show_arrivals())
        # Not at once: `arrivals` is awaited by what the cancelling wakes up.
        arrivals.addBoth(_then, lambda: reactor.callLater(0, typing.cancel))
        try:
            await typing
        except CancelledError:
            # Either the connection ended, which `arrivals` tells, or the whole run is cancelled.
            if client.connected:
                raise
        finally:
            await client.disconnect()
            try:
                await arrivals
            except NotConnected as error:
                raise failed(error, settings.server.text) from error
        return Exit.OK


def _then(result: Any, call: Callable[[], object]) -> Any:
    """Make a call and pass the result on."""
    call()
    return result


async def _log_in(reactor: Any, settings: Settings, source: LineSource) -> Client | None:
    """Log in, asking for a name, until one is accepted; None at the end of the input."""
    if settings.user is not None:
        return await log_in(reactor, settings, settings.user)
    while True:
        write_line("What is your name?")
        name = await source.read(lambda: "name> ")
        if name is None:
            return None
        name = name.strip()
        if not name:
            continue
        try:
            return await log_in(reactor, settings, name)
        except Failed as problem:
            if problem.code is not Exit.REFUSED:
                raise
            write_line(f"* {problem}")


async def _type(conversation: Conversation, source: LineSource, wait: bool) -> None:
    """Handle the lines, in their order, until there are no more.

    Args:
        conversation: what handles them.
        source: where they come from.
        wait: read the next one when the last one is done; else the typing goes on meanwhile.
    """
    lock = DeferredLock()
    faults: list[Failure] = []
    while (line := await source.read(lambda: conversation.label)) is not None:
        if isinstance(parse_line(line), Quit):
            break
        handled = lock.run(conversation.handle, line)
        if wait:
            await handled
        else:
            handled.addErrback(faults.append)
    await lock.acquire()
    for fault in faults:
        fault.raiseException()


class Conversation:
    """What the lines do and what is shown.

    Args:
        client: logged in.
        server: as the user named it.
        show: takes a line to print.
        changed: called when ``label`` has changed.
    """

    def __init__(
        self,
        client: Client,
        server: str,
        show: Callable[[str], object],
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.user = client.username or ""
        self._client = client
        self._server = server
        self._show = show
        self._changed = changed
        self._partner: str | None = None
        self._known: dict[str, None] = {}

    @property
    def label(self) -> str:
        """What stands in front of the line being typed: who writes, and to whom."""
        to = "" if self._partner is None else f" to {quoted(self._partner)}"
        return f"{quoted(self.user)}{to}> "

    async def show_arrivals(self) -> None:
        """Show messages as they come; ends as :meth:`Client.messages` does."""
        async for message in self._client.messages():
            self._remember(message.sender)
            self._show(arrival(message, datetime.now(timezone.utc)))

    async def handle(self, line: str) -> None:
        """Do what a line says, to the end: a message is stored then, or it is told why not."""
        wish = parse_line(line, self._known)
        if isinstance(wish, Help):
            self._show(HELP)
        elif isinstance(wish, Mistake):
            self._show(f"* {wish.sentence}")
        elif isinstance(wish, Say):
            if wish.recipient is not None:
                # Even before the answer: what is typed meanwhile is not meant for the one before.
                self._talk_to(wish.recipient)
            await self._say(wish.text)

    async def _say(self, text: str) -> None:
        recipient = self._partner
        if recipient is None:
            self._show("* to whom? Write NAME: text first; /help says more")
            return
        try:
            check_text(text, "the text")
            await self._client.send(recipient, text)
        except UsageError as problem:
            self._show(f"* not sent: {problem}")
        except ChatError as error:
            self._show(f"* not sent: {send_failed(error, self._server, recipient)}")
            if isinstance(error, UserNotFound):
                self._talk_to(None)
        else:
            self._remember(recipient)
            self._show(f"* stored for {quoted(recipient)}")

    def _talk_to(self, partner: str | None) -> None:
        self._partner = partner
        self._changed()

    def _remember(self, name: str) -> None:
        self._known.pop(name, None)
        self._known[name] = None
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]
