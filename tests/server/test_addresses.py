"""Connections are counted by their addresses."""

from __future__ import annotations

from typing import Any

from chat_protocol.server.addresses import Addresses


class Connection:
    def __init__(self, host: str) -> None:
        self.host = host


def test_a_connection_counts_until_it_is_gone() -> None:
    addresses = Addresses()
    connections: list[Any] = [Connection("192.0.2.1") for _ in range(2)]
    for one in connections:
        addresses.connected(one)
    assert addresses["192.0.2.1"] == 2
    assert addresses["192.0.2.2"] == 0
    # What it counts for does not change with its transport, which is gone before it is.
    connections[0].host = ""
    for one in connections:
        addresses.disconnected(one)
    assert addresses["192.0.2.1"] == 0
    assert not addresses._counts


def test_the_next_protocol_may_know_another_address() -> None:
    addresses = Addresses()
    before: Any = Connection("")
    after: Any = Connection("192.0.2.1")
    addresses.connected(before)
    addresses.handed_over(before, after)
    assert (addresses[""], addresses["192.0.2.1"]) == (0, 1)
    addresses.disconnected(after)
    assert not addresses._counts


def test_a_64_is_one_address() -> None:
    addresses = Addresses()
    hosts = ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "::ffff:192.0.2.1", "192.0.2.1", "::1"]
    connections: list[Any] = [Connection(host) for host in hosts]
    for one in connections:
        addresses.connected(one)
    assert [addresses[host] for host in ("2001:db8:0:1::9", "192.0.2.1", "::1")] == [2, 2, 1]
    assert [addresses[host] for host in ("2001:db8:0:2::1", "127.0.0.1")] == [0, 0]
    for one in connections:
        addresses.disconnected(one)
    assert not addresses._counts
