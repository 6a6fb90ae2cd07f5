"""Rendering of entries at given widths."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcwidth

from chat_protocol.cli.screen.capabilities import ASCII, Capabilities, detect_capabilities
from chat_protocol.cli.screen.entries import Entry, EntryKind
from chat_protocol.cli.screen.rows import MAX_MESSAGE_ROWS, entry_rows, separator, wrap
from tests.cli.screen.samples import NOON, entry, plain

LOOK = Capabilities()


def columns(text: str) -> int:
    return sum(max(0, wcwidth(character)) for character in text)


@pytest.mark.parametrize(
    ("text", "width", "rows"),
    [
        ("", 10, [""]),
        ("one two three", 20, ["one two three"]),
        ("one two three", 8, ["one two", "three"]),
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 5, ["one", "two", "three"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("a bcdefghij", 4, ["a", "bcde", "fghi", "j"]),
        ("one\ntwo\n\nthree\n", 20, ["one", "two", "", "three"]),
        ("one\r\ntwo", 20, ["one", "two"]),
        ("a\tb", 20, ["a    b"]),
        ("漢字漢字", 5, ["漢字", "漢字"]),
        ("e\u0301e\u0301e\u0301", 2, ["e\u0301e\u0301", "e\u0301"]),
        ("a\x1b[2Jb", 20, ["a\\x1b[2Jb"]),
        ("one\rtwo", 20, ["one\\rtwo"]),
    ],
)
def test_wrapping(text: str, width: int, rows: list[str]) -> None:
    assert wrap(text, width, LOOK) == (rows, 0)


def test_the_first_row_may_be_shorter() -> None:
    assert wrap("one two three", 8, LOOK, used=5) == (["one", "two", "three"], 0)
    assert wrap("abcdefgh ij", 8, LOOK, used=8) == (["", "abcdefgh", "ij"], 0)


def test_combining_characters_are_limited() -> None:
    (row,), _ = wrap("e" + "\u0301" * 1000 + "x", 10, LOOK)
    assert row == "e\u0301\u0301\u0301\u0301x"


def test_combining_characters_without_a_base_are_dropped() -> None:
    assert wrap("\u0301x", 10, LOOK) == (["x"], 0)


def test_emoji_are_not_joined() -> None:
    assert wrap("\U0001f469\u200d\U0001f469", 10, LOOK) == (["\U0001f469\U0001f469"], 0)
    assert wrap("a\u200db", 20, LOOK) == (["a\\u200db"], 0)
    assert wrap("\u2764\ufe0f!", 20, LOOK) == (["\u2764!"], 0)


def test_a_long_text_is_cut_with_a_notice() -> None:
    rows = entry_rows(entry("line\n" * 65_000), 80, LOOK)
    assert len(rows) == MAX_MESSAGE_ROWS
    assert "more characters" in plain(rows)[-1]
    text = "x" * 65_535
    rows = entry_rows(entry(text), 80, LOOK)
    shown = sum(row.count("x") for row in plain(rows[:-1]))
    assert f"{65_535 - shown} more characters" in plain(rows)[-1]


def test_a_text_that_just_fits_is_not_cut() -> None:
    rows, cut = wrap("\n".join("x" for _ in range(MAX_MESSAGE_ROWS)), 10, LOOK)
    assert (len(rows), cut) == (MAX_MESSAGE_ROWS, 0)
    rows, cut = wrap("\n".join("x" for _ in range(MAX_MESSAGE_ROWS + 1)), 10, LOOK)
    assert len(rows) < MAX_MESSAGE_ROWS
    assert cut > 0


@given(st.text(), st.integers(1, 30))
def test_rows_fit_and_contain_no_control_characters(text: str, width: int) -> None:
    rows, _ = wrap(text, max(2, width), LOOK)
    for row in rows:
        assert columns(row) <= max(2, width)
        assert not any(unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") for one in row)


@given(st.text(), st.integers(0, 30))
def test_fitting(text: str, width: int) -> None:
    fitting = LOOK.pad(text, width)
    assert columns(fitting) == width
    assert columns(ASCII.fit(text, width)) <= width


@given(st.text(), st.text(), st.integers(12, 100), st.sampled_from(list(EntryKind)))
def test_entries_fit_the_window(text: str, sender: str, width: int, kind: EntryKind) -> None:
    made = Entry(kind, text, NOON, sender, reason="no \x1b reason")
    for row in plain(entry_rows(made, width, LOOK)):
        assert columns(row) <= width


def test_a_message_of_several_rows() -> None:
    rows = plain(entry_rows(entry("one two\nthree"), 70, LOOK))
    assert rows == ["12:00          bob   one two", "                     three"]
    own = entry("one", EntryKind.STORED, "alice")
    assert plain(entry_rows(own, 70, LOOK)) == ["12:00        alice ✓ one"]
    assert plain(entry_rows(own, 70, ASCII)) == ["12:00        alice + one"]
    own.kind = EntryKind.SENDING
    assert plain(entry_rows(own, 70, LOOK)) == ["12:00        alice … one"]
    own.kind, own.reason = EntryKind.FAILED, "the mailbox is full"
    assert plain(entry_rows(own, 70, LOOK)) == [
        "12:00        alice ✗ one",
        "                     not sent: the mailbox is full",
    ]


def test_a_narrow_window() -> None:
    rows = plain(entry_rows(entry("one two three four five"), 24, LOOK))
    assert rows == ["12:00 bob   one two", "      three four five"]


def test_a_message_without_a_time() -> None:
    made = Entry(EntryKind.RECEIVED, "when?", None, "bob")
    assert plain(entry_rows(made, 70, LOOK)) == ["??:??          bob   when?"]


def test_names() -> None:
    assert LOOK.name("bob b") == '"bob b"'
    assert LOOK.name("bob\u202e") == "bob\\u202e"
    assert LOOK.name("bob\ufe0f") == "bob\\ufe0f"
    assert ASCII.name("Bj\u00f6rn") == "Bj\\xf6rn"
    assert LOOK.nick_style("bob") == LOOK.nick_style("bob")
    assert LOOK.nick_style("\ud800")
    rows = plain(entry_rows(entry("hi", sender="x" * 200), 70, LOOK))
    assert rows == [f"12:00 {'x' * 22}…   hi"]


def test_a_separator() -> None:
    assert plain([separator("new", 11, LOOK, "")]) == ["─── new ───"]
    assert plain([separator("new", 4, LOOK, "")]) == [" ne…"]


def test_the_locale_determines_the_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    class Out:
        encoding = "UTF-8"

    monkeypatch.setattr("sys.stdout", Out())
    assert detect_capabilities({}) == LOOK
    assert detect_capabilities({"LC_ALL": "de_DE.UTF-8"}) == LOOK
    assert detect_capabilities({"LC_ALL": "C"}) == ASCII
    assert detect_capabilities({"LC_ALL": "POSIX"}) == ASCII
    Out.encoding = "iso8859-1"
    assert detect_capabilities({}) == ASCII
