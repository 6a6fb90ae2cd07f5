"""Where the log of a server goes, and in which format."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from functools import lru_cache

from twisted.logger import (
    LogEvent,
    Logger,
    formatEventAsClassicLogText,
    formatTime,
    timeFormatRFC3339,
)
from twisted.python.logfile import LogFile

from chat_protocol.service.fault_limiter import FaultLimiter
from chat_protocol.service.json_log import as_json
from chat_protocol.service.log_writer import LogWriter

__all__ = ["LogFileOutput", "StandardOutput", "make_log"]

_STDOUT = 1

_NOT_SIMPLE = frozenset(("log_failure", "log_flattened", "log_system"))


def make_log(path: str, log_format: str) -> LogWriter:
    """Return the log observer of a server under twistd.

    Args:
        path: path of the log file, or ``-`` for stdout. The file is rotated as twistd does it, when
            it reaches its maximum size.
        log_format: ``text`` for the format of twistd, or ``json``.
    """
    formats: dict[str, Callable[[LogEvent], str | None]] = {"text": _as_text, "json": as_json}
    output = StandardOutput() if path == "-" else LogFileOutput(path)
    return LogWriter(output, FaultLimiter(formats[log_format]))


def _as_text(event: LogEvent) -> str | None:
    line = _simple_line(event)
    if line is None:
        line = formatEventAsClassicLogText(event, formatTime=_format_time)
    return line


def _simple_line(event: LogEvent) -> str | None:
    """Return what formatEventAsClassicLogText returns, in a fifth of the time.

    None: the event has a traceback, a system or calls, or cannot be formatted.
    """
    form = event.get("log_format")
    if not isinstance(form, str) or "()" in form or not _NOT_SIMPLE.isdisjoint(event):
        return None
    try:
        text = form.format_map(event).replace("\n", "\n\t")
        when, where = _format_time(event["log_time"]), event["log_namespace"]
        return f"{when} [{where}#{event['log_level'].name}] {text}\n" if text else None
    except Exception:
        return None


def _format_time(when: float | None) -> str:
    return _format_second(None if when is None else int(when))


@lru_cache(maxsize=1)
def _format_second(when: int | None) -> str:
    """Return a time in RFC 3339, which has whole seconds: many events happen in one."""
    return formatTime(when, timeFormatRFC3339)


class StandardOutput:
    """Writes to the standard output of the process."""

    def write(self, data: memoryview) -> int:
        while True:
            try:
                # Not sys.stdout: a thread that is blocked in it would also block the end of Python.
                return os.write(_STDOUT, data)
            except BlockingIOError:
                # Another process that has the same terminal or pipe open has changed its mode.
                select.select([], [_STDOUT], [])

    def reopen(self) -> None:
        """Do nothing: standard output has no path."""

    def rotate(self) -> None:
        """Do nothing: standard output has no path."""


class _LogFile(LogFile):
    """Twisted's LogFile, which tells how much it has written."""

    @property
    def mode(self) -> int:
        """The permissions of the file, wherever it is now."""
        return stat.S_IMODE(os.fstat(self._file.fileno()).st_mode)

    def write_some(self, data: memoryview) -> int:
        if self._file.closed:
            # The last rotation closed the file and could not open the new one.
            self._openFile()  # type: ignore[no-untyped-call]
        if self.shouldRotate():  # type: ignore[no-untyped-call]
            self.rotate()  # type: ignore[no-untyped-call]
        written: int = self._file.write(data)
        self.size += written
        return written


class LogFileOutput:
    """Writes to a file, which it rotates when it reaches the maximum size of twistd's log files.

    Args:
        path: path of the file, which is created if it is missing.
    """

    _log = Logger(namespace="chat_protocol.service")

    def __init__(self, path: str) -> None:
        self._file: _LogFile = _LogFile.fromFullPath(path)  # type: ignore[no-untyped-call]

    def write(self, data: memoryview) -> int:
        return self._file.write_some(data)

    def reopen(self) -> None:
        old = self._file
        path = old.path
        mode = None if os.path.exists(path) else old.mode
        try:
            self._file = _LogFile.fromFullPath(path, defaultMode=mode)  # type: ignore[no-untyped-call]
        except OSError as error:
            self._log.error(
                "Cannot open the log file {path}: {reason}. The old file stays in use.",
                path=path,
                reason=error.strerror,
            )
        else:
            old.close()  # type: ignore[no-untyped-call]

    def rotate(self) -> None:
        try:
            self._file.rotate()  # type: ignore[no-untyped-call]
        except OSError as error:
            self._log.error(
                "Cannot rotate the log file {path}: {reason}",
                path=self._file.path,
                reason=error.strerror,
            )
