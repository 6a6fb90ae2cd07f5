"""Notify systemd of the state of the service, as sd_notify(3) does.

A notification is one datagram to the socket that NOTIFY_SOCKET names. Without NOTIFY_SOCKET, no
notification is sent. The protocol is implemented here because the ``sdnotify`` package does no more
than that, and would add a dependency.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["SystemdNotifier"]


class SystemdNotifier:
    """Sends READY, STOPPING and, if systemd requests it, WATCHDOG notifications.

    Args:
        environment: the environment variables of the process.
        clock: schedules the WATCHDOG notifications, two per watchdog interval.
    """

    log = Logger()

    def __init__(self, environment: Mapping[str, str], clock: IReactorTime) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the abstract namespace: unix(7).
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._interval = 0.0
        if environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            microseconds = environment.get("WATCHDOG_USEC", "")
            self._interval = int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0
        self._watchdog = LoopingCall(self._send, "WATCHDOG=1")
        self._watchdog.clock = clock

    def ready(self, status: str) -> None:
        """Report that the service accepts connections.

        Args:
            status: one line, which ``systemctl status`` shows.
        """
        self._send(f"READY=1\nSTATUS={status}")
        if self._address and self._interval and not self._watchdog.running:
            self._watchdog.start(self._interval).addErrback(self._watchdog_failed)

    def stopping(self) -> None:
        """Report that the service is stopping; WATCHDOG notifications go on."""
        self._send("STOPPING=1\nSTATUS=Answering accepted requests")

    def stopped(self) -> None:
        """Stop the WATCHDOG notifications."""
        if self._watchdog.running:
            self._watchdog.stop()

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(text.encode(), self._address)
        except OSError as error:
            self.log.warn("Cannot notify systemd: {error}", error=str(error))

    def _watchdog_failed(self, failure: Failure) -> None:
        self.log.failure(
            "The server stopped sending WATCHDOG notifications; systemd will restart it", failure
        )
