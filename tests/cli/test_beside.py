"""Several ``chatclient`` of one user at a time, on one machine and on two."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.blackbox.server import Server
from tests.cli.test_reconnect import Alive
from tests.cli.thread_server import PATIENCE, wait_for


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Alive]:
    with Server(tmp_path) as server:
        alive = Alive(server)
        alive.register("bob")
        yield alive


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Alive]:
    passwords = tmp_path / "passwords"
    passwords.write_text("alice:secret\nbob:secret\n")
    with Server(tmp_path, ["--auth", f"file:{passwords}"]) as server:
        yield Alive(server)


@contextmanager
def listening(alive: Alive, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A terminal in which alice listens."""
    with alive.start("-u", "alice", "listen", *options) as process:
        try:
            wait_for(lambda: is_online(alive, "alice"))
            yield process
        finally:
            process.terminate()
            process.communicate()


def is_online(alive: Alive, user: str, *options: str) -> bool:
    done = alive.run("-u", "bob", *options, "users", "--json")
    users = map(json.loads, done.stdout.splitlines())
    return any(one["online"] for one in users if one["name"] == user)


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line; empty if there is none for long."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], PATIENCE)
    return process.stdout.readline() if readable else ""


def test_a_script_works_beside_an_open_terminal(alive: Alive) -> None:
    alive.register("alice")
    with listening(alive, "--own") as terminal:
        done = alive.run("-u", "alice", "send", "bob", "hi")
        assert (done.returncode, done.stderr) == (0, "")
        assert line_of(terminal).endswith("alice\thi\n")
        history = alive.run("-u", "alice", "history", "bob")
        assert [line.split("\t")[3] for line in history.stdout.splitlines()] == ["hi"]
        users = alive.run("-u", "alice", "users", "--json")
        assert json.loads(users.stdout.splitlines()[0])["online"] is True
    assert alive.texts("bob") == ["hi"]


def tokens(tmp_path: Path) -> int:
    """Return how many processes of this machine have kept a token."""
    return len(list((tmp_path / "state").rglob("*.token")))


def test_a_second_terminal_is_another_device(alive: Alive, tmp_path: Path) -> None:
    alive.register("alice")
    with listening(alive) as first:
        before = tokens(tmp_path)
        with alive.start("-u", "alice", "listen", "--count", "1") as second:
            wait_for(lambda: tokens(tmp_path) > before)
            alive.run("-u", "bob", "send", "alice", "to both")
            out, _ = second.communicate(timeout=20)
            assert out.endswith("bob\tto both\n")
        assert line_of(first).endswith("bob\tto both\n")


def test_both_terminals_come_back_after_the_server_was_killed(alive: Alive, tmp_path: Path) -> None:
    """The server forgets its tokens, so the second needs the new one of the first."""
    alive.register("alice")
    before = tokens(tmp_path)
    with listening(alive) as first, alive.start("-u", "alice", "listen") as second:
        wait_for(lambda: tokens(tmp_path) > before)
        alive.run("-u", "bob", "send", "alice", "before")
        assert line_of(first).endswith("bob\tbefore\n")
        assert line_of(second).endswith("bob\tbefore\n")
        alive.server.restart()
        alive.run("-u", "bob", "send", "alice", "after")
        assert line_of(first).endswith("bob\tafter\n")
        assert line_of(second).endswith("bob\tafter\n")
        second.terminate()
        _, said = second.communicate(timeout=20)
        assert said.endswith("reconnected\n")


def test_a_script_that_cannot_read_the_token_says_so(alive: Alive, tmp_path: Path) -> None:
    alive.register("alice")
    (file := tmp_path / "file").touch()
    without = {"XDG_STATE_HOME": str(file)}
    assert alive.run("-u", "alice", "send", "bob", "alone", **without).stderr == ""
    with listening(alive):
        done = alive.run("-u", "alice", "send", "bob", "x", **without)
    assert done.returncode == 1
    assert "Set XDG_STATE_HOME to a directory that you can write to" in done.stderr


def test_from_another_machine_a_name_in_use_is_refused_on_an_open_server(
    alive: Alive, tmp_path: Path
) -> None:
    alive.register("alice")
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}
    with listening(alive):
        for arguments in (["send", "bob", "x"], ["users"], ["history"], ["listen"]):
            done = alive.run("-u", "alice", *arguments, **elsewhere)
            assert done.returncode == 1
            assert "alice is already logged in elsewhere" in done.stderr
    assert alive.texts("bob") == []


def test_with_a_password_another_machine_is_another_device(guarded: Alive, tmp_path: Path) -> None:
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}
    password = ("--password", "secret")
    for user in ("alice", "bob"):
        guarded.run("-u", user, *password, "listen", "--idle", "0.1")
    with guarded.start("-u", "alice", *password, "listen") as here:
        wait_for(lambda: is_online(guarded, "alice", *password))
        done = guarded.run("-u", "alice", *password, "listen", "--idle", "0.3", **elsewhere)
        assert (done.returncode, done.stdout) == (0, "")
        done = guarded.run("-u", "alice", *password, "send", "bob", "from elsewhere", **elsewhere)
        assert done.returncode == 0
        here.terminate()
        here.communicate()
    done = guarded.run("-u", "bob", *password, "listen", "--idle", "0.3")
    assert done.stdout.endswith("alice\tfrom elsewhere\n")


def test_a_device_that_another_process_has_is_refused(alive: Alive) -> None:
    alive.register("alice")
    with listening(alive, "--device", "desk"):
        done = alive.run("-u", "alice", "listen", "--device", "desk")
        assert done.returncode == 2
        assert "--device desk: another chatclient is this device now" in done.stderr


def test_a_wrong_password_is_tried_once_whatever_tokens_there_are(guarded: Alive) -> None:
    guarded.run("-u", "alice", "--password", "secret", "listen", "--idle", "0.1")
    for _ in range(2):
        done = guarded.run("-u", "alice", "--password", "wrong", "users")
        assert done.returncode == 1
        assert "too many" not in done.stderr
    assert guarded.run("-u", "alice", "--password", "secret", "users").returncode == 0
