"""A conversation on the full screen, from the login to the end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from chat_protocol.cli.exit_codes import Exit, Failed, OutputClosed
from chat_protocol.cli.options import Settings, check_text
from chat_protocol.cli.output import complain
from chat_protocol.cli.screen.actions import Actions, Stamps
from chat_protocol.cli.screen.capabilities import look_of_terminal
from chat_protocol.cli.screen.keys import Keyboard
from chat_protocol.cli.screen.model import Model
from chat_protocol.cli.screen.view import View
from chat_protocol.cli.session import Session
from chat_protocol.cli.terminal import Interrupted
from chat_protocol.cli.text import quoted
from chat_protocol.errors import AuthenticationFailed, ChatError

__all__ = ["converse_on_screen"]

_PASSWORDS = 3
"""Passwords that may be tried."""


async def converse_on_screen(reactor: Any, settings: Settings) -> Exit:
    """Talk until /quit or the end of the session.

    Args:
        reactor: the asyncio reactor.
        settings: where, and as whom; a name that is missing is asked for, and a password that the
            server wants.

    Raises:
        Interrupted: Ctrl-C.
        Failed: see Session.
        OutputClosed: the terminal has gone.
    """
    screen = await _log_in(reactor, settings)
    if screen is not None:
        await screen.run()
    return Exit.OK


async def _log_in(reactor: Any, settings: Settings) -> _Screen | None:
    """Log in, asking for what is missing, until it is accepted; None at the end of the input."""
    asked = settings.user is None
    tries = 0
    while True:
        name = settings.user or await _ask("Your name: ")
        if name is None:
            return None
        if not name.strip():
            continue
        screen = _Screen(reactor, settings, name.strip() if asked else name)
        try:
            await screen.session.open()
        except Failed as problem:
            wrong = isinstance(problem.__cause__, AuthenticationFailed)
            if wrong and (settings.password is None or 0 < tries < _PASSWORDS):
                if settings.password is not None:
                    complain(str(problem))
                tries += 1
                password = await _ask(f"Password of {quoted(name)}: ", secret=True)
                if password is None:
                    return None
                check_text(password, "the password")
                settings = replace(settings, user=name.strip(), password=password)
            elif asked and problem.code is Exit.REFUSED and not wrong:
                complain(str(problem))
            else:
                raise
        else:
            return screen


async def _ask(label: str, secret: bool = False) -> str | None:
    """Have a line typed; None at the end of the input, Interrupted on Ctrl-C."""
    keys = KeyBindings()

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        # The default, KeyboardInterrupt, would leave asyncio's loop, and with it the reactor.
        event.app.exit(exception=Interrupted())

    session: PromptSession[str] = PromptSession(key_bindings=keys, is_password=secret)
    asking = asyncio.ensure_future(session.prompt_async(label, handle_sigint=False))
    try:
        return await Deferred.fromFuture(asking)
    except EOFError:
        return None
    except asyncio.CancelledError:
        raise CancelledError from None


class _Screen:
    """The full screen with all that belongs to it."""

    def __init__(self, reactor: Any, settings: Settings, username: str) -> None:
        stamps = Stamps()
        self.session = Session(
            reactor, settings, username, self._say, presence=True, wall_clock=stamps
        )
        self._model = Model(username, settings.server.text, reactor.seconds, look_of_terminal())
        self._actions = Actions(reactor, self._model, self.session, stamps, settings.timeout)
        # Before the login, which tells how much is waiting.
        self.session.client.add_observer(self._actions.happened)
        self._ended: Deferred[None] = Deferred()

    def _say(self, sentence: str) -> None:
        self._model.say(sentence, home=True)

    async def run(self) -> None:
        """Show the screen, until the end, and log out."""
        keyboard = Keyboard(self._model, self._actions)
        view = View(self._model, keyboard.bindings, os.environ)
        keyboard.view = view
        self._actions.begin()
        arrivals = Deferred.fromCoroutine(self._actions.take_arrivals())
        arrivals.addErrback(self._no_more_arrivals)
        try:
            await self.session.run(self._show(view))
        finally:
            self._actions.stop()
            await arrivals

    def _no_more_arrivals(self, failure: Failure) -> None:
        # The end of a client is told by its session.
        if not failure.check(ChatError, CancelledError):  # type: ignore[no-untyped-call]
            error = failure.value
            assert isinstance(error, Exception)
            self.session.end(error)

    async def _show(self, view: View) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._fault)
        running = asyncio.ensure_future(
            view.app.run_async(
                pre_run=view.changed, handle_sigint=False, set_exception_handler=False
            )
        )
        running.add_done_callback(lambda _: self._end())
        self._actions.left.addCallback(lambda _: self._end())
        try:
            await self._ended
        finally:
            # Not by cancelling it: the terminal has to be as it was when this is over.
            if view.app.is_running and not view.app.is_done:
                view.app.exit()
            try:
                await Deferred.fromFuture(running)
            except (EOFError, OSError) as error:
                raise OutputClosed from error
            finally:
                view.close()

    def _end(self) -> None:
        if not self._ended.called:
            self._ended.callback(None)

    def _fault(self, loop: object, context: dict[str, Any]) -> None:
        """Something raised that nobody waits for: a key, or drawing."""
        error = context.get("exception")
        if isinstance(error, OSError):
            # The terminal has gone.
            self.session.end(OutputClosed())
        elif isinstance(error, Exception):
            self.session.end(error)
