"""The server as the service of a twistd process, which it controls."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from chat_protocol.service.exit import exit_with
from chat_protocol.service.log_writer import LogWriter
from chat_protocol.service.parent_process import ParentProcess
from chat_protocol.service.server import ChatService
from chat_protocol.service.signals import SignalHandlers
from chat_protocol.service.systemd import SystemdNotifier

__all__ = ["ProcessService"]

_SWITCH_INTERVAL = 0.0005
"""Seconds after which the reactor's thread hands the GIL to the store's thread. On a busy server,
the default of 5 ms would delay every commit by that time."""

_GC_THRESHOLDS = (5_000, 5, 10)
"""Higher than the defaults: most objects that survive a collection are messages in flight."""


_RESERVED_FILES = 32
"""Open files that are kept for the store, the log, certificates and the status pages."""

_FEW_CONNECTIONS = 1000
"""A limit below that is said at the start, since the operator may not have meant it."""


class ProcessService(ChatService):
    """A ChatService that controls its process: log, signals, limits and exit status.

    SIGTERM stops the server, and twistd exits with status 0; a second one kills the process. SIGHUP
    reopens the log file and calls :meth:`reload`. SIGUSR1 rotates the log file. SIGUSR2 is ignored.
    """

    log = Logger(namespace="chat_protocol.service")
    log_writer: LogWriter | None = None
    """Writes the log; None: an observer of twistd does."""
    parent_process: ParentProcess | None = None
    """Waits for this process, if that is a daemon."""
    _signals: SignalHandlers | None = None

    def setServiceParent(self, parent: Any) -> None:
        """Attach the service to twistd's application and configure the log of the application."""
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
        if self.log_writer is not None:
            parent.setComponent(ILogObserver, self.log_writer)

    def privilegedStartService(self) -> None:
        """Prepare the process. twistd calls this after it has forked."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        if self.parent_process is not None:
            self.parent_process.attach()
        self._signals = SignalHandlers(
            self._reactor,
            {
                signal.SIGTERM: self._terminate,
                signal.SIGHUP: self.reload,
                signal.SIGUSR1: self._rotate_log,
                signal.SIGUSR2: _ignore,
            },
        )
        self._signals.install()
        if self.log_writer is not None:
            self.log_writer.start()
            self._reactor.addSystemEventTrigger("after", "shutdown", self.log_writer.finish)

    def startService(self) -> None:
        """Start the server; if that fails, log the reason and exit the process with status 1."""
        sys.setswitchinterval(_SWITCH_INTERVAL)
        self._limit_connections(_raise_file_limit())
        self._notifier = SystemdNotifier(os.environ, self._reactor)
        super().startService()
        self.when_serving().addCallbacks(self._started, self._exit)

    def _limit_connections(self, files: int) -> None:
        """Accept no more connections than the process may have open files."""
        allowed, chosen = max(1, files - _RESERVED_FILES), self._limits.connections
        if files == resource.RLIM_INFINITY or 0 < chosen <= allowed:
            return
        self._limits = replace(self._limits, connections=allowed)
        if chosen or allowed < _FEW_CONNECTIONS:
            self.log.warn(
                "At most {connections} connections: the process may have {files} open files. To"
                " allow more, raise the limit: ulimit -n, or LimitNOFILE= in chat.service.",
                connections=allowed,
                files=files,
            )

    def reload(self) -> None:
        """Reopen the log file, and read the certificates and passwords again."""
        if self.log_writer is not None:
            self.log_writer.reopen()
        self.log.info("Reading certificates and passwords again on SIGHUP")
        super().reload()

    def _rotate_log(self) -> None:
        if self.log_writer is not None:
            self.log_writer.rotate()

    def _terminate(self) -> None:
        self.log.info("Stopping on SIGTERM")
        self._reactor.stop()

    def _started(self, _: None) -> None:
        # The objects created until now live as long as the process, so the collector need not scan
        # them. Messages form no cycles: reference counting frees them after delivery.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        endpoints = ", ".join(description for description, _ in self._endpoints)
        self._notifier.ready(f"Serving on {endpoints}")
        if self.parent_process is not None:
            self.parent_process.release()

    def _exit(self, _: Failure) -> None:
        exit_with(self._reactor, 1, self._sentence)

    def stopService(self) -> Deferred[None]:
        self._notifier.stopping()
        return super().stopService().addBoth(self._stopped)

    def _stopped(self, result: Any) -> Any:
        self._notifier.stopped()
        if self._signals is not None:
            self._signals.restore()
        return result


def _ignore() -> None:
    """Do nothing: by default, the signal would kill the process."""


def _raise_file_limit() -> int:
    """Raise the limit of open files to the hard limit, since each connection is a file.

    Returns:
        The limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
