"""What becomes of keys that no client sends."""

from __future__ import annotations

from typing import Any

import pytest

from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import REGISTRY, Heartbeat, Response, Response2
from chat_protocol.wire.schema import Declaration, Sender
from tests.server import line
from tests.server.line2 import Server2

OF_SERVERS = [one for one in REGISTRY if Sender.CLIENT not in one.sender]


@pytest.mark.parametrize("logged_in", [False, True])
@pytest.mark.parametrize("declared", OF_SERVERS, ids=lambda one: one.command.__name__)
def test_what_only_servers_send_is_unknown_but_for_a_response(
    declared: Declaration, logged_in: bool
) -> None:
    server = Server2()
    peer: Any = server.on("alice") if logged_in else server.connect()
    for version in (1, 2, 7):
        peer.protocol.dataReceived(line.frame(declared.key, b"\0\0\0\7" + bytes(50), version))
        server.turn()
        data = peer.transport.value()
        peer.transport.clear()
        if declared.command in (Response, Response2):
            assert data == b""
        elif version == 1:
            assert data == line.response(2, 7)
        else:
            code, detail = Code.UNKNOWN_COMMAND, f"only servers send {declared.command.__name__}"
            assert data == encode(Response2(code, detail), 7)
    assert peer.say(Heartbeat()) == [Response2(Code.OK)]
    peer.lose()
