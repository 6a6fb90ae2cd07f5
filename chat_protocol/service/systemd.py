"""Telling systemd how the service does: sd_notify(3), in the few lines that it takes.

A datagram to the socket named by NOTIFY_SOCKET; where there is none, nothing happens. The
``sdnotify`` package does no more than that, and would be one more thing to install.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["Notifier"]


class Notifier:
    """Says READY, STOPPING and, where systemd has a watchdog, that the reactor turns.

    Args:
        environment: the process's.
        clock: times the watchdog's messages, two in each of its intervals.
    """

    log = Logger()

    def __init__(self, environment: Mapping[str, str], clock: IReactorTime) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in the abstract namespace: unix(7).
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._interval = 0.0
        if environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            microseconds = environment.get("WATCHDOG_USEC", "")
            self._interval = int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0
        self._watchdog = LoopingCall(self._say, "WATCHDOG=1")
        self._watchdog.clock = clock

    def ready(self, status: str) -> None:
        """The service serves; ``status`` is a line for ``systemctl status``."""
        self._say(f"READY=1\nSTATUS={status}")
        if self._address and self._interval and not self._watchdog.running:
            self._watchdog.start(self._interval).addErrback(self._failed)

    def stopping(self) -> None:
        """It ends; the watchdog is fed until the process is gone."""
        self._say("STOPPING=1\nSTATUS=Answering what was accepted")

    def stopped(self) -> None:
        """Nothing is to follow."""
        if self._watchdog.running:
            self._watchdog.stop()

    def _say(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(text.encode(), self._address)
        except OSError as error:
            self.log.warn("Cannot tell systemd: {error}", error=str(error))

    def _failed(self, failure: Failure) -> None:
        self.log.failure("systemd is not told any more that this is alive", failure)
