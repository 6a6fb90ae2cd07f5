"""Peers that vanished, and peers that are only slow."""

from __future__ import annotations

import socket

import pytest
from twisted.internet.tcp import Server
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from chat_protocol.transport import keepalive
from chat_protocol.transport.keepalive import _TCPInfo, has_vanished, is_vanished, keep_alive


@pytest.mark.parametrize(
    ("retransmits", "probes", "ack_ms", "vanished"),
    [
        (0, 0, 10_000_000, False),
        (6, 0, 44_000, False),
        (6, 0, 45_000, True),
        (0, 1, 120_000, False),
        (0, 2, 60_000, True),
    ],
)
def test_who_has_vanished(retransmits: int, probes: int, ack_ms: int, vanished: bool) -> None:
    assert is_vanished(_TCPInfo(retransmits, probes, ack_ms)) is vanished


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    return client, server


def transport_of(handle: socket.socket) -> Server:
    made = Server.__new__(Server)
    made.socket = handle
    return made


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_kernel_is_asked_to_probe(wrapped: bool) -> None:
    client, handle = pair()
    transport: object = transport_of(handle)
    if wrapped:
        wrapper = ProtocolWrapper(WrappingFactory(None), None)  # type: ignore[arg-type]
        wrapper.transport = transport  # type: ignore[assignment]
        transport = wrapper
    keep_alive(transport)
    assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_NODELAY)
    values = [handle.getsockopt(socket.IPPROTO_TCP, option) for option in options]
    assert values == [30, 10, 3, 1]
    client.close()
    handle.close()


def test_the_kernels_account_is_read() -> None:
    client, handle = pair()
    client.send(b"x")
    info = keepalive._tcp_info(handle)
    assert (info.retransmits, info.probes) == (0, 0)
    assert 0 <= info.last_ack_received < 10_000
    assert not has_vanished(transport_of(handle))
    client.close()
    handle.close()
