"""``chatclient`` on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.blackbox.server import Server
from tests.cli.program import COMMAND
from tests.cli.thread_server import PATIENCE, ThreadServer, wait_for

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[=>])")

OWN_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
"""Makes stdin the controlling terminal, /dev/tty."""


class Screen:
    """The terminal's end of a pseudo-terminal."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self._data = b""
        self.process = process

    @property
    def text(self) -> str:
        """All output without escape sequences."""
        return _ESCAPES.sub("", self._data.decode(errors="replace"))

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < end, f"{text!r} is not in {self.text!r}"
            self.read()

    def read(self, seconds: float = 0.1) -> None:
        if select.select([self._descriptor], [], [], seconds)[0]:
            try:
                self._data += os.read(self._descriptor, 65536)
            except OSError:
                # Linux reports this when the process has ended.
                time.sleep(0.01)

    def hang_up(self) -> None:
        """Close the terminal."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._descriptor)
        os.close(nothing)

    def end(self) -> int:
        """Read all output and return the exit code."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, "the process does not end"
            self.read()
        self.read(0)
        return self.process.returncode


@contextmanager
def terminal(
    address: str, *arguments: str, command: list[str] = COMMAND, term: str = "xterm"
) -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    # This terminal does not answer cursor position requests.
    environ = {**os.environ, "TERM": term, "PROMPT_TOOLKIT_NO_CPR": "1", "COLUMNS": "80"}
    process = subprocess.Popen(
        [*command, "--server", address, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Screen(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture
def server() -> Iterator[ThreadServer]:
    with ThreadServer() as server:
        yield server


def test_a_missing_username_is_prompted_for(server: ThreadServer) -> None:
    pytest.importorskip("prompt_toolkit")
    with terminal(server.address) as screen:
        screen.wait_for("Username:")
        screen.type("taken\r")
        screen.wait_for("taken is already logged in elsewhere")
        screen.type("alice\r")
        screen.wait_for("Connected to")
        screen.type("/quit\r")
        assert screen.end() == 0
    assert server.logins == ["alice"]


@pytest.mark.parametrize("how", ["key", "signal"])
def test_ctrl_c(server: ThreadServer, how: str) -> None:
    pytest.importorskip("prompt_toolkit")
    with terminal(server.address, "-u", "alice") as screen:
        screen.wait_for("Connected to")
        if how == "key":
            screen.type("\x03")
        else:
            screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 130
        assert "Traceback" not in screen.text


def test_a_lost_connection_ends_the_full_screen(server: ThreadServer) -> None:
    pytest.importorskip("prompt_toolkit")
    with terminal(server.address, "-u", "alice", "--no-reconnect") as screen:
        screen.wait_for("Connected to")
        screen.type("half a line")
        wait_for(lambda: "alice" in server.connections)
        server.connections["alice"].shutdown(2)
        assert screen.end() == 3
        assert "the server closed the connection" in screen.text
        assert "Traceback" not in screen.text


def test_a_terminal_that_is_closed(server: ThreadServer) -> None:
    pytest.importorskip("prompt_toolkit")
    with terminal(server.address, "-u", "alice") as screen:
        screen.wait_for("Connected to")
        screen.hang_up()
        assert screen.process.wait(PATIENCE) == 141


def test_plain_mode_reads_lines_while_an_answer_is_pending(server: ThreadServer) -> None:
    """Typing continues while an answer is pending."""
    with terminal(server.address, "-u", "alice", "--plain") as screen:
        screen.wait_for("Connected to")
        screen.type("mute: no answer\n")
        screen.type("bob: hi\n")
        screen.wait_for("* stored for bob")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 130
        assert "\x1b" not in screen._data.decode()


def test_the_password_prompt_does_not_echo(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("alice:secret\n")
    with Server(tmp_path, options=["--auth", "file:passwords"]) as server:
        host, port = server.address  # type: ignore[str-unpack,misc]
        arguments = ["-u", "alice", "users", "--ask-password"]
        command = [*COMMAND[:2], f"{OWN_TERMINAL}\n{COMMAND[2]}"]
        with terminal(f"{host}:{port}", *arguments, command=command) as screen:
            screen.wait_for(f"Password for alice at {host}:{port}: ")
            screen.type("secret\n")
            assert screen.end() == 0
            assert "alice\toffline" in screen.text
            assert "secret" not in screen.text


def test_without_prompt_toolkit_the_client_says_how_to_install_it(server: ThreadServer) -> None:
    command = [COMMAND[0], COMMAND[1], "import sys; sys.modules['prompt_toolkit'] = None\n"]
    command[2] += COMMAND[2]
    with terminal(server.address, "-u", "alice", command=command) as screen:
        screen.wait_for("pip install 'chat-protocol[terminal]'")
        screen.wait_for("Connected to")
        screen.type("bob: hi\n")
        screen.wait_for("* stored for bob")
        screen.type("\x04")
        assert screen.end() == 0


def test_a_dumb_terminal_gets_the_line_mode(server: ThreadServer) -> None:
    with terminal(server.address, "-u", "alice", term="dumb") as screen:
        screen.type("bob: hi\n")
        screen.wait_for("* stored for bob")
        screen.type("/quit\n")
        assert screen.end() == 0
        assert "\x1b" not in screen._data.decode()
