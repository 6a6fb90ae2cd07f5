"""The protocol over WebSocket."""

from __future__ import annotations

import base64
import gc
import os

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address
from twisted.logger import capturedLogs

from chat_protocol.domain.limits import Limits
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.sniffer import Sniffer
from chat_protocol.server.throttle import FREE_GUESSES_OF_ADDRESS
from chat_protocol.server.trusted_proxies import ClientOfProxy, TrustedProxies
from chat_protocol.web.handshake import is_same_origin
from chat_protocol.web.site import Web
from chat_protocol.wire.codec import MAX_FRAME, MAX_FRAME_BEFORE_LOGIN, decode, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Login2
from tests.server.line import Message, Response, Server, login, message, parse
from tests.server.line import response as answer_bytes
from tests.web.browser import (
    ACCEPT,
    BINARY,
    CLOSE,
    KEY,
    PING,
    PONG,
    TEXT,
    Answer,
    Browser,
    answers,
    close,
    frame,
    frames,
    get,
    upgrade,
)

OK = answer_bytes(1, 1)


def stream(received: list[tuple[int, bytes]]) -> bytes:
    assert {kind for kind, _ in received} <= {BINARY}
    return b"".join(data for _, data in received)


def logged_in(name: str, limits: Limits | None = None, browser: Browser | None = None) -> Browser:
    made = Browser(limits, browser.server if browser else None).open()
    assert parse(stream(made.send(frame(login(name))))) == [Response(1, 1)]
    return made


def test_the_handshake() -> None:
    opened = Browser().ask(upgrade("Sec-WebSocket-Extensions: permessage-deflate"))
    assert opened.code == 101
    assert opened.headers["sec-websocket-accept"] == ACCEPT.decode()
    assert "sec-websocket-extensions" not in opened.headers


def test_a_login_behind_the_handshake_in_one_segment() -> None:
    received = Browser().raw(upgrade(), frame(login("alice")), frame(b"", PING))
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert sorted(frames(rest)) == [(BINARY, OK), (PONG, b"")]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_segments_mean_nothing(size: int) -> None:
    browser = Browser().open()
    data = frame(login("alice")) + frame(message("x" * 200, "alice", "alice"))
    received = b"".join(browser.raw(data[at : at + size]) for at in range(0, len(data), size))
    assert parse(stream(frames(received))) == [
        Response(1, 1),
        Message("x" * 200, "alice", "alice", 5),
        Response(2, 1),
    ]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_the_boundaries_of_messages_mean_nothing(size: int) -> None:
    browser = Browser().open()
    data = login("alice") + message("hello", "alice", "alice")
    sent = [frame(data[at : at + size]) for at in range(0, len(data), size)]
    assert len(parse(stream(browser.send(*sent)))) == 3


def test_a_message_in_fragments_with_a_ping_between() -> None:
    browser = Browser().open()
    data = login("alice")
    received = browser.send(
        frame(data[:3], last=False),
        frame(b"there?", PING),
        frame(data[3:9], 0, last=False),
        frame(data[9:], 0),
    )
    assert sorted(received) == [(BINARY, OK), (PONG, b"there?")]


def test_messages_go_to_and_fro_between_both_kinds_of_connection() -> None:
    alice = logged_in("alice")
    bob = alice.server.logged_in("bob")
    assert parse(stream(alice.send(frame(message("hi", "alice", "bob"))))) == [Response(2, 1)]
    assert bob.received() == [Message("hi", "alice", "bob", 5)]
    assert bob.send(message("ho", "bob", "alice")) == [Response(2, 1)]
    assert parse(stream(frames(alice.taken()))) == [Message("ho", "bob", "alice", 5)]


@pytest.mark.parametrize("size", [125, 126, 65_400])
def test_messages_of_the_server_have_their_length(size: int) -> None:
    alice = logged_in("alice")
    received = alice.send(frame(message("x" * size, "alice", "alice")))
    assert ("x" * size) in {one.text for one in parse(stream(received)) if isinstance(one, Message)}


