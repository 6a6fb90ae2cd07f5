"""Whatever comes in, nothing fails, and what goes out is HTTP, or frames of a WebSocket."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from tests.server.line import login, message
from tests.web.browser import BINARY, CLOSE, PING, PONG, TEXT, Browser, frame, frames, get, upgrade

KINDS = st.sampled_from([BINARY] * 9 + [PING] * 3 + [PONG] * 3 + [0, TEXT, CLOSE, 3])
FRAMES = st.builds(
    frame,
    st.sampled_from(
        [
            login("alice"), message("hi", "alice", "alice"), login("bob")[:5], login("alice")[5:],
            b"", b"\x03\xe8", b"x" * 125, b"\0\0\0\7", b"x" * 70000,
        ]
    ),
    KINDS,
    st.sampled_from([True] * 9 + [False]),
    st.sampled_from([True] * 20 + [False]),
)  # fmt: skip
PIECES = st.one_of(*[FRAMES] * 8, st.binary(max_size=40))
LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"HEAD /ws HTTP/1.0\r\n", b"PRI * HTTP/2.0\r\n", b"Host: a\r\n",
        b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
        b"Connection: close\r\n", b"\r\n", b"\r\n", b" folded\r\n", b": \r\n", b"\0\xff\r\n",
        b"Upgrade: websocket\r\n", b"GET http://[ HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n", b"If-None-Match: *\r\n", b"Range: bytes=0-1\r\n",
        get(), upgrade(), upgrade("Host: b"), upgrade("Sec-WebSocket-Key: \x7f"), get("/%ff?%00=;"),
        upgrade("Sec-WebSocket-Protocol: ,"), upgrade("Sec-WebSocket-Extensions: ;"),
    ]
)  # fmt: skip
BEGINNINGS = st.sampled_from(
    [b"G", b"GET / HTTP/1.1\r\n", b"GET /ws HTTP/1.1\r\n", get(), upgrade()]
)


def play(browser: Browser, data: bytes, cuts: list[int]) -> bytes:
    """Send it in pieces, lose the connection; what came back."""
    failures: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_failure") or event["log_level"] >= LogLevel.error:
            failures.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        received = b""
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if browser.peer.reading and not browser.closed:
                received += browser.raw(data[start:end])
            browser.server.turn()
        received += browser.taken()
        browser.peer.lose()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert failures == []
    browser.server.clock.advance(60)
    assert browser.server.clock.getDelayedCalls() == []
    return received


def cut(draws: list[float], size: int) -> list[int]:
    return sorted(int(draw * size) for draw in draws)


CUTS = st.lists(st.floats(0, 1), max_size=4)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=8), CUTS)
def test_on_a_websocket(pieces: list[bytes], draws: list[float]) -> None:
    data = b"".join(pieces)
    received = frames(play(Browser().open(), data, cut(draws, len(data))))
    closes = [at for at, (kind, _) in enumerate(received) if kind == CLOSE]
    assert closes in ([], [len(received) - 1])
    assert {kind for kind, _ in received} <= {BINARY, CLOSE, PONG}


@settings(max_examples=300, deadline=None)
@given(BEGINNINGS, st.lists(st.one_of(LINES, st.binary(max_size=30)), max_size=12), CUTS)
def test_by_http(beginning: bytes, pieces: list[bytes], draws: list[float]) -> None:
    data = beginning + b"".join(pieces)
    received = play(Browser(), data, cut(draws, len(data)))
    assert not received or received.startswith(b"HTTP/1.")
    assert b"Traceback" not in received
