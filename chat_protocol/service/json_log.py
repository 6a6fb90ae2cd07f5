"""The log as JSON, one object per line."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from twisted.logger import LogEvent, eventAsText, formatEvent

__all__ = ["as_json"]

_SCALARS = (str, int, float, bool)
_RESERVED_KEYS = {"time", "level", "system", "message", "traceback", "format", "isError", "text"}
"""Keys that are not copied from the event: those of the line itself and of Twisted's legacy log."""


def as_json(event: LogEvent) -> str | None:
    """Format an event as a line with its newline; return None for an event without a message.

    ``time`` is in ISO 8601, UTC. ``level``, ``system`` and ``message`` are those of the text log.
    The event's own scalar values, such as ``peer``, ``limit`` and ``code``, have their own keys.
    """
    message = formatEvent(event)
    if not message and event.get("log_failure") is None:
        return None
    when = datetime.fromtimestamp(event.get("log_time", 0), timezone.utc)
    level = event.get("log_level")
    line = {
        "time": when.isoformat(timespec="microseconds"),
        "level": level.name if level is not None else "info",
        "system": event.get("log_namespace") or event.get("log_system") or "-",
        "message": message,
    }
    if event.get("log_failure") is not None:
        line["traceback"] = eventAsText(event, includeTimestamp=False, includeSystem=False)
    for key, value in event.items():
        if isinstance(value, _SCALARS) and not key.startswith("log_") and key not in _RESERVED_KEYS:
            line[key] = value
    # json.dumps escapes everything outside ASCII, so that text from clients cannot break a line.
    return json.dumps(line) + "\n"
