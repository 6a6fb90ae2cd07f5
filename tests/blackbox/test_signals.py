"""Signals: SIGHUP reads files again, SIGUSR1 rotates the log, and no signal but SIGTERM ends."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Client
from tests.blackbox.processes import foreground, run_daemon, stop_daemon, wait_until
from tests.blackbox.server import free_port
from tests.certificates import Authority


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_the_server_goes_on(tmp_path: Path, signum: signal.Signals) -> None:
    with (
        foreground(tmp_path, "--store", "memory:") as (process, address),
        Client(address, "alice") as alice,
    ):
        for _ in range(3):
            process.send_signal(signum)
            assert alice.still_works()
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_sighup_reopens_the_log_file(tmp_path: Path, log_format: str) -> None:
    path, old = tmp_path / "log", tmp_path / "log.old"
    with (
        foreground(
            *(tmp_path, "--store", "memory:", "--log-format", log_format),
            twistd=("--logfile", str(path)),
        ) as (process, address),
        Client(address, "alice") as alice,
    ):
        wait_until(lambda: "'alice'" in path.read_text(), "logged")
        path.rename(old)
        process.send_signal(signal.SIGHUP)
        wait_until(path.exists, "reopened")
        Client(address, "bob").close()
        wait_until(lambda: "'bob' left" in path.read_text(), "logged in the new file")
        assert "'bob'" not in old.read_text()
        assert alice.still_works()
        if log_format == "json":
            assert all(map(json.loads, path.read_text().splitlines()))


def test_sigusr1_rotates_the_log_file(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    with foreground(tmp_path, "--store", "memory:", twistd=("--logfile", str(path))) as (
        process,
        address,
    ):
        wait_until(lambda: "Serving on" in path.read_text(), "logged")
        process.send_signal(signal.SIGUSR1)
        wait_until(old.exists, "rotated")
        Client(address, "bob").close()
        wait_until(lambda: "'bob' left" in path.read_text(), "logged in the new file")
        assert "Serving on" in old.read_text()


def test_a_daemon_reopens_its_log_file(tmp_path: Path) -> None:
    port = free_port()
    log, pid_file = tmp_path / "twistd.log", tmp_path / "twistd.pid"
    listen = ("--listen", f"tcp:{port}:interface=127.0.0.1")
    try:
        assert run_daemon(tmp_path, "--store", "memory:", *listen).returncode == 0
        log.rename(tmp_path / "old")
        os.kill(int(pid_file.read_text()), signal.SIGHUP)
        wait_until(log.exists, "reopened")
        with Client(("127.0.0.1", port)) as client:
            assert client.login("alice") == wire.OK
    finally:
        stop_daemon(pid_file)
    assert "Stopped" in log.read_text()


def test_sighup_reads_the_certificate_and_the_passwords(tmp_path: Path) -> None:
    authority = Authority()
    certificate, passwords = tmp_path / "server.pem", tmp_path / "passwords"
    first = authority.server()
    first.write(certificate)
    passwords.write_text("alice:secret\n")
    log = tmp_path / "log"
    with foreground(
        *(tmp_path, "--store", "memory:", "--certificate", str(certificate)),
        *("--auth", f"file:{passwords}"),
        twistd=("--logfile", str(log)),
    ) as (process, _):
        second = authority.server()
        second.write(certificate)
        process.send_signal(signal.SIGHUP)
        serial = (
            f"New connections use the certificate CN=localhost, serial number {second.serial:x}"
        )
        wait_until(lambda: serial in log.read_text(), "read again")
        certificate.unlink()
        passwords.unlink()
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "Cannot read the passwords in" in log.read_text(), "said")
        for sentence in (
            "Cannot load the changed certificate, the old one stays in use: ",
            f"Cannot read the passwords in {passwords}: No such file or directory. The old ones",
        ):
            assert log.read_text().count(sentence) == 1
        assert "Traceback" not in log.read_text()
