from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.cli.lines import Say, parse_line
from chat_protocol.cli.text import arrival, as_json, as_line, quoted, visible
from chat_protocol.client import ReceivedMessage

NOON = datetime(2023, 11, 14, 12, 0, 0, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC-1")
        time.tzset()
        yield
    time.tzset()


def message(
    text: str = "hi", sender: str = "bob", sent_at: int = 1_699_963_200 * 10**9
) -> ReceivedMessage:
    return ReceivedMessage(sender, text, sent_at, "alice")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünï, 漢字, 🙂", "plain, ünï, 漢字, 🙂"),
        ("a\\b", "a\\b"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x00\x08\x7f", "\\x00\\x08\\x7f"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\u200b\ufeff\u00ad", "\\u200b\\ufeff\\xad"),
        ("\ue000\U000e0041\U0010fffd", "\\ue000\\U000e0041\\U0010fffd"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_acts_is_shown_instead(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_that_is_shown_acts(text: str) -> None:
    for shown in (visible(text), quoted(text), as_line(message(text, sender=text))):
        assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bob", "bob"),
        ("bob b", '"bob b"'),
        ("a:b", '"a:b"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("/quit", '"/quit"'),
        ("", '""'),
        ("b\x1bob", "b\\x1bob"),
    ],
)
def test_a_name_is_quoted_where_it_could_mislead(name: str, shown: str) -> None:
    assert quoted(name) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1))
def test_a_quoted_name_can_be_typed(name: str) -> None:
    assert parse_line(f"{quoted(name)}: hi") == Say(name, "hi")
    assert parse_line(f"/msg {quoted(name)} hi") == Say(name, "hi")


def test_an_arrival_has_its_local_time() -> None:
    assert arrival(message(), NOON) == "[13:00:00] bob: hi"


def test_an_arrival_of_another_day_has_its_date() -> None:
    assert arrival(message(sent_at=1_699_876_800), NOON) == "[2023-11-13 13:00:00] bob: hi"


@pytest.mark.parametrize("sent_at", [0, 1, 10**11 - 1, 10**17 - 1, 2**63, 2**64 - 1])
def test_any_time_can_be_shown(sent_at: int) -> None:
    odd = message(sent_at=sent_at)
    assert arrival(odd, NOON).endswith("] bob: hi")
    assert as_line(odd).endswith("\tbob\thi")
    assert json.loads(as_json(odd))["time"] == sent_at


def test_a_time_outside_the_calendar_is_said_to_be_unknown() -> None:
    odd = message(sent_at=10**40)
    assert arrival(odd, NOON) == "[??:??:??] bob: hi"
    assert as_line(odd) == "-\tbob\thi"
    assert json.loads(as_json(odd))["iso"] is None


def test_a_sender_cannot_look_like_a_message_of_somebody_else() -> None:
    odd = message(sender="carol: pay me\n[13:00:01] dave")
    assert arrival(odd, NOON) == '[13:00:00] "carol: pay me\\n[13:00:01] dave": hi'


def test_a_line_has_three_columns_whatever_is_in_them() -> None:
    odd = message("a\tb\nc\\n", sender="b\tob")
    assert as_line(odd) == "2023-11-14T13:00:00+01:00\tb\\tob\ta\\tb\\nc\\\\n"


def test_json_is_ascii_on_one_line_and_says_all() -> None:
    line = as_json(message("a\nü\x7f\u202e"))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {
        "from": "bob",
        "to": "alice",
        "text": "a\nü\x7f\u202e",
        "time": 1_699_963_200 * 10**9,
        "iso": "2023-11-14T12:00:00Z",
    }
