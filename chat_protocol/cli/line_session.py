"""A run of the line mode, from login to logout."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode
from chat_protocol.cli.in_flight import InFlight
from chat_protocol.cli.intents import Quit
from chat_protocol.cli.line_mode import LineMode
from chat_protocol.cli.lines import parse_line
from chat_protocol.cli.options import DEFAULT_RECONNECT_TIMEOUT, Settings
from chat_protocol.cli.session import ClientSession
from chat_protocol.cli.terminal import Console, PlainConsole
from chat_protocol.cli.text import quoted
from chat_protocol.errors import ChatError

__all__ = ["run_line_mode"]


async def run_line_mode(reactor: Any, settings: Settings) -> ExitCode:
    """Run the line mode until the end of the input, /quit, or the end of the session.

    Args:
        reactor: the reactor.
        settings: server and username; a missing username is prompted for.
    """
    console = PlainConsole(reactor)
    line_session = await _log_in(reactor, settings, console)
    if line_session is not None:
        await line_session.run(wait=sys.stdin is None or not sys.stdin.isatty())
    return ExitCode.OK


async def _log_in(reactor: Any, settings: Settings, console: Console) -> _LineSession | None:
    """Log in, prompting for a username until one is accepted; None at the end of the input."""
    if settings.user is not None:
        line_session = _LineSession(reactor, settings, settings.user, console)
        await line_session.session.open()
        return line_session
    while True:
        await console.show("Enter your username:")
        name = await console.read(lambda: "name> ")
        if name is None:
            return None
        if not name.strip():
            continue
        line_session = _LineSession(reactor, settings, name.strip(), console)
        try:
            await line_session.session.open()
        except CommandFailed as error:
            if error.code is not ExitCode.REFUSED:
                raise
            await console.show(f"* {error}")
        else:
            return line_session


class _LineSession:
    """A logged-in session with its line mode."""

    def __init__(self, reactor: Any, settings: Settings, username: str, console: Console) -> None:
        self._console = console
        self._settings = settings
        self.session = ClientSession(reactor, settings, username, self._notify, presence=True)
        self._line_mode = LineMode(self.session, console, reactor)
        self._in_flight = InFlight(reactor, self.session, settings.timeout)

    def _notify(self, sentence: str) -> None:
        self._line_mode.notify(sentence)

    async def run(self, wait: bool) -> None:
        """Handle lines and messages, then log out.

        Args:
            wait: whether to read a line only after the previous one is done.
        """
        session, line_mode = self.session, self._line_mode
        me = quoted(session.client.username)
        await self._console.show(f"Connected to {session.server} as {me}; type /help for help.")
        line_mode.logged_in(session.client.version or 0)
        session.on_login = line_mode.logged_in
        session.client.add_observer(line_mode.observe)
        receiving = Deferred.fromCoroutine(line_mode.show_messages())
        receiving.addErrback(self._receiving_failed)
        try:
            await session.run(self._handle_lines(wait))
        except BaseException:
            # Blocked output must not delay the end.
            receiving.cancel()
            raise
        finally:
            await receiving

    def _receiving_failed(self, failure: Failure) -> None:
        # The session reports the end of its client.
        if not failure.check(ChatError, CancelledError):  # type: ignore[no-untyped-call]
            error = failure.value
            assert isinstance(error, Exception)
            self.session.end(error)

    async def _handle_lines(self, wait: bool) -> None:
        """Handle lines in order until the end of the input."""
        line_mode, in_flight = self._line_mode, self._in_flight
        failures: list[Failure] = []
        while (line := await self._console.read(lambda: line_mode.prompt)) is not None:
            if isinstance(parse_line(line), Quit):
                break
            handled = Deferred.fromCoroutine(line_mode.handle(line))
            in_flight.add(handled).addErrback(failures.append)
            if wait:
                await in_flight.wait_until_at_most(0)
            if failures:
                break
        if in_flight.count:
            line_mode.notify(in_flight.waiting_notice)
            if self._settings.reconnect_timeout is None:
                self.session.set_reconnect_timeout(DEFAULT_RECONNECT_TIMEOUT)
            await in_flight.wait_until_at_most(0)
        for failure in failures:
            failure.raiseException()
