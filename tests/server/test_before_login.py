"""How much a connection may send before its login, and what is handled of it in a turn."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from chat_protocol.domain.limits import Limits
from chat_protocol.server.connection import QUANTUM
from chat_protocol.server.sniffer import Sniffer
from chat_protocol.server.state import ConnectionState
from chat_protocol.web.site import Web
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Heartbeat, Login2, Publish
from tests.server.line import ERROR, OK, Message, Peer, Response, Server, frame, login, message
from tests.server.line2 import Server2
from tests.web.browser import Browser, answers, get, upgrade
from tests.web.browser import frame as websocket_frame


def unknown(number: int) -> bytes:
    return frame(0x0004, struct.pack(">I", number))


def response(number: int) -> bytes:
    return frame(0x0003, struct.pack(">IH", number, 1))


def correlation_id_test(number: int) -> bytes:
    return frame(0x0009, struct.pack(">I", number))


@pytest.fixture
def server() -> Server:
    return Server()


def is_rejected(peer: Peer) -> bool:
    return peer.connection.state in (ConnectionState.ENDING, ConnectionState.LINGERING)


@pytest.mark.parametrize("kind", [unknown, response, login])
def test_the_65th_frame_ends_the_connection(server: Server, kind: object) -> None:
    make = {unknown: unknown, response: response}.get(kind, lambda n: login(b"\xff", n))  # type: ignore[call-overload]
    peer = server.connect()
    count = server.limits.frames_before_login
    assert count == 64
    answered = peer.send(*(make(number) for number in range(count)))
    assert not is_rejected(peer)
    assert len(answered) == (0 if kind is response else count)
    peer.send(make(count))
    assert is_rejected(peer)
    assert server.factory.counters.limits["frames_before_login"] == 1
    assert peer.send(login("alice")) == []
    server.clock.advance(server.limits.linger_seconds)
    server.turn()
    assert peer.connection.state is ConnectionState.LINGERING or peer.transport.disconnected


def test_66_kib_of_payloads_end_the_connection(server: Server) -> None:
    peer = server.connect()
    large = frame(0x0004, bytes(33_000))
    assert len(peer.send(large, large)) == 2
    assert not is_rejected(peer)
    peer.send(large)
    assert is_rejected(peer)
    assert server.factory.counters.limits["bytes_before_login"] == 1


def test_the_64th_frame_may_be_a_login_and_what_follows_counts_no_more(server: Server) -> None:
    peer = server.connect()
    frames = [unknown(number) for number in range(63)]
    more = [unknown(number) for number in range(100)]
    answered = peer.send(*frames, login("alice", 7), *more)
    assert answered[63:65] == [Response(7, OK), Response(0, ERROR)]
    assert len(answered) == 63 + 1 + 100
    assert not is_rejected(peer)


def test_the_ninth_correlation_id_test_ends_the_connection(server: Server) -> None:
    peer = server.connect()
    limit = server.limits.tests_before_login
    peer.send(*(correlation_id_test(number) for number in range(limit)))
    assert not is_rejected(peer)
    peer.send(correlation_id_test(limit))
    assert is_rejected(peer)
    assert server.factory.counters.limits == {"tests_before_login": 1}
    server.clock.advance(4)
    server.turn()
    assert len(peer.received()) == limit, "those before it are answered"


def test_tests_that_are_answered_do_not_count(server: Server) -> None:
    peer = server.connect()
    for number in range(3 * server.limits.tests_before_login):
        peer.send(correlation_id_test(number))
        server.clock.advance(4)
        server.turn()
    assert not is_rejected(peer)


def test_the_server_does_not_read_on_from_a_connection_that_it_rejects(server: Server) -> None:
    peer = server.connect()
    peer.send(*(unknown(number) for number in range(65)))
    assert is_rejected(peer)
    assert not peer.reading


@pytest.mark.parametrize("properties", [64, 65])
def test_the_properties_of_a_login_are_counted_before_they_are_decoded(properties: int) -> None:
    server = Server2()
    (answer,) = server.connect().say(Login2("alice", {str(n): "" for n in range(properties)}))
    if properties == 64:
        assert answer.code == 1
    else:
        assert answer.detail == "properties: 65 pairs, at most 64 are allowed"


def test_the_recipients_of_a_publish_are_counted_before_they_are_decoded() -> None:
    server = Server2()
    alice = server.on("alice")
    body = encode(Publish(0, "x", 0, ("",) * 100_000, 0), 7)
    alice.protocol.dataReceived(body)
    server.turn()
    (answer,) = alice.heard()
    assert answer.detail == "to: 100000 items, at most 1000 are allowed"


def test_a_login_that_is_malformed_counts_as_a_login(server: Server) -> None:
    limits = Limits(frames_before_login=10_000, bytes_before_login=10**9)
    server = Server(limits=limits)
    peer = server.connect()
    burst = limits.login_rate_per_address.burst
    for number in range(burst):
        peer.send(login(b"\xff", number))
    assert peer.reading
    peer.send(login(b"\xff"))
    assert not peer.reading
    server.clock.advance(1)
    assert peer.reading


# What is handled in a turn.


def test_a_few_frames_are_handled_at_a_time_and_none_is_lost(server: Server) -> None:
    peer = server.logged_in("alice")
    peer.protocol.dataReceived(b"".join(unknown(number) for number in range(50)))
    server.factory.turn.flush()
    assert len(peer.received()) == QUANTUM
    assert not peer.reading
    server.turn()
    assert peer.received() == [Response(n, ERROR) for n in range(QUANTUM, 50)]
    assert peer.reading


def test_messages_that_come_many_at_a_time_are_not_bounded_by_it(server: Server) -> None:
    alice = server.logged_in("alice")
    server.logged_in("bob")
    alice.send(message("x", "alice", "bob"))
    alice.protocol.dataReceived(b"".join(message("x", "alice", "bob", n) for n in range(50)))
    assert alice.reading
    server.turn()
    assert len(alice.received()) == 50


def test_a_script_that_closes_its_side_behind_everything(server: Server) -> None:
    bob = server.logged_in("bob")
    script = server.connect()
    sent = [message(str(n), "alice", name, n) for n, name in enumerate(["bob", "nobody"] * 10)]
    script.protocol.dataReceived(login("alice") + b"".join(sent))
    script.protocol.readConnectionLost()
    server.turn()
    assert [one.text for one in bob.received() if isinstance(one, Message)] == [
        str(n) for n in range(0, 20, 2)
    ]
    assert len(script.received()) == 21
    assert is_rejected(script), "and then it is closed"


def test_frames_of_a_connection_that_is_lost_are_dropped(server: Server) -> None:
    peer = server.logged_in("alice")
    peer.protocol.dataReceived(b"".join(unknown(number) for number in range(50)))
    peer.lose()
    server.turn()
    assert server.clock.getDelayedCalls() == []


# WebSockets and HTTP.


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    (tmp_path / "index.html").write_bytes(b"hello")
    server = Server()
    server.factory.sniffer = Sniffer(web=Web(server.clock, tmp_path))
    return Browser(server=server)


PING = 9


@pytest.mark.parametrize("opcode", [2, PING])
def test_empty_messages_of_a_websocket_count_before_a_login(browser: Browser, opcode: int) -> None:
    browser.open()
    limit = browser.server.limits.frames_before_login
    browser.raw(websocket_frame(b"", opcode) * limit)
    assert not is_rejected(browser.peer)
    browser.raw(websocket_frame(b"", opcode))
    assert is_rejected(browser.peer)
    assert browser.server.factory.counters.limits["frames_before_login"] == 1


def test_empty_messages_of_a_session_come_in_later_turns(browser: Browser) -> None:
    browser.open()
    browser.raw(websocket_frame(login("alice")))
    empty = websocket_frame(b"") * 200
    browser.peer.protocol.dataReceived(empty + websocket_frame(encode(Heartbeat(), 7)))
    assert not browser.peer.reading
    received = browser.raw()
    assert len(received) > 0
    assert browser.peer.reading


def test_a_websocket_that_is_closed_behind_its_messages(browser: Browser) -> None:
    bob = browser.server.logged_in("bob")
    browser.open()
    sent = [message(str(n), "alice", "bob", n) for n in range(10)]
    frames = [websocket_frame(one) for one in [login("alice"), *sent]]
    close = websocket_frame(struct.pack(">H", 1000), 8)
    browser.peer.protocol.dataReceived(b"".join(frames) + close)
    browser.server.turn()
    assert [one.text for one in bob.received() if isinstance(one, Message)] == [
        str(n) for n in range(10)
    ]


def test_a_connection_ends_with_the_64th_request(browser: Browser) -> None:
    limit = browser.server.limits.frames_before_login
    found = answers(browser.raw(get() * (limit + 10)))
    assert [one.code for one in found] == [200] * limit
    assert found[-1].headers["connection"] == "close"
    assert browser.closed


def test_requests_are_answered_in_turn_with_other_connections(browser: Browser) -> None:
    browser.peer.protocol.dataReceived(get() * 10)
    browser.server.factory.turn.flush()
    assert len(answers(browser.taken())) == 1
    assert not browser.peer.reading
    assert len(answers(browser.raw())) == 9


def test_the_websocket_begins_though_requests_are_bounded(browser: Browser) -> None:
    browser.peer.protocol.dataReceived(get() + upgrade() + websocket_frame(login("alice")))
    browser.server.turn()
    assert b"HTTP/1.1 101 " in browser.taken()
