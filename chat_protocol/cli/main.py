"""The ``chatclient`` program."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode, OutputClosed
from chat_protocol.cli.line_session import run_line_mode
from chat_protocol.cli.options import (
    HistoryAction,
    InteractiveAction,
    ListenAction,
    SendAction,
    Settings,
    parse,
)
from chat_protocol.cli.output import discard_output, print_error
from chat_protocol.cli.password import ask_password
from chat_protocol.cli.queries import run_history, run_users
from chat_protocol.cli.script import run_listen, run_send
from chat_protocol.cli.terminal import Interrupted, has_prompt_toolkit, is_capable_terminal

__all__ = ["main"]

_SIGNALS = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}

Command = Callable[[Any], Coroutine[Deferred[Any], Any, ExitCode]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``chatclient`` and return its exit code.

    Args:
        arguments: the command line without the program's name; by default that of the process.
    """
    try:
        try:
            settings = parse(sys.argv[1:] if arguments is None else arguments)
        except (SystemExit, OSError) as exception:
            return _exit_code_after_printing(exception)
        if settings.ask_password:
            settings = replace(settings, password=ask_password(settings))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except UsageError as error:
        print_error(f"{error}; see 'chatclient --help'")
        return ExitCode.USAGE
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    # chatclient reports errors as sentences on stderr, so it discards the library's log.
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    return _run(_select_command(settings))


def _exit_code_after_printing(exception: SystemExit | OSError) -> int:
    """Return the exit code after --help or --version, or after their output failed."""
    try:
        if isinstance(exception, OSError):
            raise exception
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        return ExitCode.OUTPUT_CLOSED
    except OSError as error:
        discard_output()
        print_error(f"cannot write the output: {error.strerror}")
        return ExitCode.OUTPUT
    return int(exception.code or 0)


def _select_command(settings: Settings) -> Command:
    """Return the command to run, and install the reactor that it needs."""
    action, user = settings.action, settings.user
    if isinstance(action, InteractiveAction):
        full_screen = is_capable_terminal() and not action.plain
        if full_screen and not has_prompt_toolkit():
            print_error(
                "prompt_toolkit is not installed, so messages may interrupt the line you type; "
                "to get the full screen, run: pip install 'chat-protocol[terminal]'"
            )
            full_screen = False
        if not full_screen:
            return partial(run_line_mode, settings=settings)
        # Imported here because it needs the optional prompt_toolkit.
        from chat_protocol.cli.screen.run import run_full_screen

        asyncioreactor.install(asyncio.new_event_loop())  # type: ignore[no-untyped-call]
        return partial(run_full_screen, settings=settings)
    assert user is not None
    if isinstance(action, SendAction):
        return partial(run_send, settings=settings, user=user, action=action)
    if isinstance(action, ListenAction):
        return partial(run_listen, settings=settings, user=user, action=action)
    if isinstance(action, HistoryAction):
        return partial(run_history, settings=settings, user=user, action=action)
    return partial(run_users, settings=settings, user=user, action=action)


def _run(command: Command) -> ExitCode:
    from twisted.internet import reactor

    return _ReactorRunner(reactor, command).run()


class _ReactorRunner:
    """Run the reactor while a command runs."""

    def __init__(self, reactor: Any, command: Command) -> None:
        self._reactor = reactor
        self._command = command
        self._running: Deferred[None] | None = None
        self._code: ExitCode = ExitCode.FAULT
        self._signal: ExitCode | None = None

    def run(self) -> ExitCode:
        """Run the command, report its error on stderr, and return the exit code."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        # Not callWhenRunning, which fires before the asyncio loop that the full screen needs runs.
        self._reactor.callLater(0, self._start)
        self._reactor.run(installSignalHandlers=False)
        if self._code in (ExitCode.OUTPUT_CLOSED, ExitCode.OUTPUT):
            discard_output()
        return self._code if self._signal is None else self._signal

    def _start(self) -> None:
        running = Deferred.fromCoroutine(self._command(self._reactor))
        self._running = running.addCallbacks(self._finished, self._failed)
        self._running.addBoth(lambda _: self._reactor.stop())

    def _on_signal(self, number: int, _: object) -> None:
        """Stop in order; a second signal kills the process."""
        signal.signal(number, signal.SIG_DFL)
        self._signal = _SIGNALS[signal.Signals(number)]
        self._reactor.callFromThread(self._cancel)

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def _finished(self, code: ExitCode) -> None:
        self._code = code

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if self._signal is not None:
            return
        if isinstance(error, Interrupted):
            self._code = ExitCode.INTERRUPTED
        elif isinstance(error, OutputClosed):
            self._code = ExitCode.OUTPUT_CLOSED
        elif isinstance(error, CommandFailed):
            self._code = error.code
            print_error(str(error))
        elif isinstance(error, UsageError):
            self._code = ExitCode.USAGE
            print_error(str(error))
        else:
            print_error(f"internal error in chatclient: {type(error).__name__}: {error}")
