"""A run of the full screen, from login to logout."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode, OutputClosed
from chat_protocol.cli.options import Settings, check_text
from chat_protocol.cli.output import print_error
from chat_protocol.cli.screen.actions import Actions, UniqueClock
from chat_protocol.cli.screen.capabilities import detect_capabilities
from chat_protocol.cli.screen.keys import Keyboard
from chat_protocol.cli.screen.model import Model
from chat_protocol.cli.screen.view import View
from chat_protocol.cli.session import ClientSession
from chat_protocol.cli.terminal import Interrupted
from chat_protocol.cli.text import quoted
from chat_protocol.errors import AuthenticationFailed, ChatError

__all__ = ["run_full_screen"]

_PASSWORDS = 3
"""Maximum number of password attempts."""


async def run_full_screen(reactor: Any, settings: Settings) -> ExitCode:
    """Run the full screen until /quit or the end of the session.

    Args:
        reactor: the asyncio reactor.
        settings: server and username; a missing username, and a password that the server requires,
            are prompted for.

    Raises:
        Interrupted: the user pressed Ctrl-C.
        CommandFailed: see ClientSession.
        OutputClosed: the terminal was closed.
    """
    screen = await _log_in(reactor, settings)
    if screen is not None:
        await screen.run()
    return ExitCode.OK


async def _log_in(reactor: Any, settings: Settings) -> _FullScreen | None:
    """Log in, prompting for missing credentials; None at the end of the input."""
    asked = settings.user is None
    tries = 0
    while True:
        name = settings.user or await _ask("Username: ")
        if name is None:
            return None
        if not name.strip():
            continue
        screen = _FullScreen(reactor, settings, name.strip() if asked else name)
        try:
            await screen.session.open()
        except CommandFailed as problem:
            wrong = isinstance(problem.__cause__, AuthenticationFailed)
            if wrong and (settings.password is None or 0 < tries < _PASSWORDS):
                if settings.password is not None:
                    print_error(str(problem))
                tries += 1
                password = await _ask(f"Password for {quoted(name)}: ", secret=True)
                if password is None:
                    return None
                check_text(password, "the password")
                settings = replace(settings, user=name.strip(), password=password)
            elif asked and problem.code is ExitCode.REFUSED and not wrong:
                print_error(str(problem))
            else:
                raise
        else:
            return screen


async def _ask(prompt: str, secret: bool = False) -> str | None:
    """Prompt for a line; None at the end of the input; raise Interrupted on Ctrl-C."""
    keys = KeyBindings()

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        # The default, KeyboardInterrupt, would end the asyncio loop and the reactor with it.
        event.app.exit(exception=Interrupted())

    session: PromptSession[str] = PromptSession(key_bindings=keys, is_password=secret)
    asking = asyncio.ensure_future(session.prompt_async(prompt, handle_sigint=False))
    try:
        return await Deferred.fromFuture(asking)
    except EOFError:
        return None
    except asyncio.CancelledError:
        raise CancelledError from None


class _FullScreen:
    """A logged-in session with its screen."""

    def __init__(self, reactor: Any, settings: Settings, username: str) -> None:
        unique_clock = UniqueClock()
        self.session = ClientSession(
            reactor, settings, username, self._notify, presence=True, wall_clock=unique_clock
        )
        self._model = Model(username, settings.server.text, reactor.seconds, detect_capabilities())
        self._actions = Actions(reactor, self._model, self.session, unique_clock, settings.timeout)
        # Before the login, whose event reports the pending messages.
        self.session.client.add_observer(self._actions.observe)
        self._ended: Deferred[None] = Deferred()

    def _notify(self, sentence: str) -> None:
        self._model.add_notice(sentence, home=True)

    async def run(self) -> None:
        """Show the screen until the end, then log out."""
        keyboard = Keyboard(self._model, self._actions)
        view = View(self._model, keyboard.bindings, os.environ)
        keyboard.view = view
        self._actions.start()
        receiving = Deferred.fromCoroutine(self._actions.receive_messages())
        receiving.addErrback(self._receiving_failed)
        try:
            await self.session.run(self._show(view))
        finally:
            self._actions.stop()
            await receiving

    def _receiving_failed(self, failure: Failure) -> None:
        # The session reports the end of its client.
        if not failure.check(ChatError, CancelledError):  # type: ignore[no-untyped-call]
            error = failure.value
            assert isinstance(error, Exception)
            self.session.end(error)

    async def _show(self, view: View) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_exception)
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
            # Exit instead of cancel, because prompt_toolkit must restore the terminal.
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

    def _on_loop_exception(self, loop: object, context: dict[str, Any]) -> None:
        """Handle an exception in a key binding or in drawing."""
        error = context.get("exception")
        if isinstance(error, OSError):
            # The terminal was closed.
            self.session.end(OutputClosed())
        elif isinstance(error, Exception):
            self.session.end(error)
