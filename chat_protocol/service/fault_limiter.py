"""Limits of the log on tracebacks: a peer that has found a fault cannot fill the disk with it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import LogEvent
from twisted.python.failure import Failure

__all__ = ["FAULTS", "SECONDS", "FaultLimiter"]

FAULTS = 10
"""Tracebacks of one fault that are written in SECONDS. The others are counted."""

SECONDS = 60.0
"""Time in seconds after which counting starts again."""

_KINDS = 1000
"""Faults that are told apart. With more, counting starts again for all."""


class FaultLimiter:
    """Formats events, but of each fault only the first ones.

    Faults are the same if the same line has raised the same type of exception.

    Args:
        format_event: returns the line of an event with its newline; None: there is none.
    """

    def __init__(self, format_event: Callable[[LogEvent], str | None]) -> None:
        self._format = format_event
        self._kinds: dict[object, tuple[float, int]] = {}
        """When counting has started, and how many came since."""

    def __call__(self, event: LogEvent) -> str | None:
        """Return the lines of an event with their newlines; None: there are none."""
        failure = event.get("log_failure")
        if not isinstance(failure, Failure):
            return self._format(event)
        kind, now = (failure.type, _place(failure)), event["log_time"]
        since, count = self._kinds.get(kind, (now, 0))
        before = ""
        if now - since >= SECONDS:
            if count > FAULTS:
                text = f"{count - FAULTS} more faults like the next one in {now - since:.0f} s"
                before = self._say(event, text)
            since, count = now, 0
        if kind not in self._kinds and len(self._kinds) >= _KINDS:
            self._kinds.clear()
        self._kinds[kind] = since, count + 1
        if count < FAULTS:
            return before + (self._format(event) or "")
        if count == FAULTS:
            seconds = SECONDS - (now - since)
            text = f"More faults like the last one are only counted for the next {seconds:.0f} s"
            return self._say(event, text)
        return None

    def _say(self, event: LogEvent, text: str) -> str:
        said = {key: value for key, value in event.items() if key != "log_failure"}
        return self._format({**said, "log_format": "{text}", "text": text}) or ""


def _place(failure: Failure) -> object:
    """Return the line that has raised the exception."""
    if not failure.frames:
        return None
    _, file, line, *_ = failure.frames[-1]
    return file, line
