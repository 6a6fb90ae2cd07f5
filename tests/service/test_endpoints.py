"""Endpoint strings of the options."""

from __future__ import annotations

import pytest
from twisted.internet import reactor

from chat_protocol.service.endpoints import BACKLOG, parse_endpoint


@pytest.mark.parametrize(
    ("description", "backlog"),
    [
        ("tcp:5555", BACKLOG),
        ("tcp:5555:interface=127.0.0.1", BACKLOG),
        ("tcp6:5555", BACKLOG),
        ("haproxy:tcp:5555", BACKLOG),
        ("unix:/run/chat", BACKLOG),
        ("tcp:5555:backlog=7", 7),
        ("tcp:5555:backlog=7:interface=127.0.0.1", 7),
    ],
)
def test_many_connections_can_wait_to_be_accepted(description: str, backlog: int) -> None:
    assert parse_endpoint(reactor, description)._backlog == backlog
