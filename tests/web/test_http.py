"""What is served by HTTP, on the port of the frames, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address

from chat_protocol.domain.limits import Limits
from chat_protocol.server.first_bytes import FirstBytes
from chat_protocol.server.rejected import ClosedAtOnce
from chat_protocol.server.state import ConnectionState
from chat_protocol.web.channel import REQUEST_SECONDS
from chat_protocol.web.files import HEADERS, StaticFiles
from chat_protocol.web.http import RESPONSE_BUFFER, HTTPConnection
from tests.server.line import Response, login
from tests.web.browser import Browser, answers, get


def test_the_page() -> None:
    page = Browser().ask(get())
    assert page.code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.body.startswith(b"<!doctype html>")


REFUSED = {
    b"GET / HTTP/1.1\r\n\r\n": 400,
    b"GET /missing HTTP/1.1\r\n\r\n": 400,
    b"HEAD / HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n": 400,
    b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost:\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n": 400,
    get("*"): 400,
    get("*", method="OPTIONS"): 405,
    get("page"): 400,
    get("ftp://chat.example:5555/"): 400,
    get("http://other.example/"): 400,
    get("chat.example:5555", method="CONNECT"): 400,
    get("/%zz"): 404,
    get("/", method="G@T"): 400,
    get("/").replace(b"HTTP/1.1", b"HTTP/1.2"): 400,
    get("/").replace(b"HTTP/1.1", b"HTTP/0.9"): 400,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    b"GET /\r\n\r\n": 400,
    b"GET /\xff HTTP/1.1\r\n\r\n": 400,
    get("/", "bad header"): 400,
    get("/", "bad name: x"): 400,
    get("/", "X: a\0b"): 400,
    get("/", "Content-Length: x"): 400,
    get("/", "Content-Length: " + "9" * 5000): 400,
    get("/", "Content-Length: 1", "Content-Length: 1"): 400,
    get("/", "Transfer-Encoding: x"): 400,
    get("/", "X: " + "x" * 17_000): 400,
    get("/" + "x" * 17_000): 400,
    get("/", *(f"X-{n}: 1" for n in range(101))): 400,
    get("/", "Content-Length: 5"): 413,
}


@pytest.mark.parametrize("data", REFUSED)
def test_a_refusal_has_the_headers_of_every_answer(data: bytes) -> None:
    browser = Browser()
    method = "HEAD" if data.startswith(b"HEAD") else "GET"
    refused, *more = answers(browser.raw(data), method)
    assert (refused.code, more) == (REFUSED[data], [])
    page = Browser().ask(get())
    for name in HEADERS:
        assert refused.headers[name.decode()] == page.headers[name.decode()]
    assert "server" not in refused.headers
    assert "content-length" in refused.headers


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:5555\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: xn--bcher-kva.example:\r\n\r\n",
        get("http://CHAT.example:5555"),
        get("http://chat.example:5555/?a=b"),
    ],
)
def test_these_are_requests_for_the_page(data: bytes) -> None:
    page = Browser().ask(data)
    assert (page.code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_an_answer_after_a_fault_has_the_headers_too(
    monkeypatch: pytest.MonkeyPatch, logged_failures: list[object]
) -> None:
    monkeypatch.setattr(StaticFiles, "render", lambda *_: 1 / 0)
    failed = Browser().ask(get())
    assert failed.code == 500
    assert failed.headers["content-security-policy"]
    assert b"Zero" not in failed.body
    logged_failures.clear()


@pytest.mark.parametrize("path", ["/", "/missing", "/ws"])
def test_every_answer_is_for_this_page_alone(path: str) -> None:
    headers = Browser().ask(get(path)).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_requests_are_requests_however_they_are_cut(size: int) -> None:
    browser = Browser()
    data = get()
    received = b"".join(browser.raw(data[at : at + size]) for at in range(0, len(data), size))
    assert [answer.code for answer in answers(received)] == [200]


def test_frames_are_spoken_on_the_same_port() -> None:
    browser = Browser()
    browser.ask(get())
    other = browser.server.connect()
    assert other.send(login("alice")) == [Response(1, 1)]


def test_head_has_no_body() -> None:
    browser = Browser()
    page = browser.ask(get())
    head = browser.ask(get(method="HEAD"), "HEAD")
    assert head.code == 200
    assert head.headers["content-length"] == page.headers["content-length"]
    assert browser.ask(get("/missing", method="HEAD"), "HEAD").code == 404


def test_what_has_not_changed_is_not_sent_again() -> None:
    browser = Browser()
    page = browser.ask(get())
    assert page.headers["cache-control"] == "no-cache"
    again = browser.ask(get("/", f"If-None-Match: {page.headers['etag']}"))
    assert (again.code, again.body) == (304, b"")
    assert again.headers["content-security-policy"]
    assert browser.ask(get("/", 'If-None-Match: "other"')).code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(method: str) -> None:
    browser = Browser()
    for path, allowed in (("/", "GET, HEAD"), ("/ws", "GET")):
        refused = browser.ask(get(path, method=method))
        assert (refused.code, refused.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "path",
    ["/../site.py", "/..%2fsite.py", "/%2e%2e/site.py", "//etc/passwd", "/static/", "/index.html",
     "/?/../../x/..", "/__init__.py", "/.", "/\\..\\site.py", "/%00", "/ws/",
     "http://chat.example:5555/etc/passwd"],
)  # fmt: skip
def test_no_path_leads_anywhere_else(path: str) -> None:
    found = Browser().ask(get(path))
    assert found.code in (200, 404)
    if found.code == 200:
        assert found.body.startswith(b"<!doctype html>")
        assert path.startswith("/?")


def test_files_of_known_kinds_are_served(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name in ("index.html", "parts/a.js", "b.css", "c.svg", "d.py", "e.js~"):
        (tmp_path / name).write_text(name)
    browser = Browser(directory=tmp_path)
    assert {
        path: (found.code, found.headers["content-type"].split(";")[0])
        for path in ("/", "/parts/a.js", "/b.css", "/c.svg", "/d.py", "/e.js~", "/parts/")
        for found in [browser.ask(get(path))]
    } == {
        "/": (200, "text/html"),
        "/parts/a.js": (200, "text/javascript"),
        "/b.css": (200, "text/css"),
        "/c.svg": (200, "image/svg+xml"),
        "/d.py": (404, "text/plain"),
        "/e.js~": (404, "text/plain"),
        "/parts/": (404, "text/plain"),
    }


@pytest.mark.parametrize("header", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_body_ends_the_connection(header: str) -> None:
    browser = Browser()
    (refused,) = answers(browser.raw(get("/", header, method="POST"), b"5\r\nhello", get()))
    assert refused.code == 413
    assert browser.closed


@pytest.mark.parametrize(
    "data",
    [
        get("/", "X: " + "x" * 17_000),
        get("/" + "x" * 17_000),
        get("/", *(f"X-{n}: 1" for n in range(101))),
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"ABC" * 10_000,
    ],
)
def test_what_is_too_much_for_a_request_ends_the_connection(data: bytes) -> None:
    browser = Browser()
    received = browser.raw(data)
    assert received.startswith(b"HTTP/1.1 400")
    assert browser.closed


@pytest.mark.parametrize("sent", [b"", get()])
def test_a_connection_without_requests_is_closed(sent: bytes) -> None:
    browser = Browser()
    browser.raw(sent + b"G")
    browser.server.clock.advance(REQUEST_SECONDS - 1)
    assert not browser.closed
    browser.server.clock.advance(2)
    assert browser.closed


def test_bytes_one_by_one_give_no_more_time() -> None:
    browser = Browser()
    for byte in get()[: int(REQUEST_SECONDS)]:
        assert not browser.closed
        browser.raw(bytes([byte]))
        browser.server.clock.advance(1)
    assert browser.closed


def test_a_connection_with_requests_has_to_log_in_all_the_same() -> None:
    browser = Browser(Limits(login_seconds=50))
    browser.server.factory.startFactory()
    for _ in range(5):
        assert not browser.closed
        assert browser.ask(get()).code == 200
        browser.server.clock.pump([1] * 10)
    assert browser.closed
    browser.server.factory.stopFactory()


def test_connections_count_among_those_of_their_address() -> None:
    browser = Browser(Limits(connections_per_address=2))
    browser.ask(get())
    assert len(browser.server.factory.connections) == 1
    browser.server.connect()
    assert isinstance(
        browser.server.factory.buildProtocol(browser.peer.transport.getPeer()), ClosedAtOnce
    )
    browser.peer.lose()
    assert isinstance(
        browser.server.factory.buildProtocol(browser.peer.transport.getPeer()), FirstBytes
    )


def test_many_requests_at_once_are_answered_as_they_are_taken(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"x" * 100_000)
    browser = Browser(directory=tmp_path)
    browser.peer.protocol.dataReceived(get() * 50)
    # Nothing is written before the turn ends.
    assert not browser.peer.reading
    browser.server.one_turn()
    assert len(browser.taken()) < RESPONSE_BUFFER + 2 * 110_000
    received = len(browser.raw())
    assert browser.peer.reading
    assert received > 40 * 100_000


def test_answers_that_are_taken_count_no_more(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"x" * 100_000)
    browser = Browser(directory=tmp_path)
    for _ in range(5):
        browser.peer.protocol.dataReceived(get())
        assert len(browser.raw()) > 100_000
        assert browser.peer.reading


def test_requests_wait_until_all_of_the_answers_is_taken(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"x" * 300_000)
    browser = Browser(directory=tmp_path)
    browser.peer.protocol.dataReceived(get() * 2)
    connection = browser.peer.connection
    for backlog, waits in ((1, True), (0, False)):
        connection.output.backlog = backlog
        connection.output_taken()
        assert connection._waits is waits
    browser.peer.lose()


def test_a_connection_that_is_lost_while_requests_wait(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"x" * 300_000)
    browser = Browser(directory=tmp_path)
    browser.peer.protocol.dataReceived(get() * 50)
    browser.server.one_turn()
    assert browser.peer.connection._resuming
    browser.peer.lose()
    browser.server.turn()
    assert not any(call.active() for call in browser.server.clock.getDelayedCalls())


def test_twisted_web_knows_the_addresses() -> None:
    browser = Browser()
    browser.ask(get())
    connection = browser.peer.connection
    assert connection.getPeer() == browser.peer.transport.getPeer()
    assert connection.getHost() == browser.peer.transport.getHost()
    connection.address = IPv4Address("TCP", "198.51.100.1", 7)
    assert connection.getPeer() == connection.address


def test_a_server_that_stops_closes_them() -> None:
    browser = Browser()
    browser.ask(get())
    stopping = browser.server.factory.shut_down()
    assert browser.closed
    browser.peer.lose()
    assert stopping.called
    assert browser.server.clock.getDelayedCalls() == []


def test_nothing_is_left_of_a_connection_that_is_lost() -> None:
    browser = Browser()
    browser.raw(get()[:20])
    browser.peer.lose()
    assert browser.server.clock.getDelayedCalls() == []
    assert not browser.server.factory.connections


def test_who_takes_no_answers_may_ask_no_more() -> None:
    browser = Browser(Limits(frames_before_login=10_000, bytes_before_login=10**7))
    browser.raw(b"G")
    producer = browser.peer.transport.producer
    assert producer is not None
    producer.pauseProducing()  # type: ignore[attr-defined]
    size = len(browser.raw(b"ET" + get("/missing")[3:]))
    asked = 1
    while browser.peer.reading and asked < 1000:
        browser.raw(get("/missing"))
        asked += 1
    assert size * (asked - 2) <= browser.server.limits.answer_buffer < RESPONSE_BUFFER / 2
    assert browser.server.factory.counters.limits == {"answer_buffer": 1}
    producer.resumeProducing()  # type: ignore[attr-defined]
    browser.server.turn()
    assert browser.peer.reading
    assert browser.ask(get()).code == 200


def test_it_is_closed_when_its_answers_are_taken() -> None:
    browser = Browser()
    browser.raw(b"G")
    producer = browser.peer.transport.producer
    assert producer is not None
    producer.pauseProducing()  # type: ignore[attr-defined]
    browser.raw(b"ET" + get("/missing")[3:])
    browser.peer.connection.close()
    browser.server.turn()
    assert not browser.closed
    browser.raw(get())
    producer.resumeProducing()  # type: ignore[attr-defined]
    assert browser.peer.connection.state is ConnectionState.LINGERING
    assert browser.closed
    # TLS would not close before.
    assert browser.peer.transport.producer is None
    browser.peer.lose()
    assert browser.server.clock.getDelayedCalls() == []


def test_a_client_that_asks_and_closes_its_side_gets_its_answers() -> None:
    browser = Browser()
    browser.peer.protocol.dataReceived(get() + get())
    browser.peer.protocol.readConnectionLost()
    browser.server.turn()
    assert [answer.code for answer in answers(browser.taken())] == [200, 200]
    assert browser.closed


def test_the_chat_protocol_has_no_part_in_it() -> None:
    browser = Browser()

    def none() -> None:
        raise AssertionError("it is made")

    browser.server.factory.connection_type = none  # type: ignore[assignment]
    assert browser.ask(get()).code == 200
    assert browser.ask(get("/missing")).code == 404
    assert browser.ask(get("/ws")).code == 426
    assert isinstance(browser.peer.connection, HTTPConnection)
    assert browser.server.factory.connections == {browser.peer.connection}
