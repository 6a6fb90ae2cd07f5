"""The two ends of an interactive run: what is typed, and what is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from chat_protocol.cli.output import Output
from chat_protocol.cli.stdin import StdinLines

__all__ = ["Console", "Interrupted", "PlainConsole", "can_fill_screen", "has_screen"]


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


def has_screen(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a person sits at a terminal that can move its cursor."""
    both = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    return both and environ.get("TERM", "dumb") != "dumb"


def can_fill_screen() -> bool:
    """Whether the library for it is installed."""
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
