"""Tab completion of names and commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from chat_protocol.cli.commands import COMMANDS
from chat_protocol.cli.screen.capabilities import Capabilities
from chat_protocol.cli.text import quoted

__all__ = ["MAX_CANDIDATES", "Completion", "candidates", "common_prefix"]

MAX_CANDIDATES = 100
"""Maximum number of candidates."""

_HINTS = 8
"""Maximum number of candidates shown at a time."""

_COMMAND = re.compile(r"/\S*")
_ARGUMENT = re.compile(r"(/\S+)\s+((?:\"(?:[^\"\\]|\\.)*\",\s*|[^\s\",]+,\s*)*)")
_LEAD = re.compile(r"(?:(?:\"(?:[^\"\\]|\\.)*\"|[^\s\",:/]+),\s*)*")


def candidates(line: str, names: Sequence[str]) -> tuple[int, list[str]]:
    """Return the possible completions of the end of the line.

    Args:
        line: the text before the cursor.
        names: possible names, the most likely first.

    Returns:
        The position where the completions start, and the completions with their trailing space or
            colon.
    """
    if _COMMAND.fullmatch(line):
        return 0, [f"{name} " for name in COMMANDS if name.startswith(line)]
    argument = _ARGUMENT.match(line)
    if argument is not None:
        command = COMMANDS.get(argument[1])
        if command is not None and command.takes_names:
            prefix = line[argument.end() :]
            if not prefix or not prefix.endswith(" "):
                matches = _matching(prefix, names)
                if matches or " " not in prefix:
                    return argument.end(), [f"{name} " for name in matches]
    lead = _LEAD.match(line)
    if line and not line[0].isspace() and lead is not None:
        matches = _matching(line[lead.end() :], names)
        if matches and line[lead.end() :]:
            return lead.end(), [f"{name}: " for name in matches]
    start = line.rfind(" ") + 1
    if start == len(line):
        return start, []
    return start, [f"{name} " for name in _matching(line[start:], names)]


def _matching(prefix: str, names: Sequence[str]) -> list[str]:
    """Return the names, as they can be typed, that start with the prefix, ignoring case."""
    bare = prefix.removeprefix('"').lower()
    matches = [quoted(name) for name in names if name.lower().startswith(bare)]
    return matches[:MAX_CANDIDATES]


def common_prefix(matches: Sequence[str]) -> str:
    """Return the longest common prefix."""
    shared = min(matches, default="")
    last = max(matches, default="")
    for at, character in enumerate(shared):
        if character != last[at]:
            return shared[:at]
    return shared


class Completion:
    """State of the Tab key over repeated presses."""

    def __init__(self) -> None:
        self._before = ""
        self._matches: list[str] = []
        self._index = -1

    def reset(self) -> None:
        """Forget the candidates, because the line has changed."""
        self._matches, self._index = [], -1

    def next(self, line: str, by: int, names: Callable[[], Sequence[str]]) -> str | None:
        """Return the line with the next candidate at its end; None if there is none.

        The first press completes the common prefix of all candidates.

        Args:
            line: the text before the cursor.
            by: 1 for the next candidate, -1 for the previous one.
            names: returns the possible names.
        """
        if self._matches and line == self._before + self._current:
            self._index = (
                (self._index + by) % len(self._matches) if self._index >= 0 else min(by, 0)
            )
            return self._before + self._current
        start, self._matches = candidates(line, names())
        self._before, self._index = line[:start], -1
        if len(self._matches) == 1:
            self._index = 0
            completed = self._before + self._current
            self.reset()
            return completed
        if self._matches and self._current.lower().startswith(line[start:].lower()):
            return self._before + self._current
        if self._matches:
            self._index = 0
            return self._before + self._current
        return None

    def hint(self, capabilities: Capabilities) -> str:
        """Return the candidates, with the current one in brackets."""
        if not self._matches:
            return ""
        shown = [capabilities.plain(one.strip()) for one in self._matches]
        if self._index >= 0:
            shown[self._index] = f"[{shown[self._index]}]"
        first = max(0, self._index - 2)
        return "  ".join(shown[first : first + _HINTS])

    @property
    def _current(self) -> str:
        return common_prefix(self._matches) if self._index < 0 else self._matches[self._index]
