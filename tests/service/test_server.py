"""The service on a real reactor: start, serve, refuse to start, stop."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import MultiService
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, capturedLogs, formatEvent

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.queries import Account
from chat_protocol.server.authentication import Authenticator
from chat_protocol.service.server import CannotServe, ChatService
from chat_protocol.stores.registry import store_from_url
from tests.server.line import Response, login, parse
from tests.stores.conftest import sqlite_store
from tests.stores.helpers import commit, now, register, run


def service(url: str, port: int = 0, status_interval: float = 0) -> ChatService:
    from twisted.internet import reactor

    endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
    store = store_from_url(url, 0, reactor)
    return ChatService(reactor, store, [(f"tcp:{port}", endpoint)], Limits(), status_interval)


def talk(port: int, *sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"".join(sent))
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(4096):
            received += data
        return received


def port_of(served: ChatService) -> int:
    address: Any = served.ports[0].getHost()
    return int(address.port)


@pytest_twisted.ensureDeferred
async def test_what_is_too_old_is_forgotten_from_the_start(tmp_path: Path) -> None:
    from twisted.internet import reactor

    path = tmp_path / "chat.db"
    old = sqlite_store(path, wall_clock=lambda: time.time_ns() - 100 * 24 * 3600 * 10**9)
    now(old.open())
    alice, bob = register(old, "alice", "bob")
    commit(old, run(alice, bob, "1", "2"))
    now(old.close())
    for age, waiting in ((101, 2), (99, 0)):
        store = store_from_url(f"sqlite:{path}", 0, reactor)
        served = ChatService(reactor, store, [], Limits(), retention=age * 24 * 3600)
        served.startService()
        await served.when_serving()
        asked = Account(bob.id)
        for _ in range(100):
            await deferLater(reactor, 0.02)
            await store.read([asked])
            if asked.pending == waiting:
                break
        assert asked.pending == waiting
        await served.stopService()


@pytest.mark.parametrize("kind", ["memory:", "sqlite:{}/chat.db"])
@pytest_twisted.ensureDeferred
async def test_it_serves_and_stops(kind: str, tmp_path: Path) -> None:
    served = service(kind.format(tmp_path), status_interval=0.1)
    for _ in range(2):
        served.startService()
        await served.when_serving()
        received = await deferToThread(talk, port_of(served), login("alice"))
        assert parse(received) == [Response(1, 1)]
        await served.stopService()
        if kind == "memory:":
            break
        served = service(kind.format(tmp_path), status_interval=0.1)


@pytest_twisted.ensureDeferred
async def test_an_unusable_store_is_said_in_a_sentence(tmp_path: Path) -> None:
    served = service(f"sqlite:{tmp_path}/missing/chat.db")
    served.startService()
    with pytest.raises(CannotServe, match="No such file or directory"):
        await served.when_serving()
    await served.stopService()


@pytest_twisted.ensureDeferred
async def test_an_address_in_use_is_said_in_a_sentence_and_nothing_left_open(
    tmp_path: Path,
) -> None:
    from twisted.internet import reactor

    other = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory())
    port = other.getHost().port
    served = service(f"sqlite:{tmp_path}/chat.db", port)
    served.startService()
    with pytest.raises(CannotServe, match=rf"cannot listen on tcp:{port}: Address already in use"):
        await served.when_serving()
    await other.stopListening()
    again = service(f"sqlite:{tmp_path}/chat.db", port)
    again.startService()
    await again.when_serving()
    await again.stopService()
    await served.stopService()


@pytest.mark.parametrize(
    ("description", "is_open"),
    [
        ("tcp:5555", True),
        ("haproxy:tcp:5555", True),
        ("ssl:5555:privateKey=x", True),
        ("tcp:5555:interface=127.0.0.1", False),
        ("tcp:5555:interface=0.0.0.0", False),
        ("unix:/run/chat.sock", False),
        ("systemd:domain=INET:index=0", False),
    ],
)
@pytest.mark.parametrize("guarded", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_server_without_passwords_on_every_interface_is_warned_of(
    description: str, is_open: bool, guarded: bool
) -> None:
    from twisted.internet import reactor

    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    authenticator = Authenticator([], reactor) if guarded else None
    store = store_from_url("memory:", 0, reactor)
    served = ChatService(
        reactor, store, [(description, endpoint)], Limits(), authenticator=authenticator
    )
    with capturedLogs() as events:
        served.startService()
        await served.when_serving()
        await served.stopService()
    warned = [one for one in events if "can take any name" in one.get("log_format", "")]
    assert [one["endpoint"] for one in warned] == [description] * (is_open and not guarded)


# A server that cannot start.


def taken_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest_twisted.ensureDeferred
async def test_a_server_that_cannot_start_says_so_in_the_log() -> None:
    application = MultiService()
    with taken_port() as taken, capturedLogs() as log:
        served = service("memory:", taken.getsockname()[1])
        served.setServiceParent(application)  # type: ignore[no-untyped-call]
        application.startService()
        for _ in range(2):
            with pytest.raises(CannotServe, match="Address already in use"):
                await served.when_serving()
    (event,) = [event for event in log if event["log_level"] is LogLevel.critical]
    assert "cannot listen on tcp:" in formatEvent(event)
    await application.stopService()


TAC = """
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from chat_protocol.domain.limits import Limits
from chat_protocol.service.server import ChatService
from chat_protocol.stores.registry import store_from_url

where = "tcp:{port}:interface=127.0.0.1"
store = store_from_url("{store}", 0, reactor)
application = Application("bot")
served = ChatService(reactor, store, [(where, serverFromString(reactor, where))], Limits())
served.setServiceParent(application)
{more}
"""

AWAITS = """
starting = served.startService
def start():
    starting()
    served.when_serving().addErrback(lambda _: (print("handled", flush=True), reactor.stop()))
served.startService = start
"""


@pytest.mark.parametrize(
    ("store", "more", "code", "said"),
    [
        ("memory:", "", 1, "chatserver: cannot listen on tcp:{port}:interface=127.0.0.1: Address"),
        ("sqlite:/no/such/folder/chat.db", "", 1, "chatserver: /no/such/folder/chat.db"),
        ("memory:", AWAITS, 0, "handled"),
    ],
)
def test_a_process_of_twistd_ends_with_a_server_that_cannot_start(
    store: str, more: str, code: int, said: str, tmp_path: Path
) -> None:
    with taken_port() as taken:
        port = taken.getsockname()[1]
        (tmp_path / "x.tac").write_text(TAC.format(port=port, store=store, more=more))
        command = [str(Path(sys.executable).with_name("twistd")), "-ny", "x.tac", "--pidfile="]
        ended = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    assert ended.returncode == code, ended
    assert said.format(port=port) in (ended.stdout if more else ended.stderr)
    assert "chatserver cannot start" in ended.stdout
    assert "Unhandled error" not in ended.stdout
