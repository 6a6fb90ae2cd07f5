"""The commands for scripts: ``send`` and ``listen``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from chat_protocol.cli.login import log_in
from chat_protocol.cli.options import Listen, Send, Settings, check_text
from chat_protocol.cli.outcome import Exit, Failed, OutputClosed, failed, send_failed
from chat_protocol.cli.output import OutputWatch, write_line
from chat_protocol.cli.stdin import StdinLines
from chat_protocol.cli.text import as_json, as_line
from chat_protocol.client import Client, ReceivedMessage
from chat_protocol.errors import ChatError, NotConnected

__all__ = ["listen", "send"]

_WINDOW = 100
"""Messages from stdin that may be unanswered at a time."""


async def send(reactor: Any, settings: Settings, user: str, action: Send) -> Exit:
    """Send one message, or those on stdin, and end when the last is stored.

    What arrives meanwhile is printed: for the server it is delivered.
    """
    client = await log_in(reactor, settings, user)
    sending = _Sending(client, settings.server.text, action.recipient)
    work = Deferred.fromCoroutine(_send_all(reactor, sending, action))
    sending.stop = work.cancel
    client.when_disconnected().addCallback(sending.disconnected)
    arrivals = client.consume(lambda message: write_line(as_line(message)))
    # A lost connection is told once, by what was to be sent.
    arrivals.addErrback(_trap, NotConnected)
    try:
        await work
    except CancelledError:
        if sending.problem is None:
            raise
        raise sending.problem from None
    finally:
        await client.disconnect()
        await arrivals
    return Exit.OK


async def _send_all(reactor: Any, sending: _Sending, action: Send) -> None:
    if action.text is not None:
        sending.start(action.text)
    elif action.whole:
        sending.start(await StdinLines(reactor).read_all())
    else:
        lines = StdinLines(reactor)
        while (line := await lines.read()) is not None:
            if line:
                await sending.at_most(_WINDOW - 1)
                sending.start(line)
    await sending.at_most(0)


def _trap(failure: Failure, error: type[Exception]) -> None:
    failure.trap(error)  # type: ignore[no-untyped-call]


class _Sending:
    """Messages to one user, some of them unanswered; the first problem stops it."""

    def __init__(self, client: Client, server: str, recipient: str) -> None:
        self._client = client
        self._server = server
        self._recipient = recipient
        self._unanswered = 0
        self._progress: Deferred[None] | None = None
        self.problem: Failed | None = None
        self.stop: Callable[[], object] = lambda: None

    def start(self, text: str) -> None:
        """Send without waiting; UsageError if it is longer than a message can be."""
        check_text(text, "a message")
        self._unanswered += 1
        sent = self._client.send(self._recipient, text)
        sent.addErrback(self._not_stored).addCallback(self._answered)

    async def at_most(self, unanswered: int) -> None:
        """Wait until no more than that many are unanswered."""
        while self._unanswered > unanswered:
            self._progress = Deferred()
            await self._progress

    def disconnected(self, error: NotConnected | None) -> None:
        """The connection is gone: reading on would be in vain."""
        if error is not None:
            self._fail(error)

    def _answered(self, _: None) -> None:
        self._unanswered -= 1
        progress, self._progress = self._progress, None
        if progress is not None and not progress.called:
            progress.callback(None)

    def _not_stored(self, failure: Failure) -> None:
        _trap(failure, ChatError)
        self._fail(failure.value)

    def _fail(self, error: Any) -> None:
        if self.problem is None:
            self.problem = send_failed(error, self._server, self._recipient)
            self.stop()


async def listen(reactor: Any, settings: Settings, user: str, action: Listen) -> Exit:
    """Print messages until there are enough, or it is silent, or nobody reads them."""
    client = await log_in(reactor, settings, user)
    printing = Deferred.fromCoroutine(_print(reactor, client, action))
    output = OutputWatch(reactor, printing.cancel)
    output.start()
    try:
        return await printing
    except ChatError as error:
        raise failed(error, settings.server.text) from error
    except CancelledError:
        if output.reader_gone:
            raise OutputClosed from None
        raise
    finally:
        output.stop()
        await client.disconnect()


async def _print(reactor: Any, client: Client, action: Listen) -> Exit:
    form = as_json if action.json else as_line
    printed = 0
    while action.count is None or printed < action.count:
        receiving: Deferred[ReceivedMessage | None] = client.receive()  # type: ignore[assignment]
        if action.idle is not None:
            receiving.addTimeout(action.idle, reactor, lambda *_: None)
        message = await receiving
        if message is None:
            return _silent(action, printed)
        write_line(form(message))
        printed += 1
    return Exit.OK


def _silent(action: Listen, printed: int) -> Exit:
    if action.count is None:
        return Exit.OK
    raise Failed(
        Exit.TIMEOUT,
        f"{printed} of {action.count} messages came, and none for {action.idle:g} seconds",
    )
