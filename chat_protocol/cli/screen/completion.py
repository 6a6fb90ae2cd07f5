"""What the Tab key makes of a line: names and commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from chat_protocol.cli.commands import COMMANDS
from chat_protocol.cli.screen.capabilities import Look
from chat_protocol.cli.text import quoted

__all__ = ["MAX_CANDIDATES", "Completion", "candidates", "common_prefix"]

MAX_CANDIDATES = 100
"""More are not offered."""

_HINTS = 8
"""Candidates that are shown at a time."""

_COMMAND = re.compile(r"/\S*")
_ARGUMENT = re.compile(r"(/\S+)\s+((?:\"(?:[^\"\\]|\\.)*\",\s*|[^\s\",]+,\s*)*)")
_LEAD = re.compile(r"(?:(?:\"(?:[^\"\\]|\\.)*\"|[^\s\",:/]+),\s*)*")


def candidates(line: str, names: Sequence[str]) -> tuple[int, list[str]]:
    """What can stand at the end of the line.

    Args:
        line: what stands in front of the cursor.
        names: those one may mean, the likeliest first.

    Returns:
        Where in the line they would begin, and they; a space or a colon behind them included.
    """
    if _COMMAND.fullmatch(line):
        return 0, [f"{name} " for name in COMMANDS if name.startswith(line)]
    argument = _ARGUMENT.match(line)
    if argument is not None:
        command = COMMANDS.get(argument[1])
        if command is not None and command.takes_names:
            begun = line[argument.end() :]
            if not begun or not begun.endswith(" "):
                found = _matching(begun, names)
                if found or " " not in begun:
                    return argument.end(), [f"{name} " for name in found]
    lead = _LEAD.match(line)
    if line and not line[0].isspace() and lead is not None:
        found = _matching(line[lead.end() :], names)
        if found and line[lead.end() :]:
            return lead.end(), [f"{name}: " for name in found]
    start = line.rfind(" ") + 1
    if start == len(line):
        return start, []
    return start, [f"{name} " for name in _matching(line[start:], names)]


def _matching(begun: str, names: Sequence[str]) -> list[str]:
    """The names, as they are typed, that begin so, whatever the case."""
    bare = begun.removeprefix('"').lower()
    found = [quoted(name) for name in names if name.lower().startswith(bare)]
    return found[:MAX_CANDIDATES]


def common_prefix(found: Sequence[str]) -> str:
    """The beginning that all share."""
    shared = min(found, default="")
    last = max(found, default="")
    for at, character in enumerate(shared):
        if character != last[at]:
            return shared[:at]
    return shared


class Completion:
    """The Tab key, pressed again and again."""

    def __init__(self) -> None:
        self._lead = ""
        self._found: list[str] = []
        self._at = -1

    def forget(self) -> None:
        """The line is another one."""
        self._found, self._at = [], -1

    def next(self, line: str, by: int, names: Callable[[], Sequence[str]]) -> str | None:
        """The line with the next candidate at its end; None if there is none.

        The first time it goes as far as all candidates agree.

        Args:
            line: what stands in front of the cursor.
            by: 1, or -1 for the one before.
            names: those one may mean.
        """
        if self._found and line == self._lead + self._shown:
            self._at = (self._at + by) % len(self._found) if self._at >= 0 else min(by, 0)
            return self._lead + self._shown
        start, self._found = candidates(line, names())
        self._lead, self._at = line[:start], -1
        if len(self._found) == 1:
            self._at = 0
            completed = self._lead + self._shown
            self.forget()
            return completed
        if self._found and self._shown.lower().startswith(line[start:].lower()):
            return self._lead + self._shown
        if self._found:
            self._at = 0
            return self._lead + self._shown
        return None

    def hint(self, look: Look) -> str:
        """The candidates, the one that was taken in brackets."""
        if not self._found:
            return ""
        shown = [look.plain(one.strip()) for one in self._found]
        if self._at >= 0:
            shown[self._at] = f"[{shown[self._at]}]"
        first = max(0, self._at - 2)
        return "  ".join(shown[first : first + _HINTS])

    @property
    def _shown(self) -> str:
        return common_prefix(self._found) if self._at < 0 else self._found[self._at]
