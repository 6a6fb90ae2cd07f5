"""Connections are checked for peers that have vanished."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from chat_protocol.server import vanished
from chat_protocol.server.state import ConnectionState
from chat_protocol.server.vanished import VanishedPeers
from chat_protocol.transport.keepalive import ROUND_SECONDS


class Connection:
    def __init__(self, transport: str, state: ConnectionState = ConnectionState.CONNECTED) -> None:
        self.transport = transport
        self.state = state


def test_every_connection_is_checked_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vanished, "has_vanished", lambda transport: transport == "dead")
    dead = [Connection("dead") for _ in range(25)]
    alive = [Connection("alive") for _ in range(25)]
    gone = Connection("dead", ConnectionState.GONE)
    told = SimpleNamespace(vanished=[], alive=[])
    connections: Any = [*dead, gone, *alive]
    clock = Clock()
    watch = VanishedPeers(lambda: connections, told.vanished.append, told.alive.append, clock)
    done = watch.start()
    clock.pump([watch.interval] * int(ROUND_SECONDS / watch.interval))
    assert set(told.vanished) == set(dead)
    assert set(told.alive) == set(alive)
    watch.stop()
    assert done.called
    assert clock.getDelayedCalls() == []
