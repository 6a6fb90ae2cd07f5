"""The commands for scripts that send and receive: ``send`` and ``listen``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from chat_protocol.cli.exit_codes import Exit, Failed, OutputClosed, send_failed
from chat_protocol.cli.in_flight import Unanswered
from chat_protocol.cli.options import Listen, Send, Settings, check_text
from chat_protocol.cli.output import Output, OutputWatch, complain
from chat_protocol.cli.session import Session
from chat_protocol.cli.stdin import StdinLines
from chat_protocol.cli.text import as_json, as_line, ranges_of
from chat_protocol.client import ChatClient, ReceivedMessage
from chat_protocol.client.service import DEFAULT_WINDOW
from chat_protocol.errors import ChatError, Refused

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
    sending = _Sending(session, reactor, timeout, action)
    if action.text is not None:
        await sending.send_one(action.text)
    elif action.whole:
        await sending.send_one(await StdinLines(reactor).read_all())
    else:
        await sending.send_lines(StdinLines(reactor))


class _Sending:
    """Sends messages, and says of which it is known that they are not stored."""

    def __init__(self, session: Session, reactor: Any, timeout: float, action: Send) -> None:
        self._session = session
        self._unanswered = Unanswered(reactor, session, timeout)
        self._to = action.to
        self._lines: StdinLines | None = None
        self._refused: list[int] = []
        """Numbers of lines."""
        self._problem: Refused | None = None
        """What the first of them was refused for."""

    async def send_one(self, text: str) -> None:
        """Send a message."""
        check_text(text, "a message")
        self._start(text, 0)
        await self._unanswered.at_most(0)
        if self._problem is not None:
            raise send_failed(self._problem, self._session.server, self._to)

    async def send_lines(self, lines: StdinLines) -> None:
        """Send each line, until one is refused: then what was sent behind it is waited for."""
        self._lines = lines
        number = 0
        while (line := await lines.read()) is not None:
            if line:
                check_text(line, f"line {number + 1} of the input")
                await self._unanswered.at_most(_WINDOW - 1)
                if self._refused:
                    break
                self._start(line, number + 1)
            number += 1
        await self._unanswered.at_most(0)
        if self._problem is None:
            return
        failed = send_failed(self._problem, self._session.server, self._to)
        raise Failed(
            failed.code,
            f"line {self._refused[0]}: {failed}; not stored of the first {number} lines:"
            f" {ranges_of(self._refused)}",
        )

    def _start(self, text: str, number: int) -> None:
        client = self._session.client
        sent = client.send(self._to, text) if self._to else client.send_to_all(text)
        self._unanswered.add(sent.addErrback(self._not_stored, number))

    def _not_stored(self, failure: Failure, number: int) -> None:
        error = failure.value
        if isinstance(error, Refused):
            self._problem = self._problem or error
            self._refused.append(number)
            if self._lines is not None:
                self._lines.stop()
        elif isinstance(error, ChatError):
            self._session.end(send_failed(error, self._session.server, self._to))
        else:
            failure.raiseException()


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
