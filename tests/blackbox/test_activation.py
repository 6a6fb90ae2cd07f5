"""Sockets that systemd passes: sd_listen_fds(3), as systemd-socket-activate does it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Client
from tests.blackbox.server import TWISTD, free_port

_EXEC = """
import os, sys
fds = [int(one) for one in sys.argv[1].split(",")]
for n, fd in enumerate(fds): os.dup2(fd, 100 + n)
for n, fd in enumerate(fds): os.dup2(100 + n, 3 + n)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Activation:
    """Passes sockets to servers."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack

    def sockets(self, count: int) -> list[socket.socket]:
        made = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        for one in made:
            self._stack.enter_context(one)
        return made

    def start(
        self, sockets: list[socket.socket], listen: str, **environment: str
    ) -> subprocess.Popen[str]:
        fds = [one.fileno() for one in sockets]
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", _EXEC, ",".join(map(str, fds)), str(TWISTD)),
                *("-n", "--pidfile=", "chatserver", "--store", "memory:", "--listen", listen),
            ],
            cwd=self._directory,
            env=os.environ | environment,
            pass_fds=fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process


@pytest.fixture
def activation(tmp_path: Path) -> Iterator[Activation]:
    with ExitStack() as stack:
        yield Activation(tmp_path, stack)


@pytest.mark.parametrize("name", [None, "unknown", "chat.socket"])
@pytest.mark.parametrize("listen", ["systemd:domain=INET:index=0", "systemd:domain=INET:name=x"])
def test_the_only_socket_is_taken(activation: Activation, listen: str, name: str | None) -> None:
    sockets = activation.sockets(1)
    names = {} if name is None else {"LISTEN_FDNAMES": name}
    activation.start(sockets, listen, **names)
    with Client(sockets[0].getsockname()) as client:
        assert client.login("alice") == wire.OK


def test_a_socket_of_the_given_name_is_taken(activation: Activation) -> None:
    sockets = activation.sockets(2)
    activation.start(sockets, "systemd:domain=INET:name=b", LISTEN_FDNAMES="a:b")
    with Client(sockets[1].getsockname()) as client:
        assert client.login("alice") == wire.OK


@pytest.mark.parametrize(
    ("count", "names", "sentence"),
    [
        (2, "", "2 sockets were passed, without names. Name them with systemd-socket-activate --f"),
        (1, "web", "the sockets that systemd passed are named 'web'"),
        (2, "a:b", "the sockets that systemd passed are named 'a', 'b'"),
    ],
)
def test_sockets_that_cannot_be_told_apart_are_refused(
    activation: Activation, count: int, names: str, sentence: str
) -> None:
    sockets = activation.sockets(count)
    environment = {"LISTEN_FDNAMES": names} if names else {}
    process = activation.start(sockets, "systemd:domain=INET:name=x", **environment)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert sentence in output.splitlines()[-1]


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd is not installed")
def test_systemd_socket_activate_needs_no_names(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [
            *("systemd-socket-activate", "--listen", f"127.0.0.1:{port}"),
            *(str(TWISTD), "-n", "--pidfile=", "chatserver", "--store", "memory:"),
            *("--listen", "systemd:domain=INET:index=0"),
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stderr is not None
        try:
            assert "Listening on" in process.stderr.readline()
            with Client(("127.0.0.1", port)) as client:
                assert client.login("alice") == wire.OK
        finally:
            process.kill()
