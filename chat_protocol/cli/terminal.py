"""Terminal input and output of an interactive run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from chat_protocol.cli.output import Output
from chat_protocol.cli.stdin import StdinLines

__all__ = ["Console", "Interrupted", "PlainConsole", "has_prompt_toolkit", "is_capable_terminal"]


class Interrupted(Exception):
    """The user pressed Ctrl-C."""


class Console(Protocol):
    """Source of typed lines and destination of shown lines."""

    async def read(self, prompt: Callable[[], str]) -> str | None:
        """Return the next line, or None at the end of the input; ``prompt`` returns the prompt."""

    def refresh(self) -> None:
        """Redraw the prompt, because it has changed."""

    def show(self, line: str) -> Deferred[None]:
        """Show a line; the Deferred fires when it is written, and fails as :meth:`Output.write`
        does."""


def is_capable_terminal(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether stdin and stdout are a terminal that can move its cursor."""
    both = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    return both and environ.get("TERM", "dumb") != "dumb"


def has_prompt_toolkit() -> bool:
    """Return whether the library for the full screen is installed."""
    return find_spec("prompt_toolkit") is not None


class PlainConsole:
    """Read and write lines without a prompt."""

    def __init__(self, reactor: Any) -> None:
        self._lines = StdinLines(reactor)
        self._output = Output(reactor)

    async def read(self, prompt: Callable[[], str]) -> str | None:
        return await self._lines.read()

    def refresh(self) -> None:
        """Do nothing: there is no prompt."""

    def show(self, line: str) -> Deferred[None]:
        return self._output.write(line)