def test_text_is_refused(log: list[str]) -> None:
    browser = logged_in("alice")
    assert browser.send(frame(b"hello", TEXT)) == [close(1003)]
    assert browser.closed
    (line,) = [line for line in log if "Closing the WebSocket" in line]
    assert "'alice' at 192.0.2.1:4000: the client sends a text message" in line
    assert not browser.server.factory.directory.online


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (frame(b"\xff", TEXT), 1007),
        (frame(b"\x03\xe8\xff", CLOSE), 1007),
        (frame(b"\x03", CLOSE), 1002),
        (frame(b"x" * 126, PING), 1002),
    ],
)
def test_a_peer_is_told_a_code_and_no_text_of_an_exception(broken: bytes, code: int) -> None:
    assert logged_in("alice").send(broken) == [close(code)]


@pytest.mark.parametrize(("most", "known"), [(MAX_FRAME_BEFORE_LOGIN, False), (MAX_FRAME, True)])
@pytest.mark.parametrize("pieces", [1, 2])
def test_a_message_that_is_too_large_is_refused(most: int, known: bool, pieces: int) -> None:
    browser = logged_in("alice") if known else Browser().open()
    frames_sent = [frame(b"\0" * (most + 100), last=pieces == 1)]
    if pieces == 2:
        frames_sent = [frame(b"\0" * most, last=False), frame(b"\0" * 100, 0, last=False)]
    data = b"".join(frames_sent)
    received = b""
    for at in range(0, len(data) - 1, 60_000):
        received += browser.raw(data[at : min(at + 60_000, len(data) - 1)])
    assert frames(received) == [close(1009)]


def test_pings_make_no_message_large() -> None:
    browser = logged_in("alice")
    pings = frame(b"x" * 125, PING) * 400 + frame(b"y" * 125, PONG) * 400
    for _ in range(10):
        received = browser.send(pings, pings[:50])
        browser.send(pings[50:131])
        assert {kind for kind, _ in received} == {PONG}
    assert browser.send(frame(message("hi", "alice", "alice")))


@pytest.mark.parametrize(
    "data",
    [
        frame(b"unmasked", masked=False),
        frame(b"x", 3),
        frame(b"x", 0),
        frame(b"x", PING, last=False),
        b"\xf2\x80\0\0\0\0",
        frame(b"x", CLOSE),
        frame(b"x", last=False) + frame(b"y"),
        frame(b"x" * 126, PING),
    ],
)
def test_what_is_no_websocket_ends_it(data: bytes) -> None:
    browser = logged_in("alice")
    ((kind, payload),) = browser.send(data)
    assert (kind, payload[:2]) == close(1002)
    assert browser.send(frame(message("late", "alice", "alice"))) == []
    assert not browser.server.factory.directory.online


def test_behind_a_fault_nothing_has_a_meaning() -> None:
    browser = logged_in("alice")
    half_closed: list[str] = []
    browser.peer.transport.loseWriteConnection = lambda: half_closed.append("so")  # type: ignore[attr-defined]
    data = frame(b"hello", TEXT) + frame(b"\x03\xe8", CLOSE)
    assert browser.send(data, data) == [close(1003)]
    assert browser.send(data) == []
    # The end of its stream is waited for.
    assert half_closed == ["so"]
    assert not browser.closed
    browser.peer.protocol.readConnectionLost()
    assert browser.closed


def test_behind_the_close_of_the_peer_nothing_is_understood() -> None:
    browser = logged_in("alice")
    browser.send(frame(b"\x03\xe8", CLOSE))
    assert browser.raw(frame(b"hello", TEXT)) == b""


def test_the_peer_closes() -> None:
    browser = logged_in("alice")
    assert browser.send(frame(b"\x03\xe8bye", CLOSE)) == [(CLOSE, b"\x03\xe8bye")]
    assert browser.closed
    assert not browser.server.factory.directory.online


def test_the_server_closes_and_waits_for_the_peer() -> None:
    browser = logged_in("alice")
    browser.peer.connection.close()
    browser.server.turn()
    assert frames(browser.taken()) == [close(1000)]
    assert not browser.closed
    assert browser.send(frame(b"ping", PING)) == []
    browser.send(frame(b"\x03\xe8", CLOSE))
    assert browser.closed


def test_the_server_closes_and_waits_no_longer_than_it_may() -> None:
    browser = logged_in("alice")
    browser.peer.connection.close()
    browser.server.clock.advance(browser.server.limits.close_seconds)
    assert browser.peer.transport.disconnected or browser.peer.transport.aborting  # type: ignore[attr-defined]


