"""The commands for scripts that send and receive: ``send`` and ``listen``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from chat_protocol.cli.options import Listen, Send, Settings, check_text
from chat_protocol.cli.outcome import Exit, Failed, OutputClosed, send_failed
from chat_protocol.cli.output import Output, OutputWatch, complain
from chat_protocol.cli.session import Session
from chat_protocol.cli.stdin import StdinLines
from chat_protocol.cli.text import as_json, as_line
from chat_protocol.cli.unanswered import Unanswered
from chat_protocol.client import ChatClient, ReceivedMessage
from chat_protocol.client.service import DEFAULT_WINDOW
from chat_protocol.errors import ChatError

__all__ = ["Work", "listen", "send", "without_messages"]

_WINDOW = 100
"""Messages from stdin that may be unanswered at a time."""

_QUIET = 0.2
"""Seconds without a message after which a version 1 server has delivered the mailbox."""

_QUIET_AT_LAST = 10.0
"""Seconds after which messages may come and come."""

Work = Callable[[Session, Output], Coroutine[Any, Any, None]]


async def without_messages(reactor: Any, settings: Settings, user: str, work: Work) -> Exit:
    """Do something that is not about messages that arrive.

    They stay in the mailbox. From a version 1 server, for which they are delivered, they are
    printed.
    """
    output = Output(reactor)
    # No window at all would be the server's choice.
    session = Session(reactor, settings, user, _say(settings), window=1)
    arrivals = _Arrivals(session.client, output)
    session.on_login = arrivals.logged_in
    await session.open()

    async def working() -> None:
        await work(session, output)
        await arrivals.quiet(reactor)

    try:
        await session.run(working())
    except CancelledError:
        # The output may be what does not get on.
        arrivals.printing.cancel()
        raise
    finally:
        await arrivals.printing
    return Exit.OK


class _Arrivals:
    """Prints what a version 1 server delivers, whether one listens or not."""

    def __init__(self, client: ChatClient, output: Output) -> None:
        self.printing: Deferred[None] = succeed(None)
        """Fires when the client has ended; fails as :meth:`Output.write` does."""
        self._client = client
        self._output = output
        self._started = False
        self._count = 0

    def logged_in(self, version: int) -> None:
        """Begin, if there is need to."""
        if version == 1 and not self._started:
            self._started = True
            self.printing = self._client.consume(self._print).addErrback(_trap, ChatError)

    async def quiet(self, reactor: Any) -> None:
        """Wait until the mailbox has come, as far as can be seen."""
        seen = -1
        end = reactor.seconds() + _QUIET_AT_LAST
        while self._started and self._count != seen and reactor.seconds() < end:
            seen = self._count
            await deferLater(reactor, _QUIET)

    def _print(self, message: ReceivedMessage) -> Deferred[None]:
        self._count += 1
        return self._output.write(as_line(message))


def _say(settings: Settings) -> Callable[[str], None]:
    return lambda sentence: complain(f"{settings.server.text}: {sentence}")


def _trap(failure: Failure, error: type[Exception]) -> None:
    failure.trap(error)  # type: ignore[no-untyped-call]


async def send(reactor: Any, settings: Settings, user: str, action: Send) -> Exit:
    """Send one message, or those on stdin, and end when the last is stored."""
    work = partial(_send, reactor=reactor, timeout=settings.timeout, action=action)
    return await without_messages(reactor, settings, user, work)


async def _send(session: Session, _: Output, reactor: Any, timeout: float, action: Send) -> None:
    unanswered = Unanswered(reactor, session, timeout)

    def start(text: str) -> None:
        check_text(text, "a message")
        client = session.client
        sent = client.send(action.to, text) if action.to else client.send_to_all(text)
        unanswered.add(sent.addErrback(not_stored))

    def not_stored(failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, ChatError):
            failure.raiseException()
        session.end(send_failed(error, session.server, action.to))

    if action.text is not None:
        start(action.text)
    elif action.whole:
        start(await StdinLines(reactor).read_all())
    else:
        lines = StdinLines(reactor)
        while (line := await lines.read()) is not None:
            if line:
                await unanswered.at_most(_WINDOW - 1)
                start(line)
    await unanswered.at_most(0)


async def listen(reactor: Any, settings: Settings, user: str, action: Listen) -> Exit:
    """Print messages until there are enough, or it is silent, or nobody reads them."""
    output = Output(reactor)
    window = min(action.count or DEFAULT_WINDOW, DEFAULT_WINDOW)
    session = Session(reactor, settings, user, _say(settings), window=window)
    await session.open()
    watch = OutputWatch(reactor, lambda: session.end(OutputClosed()))
    watch.start()
    try:
        return await session.run(_print(reactor, session.client, output, action))
    finally:
        watch.stop()


async def _print(reactor: Any, client: ChatClient, output: Output, action: Listen) -> Exit:
    form = as_json if action.json else as_line
    printed = 0
    while action.count is None or printed < action.count:
        message = await _next(reactor, client, action.idle)
        if message is None:
            return _silent(action, printed)
        await output.write(form(message))
        # Only now: whatever ends this process before, the message comes again.
        client.acknowledge(message)
        printed += 1
    return Exit.OK


async def _next(reactor: Any, client: ChatClient, idle: float | None) -> ReceivedMessage | None:
    """The next message, or None if none comes for so many seconds with a connection."""
    while True:
        receiving: Deferred[ReceivedMessage | None] = client.receive()  # type: ignore[assignment]
        if idle is not None:
            receiving.addTimeout(idle, reactor, lambda *_: None)
        message = await receiving
        if message is not None or client.version is not None:
            return message
        await client.when_online()


def _silent(action: Listen, printed: int) -> Exit:
    if action.count is None:
        return Exit.OK
    raise Failed(
        Exit.TIMEOUT,
        f"{printed} of {action.count} messages came, and none for {action.idle:g} seconds",
    )
