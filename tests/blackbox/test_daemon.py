"""``twistd chatserver`` without ``-n``: the parent process tells whether the daemon serves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Client
from tests.blackbox.processes import run_daemon, stop_daemon, wait_until
from tests.blackbox.server import TWISTD, Server, free_port


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[list[str]]:
    """Options for a port; a daemon that is left is stopped."""
    yield ["--listen", f"tcp:{free_port()}:interface=127.0.0.1"]
    stop_daemon(tmp_path / "twistd.pid")


def refused(directory: Path, *options: str, twistd: tuple[str, ...] = ()) -> str:
    """The only line on stderr; no daemon is left, and its log has no traceback."""
    result = run_daemon(directory, *options, twistd=twistd)
    assert result.returncode == 1, result
    assert not (directory / "twistd.pid").exists()
    assert "Traceback" not in result.stdout + result.stderr
    if (directory / "twistd.log").exists():
        assert "Traceback" not in (directory / "twistd.log").read_text()
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_the_parent_exits_when_the_daemon_serves(tmp_path: Path, listen: list[str]) -> None:
    result = run_daemon(tmp_path, "--store", "sqlite:chat.db", *listen)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    port = int(listen[1].split(":")[1])
    # At once, without a second attempt.
    with socket.create_connection(("127.0.0.1", port)):
        pass
    with Client(("127.0.0.1", port)) as client:
        assert client.login("alice") == wire.OK
    pid = int((tmp_path / "twistd.pid").read_text())
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    log = tmp_path / "twistd.log"
    wait_until(lambda: "Serving on" in log.read_text(), "logged")


def test_a_port_in_use(tmp_path: Path, listen: list[str]) -> None:
    port = int(listen[1].split(":")[1])
    with socket.create_server(("127.0.0.1", port)):
        said = refused(tmp_path, "--store", "memory:", *listen)
    assert said.startswith(f"chatserver: cannot listen on {listen[1]}: Address already in use")


def test_a_store_in_use(tmp_path: Path, listen: list[str]) -> None:
    with Server(tmp_path):
        assert "chat.db is in use" in refused(tmp_path, *listen)


def test_a_store_in_no_directory(tmp_path: Path, listen: list[str]) -> None:
    said = refused(tmp_path, "--store", "sqlite:nosuch/chat.db", *listen)
    assert "nosuch/chat.db cannot be opened: No such" in said


def test_a_database_that_does_not_answer(tmp_path: Path, listen: list[str]) -> None:
    pytest.importorskip("psycopg")
    place = f"127.0.0.1:{free_port()}/chat"
    said = refused(tmp_path, "--store", f"postgresql://chat:secret@{place}", *listen)
    assert said.startswith(f"chatserver: postgresql://{place} cannot be used: ")


def test_a_damaged_certificate(tmp_path: Path, listen: list[str]) -> None:
    path = tmp_path / "server.pem"
    path.write_text("damaged")
    said = refused(tmp_path, "--store", "memory:", "--certificate", str(path), *listen)
    assert str(path) in said


@pytest.mark.parametrize("foreground", [(), ("-n",)], ids=["daemon", "foreground"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [("nosuch/pid", "No such file or directory"), ("folder", "Is a directory")],
)
def test_a_pid_file_that_cannot_be_written(
    tmp_path: Path, path: str, reason: str, foreground: tuple[str, ...]
) -> None:
    (tmp_path / "folder").mkdir()
    result = run_daemon(tmp_path, "--store", "memory:", twistd=(*foreground, f"--pidfile={path}"))
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    last = (result.stdout + result.stderr).splitlines()[-1]
    assert f"--pidfile: cannot write {path}: {reason}. Give another --pidfile" in last


@pytest.mark.parametrize("foreground", [(), ("-n",)], ids=["daemon", "foreground"])
def test_a_log_file_that_cannot_be_written(tmp_path: Path, foreground: tuple[str, ...]) -> None:
    options = (*foreground, "--pidfile=", "--logfile=nosuch/log")
    result = run_daemon(tmp_path, "--store", "memory:", twistd=options)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    last = (result.stdout + result.stderr).splitlines()[-1]
    assert "--logfile: cannot write nosuch/log: No such file or directory. Give another" in last


def test_a_daemon_that_is_killed_while_it_starts(tmp_path: Path, listen: list[str]) -> None:
    # A database that accepts connections and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = f"postgresql://chat@127.0.0.1:{silent.getsockname()[1]}/chat"
        parent = subprocess.Popen(
            [str(TWISTD), "chatserver", "--store", store, *listen],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()
        pid_file = tmp_path / "twistd.pid"
        wait_until(pid_file.exists, "started")
        assert parent.poll() is None
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        _, said = parent.communicate(timeout=20)
        connection.close()
    pid_file.unlink()
    assert parent.returncode == 1
    assert said == "chatserver: the server ended before it served. The log has the reason.\n"