def test_a_frame_of_a_bad_length_ends_it_as_on_tcp() -> None:
    browser = Browser().open()
    assert browser.send(frame(b"\0\0\0\1")) == [close(1000)]


def test_what_is_not_taken_comes_again() -> None:
    alice = logged_in("alice")
    bob = logged_in("bob", browser=alice)
    line = bob.peer.transport.producer
    assert line is not None
    line.pauseProducing()  # type: ignore[attr-defined]
    assert parse(stream(alice.send(frame(message("hi", "alice", "bob"))))) == [Response(2, 1)]
    bob.peer.lose()
    alice.server.turn()
    again = Browser(server=alice.server).open()
    assert parse(stream(again.send(frame(login("bob"))))) == [
        Response(1, 1),
        Message("hi", "alice", "bob", 5),
    ]


def test_pings_of_one_who_takes_nothing_are_not_read() -> None:
    browser = logged_in("alice")
    producer = browser.peer.transport.producer
    assert producer is not None
    producer.pauseProducing()  # type: ignore[attr-defined]
    browser.raw(frame(b"x", PING))
    assert not browser.peer.reading
    producer.resumeProducing()  # type: ignore[attr-defined]
    assert browser.peer.reading


def test_an_unfinished_message_has_its_time() -> None:
    browser = Browser(Limits(frame_seconds=60))
    browser.server.factory.startFactory()
    browser.open()
    browser.raw(frame(login("alice"))[:-1])
    for _ in range(75):
        browser.server.clock.advance(1)
    assert frames(browser.taken()) == [close(1000)]
    browser.server.factory.stopFactory()


def test_a_finished_message_has_all_the_time_of_the_world() -> None:
    browser = Browser(Limits(frame_seconds=60))
    browser.server.factory.startFactory()
    data = frame(login("alice"))
    browser.open().send(data[:-1])
    browser.send(data[-1:], frame(b"", PING))
    for _ in range(200):
        browser.server.clock.advance(1)
    assert browser.send(frame(b"", PING)) == [(PONG, b"")]
    browser.server.factory.stopFactory()


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        (None, 101),
        ("http://chat.example:5555", 101),
        ("https://chat.example:5555", 101),
        ("http://CHAT.example:5555", 101),
        ("http://chat.example", 403),
        ("http://evil.example:5555", 403),
        ("http://chat.example:5555.evil.example", 403),
        ("http://chat.example:5555@evil.example", 403),
        ("null", 403),
        ("file://", 403),
        ("", 403),
        ("http://chat.example:5555/x", 403),
        ("http://[", 403),
    ],
)
def test_pages_of_other_sites_have_no_websocket(origin: str | None, code: int) -> None:
    assert Browser().ask(upgrade(origin=origin)).code == code


@pytest.mark.parametrize(
    ("origin", "host", "secure", "same"),
    [
        (b"http://a", b"a", False, True),
        (b"http://a", b"a:80", False, True),
        (b"https://a", b"a:443", False, True),
        (b"https://a", b"a:80", False, False),
        (b"https://a", b"a", True, True),
        (b"http://a", b"a", True, False),
        (b"http://[::1]:5555", b"[::1]:5555", False, True),
        (b"http://\xff", b"\xff", False, False),
        (b"http://a:x", b"a:x", False, False),
    ],
)
def test_what_is_the_same_origin(origin: bytes, host: bytes, secure: bool, same: bool) -> None:
    assert is_same_origin(origin, host, secure) is same


def refused(data: bytes) -> Answer:
    (answer,) = answers(Browser().raw(data))
    return answer


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (get("/ws"), 426),
        (upgrade().replace(b"Version: 13", b"Version: 12"), 426),
        (upgrade().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
        (upgrade().replace(b"keep-alive, Upgrade", b"keep-alive"), 426),
        (upgrade("Host: other"), 400),
        (upgrade("Origin: http://chat.example:5555"), 400),
        (upgrade().replace(b"Host: chat.example:5555\r\n", b""), 400),
        (upgrade("Sec-WebSocket-Version: 13"), 426),
    ],
)
def test_handshakes_that_are_none(data: bytes, code: int) -> None:
    answer = refused(data)
    assert answer.code == code
    assert answer.headers["x-content-type-options"] == "nosniff"
    if code == 426:
        assert answer.headers["sec-websocket-version"] == "13"


