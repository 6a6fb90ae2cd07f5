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

from chat_protocol.cli.exit_codes import Exit, Failed, OutputClosed
from chat_protocol.cli.interactive import converse
from chat_protocol.cli.options import History, Interactive, Listen, Send, Settings, parse
from chat_protocol.cli.output import abandon_output, complain
from chat_protocol.cli.password import ask_password
from chat_protocol.cli.questions import history, users
from chat_protocol.cli.script import listen, send
from chat_protocol.cli.terminal import Interrupted, can_fill_screen, has_screen

__all__ = ["main"]

_SIGNALS = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}

Program = Callable[[Any], Coroutine[Deferred[Any], Any, Exit]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``chatclient``; returns its exit code.

    Args:
        arguments: the command line without the program's name; by default that of the process.
    """
    try:
        try:
            settings = parse(sys.argv[1:] if arguments is None else arguments)
        except (SystemExit, OSError) as done:
            return _printed(done)
        if settings.ask_password:
            settings = replace(settings, password=ask_password(settings))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except UsageError as error:
        complain(f"{error}; 'chatclient --help' shows what there is")
        return Exit.USAGE
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    # The library logs for servers; here, what matters is said in sentences.
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    return _run(_program(settings))


def _printed(done: SystemExit | OSError) -> int:
    """The exit code of what has printed something only, or could not."""
    try:
        if isinstance(done, OSError):
            raise done
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_output()
        return Exit.OUTPUT_CLOSED
    except OSError as error:
        abandon_output()
        complain(f"cannot write the output: {error.strerror}")
        return Exit.OUTPUT
    return int(done.code or 0)


def _program(settings: Settings) -> Program:
    """What to run; installs the reactor that it needs."""
    action, user = settings.action, settings.user
    if isinstance(action, Interactive):
        full = has_screen() and not action.plain
        if full and not can_fill_screen():
            complain(
                "without prompt_toolkit, messages that arrive mix with the line you type; "
                "to install it: pip install 'chat-protocol[terminal]'"
            )
            full = False
        if not full:
            return partial(converse, settings=settings)
        # Here, for the library that it needs may not be installed.
        from chat_protocol.cli.screen.run import converse_on_screen

        asyncioreactor.install(asyncio.new_event_loop())  # type: ignore[no-untyped-call]
        return partial(converse_on_screen, settings=settings)
    assert user is not None
    if isinstance(action, Send):
        return partial(send, settings=settings, user=user, action=action)
    if isinstance(action, Listen):
        return partial(listen, settings=settings, user=user, action=action)
    if isinstance(action, History):
        return partial(history, settings=settings, user=user, action=action)
    return partial(users, settings=settings, user=user, action=action)


def _run(program: Program) -> Exit:
    from twisted.internet import reactor

    return _Run(reactor, program).run()


class _Run:
    """Runs the reactor for as long as a program lasts."""

    def __init__(self, reactor: Any, program: Program) -> None:
        self._reactor = reactor
        self._program = program
        self._running: Deferred[None] | None = None
        self._code: Exit = Exit.FAULT
        self._signal: Exit | None = None

    def run(self) -> Exit:
        """The code to exit with; what was wrong is on stderr."""
        for number in _SIGNALS:
            signal.signal(number, self._signalled)
        # Not callWhenRunning: that is before asyncio's loop runs, which the full screen needs.
        self._reactor.callLater(0, self._start)
        self._reactor.run(installSignalHandlers=False)
        if self._code in (Exit.OUTPUT_CLOSED, Exit.OUTPUT):
            abandon_output()
        return self._code if self._signal is None else self._signal

    def _start(self) -> None:
        running = Deferred.fromCoroutine(self._program(self._reactor))
        self._running = running.addCallbacks(self._ended, self._failed)
        self._running.addBoth(lambda _: self._reactor.stop())

    def _signalled(self, number: int, _: object) -> None:
        """End in order; a second time, at once."""
        signal.signal(number, signal.SIG_DFL)
        self._signal = _SIGNALS[signal.Signals(number)]
        self._reactor.callFromThread(self._cancel)

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def _ended(self, code: Exit) -> None:
        self._code = code

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if self._signal is not None:
            return
        if isinstance(error, Interrupted):
            self._code = Exit.INTERRUPTED
        elif isinstance(error, OutputClosed):
            self._code = Exit.OUTPUT_CLOSED
        elif isinstance(error, Failed):
            self._code = error.code
            complain(str(error))
        elif isinstance(error, UsageError):
            self._code = Exit.USAGE
            complain(str(error))
        else:
            complain(f"this is a fault of chatclient: {type(error).__name__}: {error}")
