"""What systemd is told, over a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from chat_protocol.service.systemd import SystemdNotifier


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = str(tmp_path / "notify") if request.param == "file" else f"@chat-{os.getpid()}"
        listener.bind(name.replace("@", "\0"))
        listener.setblocking(False)
        yield name, listener


def heard(listener: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(listener.recv(1000))
        except BlockingIOError:
            return found


def test_it_is_told_of_the_beginning_and_the_end(systemd: tuple[str, socket.socket]) -> None:
    name, listener = systemd
    notifier = SystemdNotifier({"NOTIFY_SOCKET": name}, Clock())
    notifier.ready("Serving on tcp:5555")
    assert heard(listener) == [b"READY=1\nSTATUS=Serving on tcp:5555"]
    notifier.stopping()
    notifier.stopped()
    assert heard(listener) == [b"STOPPING=1\nSTATUS=Answering accepted requests"]


def test_the_watchdog_is_fed_twice_in_its_interval(systemd: tuple[str, socket.socket]) -> None:
    name, listener = systemd
    clock = Clock()
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000"}
    notifier = SystemdNotifier(environment, clock)
    notifier.ready("")
    heard(listener)
    clock.pump([4, 1, 4, 1])
    assert heard(listener) == [b"WATCHDOG=1"] * 2
    notifier.stopping()
    heard(listener)
    clock.advance(5)
    assert heard(listener) == [b"WATCHDOG=1"]
    notifier.stopped()
    assert not clock.getDelayedCalls()


def test_another_process_has_the_watchdog(systemd: tuple[str, socket.socket]) -> None:
    name, _ = systemd
    clock = Clock()
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}
    SystemdNotifier(environment, clock).ready("")
    assert not clock.getDelayedCalls()


def test_without_systemd_nothing_happens() -> None:
    clock = Clock()
    notifier = SystemdNotifier({"WATCHDOG_USEC": "10000000"}, clock)
    notifier.ready("")
    notifier.stopping()
    notifier.stopped()
    assert not clock.getDelayedCalls()


def test_a_socket_that_is_gone_is_logged(tmp_path: Path) -> None:
    lines: list[LogEvent] = []
    globalLogPublisher.addObserver(lines.append)  # type: ignore[arg-type]
    try:
        SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, Clock()).ready("")
    finally:
        globalLogPublisher.removeObserver(lines.append)  # type: ignore[arg-type]
    assert [line["log_format"] for line in lines] == ["Cannot notify systemd: {error}"]
