"""docs/protocol.md against the program: a table or an example that is wrong fails here."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from chat_protocol.domain import admission, login_rules, tokens
from chat_protocol.domain.exchange import POSITION_SECONDS
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.messages import Message
from chat_protocol.domain.names import MAX_USERNAME, normalize_username
from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.rates import Rate
from chat_protocol.domain.users import EVERYONE, Session, User
from chat_protocol.errors import InvalidUsername
from chat_protocol.server import connection, factory, rejected, requests, throttle
from chat_protocol.server.correlation_tests import CORRELATION_TEST_SECONDS, TESTS
from chat_protocol.service import password_checks
from chat_protocol.service.tap import Options
from chat_protocol.stores.memory import store as memory
from chat_protocol.transport import keepalive
from chat_protocol.wire import codec, types
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    REGISTRY,
    Ack,
    Response,
    StoredMessage,
    UserStatus,
)
from chat_protocol.wire.schema import Declaration, Needs, Sender, fields_of
from chat_protocol.wire.types import BYTE, MAP, STRING, STRINGS, UINT16, UINT32, UINT64, FieldType
from tests.docs.markdown import ROOT, clauses, read, sections, table, tables
from tests.docs.protocol_examples import EXAMPLES

TEXT = read("protocol.md")


SECTIONS = sections(TEXT)


# Clauses.


def test_every_section_that_code_refers_to_is_there() -> None:
    assert list(SECTIONS)[:4] == ["Types", "Frames", "Commands", "Codes"]
    named = {
        name
        for text in _sources()
        for name in re.findall(r'protocol\.md,\s(?:section\s)?"([^"]+)"', text)
    }
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
        if title != "Examples":
            for paragraph in _paragraphs(section):
                assert (
                    paragraph.startswith("|")
                    or paragraph in introduces
                    or re.match(r"\*\*[A-Z]\d+\.\*\* ", paragraph)
                ), paragraph


def test_every_clause_that_is_cited_exists() -> None:
    known = set(clauses(TEXT))
    cited = set(re.findall(r"(?<!U\+)\b[TFCRSLE]\d+\b", TEXT + read("architecture.md")))
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
        BYTE.name: str(len(BYTE.encode(0))),
        UINT16.name: str(len(UINT16.encode(0))),
        UINT32.name: str(len(UINT32.encode(0))),
        UINT64.name: str(len(UINT64.encode(0))),
        STRING.name: f"{len(STRING.encode(''))} + n",
        "[]byte": "2 + n",
        STRINGS.name.replace("string", "T"): f"{len(STRINGS.encode(()))} + n",
        MAP.name: f"{len(MAP.encode({}))} + n",
        "User": f"{_smallest(UserStatus)} + n",
        "Stored": f"{_smallest(StoredMessage)} + n",
    }


def _smallest(struct: type[Any]) -> int:
    return sum(type_.min_size for _, type_ in fields_of(struct))


@pytest.mark.parametrize(("name", "struct"), [("User", UserStatus), ("Stored", StoredMessage)])
def test_a_type_that_is_made_of_others(name: str, struct: type[Any]) -> None:
    (row,) = [row for row in table(SECTIONS["Types"]) if row["type"] == f"`{name}`"]
    assert row["what it holds"] == _body(fields_of(struct))


def test_every_type_that_a_command_uses_is_listed() -> None:
    known = {row["type"].strip("`") for row in table(SECTIONS["Types"])}
    used = {type_.name.removeprefix("[]") for one in REGISTRY for _, type_ in one.fields}
    assert used <= known


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
    assert values == [len(frame) - 4, 1, 0x0003, 0x01020304]
    assert body["part of a frame"] == "body"
    assert frame[position:] == b"\x0a\x0b"


# Commands.


def _body(layout: tuple[tuple[str, FieldType[Any]], ...]) -> str:
    """Names as the document has them: publishingId, from."""
    named = [
        (re.sub("_(.)", lambda letter: letter[1].upper(), name.rstrip("_")), type_.name)
        for name, type_ in layout
    ]
    return ", ".join(f"{name} `{type_}`" for name, type_ in named) or "nothing"


def _answer(declared: Declaration) -> str:
    if Sender.CLIENT not in declared.sender:
        return "\N{EN DASH}"
    if declared.command is Ack:
        return "nothing"
    return "Response" if declared.answer is None else declared.answer.__name__


def _command_row(declared: Declaration) -> dict[str, str]:
    senders = [
        sender.name.lower() for sender in Sender if sender in declared.sender and sender.name
    ]
    return {
        "key": f"0x{declared.key:04X}",
        "command": declared.command.__name__.rstrip("2"),
        "versions": ", ".join(map(str, declared.versions)),
        "sent by": ", ".join(senders),
        "needs a login": "yes" if declared.needs is Needs.LOGIN else "no",
        "holds what follows": "yes" if declared.exclusive else "no",
        "answer": _answer(declared),
        "body": _body(declared.fields),
    }


def test_the_tables_of_commands_are_what_is_declared() -> None:
    """First those that version 1 has; an answer stands behind its command."""
    declared = sorted(REGISTRY, key=lambda one: (1 not in one.versions, one.key & 0x7FFF, one.key))
    rows = [_command_row(one) for one in declared]
    found = [{**row} for row in table(SECTIONS["Commands"])]
    ids = [row.pop("clause") for row in found]
    expected = "\n".join(f"| {' | '.join(row.values())} |" for row in rows)
    assert found == rows, f"write this instead, each behind its id:\n{expected}"
    assert all(re.fullmatch(r"C\d+", one) for one in ids)


def test_an_answer_has_the_key_of_its_command_with_the_highest_bit() -> None:
    for declared in REGISTRY:
        if declared.answer is not None:
            assert REGISTRY.of(declared.answer).key == declared.key | 0x8000


# Codes.

_SEEN_BY_VERSION_1 = {
    Code.GOING_AWAY: "the end",
    Code.REPLACED: "the end",
    Code.HEARTBEAT_MISSED: "the end",
    Code.OUT_OF_ORDER: "never",
}


def test_the_table_of_codes_is_what_the_program_has() -> None:
    rows = table(SECTIONS["Codes"])
    found = [(row["code"], row["name"].lower(), row["version 1 sees"]) for row in rows]
    assert found == [
        (
            f"0x{code:04X}",
            code.name.replace("_", "").lower(),
            _SEEN_BY_VERSION_1.get(code, f"0x{code.version_1:04X}"),
        )
        for code in Code
    ]
    assert all(row["what it means"] for row in rows)


# Limits.


CONSTANTS = {
    "MIN_FRAME": codec.MIN_FRAME,
    "FREE_GUESSES": throttle.FREE_GUESSES,
    "FREE_GUESSES_OF_ADDRESS": throttle.FREE_GUESSES_OF_ADDRESS,
    "FREE_GUESSES_OF_NAME": throttle.FREE_GUESSES_OF_NAME,
    "LONGEST_SHARED_WAIT": throttle.LONGEST_SHARED_WAIT,
    "GUESSES_SECONDS": throttle.GUESSES_SECONDS,
    "RESERVED_SECONDS": throttle.RESERVED_SECONDS,
    "KNOWN_ADDRESSES": throttle.KNOWN_ADDRESSES,
    "REJECTED": rejected.REJECTED,
    "REJECTED_SECONDS": rejected.REJECTED_SECONDS,
    "GUESSERS": throttle.GUESSERS,
    "PASSWORD_CHECKS": password_checks.PASSWORD_CHECKS,
    "LONGEST_WAIT": throttle.LONGEST_WAIT,
    "MAX_FRAME_BEFORE_LOGIN": codec.MAX_FRAME_BEFORE_LOGIN,
    "MAX_FRAME": codec.MAX_FRAME,
    "MAX_USERNAME": MAX_USERNAME,
    "CORRELATION_TEST_SECONDS": CORRELATION_TEST_SECONDS,
    "TESTS": TESTS,
    "IDLE_SECONDS": keepalive.IDLE_SECONDS,
    "INTERVAL_SECONDS": keepalive.INTERVAL_SECONDS,
    "PROBES": keepalive.PROBES,
    "SILENT_SECONDS": keepalive.SILENT_SECONDS,
    "DEFAULT_WINDOW": requests.DEFAULT_WINDOW,
    "MAX_HEARTBEAT": requests.MAX_HEARTBEAT,
    "DEFAULT_PAGE": requests.DEFAULT_PAGE,
    "MAX_PAGE": requests.MAX_PAGE,
    "ANSWER_BYTES": requests.ANSWER_BYTES,
    "PUBLISHING_IDS": admission.PUBLISHING_IDS,
    "MAX_PUBLISHING_ID": admission.MAX_PUBLISHING_ID,
    "MAX_FIRST_PUBLISHING_ID": admission.MAX_FIRST_PUBLISHING_ID,
    "MAX_PUBLISHING_ID_STEP": admission.MAX_PUBLISHING_ID_STEP,
    "POSITION_SECONDS": POSITION_SECONDS,
    "MAX_PAIRS": types.MAX_PAIRS,
    "QUANTUM": connection.QUANTUM,
    "USER_SECONDS": factory.USER_SECONDS,
    "NEWCOMER_SECONDS": factory.NEWCOMER_SECONDS,
    "MAX_DEVICES": login_rules.MAX_DEVICES,
    "MAX_SENDERS": login_rules.MAX_SENDERS,
    "MAX_SENDER_NAMES": login_rules.MAX_SENDER_NAMES,
    "SENDER_SECONDS": login_rules.SENDER_SECONDS,
    "TOKENS": tokens.TOKENS,
    "HISTORY_BYTES": memory.HISTORY_BYTES,
    "HISTORY_LOOKS": memory.HISTORY_LOOKS,
    "TO_EVERYONE_BYTES": memory.TO_EVERYONE_BYTES,
}


UNITS = {"KiB": 1024, "KiB of payloads": 1024, "MiB": 1024 * 1024, "ms": 0.001}


def _value(text: str) -> float | Rate:
    rate = re.fullmatch(r"([\d,]+) a second, ([\d,]+) at once", text)
    if rate is not None:
        steady, burst = (int(number.replace(",", "")) for number in rate.groups())
        return Rate(steady, burst)
    power = re.fullmatch(r"2\^(\d+)( - 1)?", text)
    if power is not None:
        return (1 << int(power[1])) - (1 if power[2] else 0)
    number, _, unit = text.partition(" ")
    return 0 if number == "none" else float(number.replace(",", "")) * UNITS.get(unit, 1)


def test_the_table_of_limits_is_what_the_program_has() -> None:
    rows = table(SECTIONS["Limits"])
    found = {row["limit"].strip("`"): _value(row["value"]) for row in rows if row["clause"] != "L5"}
    limits = {field.name: getattr(Limits(), field.name) for field in fields(Limits)}
    limits = {name: 0 if value == Rate(0, 0) else value for name, value in limits.items()}
    assert found == {**CONSTANTS, **limits}


def test_every_public_constant_of_these_modules_is_listed() -> None:
    """A limit that is added to one of them is added to the document as well."""
    for module in (admission, rejected, requests, throttle):
        names = {name for name in vars(module) if name.isupper() and not name.startswith("_")}
        assert names - set(CONSTANTS) == set()


def test_no_store_has_limits_of_its_own_for_publishing_ids() -> None:
    stores = sorted((ROOT / "chat_protocol" / "stores").rglob("*.py"))
    assert len(stores) > 10
    defined = re.compile(r"^_?\w*PUBLISHING_IDS?(_STEP)? = \d", re.MULTILINE)
    assert [path.name for path in stores if defined.search(path.read_text())] == []


def test_limits_that_may_be_none_are_those_that_say_so_in_the_program() -> None:
    rows = table(SECTIONS["Limits"])
    found = {row["limit"].strip("`") for row in rows if "may be none" in row["what happens at it"]}
    source = (ROOT / "chat_protocol/domain/limits.py").read_text()
    said = re.findall(r"^    (\w+): \w+ = [^\n]+\n    \"\"\"[^\"]*\b0: none\.\"\"\"", source, re.M)
    assert found == set(said)


def test_the_longest_string() -> None:
    (row,) = [row for row in table(SECTIONS["Limits"]) if row["clause"] == "L5"]
    longest = int(row["value"].split()[0].replace(",", ""))
    STRING.encode("x" * longest)
    with pytest.raises(ValueError, match=str(longest)):
        STRING.encode("x" * (longest + 1))


def test_options_that_are_named_exist() -> None:
    named = re.findall(r"`--([a-z-]+)`", TEXT)
    assert named
    assert set(named) <= set(Options())


# Properties.


def test_the_tables_of_properties_are_what_a_login_has() -> None:
    asked_for, granted = tables(SECTIONS["Version 2: login"])
    _, _, answer = EXAMPLES["E11"]
    assert [row["property"].strip("`") for row in granted] == list(answer.properties)
    source = (ROOT / "chat_protocol/server/requests.py").read_text()
    read_by_server = re.findall(r'(?:properties\.get\(|_number\(properties, )"(\w+)"', source)
    listed = {row["property"].strip("`") for row in asked_for}
    assert listed == {"product", "version", *read_by_server}


# Publishing ids.


class Ids:
    """A Ledger that knows the publishing ids of one sender."""

    mailbox_limit = 0

    def __init__(self, stored: Ranges) -> None:
        self._stored = stored

    def find(self, user: User) -> int:
        return 1

    def room(self, user_id: int) -> int:
        return 10

    def published(self, sender: Session) -> Ranges:
        return self._stored

    def draw(self, count: int) -> int:
        return 1


def _published(publishing_id: int, *stored: int) -> Message:
    """A message to everyone under a publishing id, with these edges of ids stored before."""
    sender: Any = None
    one = Message(sender, EVERYONE, [bytes(4)], [b"x"], [b""], 1, 2, publishing_id)
    admission.admit(one, Ids(Ranges(stored)))
    return one


def test_publishing_ids_are_as_s37_and_s38_say() -> None:
    rows = tables(SECTIONS["Version 2: publish"])[0]
    assert [row["the server"].split()[0] for row in rows] == ["takes", "answers", "refuses"]
    assert _published(8, 5, 8).offset
    again = _published(7, 5, 8)
    assert (again.accepted, again.offset) == (1, 0)
    assert _published(4, 5, 8).refusal is Code.OUT_OF_ORDER
    assert "not known" not in _published(4, 5, 8).detail
    below = _published(4, 5, 5 + admission.PUBLISHING_IDS)
    assert (below.refusal, "is not known" in below.detail) == (Code.OUT_OF_ORDER, True)
    highest, step = 7, admission.MAX_PUBLISHING_ID_STEP
    assert _published(highest + step, 5, 8).offset
    assert _published(highest + step + 1, 5, 8).refusal is Code.MALFORMED
    assert _published(admission.MAX_FIRST_PUBLISHING_ID).offset
    assert _published(admission.MAX_FIRST_PUBLISHING_ID + 1).refusal is Code.MALFORMED
    last = admission.MAX_PUBLISHING_ID
    assert _published(last, last - 1, last).offset
    assert _published(last + 1, last - 1, last).refusal is Code.MALFORMED


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
        ("a\u2800", None),
        *((f"a{chr(code)}", None) for code in (0x34F, 0x115F, 0x180B, 0x3164, 0xFE0F, 0xE0100)),
    ],
)
def test_usernames_are_as_s5_says(name: str, normal: str | None) -> None:
    if normal is None:
        with pytest.raises(InvalidUsername):
            normalize_username(name)
    else:
        assert normalize_username(name) == normal


# The whole.


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_lines_are_short_and_fences_closed(path: Path) -> None:
    text = path.read_text()
    assert text.count("```") % 2 == 0
    long = [line for line in text.splitlines() if len(line) > 100 and not line.startswith("|")]
    assert long == []
