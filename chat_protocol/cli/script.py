"""The commands ``send`` and ``listen``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode, OutputClosed, send_failed
from chat_protocol.cli.in_flight import InFlight
from chat_protocol.cli.options import ListenAction, SendAction, Settings, check_text
from chat_protocol.cli.output import Output, PipeWatcher, finish, print_error
from chat_protocol.cli.session import ClientSession
from chat_protocol.cli.stdin import StdinLines
from chat_protocol.cli.text import as_json, as_line, format_ranges
from chat_protocol.client import ChatClient, ReceivedMessage
from chat_protocol.client.service import DEFAULT_WINDOW
from chat_protocol.errors import ChatError, Refused

__all__ = ["Work", "run_listen", "run_send", "run_without_receiving"]

_IN_FLIGHT = 100
"""Maximum number of unacknowledged messages from stdin."""

_SETTLE_TIME = 0.2
"""Seconds without a message after which a version 1 server is assumed to have delivered the
mailbox."""

_MAX_SETTLE_TIME = 10.0
"""Maximum seconds to wait for a version 1 server to deliver the mailbox."""

Work = Callable[[ClientSession, Output], Coroutine[Any, Any, None]]


async def run_without_receiving(
    reactor: Any, settings: Settings, user: str, work: Work
) -> ExitCode:
    """Log in, run ``work`` and log out, leaving messages in the mailbox.

    A version 1 server counts messages as delivered once it sends them, so they are printed.
    """
    output = Output(reactor)
    # The smallest window: 0 would mean the server's default.
    session = ClientSession(reactor, settings, user, _print_notice(settings), False, window=1)
    printer = _Version1Printer(session.client, output)
    session.on_login = printer.logged_in
    await session.open()

    async def work_and_settle() -> None:
        await work(session, output)
        await printer.settle(reactor)

    try:
        await session.run(work_and_settle())
    except CancelledError:
        # The output may be blocked.
        printer.printing.cancel()
        raise
    finally:
        await printer.printing
    return ExitCode.OK


class _Version1Printer:
    """Print the messages that a version 1 server delivers unasked."""

    def __init__(self, client: ChatClient, output: Output) -> None:
        self.printing: Deferred[None] = succeed(None)
        """Fires when the client has ended; fails as :meth:`Output.write` does."""
        self._client = client
        self._output = output
        self._started = False
        self._count = 0

    def logged_in(self, version: int) -> None:
        """Start printing at the first version 1 login."""
        if version == 1 and not self._started:
            self._started = True
            self.printing = self._client.consume(self._print).addErrback(_ignore, ChatError)

    async def settle(self, reactor: Any) -> None:
        """Wait until the mailbox has probably been delivered."""
        seen = -1
        end = reactor.seconds() + _MAX_SETTLE_TIME
        while self._started and self._count != seen and reactor.seconds() < end:
            seen = self._count
            await deferLater(reactor, _SETTLE_TIME)

    def _print(self, message: ReceivedMessage) -> Deferred[None]:
        self._count += 1
        return self._output.write(as_line(message))


def _print_notice(settings: Settings) -> Callable[[str], None]:
    return lambda sentence: print_error(f"{settings.server.text}: {sentence}")


def _ignore(failure: Failure, error: type[Exception]) -> None:
    failure.trap(error)  # type: ignore[no-untyped-call]


async def run_send(reactor: Any, settings: Settings, user: str, action: SendAction) -> ExitCode:
    """Run ``chatclient send``: send one message, or those on stdin, until all are stored."""
    work = partial(_send, reactor=reactor, timeout=settings.timeout, action=action)
    return await run_without_receiving(reactor, settings, user, work)


async def _send(
    session: ClientSession, _: Output, reactor: Any, timeout: float, action: SendAction
) -> None:
    sender = _Sender(session, reactor, timeout, action)
    if action.text is not None:
        await sender.send_one(action.text)
    elif action.whole:
        await sender.send_one(await StdinLines(reactor).read_all())
    else:
        await sender.send_lines(StdinLines(reactor))


class _Sender:
    """Send messages and record which ones the server refused."""

    def __init__(
        self, session: ClientSession, reactor: Any, timeout: float, action: SendAction
    ) -> None:
        self._session = session
        self._in_flight = InFlight(reactor, session, timeout)
        self._to = action.to
        self._lines: StdinLines | None = None
        self._refused_lines: list[int] = []
        """Line numbers of the refused messages."""
        self._first_refusal: Refused | None = None
        """The error of the first refused message."""

    async def send_one(self, text: str) -> None:
        """Send one message and wait until it is stored."""
        check_text(text, "the message")
        self._start(text, 0)
        await self._in_flight.wait_until_at_most(0)
        if self._first_refusal is not None:
            raise send_failed(self._first_refusal, self._session.server, self._to)

    async def send_lines(self, lines: StdinLines) -> None:
        """Send each line until one is refused, then wait for the messages in flight."""
        self._lines = lines
        number = 0
        while (line := await lines.read()) is not None:
            if line:
                check_text(line, f"line {number + 1} of the input")
                await self._in_flight.wait_until_at_most(_IN_FLIGHT - 1)
                if self._refused_lines:
                    break
                self._start(line, number + 1)
            number += 1
        await self._in_flight.wait_until_at_most(0)
        if self._first_refusal is None:
            return
        failed = send_failed(self._first_refusal, self._session.server, self._to)
        raise CommandFailed(
            failed.code,
            f"line {self._refused_lines[0]}: {failed}; lines not stored among the first {number}:"
            f" {format_ranges(self._refused_lines)}",
        )

    def _start(self, text: str, number: int) -> None:
        client = self._session.client
        sent = client.send(self._to, text) if self._to else client.send_to_all(text)
        self._in_flight.add(sent.addErrback(self._refused_or_failed, number))

    def _refused_or_failed(self, failure: Failure, number: int) -> None:
        error = failure.value
        if isinstance(error, Refused):
            self._first_refusal = self._first_refusal or error
            self._refused_lines.append(number)
            if self._lines is not None:
                self._lines.stop()
        elif isinstance(error, ChatError):
            self._session.end(send_failed(error, self._session.server, self._to))
        else:
            failure.raiseException()


async def run_listen(reactor: Any, settings: Settings, user: str, action: ListenAction) -> ExitCode:
    """Run ``chatclient listen``: print messages until the count, the idle time or the reader ends
    it."""
    output = Output(reactor)
    window = min(action.count or DEFAULT_WINDOW, DEFAULT_WINDOW)
    session = ClientSession(reactor, settings, user, _print_notice(settings), window=window)
    await session.open()
    watcher = PipeWatcher(reactor, lambda: session.end(OutputClosed()))
    watcher.start()
    try:
        return await session.run(_print(reactor, session.client, output, action))
    finally:
        watcher.stop()


async def _print(
    reactor: Any, client: ChatClient, output: Output, action: ListenAction
) -> ExitCode:
    format_message = as_json if action.json else as_line
    printed = 0
    while action.count is None or printed < action.count:
        message = await _next_message(reactor, client, action.idle)
        if message is None:
            return _idle_result(action, printed)
        if message.own and not action.own and client.username not in message.recipients:
            client.acknowledge(message)
            continue
        # Acknowledged after the output: if the process dies before, the message is redelivered.
        taken = output.write(format_message(message)).addCallback(_acknowledge, client, message)
        await finish(taken, reactor)
        printed += 1
    return ExitCode.OK


def _acknowledge(_: None, client: ChatClient, message: ReceivedMessage) -> None:
    client.acknowledge(message)


async def _next_message(
    reactor: Any, client: ChatClient, idle: float | None
) -> ReceivedMessage | None:
    """Return the next message, or None after ``idle`` seconds without one while connected."""
    while True:
        receiving: Deferred[ReceivedMessage | None] = client.receive()  # type: ignore[assignment]
        if idle is not None:
            receiving.addTimeout(idle, reactor, lambda *_: None)
        message = await receiving
        if message is not None or client.version is not None:
            return message
        await client.when_online()


def _idle_result(action: ListenAction, printed: int) -> ExitCode:
    if action.count is None:
        return ExitCode.OK
    raise CommandFailed(
        ExitCode.TIMEOUT,
        f"received {printed} of {action.count} messages, then none for {action.idle:g} seconds",
    )
