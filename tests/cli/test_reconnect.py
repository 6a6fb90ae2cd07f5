"""``chatclient`` with a server that is killed, and all version 2 features."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.blackbox.server import Server
from tests.cli.program import COMMAND
from tests.cli.thread_server import PATIENCE, wait_for

LONG = 30.0
"""Seconds for a killed server to restart and its clients to reconnect."""


class Alive:
    """A server and the programs that use it."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def command(self) -> list[str]:
        host, port = self.server.address  # type: ignore[str-unpack,misc]
        return [*COMMAND, "--server", f"{host}:{port}"]

    def run(
        self, *arguments: str, stdin: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LONG,
            env={**os.environ, "TZ": "UTC", **environ},
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    def texts(self, user: str, *options: str) -> list[str]:
        """Return the messages that a user receives until an idle timeout."""
        done = self.run("-u", user, "listen", "--idle", "0.3", *options)
        assert (done.returncode, done.stderr) == (0, "")
        return [line.split("\t")[2] for line in done.stdout.splitlines()]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def register(self, *users: str) -> None:
        for user in users:
            self.texts(user)


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Alive]:
    with Server(tmp_path) as server:
        alive = Alive(server)
        alive.register("bob")
        yield alive


def test_each_line_is_stored_once_when_the_server_is_killed(alive: Alive) -> None:
    with alive.start("-u", "alice", "send", "bob", "-") as process:
        stdin = process.stdin
        assert stdin is not None
        for number in range(1000):
            stdin.write(f"{number}\n")
        alive.server.wait_for_log("'alice' at")
        alive.server.kill9()
        for number in range(1000, 1100):
            stdin.write(f"{number}\n")
        alive.server.start()
        _, said = process.communicate(timeout=LONG)
    assert process.returncode == 0
    assert "connection lost: " in said
    assert said.endswith("reconnected\n")
    assert alive.texts("bob") == [str(number) for number in range(1100)]


def test_the_reconnect_timeout_ends_send(alive: Alive) -> None:
    with alive.start("-u", "alice", "--patience", "0.5", "send", "bob", "-") as process:
        alive.server.wait_for_log("'alice' at")
        alive.server.kill9()
        _, said = process.communicate("hi\n", timeout=LONG)
    assert process.returncode == 3
    assert said.endswith("; could not reconnect within 0.5 seconds\n")


def test_listen_continues_after_the_server_was_killed(alive: Alive) -> None:
    with alive.start("-u", "bob", "listen") as process:
        assert process.stdout is not None
        alive.run("-u", "alice", "send", "bob", "before")
        assert process.stdout.readline().endswith("\tbefore\n")
        alive.server.restart()
        alive.run("-u", "alice", "send", "bob", "after")
        assert process.stdout.readline().endswith("\tafter\n")
        process.terminate()
        _, said = process.communicate(timeout=LONG)
    assert process.returncode == 143
    assert said.count("connection lost: ") == 1
    assert said.endswith("reconnected\n")
    assert alive.texts("bob") == []


def test_messages_beyond_the_count_stay_in_the_mailbox(alive: Alive) -> None:
    alive.run("-u", "alice", "send", "bob", "-", stdin="1\n2\n3\n4\n5\n")
    assert alive.texts("bob", "--count", "2") == ["1", "2"]
    assert alive.texts("bob", "--count", "1") == ["3"]
    assert alive.texts("bob") == ["4", "5"]


def test_messages_that_could_not_be_written_stay_in_the_mailbox(alive: Alive) -> None:
    """A blocked reader delays neither the client nor its end."""
    text = "x" * 60_000
    for _ in range(3):
        alive.run("-u", "alice", "send", "bob", text)
    with alive.start("-u", "bob", "listen") as process:
        assert process.stdout is not None
        # Part of the second message: the first is written and acknowledged.
        wait_for(lambda: _waiting(process.stdout) > len(text) + 1000)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    wait_for(lambda: alive.server.log.count("'bob' left") == 2)
    assert alive.texts("bob") == [text, text]