def test_it_is_the_same_connection_before_and_after() -> None:
    browser = Browser(Limits(login_seconds=100, connections_per_address=1))
    factory = browser.server.factory
    factory.startFactory()
    browser.ask(get())
    browser.server.clock.pump([1] * 20)
    # As if it had come by TLS and a proxy.
    before = browser.peer.connection
    before.is_secured = True
    before.address = IPv4Address("TCP", "198.51.100.1", 7)
    browser.ask(upgrade())
    chat = browser.peer.connection
    assert isinstance(chat, ChatProtocol)
    assert factory.connections == {chat}
    assert factory.counters.connections == 1
    assert chat.is_secured
    assert chat.peer == "198.51.100.1:7"
    browser.server.clock.pump([1] * 79)
    assert not browser.taken()
    browser.server.clock.pump([1] * 2)
    assert frames(browser.taken()) == [close(1000)]
    factory.stopFactory()


def test_requests_before_the_handshake() -> None:
    browser = Browser()
    assert browser.ask(get()).code == 200
    browser.open()
    assert browser.send(frame(login("alice"))) == [(BINARY, OK)]


def test_a_server_that_stops_says_so() -> None:
    browser = logged_in("alice")
    stopping = browser.server.factory.shut_down()
    browser.server.turn()
    assert frames(browser.taken()) == [close(1000)]
    browser.peer.lose()
    browser.server.turn()
    assert stopping.called
    assert browser.server.clock.getDelayedCalls() == []


def test_nothing_is_left_of_a_websocket_that_is_lost() -> None:
    server = Browser().server
    kinds = {
        "FirstBytes", "HTTPConnection", "Channel", "WebSocketTransport", "Connection",
        "ChatProtocol", "DirectOutput", "BufferedOutput",
    }  # fmt: skip

    def there() -> list[str]:
        return [kind for one in gc.get_objects() if (kind := type(one).__name__) in kinds]

    gc.collect()
    gc.disable()
    before = sorted(there())
    try:
        browser = Browser(server=server).open()
        browser.send(frame(login("alice")), frame(os.urandom(3), last=False))
        browser.peer.lose()
        # As transports of Twisted do it.
        del browser.peer.transport.protocol
        browser.peer.transport.producer = None
        assert sorted(there()) == before
    finally:
        gc.enable()


def test_who_is_not_read_from_is_heard_when_the_server_closes() -> None:
    browser = logged_in("alice")
    browser.peer.connection.pause("a limit")
    assert not browser.peer.reading
    browser.peer.connection.close()
    browser.server.turn()
    assert browser.peer.reading
    assert frames(browser.raw(frame(b"\x03\xe8", CLOSE))) == [close(1000)]
    assert browser.closed


def test_who_has_sent_the_last_byte_is_not_waited_for() -> None:
    browser = logged_in("alice")
    browser.peer.protocol.readConnectionLost()
    browser.server.turn()
    assert frames(browser.taken()) == [close(1000)]
    assert browser.closed


def test_a_ping_is_a_sign_of_life() -> None:
    browser = logged_in("alice")
    browser.server.clock.advance(7)
    browser.send(frame(b"", PING))
    assert browser.peer.connection.heard == browser.server.clock.seconds()


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [KEY, KEY],
        [b""],
        [b"x"],
        [base64.b64encode(bytes(15))],
        [base64.b64encode(bytes(17))],
        [base64.b64encode(bytes(16)).rstrip(b"=")],
        [b"-_" + KEY[2:]],
        [KEY[:4] + b" " + KEY[4:]],
    ],
)
def test_a_key_that_is_not_16_bytes_in_base64_is_refused(keys: list[bytes]) -> None:
    line = b"Sec-WebSocket-Key: "
    lines = b"".join(line + key + b"\r\n" for key in keys)
    request = upgrade().replace(line + KEY + b"\r\n", lines)
    assert Browser().ask(request).code == 400


# Behind a proxy.


