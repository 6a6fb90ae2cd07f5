from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.cli.intents import SendText, ShowHistory
from chat_protocol.cli.lines import parse_line
from chat_protocol.cli.text import (
    as_display,
    as_json,
    as_line,
    as_record,
    excerpt,
    quoted,
    quoted_list,
    user_as_json,
    user_as_line,
    visible,
)
from chat_protocol.client import ReceivedMessage, UserInfo

NOON = datetime(2023, 11, 14, 12, 0, 0, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC-1")
        time.tzset()
        yield
    time.tzset()


def message(
    text: str = "hi",
    sender: str = "bob",
    sent_at: int = 1_699_963_200 * 10**9,
    to: tuple[str, ...] = ("alice",),
    everyone: bool = False,
    offset: int = 0,
) -> ReceivedMessage:
    return ReceivedMessage(sender, text, sent_at, to, everyone, offset)


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
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bob\u3164", "bob\\u3164"),
        ("b\u034fob", "b\\u034fob"),
        ("bob\ufe0f", "bob\\ufe0f"),
        ("bob\U000e0100", "bob\\U000e0100"),
        ("\u2800", "\\u2800"),
        ("b\u0378", "b\\u0378"),
        ("b\u202eob", "b\\u202eob"),
    ],
)
def test_names_show_what_readers_do_not_see(name: str, shown: str) -> None:
    assert quoted(name) == quoted_list([name]) == shown
    assert as_line(message(name, sender=name)).split("\t")[1] == shown
    assert f" {shown} to alice: " in as_display(message(sender=name), NOON)
    assert user_as_line(UserInfo(name, False, 0)).split("\t")[0] == shown


def test_texts_keep_the_variation_selectors_of_emoji() -> None:
    assert visible("\u2764\ufe0f") == "\u2764\ufe0f"


@given(st.text())
def test_formatted_text_contains_no_control_characters(text: str) -> None:
    shown_all = (
        visible(text),
        quoted(text),
        excerpt(text),
        as_line(message(text, sender=text)),
        as_record(message(text, sender=text, to=(text, text))),
        as_display(message(text, sender=text, to=(text, text)), NOON),
        user_as_line(UserInfo(text, True, 0)),
    )
    for shown in shown_all:
        assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bob", "bob"),
        ("bob b", '"bob b"'),
        ("a:b", '"a:b"'),
        ("a,b", '"a,b"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("/quit", '"/quit"'),
        ("", '""'),
        ("b\x1bob", "b\\x1bob"),
    ],
)
def test_ambiguous_names_are_quoted(name: str, shown: str) -> None:
    assert quoted(name) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1))
def test_a_quoted_name_can_be_typed(name: str) -> None:
    assert parse_line(f"{quoted(name)}: hi") == SendText((name,), "hi")
    assert parse_line(f"/msg {quoted(name)} hi") == SendText((name,), "hi")
    assert parse_line(f"{quoted(name)}, {quoted(name)}: hi") == SendText((name, name), "hi")
    assert parse_line(f"/msg {quoted(name)},x hi") == SendText((name, "x"), "hi")
    assert parse_line(f"/history {quoted(name)} 5") == ShowHistory(name, 5)


def test_a_message_shows_its_local_time() -> None:
    assert as_display(message(), NOON, "alice") == "[13:00:00] bob: hi"


def test_a_message_of_another_day_shows_its_date() -> None:
    assert (
        as_display(message(sent_at=1_699_876_800), NOON, "alice") == "[2023-11-13 13:00:00] bob: hi"
    )


@pytest.mark.parametrize("sent_at", [0, 1, 10**11 - 1, 10**17 - 1, 2**63, 2**64 - 1])
def test_any_timestamp_can_be_shown(sent_at: int) -> None:
    odd = message(sent_at=sent_at)
    assert as_display(odd, NOON, "alice").endswith("] bob: hi")
    assert as_line(odd).endswith("\tbob\thi")
    assert json.loads(as_json(odd))["time"] == sent_at


def test_a_time_outside_the_calendar_is_shown_as_unknown() -> None:
    odd = message(sent_at=10**40)
    assert as_display(odd, NOON, "alice") == "[??:??:??] bob: hi"
    assert as_line(odd) == "-\tbob\thi"
    assert json.loads(as_json(odd))["iso"] is None


def test_a_sender_name_cannot_imitate_another_message() -> None:
    odd = message(sender="carol: pay me\n[13:00:01] dave")
    assert as_display(odd, NOON, "alice") == '[13:00:00] "carol: pay me\\n[13:00:01] dave": hi'


def test_a_line_always_has_three_columns() -> None:
    odd = message("a\tb\nc\\n", sender="b\tob")
    assert as_line(odd) == "2023-11-14T13:00:00+01:00\tb\\tob\ta\\tb\\nc\\\\n"


def test_json_is_one_line_of_ascii_with_all_fields() -> None:
    line = as_json(message("a\nü\x7f\u202e"))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {
        "from": "bob",
        "to": ["alice"],
        "everyone": False,
        "text": "a\nü\x7f\u202e",
        "time": 1_699_963_200 * 10**9,
        "iso": "2023-11-14T12:00:00Z",
        "offset": None,
    }


def test_json_of_a_message_to_everyone() -> None:
    found = json.loads(as_json(message(to=(), everyone=True, offset=7)))
    assert (found["to"], found["everyone"], found["offset"]) == ([], True, 7)


def test_recipients_are_shown_unless_the_user_is_the_only_one() -> None:
    several = message(to=("alice", "b, c", "all users"))
    assert as_display(several, NOON, "alice") == (
        '[13:00:00] bob to alice, "b, c", "all users": hi'
    )
    assert as_display(message(to=(), everyone=True), NOON, "alice") == (
        "[13:00:00] bob to all users: hi"
    )
    assert as_display(message(), NOON) == "[13:00:00] bob to alice: hi"


def test_long_recipient_lists_are_cut_for_people_but_not_for_programs() -> None:
    names = tuple(f"user{number}" for number in range(10))
    assert quoted_list(names).endswith("user6 and 3 more")
    assert quoted_list(names[:8]).endswith("user6, user7")
    assert as_record(message(to=names)).count("user") == 10


def test_a_record_always_has_four_columns() -> None:
    odd = message("a\tb", sender="b\tob", to=("c\tarol", "d"))
    assert as_record(odd) == '2023-11-14T13:00:00+01:00\tb\\tob\t"c\\tarol", d\ta\\tb'
    assert as_record(message(to=(), everyone=True)).split("\t")[2] == "all users"


def test_an_excerpt() -> None:
    assert excerpt("h\x1bi") == '"h\\x1bi"'
    assert excerpt("x" * 40) == f'"{"x" * 40}"'
    assert excerpt("x" * 41) == f'"{"x" * 39}…"'


def test_a_user_on_a_line() -> None:
    user = UserInfo("b\tob\\", True, 1_699_963_200 * 10**9)
    assert user_as_line(user) == "b\\tob\\\\\tonline\t2023-11-14T13:00:00+01:00"
    assert user_as_line(UserInfo("bob", False, 10**40)) == "bob\toffline\t-"
    assert json.loads(user_as_json(user)) == {
        "name": "b\tob\\",
        "online": True,
        "last_login": 1_699_963_200 * 10**9,
        "iso": "2023-11-14T12:00:00Z",
    }