def _waiting(stream: IO[str] | None) -> int:
    """Return the number of bytes in a pipe."""
    import array
    import fcntl
    import termios

    assert stream is not None
    found = array.array("i", [0])
    fcntl.ioctl(stream.fileno(), termios.FIONREAD, found)
    return found[0]


def test_send_leaves_messages_in_the_mailbox(alive: Alive) -> None:
    alive.register("alice")
    alive.run("-u", "alice", "send", "bob", "-", stdin="1\n2\n3\n")
    done = alive.run("-u", "bob", "send", "alice", "hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert alive.texts("bob") == ["1", "2", "3"]
    alive.run("-u", "bob", "send", "alice", "again")
    done = alive.run("-u", "bob", "listen", "--json", "--own", "--count", "1")
    (own,) = map(json.loads, done.stdout.splitlines())
    assert (own["from"], own["to"], own["text"]) == ("bob", ["alice"], "again")


def test_several_and_everyone(alive: Alive) -> None:
    alive.register("carol", "dave")
    assert alive.run("-u", "alice", "send", "--to", "bob", "--to", "carol", "a").returncode == 0
    assert alive.run("-u", "alice", "send", "--all", "b").returncode == 0
    done = alive.run("-u", "alice", "send", "--to", "bob", "--to", "zoe", "c")
    assert done.returncode == 1
    assert done.stderr == "chatclient: refused for all recipients: there is no user zoe\n"
    done = alive.run("-u", "bob", "listen", "--json", "--count", "2")
    one, two = map(json.loads, done.stdout.splitlines())
    assert (one["to"], one["everyone"], one["text"]) == (["bob", "carol"], False, "a")
    assert (two["to"], two["everyone"], two["text"]) == ([], True, "b")
    assert 0 < one["offset"] < two["offset"]
    assert alive.texts("carol") == ["a", "b"]
    assert alive.texts("dave") == ["b"]


def test_users(alive: Alive) -> None:
    done = alive.run("-u", "alice", "users")
    assert [line.split("\t")[:2] for line in done.stdout.splitlines()] == [
        ["alice", "offline"],
        ["bob", "offline"],
    ]
    done = alive.run("-u", "alice", "users", "--json")
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["alice", "bob"]


def test_history(alive: Alive) -> None:
    lines = "".join(f"{number}\n" for number in range(1, 1203))
    alive.run("-u", "alice", "send", "bob", "-", stdin=lines)
    done = alive.run("-u", "bob", "history", "alice")
    entries = [line.split("\t") for line in done.stdout.splitlines()]
    assert [entry[3] for entry in entries] == lines.split()
    assert entries[0][1:3] == ["alice", "bob"]
    done = alive.run("-u", "bob", "history", "--json", "--limit", "2")
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["1201", "1202"]
    done = alive.run("-u", "bob", "history", "zoe")
    assert (done.returncode, done.stderr) == (1, "chatclient: no user named zoe\n")


def test_a_conversation_through_pipes(alive: Alive) -> None:
    done = alive.run("-u", "alice", stdin="bob: hi\n/all ho\n/users\n/history\n/quit\n")
    assert done.returncode == 0
    shown = done.stdout.splitlines()
    assert shown[1:5] == [
        "* stored for bob",
        "* stored for all users",
        "* online: alice",
        "* offline: bob",
    ]
    assert [line.partition("] ")[2] for line in shown[5:7]] == [
        "alice to bob: hi",
        "alice to all users: ho",
    ]
    assert shown[7:] == ["* 2 messages with bob"]


def test_passwords(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("alice:secret\n")
    with Server(tmp_path, options=["--auth", "file:passwords"]) as server:
        alive = Alive(server)
        done = alive.run("-u", "alice", "users")
        assert done.returncode == 1
        assert "the server requires a password for alice" in done.stderr
        done = alive.run("-u", "alice", "--password", "wrong", "users")
        assert done.returncode == 1
        assert "rejected the password for alice" in done.stderr
        assert alive.run("-u", "alice", "users", "--password", "secret").returncode == 0
        assert alive.run("-u", "alice", "users", CHAT_PASSWORD="secret").returncode == 0