class Proxied:
    """A server with the page, of which 192.0.2.1 is a trusted proxy."""

    def __init__(self, *proxies: str, limits: Limits | None = None) -> None:
        self.server = Server(limits=limits)
        self.server.factory.sniffer = Sniffer(web=Web(self.server.clock))
        self.server.factory.trusted_proxies = TrustedProxies(proxies or ["192.0.2.1"])

    def connect(self, *forwarded_for: str) -> tuple[int, Browser]:
        browser = Browser(server=self.server)
        data = upgrade(*(f"X-Forwarded-For: {one}" for one in forwarded_for))
        return browser.ask(data).code, browser

    @property
    def hosts(self) -> list[str]:
        return sorted(one.host for one in self.server.factory.connections)


def test_a_trusted_proxy_tells_the_address_of_a_browser() -> None:
    proxied = Proxied()
    for forwarded_for in (["203.0.113.5"], ["6.6.6.6, 203.0.113.5"], ["6.6.6.6", "203.0.113.5"]):
        code, browser = proxied.connect(*forwarded_for)
        assert code == 101
        browser.send(frame(login("alice")))
        (connection,) = proxied.server.factory.connections
        assert connection.host == "203.0.113.5"
        assert connection.peer == "'alice' at 203.0.113.5"
        browser.peer.lose()


def test_nobody_else_is_believed() -> None:
    proxied = Proxied("192.0.2.2", "unix")
    with capturedLogs() as events:
        assert proxied.connect("203.0.113.5")[0] == 101
    assert proxied.hosts == ["192.0.2.1"]
    # Anybody can send the header.
    assert not [one for one in events if "--trusted-proxy" in one["log_format"]]


def test_a_proxy_may_announce_on_its_endpoint_and_still_not_forward() -> None:
    """As one on this machine that is not a --trusted-proxy."""
    proxied = Proxied("192.0.2.2")
    browser = Browser(server=proxied.server)
    browser.peer.connection.address = ClientOfProxy(IPv4Address("TCP", "127.0.0.1", 4000))
    with capturedLogs() as events:
        assert browser.ask(upgrade("X-Forwarded-For: 203.0.113.5")).code == 101
    assert proxied.hosts == [""]
    (event,) = [one for one in events if "--trusted-proxy" in one["log_format"]]
    assert event["peer"] == "a client of the proxy 127.0.0.1:4000"


def test_without_an_address_it_counts_for_none() -> None:
    proxied = Proxied()
    for forwarded_for in ([], ["unknown"], ["192.0.2.1"], ["203.0.113.5, unknown"]):
        assert proxied.connect(*forwarded_for)[0] == 101
    assert proxied.hosts == [""] * 4


def test_limits_of_an_address_hold_behind_a_proxy() -> None:
    proxied = Proxied(limits=Limits(connections_per_address=2))
    codes = [proxied.connect("203.0.113.5")[0] for _ in range(3)]
    assert codes == [101, 101, 429]
    assert proxied.connect("203.0.113.6")[0] == 101
    # The proxy may use the connection for another client.
    assert proxied.hosts == ["", "203.0.113.5", "203.0.113.5", "203.0.113.6"]


def test_a_guesser_behind_a_proxy_keeps_only_itself_out() -> None:
    proxied = Proxied()
    proxied.server.factory = ChatFactory(
        proxied.server.store,
        proxied.server.clock,
        lambda: 1234,
        proxied.server.limits,
        authenticator=Authenticator(
            [InMemoryUsernamePasswordDatabaseDontUse(alice=b"secret")], proxied.server.clock
        ),
        sniffer=proxied.server.factory.sniffer,
        trusted_proxies=proxied.server.factory.trusted_proxies,
    )

    def log_in(host: str, name: str, password: str) -> int:
        code, browser = proxied.connect(host)
        assert code == 101
        data = encode(Login2(name, {"password": password}), 1)
        ((_, answered),) = browser.send(frame(data))
        return int(decode(answered[4:])[1].code)

    for number in range(FREE_GUESSES_OF_ADDRESS):
        assert log_in("203.0.113.66", str(number), "x") == Code.AUTHENTICATION_FAILED
    assert log_in("203.0.113.66", "alice", "secret") == Code.RATE_LIMITED
    assert log_in("203.0.113.5", "alice", "secret") == Code.OK
