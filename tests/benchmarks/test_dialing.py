"""Clients that connect by TLS or by a WebSocket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from benchmarks import loads
from benchmarks.dialing import DIALS, WebSocket
from benchmarks.frames import CheckFailed
from benchmarks.loads import Plan
from benchmarks.loop import exactly, read
from benchmarks.servers import ProjectServer
from benchmarks.workers import run

Ends = tuple[WebSocket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, server = socket.socketpair()
    with WebSocket(ours) as websocket, server:
        yield websocket, server


@pytest.mark.parametrize("transport", DIALS)
def test_pairs_send_and_receive(transport: str, tmp_path: Path) -> None:
    with ProjectServer("memory:", tmp_path).running() as target:
        base = Plan(target.address, "", seconds=0.2, pairs=4, transport=transport)
        for number, plan in enumerate(
            (replace(base, window=1, record=True, version=2), replace(base, version=1))
        ):
            result, _ = run(loads.pairs, [replace(plan, prefix=f"t{number}")], target.costs)
            assert result.messages > 4


@pytest.mark.parametrize("transport", ["tls", "websocket"])
def test_who_speaks_something_else_is_named(transport: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as sock:
                sock.recv(9999)
                sock.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")

        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(CheckFailed, match="not speak TLS" if transport == "tls" else "404"):
            DIALS[transport](server.getsockname())
        thread.join()


def test_contents_are_received_however_the_frames_are_cut(ends: Ends) -> None:
    websocket, server = ends
    contents = [b"a" * 5, b"b" * 300, b"", b"c" * 70_000]
    heads = [b"\x82\x05", b"\x82\x7e\x01\x2c", b"\x82\x00", b"\x82\x7f" + struct.pack(">Q", 70_000)]
    data = b"".join(head + one for head, one in zip(heads, contents, strict=True))
    websocket.setblocking(False)
    view, received = memoryview(bytearray(1 << 16)), b""
    for place in range(400):
        server.send(data[place : place + 1])
        received += view[: read(websocket, view, "bob")]
    wanted = b"".join(contents)
    server.setblocking(False)
    place = 400
    while len(received) < len(wanted):
        place += server.send(data[place:]) if place < len(data) else 0
        received += view[: read(websocket, view, "bob")]
    assert received == wanted
    server.close()
    with pytest.raises(CheckFailed, match="closed the connection"):
        read(websocket, view, "bob")


def test_a_blocking_socket_waits_for_contents(ends: Ends) -> None:
    websocket, server = ends
    for part in (b"\x82", b"\x02", b"xy", b"\x82\x01z"):
        server.send(part)
    assert exactly(websocket, 3) == b"xyz"


@pytest.mark.parametrize("frame", [b"\x81\x01x", b"\x02\x01x", b"\x82\x81\0\0\0\0x", b"\x89\x00"])
def test_other_frames_are_no_part_of_the_load(frame: bytes, ends: Ends) -> None:
    websocket, server = ends
    server.send(frame)
    with pytest.raises(CheckFailed, match=frame.hex()):
        websocket.recv(99)


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536, 300_000])
def test_a_piece_is_sent_as_one_masked_message(size: int, ends: Ends) -> None:
    websocket, server = ends
    websocket.setblocking(False)
    # The shortest form (RFC 6455, 5.2).
    shape = ">B" if size < 126 else ">BH" if size < 65_536 else ">BQ"
    lengths = (0x80 | size,) if size < 126 else (0xFE if size < 65_536 else 0xFF, size)
    head = b"\x82" + struct.pack(shape, *lengths)
    received = b""

    def receive() -> None:
        nonlocal received
        while len(received) < len(head) + 4 + size:
            received += server.recv(1 << 16)

    thread = Thread(target=receive)
    thread.start()
    assert websocket.send(b"x" * size) == size
    thread.join()
    assert received == head + bytes(4) + b"x" * size
    assert websocket.gettimeout() == 0
