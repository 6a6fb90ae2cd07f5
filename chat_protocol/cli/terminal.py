"""The two ends of an interactive run: what is typed, and what is shown."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred

from chat_protocol.cli.output import Output, print_line
from chat_protocol.cli.stdin import StdinLines

__all__ = ["Console", "Interrupted", "PlainConsole", "can_edit", "open_editor", "wants_editor"]


class Interrupted(Exception):
    """Ctrl-C was typed."""


class Console(Protocol):
    """Where typed lines come from and shown lines go."""

    async def read(self, label: Callable[[], str]) -> str | None:
        """The next line, None at the end; ``label`` is what to show in front of it."""

    def refresh(self) -> None:
        """The label of the line that is being typed has changed."""

    def show(self, line: str) -> Deferred[None]:
        """Show a line; fires when that is done, and fails with OutputClosed or Failed."""


def wants_editor(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a person sits at a terminal that can move its cursor."""
    both = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    return both and environ.get("TERM", "dumb") != "dumb"


def can_edit() -> bool:
    """Whether the library for editing is installed."""
    return find_spec("prompt_toolkit") is not None


class PlainConsole:
    """Lines as the terminal, a pipe or a file gives and takes them, without a prompt."""

    def __init__(self, reactor: Any) -> None:
        self._lines = StdinLines(reactor)
        self._output = Output(reactor)

    async def read(self, label: Callable[[], str]) -> str | None:
        """The next line."""
        return await self._lines.read()

    def refresh(self) -> None:
        """There is no label."""

    def show(self, line: str) -> Deferred[None]:
        """Show a line."""
        return self._output.write(line)


class _Editor:
    """A line that is edited below what is printed; needs the asyncio reactor."""

    def __init__(self) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

        keys = KeyBindings()

        @keys.add("c-c")
        def _(event: KeyPressEvent) -> None:
            # The default, KeyboardInterrupt, would leave asyncio's loop, and with it the reactor.
            event.app.exit(exception=Interrupted())

        self._session: PromptSession[str] = PromptSession(key_bindings=keys)

    async def read(self, label: Callable[[], str]) -> str | None:
        """The next line; Interrupted on Ctrl-C."""
        prompt = asyncio.ensure_future(self._session.prompt_async(label, handle_sigint=False))
        try:
            return await Deferred.fromFuture(prompt)
        except EOFError:
            return None
        except asyncio.CancelledError:
            raise CancelledError from None

    def refresh(self) -> None:
        """Draw the label anew."""
        self._session.app.invalidate()

    def show(self, line: str) -> Deferred[None]:
        """Show a line above the one that is being typed."""
        return maybeDeferred(print_line, line)


@contextmanager
def open_editor() -> Iterator[Console]:
    """Edit lines; until it is closed, what is printed appears above the line being typed."""
    from prompt_toolkit.patch_stdout import patch_stdout

    with patch_stdout():
        yield _Editor()
