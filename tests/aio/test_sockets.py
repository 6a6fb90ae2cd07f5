"""Real sockets: TCP, UNIX, TLS, faults, other event loops."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat_protocol.aio import connect
from chat_protocol.client import Event, Offline
from chat_protocol.errors import NotConnected, NotTrusted
from tests.blackbox.server import Server, free_port
from tests.certificates import Authority

PROGRAM = """
import asyncio
import sys
from chat_protocol.aio import connect

async def main():
    async with connect(sys.argv[1], "alice") as chat:
        await chat.send("alice", "hello")
        async for message in chat:
            print(message.text)
            break

async def again():
    task = asyncio.create_task(connect("tcp:127.0.0.1:1", "alice").__aenter__())
    await asyncio.wait({task})
    print(type(task.exception()).__name__)

{run}
print("twisted.internet.reactor" in sys.modules)
"""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    certificate = authority.server().write(folder / "server.pem")
    port = free_port()
    with Server(
        folder,
        ["--store", "memory:", "--certificate", str(certificate)],
        [f"tcp:{port}:interface=127.0.0.1", f"unix:{folder}/chat.sock"],
        ("127.0.0.1", port),
    ) as server:
        yield server


def url(server: Server, scheme: str = "tcp", host: str = "127.0.0.1") -> str:
    return f"{scheme}:{host}:{server.address[1]}"


async def talk(address: str, context: ssl.SSLContext | None = None) -> None:
    async with connect(address, "alice", ssl=context) as chat:
        for text in ("hello", "x" * 60_000):
            await chat.send("alice", text)
            assert (await chat.receive()).text == text


def run_program(server: Server, run: str) -> list[str]:
    program = subprocess.run(
        [sys.executable, "-X", "dev", "-c", PROGRAM.replace("{run}", run), url(server)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert program.stderr == ""
    return program.stdout.split()


def test_tcp_and_unix(server: Server) -> None:
    asyncio.run(talk(url(server)))
    asyncio.run(talk(f"unix:{server.directory}/chat.sock"))


def test_any_number_of_runs_in_a_process_that_has_no_reactor(server: Server) -> None:
    run = "asyncio.run(main())\nasyncio.run(main())\nasyncio.run(again())"
    assert run_program(server, run) == ["hello", "hello", "NotConnected", "False"]


def test_uvloop(server: Server) -> None:
    pytest.importorskip("uvloop")
    run = "import uvloop\nfor _ in range(2):\n    uvloop.run(main())\nuvloop.run(again())"
    assert run_program(server, run) == ["hello", "hello", "NotConnected", "False"]


def test_tls(server: Server, authority: Authority) -> None:
    for host in ("127.0.0.1", "localhost"):
        asyncio.run(talk(url(server, "tls", host), authority.trusted()))
        asyncio.run(talk(url(server, "tcp", host), authority.trusted()))


def test_a_certificate_that_is_not_trusted(server: Server) -> None:
    with pytest.raises(NotTrusted, match="certificate"):
        asyncio.run(talk(url(server, "tls")))
    with pytest.raises(NotTrusted):
        asyncio.run(talk(url(server), Authority().trusted()))


def test_a_server_without_tls(tmp_path: Path, authority: Authority) -> None:
    with (
        Server(tmp_path, ["--store", "memory:"]) as server,
        pytest.raises(NotConnected, match="TLS"),
    ):
        asyncio.run(talk(url(server), authority.trusted()))


def test_tls_needs_a_host() -> None:
    with pytest.raises(ValueError, match="ssl needs"):
        connect("unix:/run/chat.sock", "alice", ssl=ssl.create_default_context())


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(NotConnected, match=f"127.0.0.1:{port}: Connection refused"):
        asyncio.run(talk(f"tcp:127.0.0.1:{port}"))
    with pytest.raises(NotConnected, match="No such file"):
        asyncio.run(talk(f"unix:{tmp_path}/none"))
    with pytest.raises(NotConnected, match=r"none\.invalid:5555"):
        asyncio.run(talk("tcp:none.invalid"))


def test_connecting_is_canceled() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            port = full.getsockname()[1]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(talk(f"tcp:127.0.0.1:{port}"), 0.1)
            other = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            await asyncio.wait(other, timeout=10) if other else None
            full.setblocking(False)
            accepted, _ = full.accept()
            accepted.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(accepted, 1000) != b"?"
            accepted.close()

    asyncio.run(main())
    gc.collect()


def test_a_killed_server_is_found_again(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        events: list[Event] = []
        async with connect(url(server), "alice", observer=events.append, max_delay=0.2) as chat:
            await chat.send("alice", "before")
            server.kill9()
            sending = asyncio.create_task(chat.send("alice", "after"))
            await asyncio.sleep(0.1)
            server.start()
            await sending
            assert [(await chat.receive()).text for _ in range(2)] == ["before", "after"]
        assert any(isinstance(event, Offline) for event in events)

    with Server(tmp_path) as server:
        asyncio.run(main(server))


def test_the_kernel_probes_the_server(server: Server) -> None:
    async def main() -> None:
        async with connect(url(server), "alice") as chat:
            connection = chat._client._connection
            assert connection is not None
            handle = connection._transport._transport.get_extra_info("socket")
            assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert connection._transport.getPeer().port == server.address[1]

    asyncio.run(main())
