"""docs/protocol.md against the program: a table or an example that is wrong fails here."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.names import MAX_USERNAME, normalise_username
from chat_protocol.errors import InvalidUsername
from chat_protocol.protocol import keepalive
from chat_protocol.protocol.connection import ChatProtocol
from chat_protocol.protocol.factory import CORRELATION_TEST_SECONDS, ChatFactory
from chat_protocol.service.tap import Options
from chat_protocol.stores.memory import MemoryStore
from chat_protocol.wire import codec
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import REGISTRY, Login, Message, Response
from chat_protocol.wire.declaration import Declaration, Needs, Sender
from chat_protocol.wire.fields import STRING, UINT16, UINT32, UINT64

from .markdown import ROOT, clauses, examples, read, sections, table

TEXT = read("protocol.md")
SECTIONS = sections(TEXT)
VERSION = 1


# Clauses.


def test_every_section_that_code_refers_to_is_there() -> None:
    assert list(SECTIONS)[:4] == ["Types", "Frames", "Commands", "Codes"]
    named = {name for text in _sources() for name in re.findall(r'protocol\.md, "([^"]+)"', text)}
    assert named <= set(SECTIONS)
    assert named


def test_ids_run_from_1_in_their_order() -> None:
    found = clauses(TEXT)
    for letter in sorted({name[0] for name in found}):
        mine = [name for name in found if name[0] == letter]
        assert mine == [f"{letter}{number}" for number in range(1, len(mine) + 1)]
    assert {name[0] for name in found} == set("TFCRSLE")


def test_every_paragraph_is_a_clause() -> None:
    """Behind the introduction, but for what leads to a table and the last section."""
    introduces = {
        paragraph
        for section in SECTIONS.values()
        for paragraph, following in zip(
            _paragraphs(section), _paragraphs(section)[1:], strict=False
        )
        if following.startswith("|")
    }
    for title, section in SECTIONS.items():
        if title not in ("Examples", "Further versions"):
            for paragraph in _paragraphs(section):
                assert (
                    paragraph.startswith("|")
                    or paragraph in introduces
                    or re.match(r"\*\*[A-Z]\d+\.\*\* ", paragraph)
                ), paragraph


def test_every_clause_that_is_cited_exists() -> None:
    known = set(clauses(TEXT))
    cited = set(re.findall(r"\b[TFCRSLE]\d+\b", TEXT + read("architecture.md")))
    cited |= {name for text in _sources() for name in re.findall(r"\bclause ([A-Z]\d+)", text)}
    assert cited - known == set()


def test_the_clauses_that_code_has_always_cited() -> None:
    assert "**S5.** A username " in SECTIONS["Usernames"]
    assert "**S9.** A peer that vanished " in SECTIONS["Keep-alive"]


def _sources() -> list[str]:
    return [path.read_text() for path in sorted((ROOT / "chat_protocol").rglob("*.py"))]


def _paragraphs(section: str) -> list[str]:
    return [paragraph.strip() for paragraph in section.split("\n\n") if paragraph.strip()]


# Types and frames.


def test_types() -> None:
    rows = {row["type"].strip("`"): row["size in bytes"] for row in table(SECTIONS["Types"])}
    assert rows == {
        "byte": "1",
        UINT16.name: str(len(UINT16.encode(0))),
        UINT32.name: str(len(UINT32.encode(0))),
        UINT64.name: str(len(UINT64.encode(0))),
        STRING.name: f"{len(STRING.encode(''))} + n",
        "[]byte": "2 + n",
    }


def test_every_type_that_a_command_uses_is_listed() -> None:
    known = {row["type"].strip("`") for row in table(SECTIONS["Types"])}
    assert {type_.name for declared in REGISTRY for _, type_ in declared.fields} <= known


def test_a_frame_is_made_of_the_listed_parts() -> None:
    sizes = {row["type"].strip("`"): row["size in bytes"] for row in table(SECTIONS["Types"])}
    *parts, body = table(SECTIONS["Frames"])
    assert [part["part of a frame"] for part in parts] == [
        "length", "version", "key", "correlationId",
    ]  # fmt: skip
    frame = codec.encode(Response(0x0A0B), 0x01020304)
    position = 0
    values = []
    for part in parts:
        size = int(sizes[part["type"].strip("`")])
        values.append(int.from_bytes(frame[position : position + size], "big"))
        position += size
    assert values == [len(frame) - 4, VERSION, 0x0003, 0x01020304]
    assert body["part of a frame"] == "body"
    assert frame[position:] == b"\x0a\x0b"


# Commands.


def _command_row(declared: Declaration, number: int) -> dict[str, str]:
    senders = [
        sender.name.lower() for sender in Sender if sender in declared.sender and sender.name
    ]
    body = [f"{name.rstrip('_')} `{type_.name}`" for name, type_ in declared.fields]
    return {
        "clause": f"C{number}",
        "key": f"0x{declared.key:04X}",
        "command": declared.command.__name__,
        "sent by": ", ".join(senders),
        "needs a login": "yes" if declared.needs is Needs.LOGIN else "no",
        "holds what follows": "yes" if declared.exclusive else "no",
        "body": ", ".join(body) or "nothing",
    }


def test_the_table_of_commands_is_what_is_declared() -> None:
    declared = sorted((one for one in REGISTRY if one.version == VERSION), key=lambda one: one.key)
    rows = [_command_row(one, number) for number, one in enumerate(declared, 1)]
    expected = "\n".join(f"| {' | '.join(row.values())} |" for row in rows)
    assert table(SECTIONS["Commands"]) == rows, f"write this instead:\n{expected}"


# Codes.


def test_the_table_of_codes_is_what_the_program_has() -> None:
    rows = table(SECTIONS["Codes"])
    found = [(row["code"], row["name"].lower(), row["version 1 sees"]) for row in rows]
    assert found == [
        (f"0x{code:04X}", code.name.replace("_", "").lower(), f"0x{code.version_1:04X}")
        for code in Code
    ]
    assert all(row["what it means"] for row in rows)


# Limits.


CONSTANTS = {
    "MIN_FRAME": codec.MIN_FRAME,
    "MAX_FRAME_BEFORE_LOGIN": codec.MAX_FRAME_BEFORE_LOGIN,
    "MAX_FRAME": codec.MAX_FRAME,
    "MAX_USERNAME": MAX_USERNAME,
    "CORRELATION_TEST_SECONDS": CORRELATION_TEST_SECONDS,
    "IDLE_SECONDS": keepalive.IDLE_SECONDS,
    "INTERVAL_SECONDS": keepalive.INTERVAL_SECONDS,
    "PROBES": keepalive.PROBES,
    "SILENT_SECONDS": keepalive.SILENT_SECONDS,
}

UNITS = {"KiB": 1024, "MiB": 1024 * 1024}


def _value(text: str) -> float:
    number, _, unit = text.partition(" ")
    return 0 if number == "none" else float(number.replace(",", "")) * UNITS.get(unit, 1)


def test_the_table_of_limits_is_what_the_program_has() -> None:
    rows = table(SECTIONS["Limits"])
    found = {row["limit"].strip("`"): _value(row["value"]) for row in rows if row["clause"] != "L5"}
    limits = {field.name: getattr(Limits(), field.name) for field in fields(Limits)}
    assert found == {**CONSTANTS, **limits}


def test_limits_that_may_be_none_are_those_that_say_so_in_the_program() -> None:
    rows = table(SECTIONS["Limits"])
    found = {row["limit"].strip("`") for row in rows if "may be none" in row["what happens at it"]}
    source = (ROOT / "chat_protocol/domain/limits.py").read_text()
    said = re.findall(r"^    (\w+): \w+ = [^\n]+\n    \"\"\"[^\"]*\b0: none\.\"\"\"", source, re.M)
    assert found == set(said)


def test_the_longest_string() -> None:
    (row,) = [row for row in table(SECTIONS["Limits"]) if row["clause"] == "L5"]
    longest = int(_value(row["value"]))
    STRING.encode("x" * longest)
    with pytest.raises(ValueError, match=str(longest)):
        STRING.encode("x" * (longest + 1))


def test_options_that_are_named_exist() -> None:
    named = re.findall(r"`--([a-z-]+)`", TEXT)
    assert named
    assert set(named) <= set(Options())


# Usernames.


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("x" * 255, "x" * 255),
        ("Zoe\u0308", "Zo\u00eb"),
        ("Alice", "Alice"),
        ("alice b", "alice b"),
        ("", None),
        ("x" * 256, None),
        (" alice", None),
        ("alice\u3000", None),
        ("a\x00b", None),
        ("a\u200bb", None),
        ("a\ue000b", None),
        ("a\u0378b", None),
    ],
)
def test_usernames_are_as_s5_says(name: str, normal: str | None) -> None:
    if normal is None:
        with pytest.raises(InvalidUsername):
            normalise_username(name)
    else:
        assert normalise_username(name) == normal


# Examples: the bytes are written out here once more, by hand.

EXAMPLES: dict[str, tuple[bytes, int, Any]] = {
    "E1": (
        b"\x00\x00\x00\x0e\x01\x00\x01\x00\x00\x00\x01\x00\x05user1",
        1,
        Login("user1"),
    ),
    "E2": (
        b"\x00\x00\x00\x09\x01\x00\x03\x00\x00\x00\x01\x00\x01",
        1,
        Response(1),
    ),
    "E3": (
        b"\x00\x00\x00\x24\x01\x00\x02\x00\x00\x00\x02\x00\x05hello\x00\x05user1\x00\x05user2"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        2,
        Message("hello", "user1", "user2", 1_700_000_000),
    ),
    "E4": (
        b"\x00\x00\x00\x24\x01\x00\x02\x00\x00\x00\x00\x00\x05hello\x00\x05user1\x00\x05user2"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        0,
        Message("hello", "user1", "user2", 1_700_000_000),
    ),
    "E5": (
        b"\x00\x00\x00\x09\x01\x00\x03\x00\x00\x00\x02\x00\x01",
        2,
        Response(1),
    ),
    "E6": (
        b"\x00\x00\x00\x21\x01\x00\x02\x00\x00\x00\x03\x00\x02hi\x00\x05user1\x00\x05user9"
        b"\x00\x00\x00\x00\x65\x53\xf1\x01",
        3,
        Message("hi", "user1", "user9", 1_700_000_001),
    ),
    "E7": (
        b"\x00\x00\x00\x09\x01\x00\x03\x00\x00\x00\x03\x00\x03",
        3,
        Response(3),
    ),
    "E8": (
        b"\x00\x00\x00\x0e\x01\x00\x01\x00\x00\x00\x04\x00\x05user9",
        4,
        Login("user9"),
    ),
    "E9": (
        b"\x00\x00\x00\x09\x01\x00\x03\x00\x00\x00\x04\x00\x04",
        4,
        Response(4),
    ),
}


def test_no_example_is_missing_here() -> None:
    assert list(examples(TEXT)) == list(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_the_codec_writes_and_reads(name: str) -> None:
    frame, correlation_id, command = EXAMPLES[name]
    assert examples(TEXT)[name] == frame
    assert codec.encode(command, correlation_id) == frame
    header, decoded = codec.decode(frame[4:])
    assert (header.version, header.correlation_id, decoded) == (VERSION, correlation_id, command)


def test_the_server_does_what_the_examples_show() -> None:
    shown = examples(TEXT)
    clock = Clock()
    factory = ChatFactory(MemoryStore(), clock, lambda: 0, Limits())

    def connect() -> tuple[ChatProtocol, StringTransport]:
        connection = factory.buildProtocol(None)
        assert connection is not None
        transport = StringTransport()
        connection.makeConnection(transport)
        return connection, transport

    def say(connection: ChatProtocol, transport: StringTransport, frame: bytes) -> bytes:
        transport.clear()
        connection.dataReceived(frame)
        clock.pump([0] * 5)
        sent: bytes = transport.value()
        return sent

    user1, user2 = connect(), connect()
    assert say(*user1, shown["E1"]) == shown["E2"]
    say(*user2, codec.encode(Login("user2"), 1))
    user2[1].clear()
    assert say(*user1, shown["E3"]) == shown["E5"]
    assert user2[1].value() == shown["E4"]
    assert say(*user1, shown["E6"]) == shown["E7"]
    assert say(*user1, shown["E8"]) == shown["E9"]
    assert say(*user1, shown["E3"]) == shown["E5"]


# The whole.


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_lines_are_short_and_fences_closed(path: Path) -> None:
    text = path.read_text()
    assert text.count("```") % 2 == 0
    long = [line for line in text.splitlines() if len(line) > 100 and not line.startswith("|")]
    assert long == []
