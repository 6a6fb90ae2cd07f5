"""The log as JSON, an object a line."""

from __future__ import annotations

import json
import signal
import sys
from datetime import datetime, timezone
from typing import Any

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, eventAsText, formatEvent
from twisted.python.logfile import LogFile

__all__ = ["as_json", "json_observer"]

_PLAIN = (str, int, float, bool)
_FORMAT_KEYS = {"time", "level", "system", "message", "traceback", "format", "isError", "text"}
"""What an event's own values do not overwrite, or what only Twisted's old log has."""


def as_json(event: LogEvent) -> str | None:
    """A line, with its end; None for an event that says nothing.

    ``time`` is in ISO 8601, UTC; ``level``, ``system`` and ``message`` are those of the text
    log. What an event names - ``peer``, ``limit``, ``code`` and the like - stands under its name.
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
        if isinstance(value, _PLAIN) and not key.startswith("log_") and key not in _FORMAT_KEYS:
            line[key] = value
    # Every character but ASCII escaped: what peers choose cannot break a line.
    return json.dumps(line) + "\n"


def json_observer(path: str) -> ILogObserver:
    """What twistd is to log to.

    Args:
        path: of a file, which is rotated as twistd does it: by its size, and on SIGUSR1; ``-``:
            stdout.
    """
    file: Any = sys.stdout
    if path != "-":
        file = LogFile.fromFullPath(path)  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGUSR1, lambda *_: file.rotate())
    observer: ILogObserver = FileLogObserver(file, as_json)
    return observer
