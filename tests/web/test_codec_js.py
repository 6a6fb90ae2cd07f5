"""The page's codec against the bytes of docs/protocol.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chat_protocol.wire import codec
from chat_protocol.wire.commands import Publish
from tests.blackbox.server import Server
from tests.docs.markdown import examples, read

FRAMES = {name: frame for name, frame in examples(read("protocol.md")).items() if frame[4] == 2}

# Each frame decoded, its integers of 64 bits as texts, and encoded again if the page can need that;
# the stream is cut after so many bytes each time.
DECODED = """async ([bytes, step]) => {
  const { encode, FrameReader } = await import("/js/codec.js");
  const reader = new FrameReader();
  const found = [];
  for (let at = 0; at < bytes.length; at += step) {
    for (const frame of reader.push(Uint8Array.from(bytes.slice(at, at + step)))) {
      const isPage = ["HistoryAnswer", "UsersAnswer"].includes(frame.name);
      const again = isPage ? null : [...encode(frame.name, frame, frame.correlationId)];
      const text = JSON.stringify(frame, (_, one) => typeof one === "bigint" ? String(one) : one);
      found.push({ frame: JSON.parse(text), again });
    }
  }
  return found;
}"""

ENCODED = """async ([name, fields]) => {
  const { encode } = await import("/js/codec.js");
  return [...encode(name, fields, 7)];
}"""

# What a connection says to those who asked, and to its owner, when all comes in one message.
HEARD = """async (bytes) => {
  let socket;
  window.WebSocket = class {
    constructor() { socket = this; }
    send() {}
  };
  const { Connection } = await import("/js/connection.js");
  const heard = [];
  const connection = new Connection("", {
    pushed: (frames) => heard.push(...frames.map((one) => one.name)),
  });
  const asked = connection.request("Login", { username: "user1", properties: {} })
    .then((answer) => heard.push(answer.name));
  socket.onmessage({ data: Uint8Array.from(bytes).buffer });
  await asked;
  await new Promise((resolve) => setTimeout(resolve));
  return heard;
}"""

REFUSED = """async (bytes) => {
  const { FrameReader, Malformed } = await import("/js/codec.js");
  try {
    new FrameReader().push(Uint8Array.from(bytes));
  } catch (error) {
    return error instanceof Malformed;
  }
  return false;
}"""


@pytest.fixture(scope="module")
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory: Path = tmp_path_factory.mktemp("codec")
    with Server(directory) as server:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.address[1]}/")
        yield page
        page.close()


@pytest.mark.parametrize("step", [1, 7, 64, 100_000])
def test_what_is_decoded_is_encoded_to_the_same_bytes_however_it_is_cut(
    page: Any, step: int
) -> None:
    assert len(FRAMES) > 10
    found = page.evaluate(DECODED, [list(b"".join(FRAMES.values())), step])
    assert len(found) == len(FRAMES)
    for one, frame in zip(found, FRAMES.values(), strict=True):
        assert one["again"] is None or bytes(one["again"]) == frame


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "E10",
            {
                "name": "Login",
                "correlationId": 1,
                "username": "user1",
                "properties": {"window": "50"},
            },
        ),
        (
            "E13",
            {
                "name": "Deliver",
                "correlationId": 0,
                "offset": "1700000000000001",
                "message": "hi",
                "from": "user1",
                "scope": 0,
                "to": ["user2", "user3"],
                "time": "1700000000",
            },
        ),
        (
            "E18",
            {
                "name": "UsersAnswer",
                "correlationId": 3,
                "code": 1,
                "detail": "",
                "users": [
                    {"username": name, "online": 1, "lastLogin": "1700000000000000000"}
                    for name in ("user2", "user3")
                ],
            },
        ),
        (
            "E20",
            {
                "name": "HistoryAnswer",
                "correlationId": 4,
                "code": 1,
                "detail": "",
                "messages": [
                    {
                        "offset": "1700000000000001",
                        "message": "hi",
                        "from": "user1",
                        "scope": 0,
                        "to": ["user2", "user3"],
                        "time": "1700000000",
                    }
                ],
            },
        ),
        (
            "E21",
            {"name": "Close", "correlationId": 5, "code": 1, "reason": "bye"},
        ),
    ],
)
def test_the_fields_of_a_frame(page: Any, name: str, expected: dict[str, Any]) -> None:
    (found,) = page.evaluate(DECODED, [list(FRAMES[name]), 100_000])
    assert found["frame"] == expected


@pytest.mark.parametrize("size", [0, 1, 200, 230, 255, 256, 5000, 0xFFFF])
def test_texts_of_any_length_have_the_bytes_that_the_server_expects(page: Any, size: int) -> None:
    text, to = "x" * size, [f"n\u00e4me {n}" for n in range(size % 300)]
    fields = {"publishingId": 3, "message": text, "scope": 0, "to": to, "time": 5}
    expected = codec.encode(Publish(3, text, 0, tuple(to), 5), 7)
    assert bytes(page.evaluate(ENCODED, ["Publish", fields])) == expected


def test_who_asked_hears_the_answer_before_what_came_along_with_it(page: Any) -> None:
    stream = FRAMES["E11"] + FRAMES["E13"]
    assert page.evaluate(HEARD, list(stream)) == ["LoginAnswer", "Deliver"]


@pytest.mark.parametrize(
    "frame",
    [
        bytes.fromhex("00000006 02 0117 000000"),
        bytes.fromhex("01000000 02 0117 00000001"),
        bytes.fromhex("0000000B 02 0003 00000001 0001 0001"),
        bytes.fromhex("0000000C 02 0003 00000001 0001 0001 FF"),
        bytes.fromhex("0000000F 02 810F 00000001 0001 0000 FFFFFFFF"),
    ],
    ids=["too short", "too long", "ends too early", "no UTF-8", "a count too high"],
)
def test_what_is_no_frame_ends_the_stream(page: Any, frame: bytes) -> None:
    assert page.evaluate(REFUSED, list(frame)) is True
