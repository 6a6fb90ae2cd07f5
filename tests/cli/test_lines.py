from __future__ import annotations

import pytest

from chat_protocol.cli.commands import COMMANDS, DEFAULT_HISTORY, help_text
from chat_protocol.cli.intents import (
    CloseConversation,
    InvalidInput,
    NoIntent,
    OpenConversation,
    Quit,
    SendText,
    SetBell,
    ShowHelp,
    ShowHistory,
    ShowUsers,
)
from chat_protocol.cli.lines import parse_line


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("", NoIntent()),
        ("   ", NoIntent()),
        ("/quit", Quit()),
        ("/help", ShowHelp()),
        ("bob: hi there", SendText(("bob",), "hi there")),
        ("bob:   hi ", SendText(("bob",), "hi")),
        ("/msg bob hi there", SendText(("bob",), "hi there")),
        ("/msg  bob   hi", SendText(("bob",), "hi")),
        ('"bob b": hi', SendText(("bob b",), "hi")),
        ('/msg "bob b" hi', SendText(("bob b",), "hi")),
        (r'"a \"b\" \\c": hi', SendText((r'a "b" \c',), "hi")),
        ('"a: b": hi', SendText(("a: b",), "hi")),
        ("/msg a:b hi", SendText(("a:b",), "hi")),
        ("/msg a: hi", SendText(("a:",), "hi")),
        ("bob: x: y", SendText(("bob",), "x: y")),
        ("bob, carol: hi", SendText(("bob", "carol"), "hi")),
        ("bob,carol: hi", SendText(("bob", "carol"), "hi")),
        ('bob, "c, d", e: hi', SendText(("bob", "c, d", "e"), "hi")),
        ("/msg bob,carol hi", SendText(("bob", "carol"), "hi")),
        ('/msg "b,b", carol hi', SendText(("b,b", "carol"), "hi")),
        ("/all hi there", SendText((), "hi there")),
        ("/users", ShowUsers()),
        ("/history", ShowHistory(None, DEFAULT_HISTORY)),
        ("/history 5", ShowHistory(None, 5)),
        ("/history bob", ShowHistory("bob", DEFAULT_HISTORY)),
        ("/history  bob  5 ", ShowHistory("bob", 5)),
        ('/history "bob b" 5', ShowHistory("bob b", 5)),
        ('/history "5"', ShowHistory("5", DEFAULT_HISTORY)),
        ("/history a:b", ShowHistory("a:b", DEFAULT_HISTORY)),
        ("well, that is: fine", SendText(None, "well, that is: fine")),
        ("bob, carol", SendText(None, "bob, carol")),
        ("bob,: hi", SendText(None, "bob,: hi")),
        ("just text", SendText(None, "just text")),
        ("http://example.org/", SendText(None, "http://example.org/")),
        ("12:30 is fine", SendText(None, "12:30 is fine")),
        ("bob b: hi", SendText(None, "bob b: hi")),
        (" bob: hi", SendText(None, "bob: hi")),
        (" /quit", SendText(None, "/quit")),
        ('"quoted" text', SendText(None, '"quoted" text')),
    ],
)
def test_valid_lines(line: str, meaning: object) -> None:
    assert parse_line(line) == meaning


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/frob", "unknown command /frob"),
        ("/quitt", "unknown command /quitt"),
        ("/msg", "usage: /msg NAME text"),
        ('/msg "bob hi', "usage: /msg NAME text"),
        ("/msg bob", "the message is empty"),
        ("bob:", "the message is empty"),
        ("bob:  ", "the message is empty"),
        ('"": hi', "cannot be empty"),
        ('bob, "": hi', "cannot be empty"),
        ("/msg bob,carol", "the message is empty"),
        ('/msg "bob"hi there', "usage: /msg NAME text"),
        ("/all", "usage: /all text"),
        ("/all  ", "usage: /all text"),
        ("/history bob b", "usage: /history"),
        ('/history ""', "usage: /history"),
        ("/history 0", "at least 1"),
    ],
)
def test_invalid_lines(line: str, expected: str) -> None:
    meaning = parse_line(line)
    assert isinstance(meaning, InvalidInput)
    assert expected in meaning.sentence


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("/query bob", OpenConversation(("bob",))),
        ("/query bob, carol", OpenConversation(("bob", "carol"))),
        ('/query "bob b"', OpenConversation(("bob b",))),
        ("/close", CloseConversation()),
        ("/bell", SetBell(None)),
        ("/bell on", SetBell(True)),
        ("/bell off ", SetBell(False)),
        ("/bell loud", InvalidInput("usage: /bell on or /bell off")),
        ("/users", ShowUsers()),
        ("bob: hi", SendText(("bob",), "hi")),
    ],
)
def test_the_full_screen_has_more_commands(line: str, meaning: object) -> None:
    assert parse_line(line, screen=True) == meaning
    if line.startswith(("/query", "/close", "/bell")):
        word = line.split()[0]
        assert parse_line(line) == InvalidInput(f"unknown command {word}; /help lists the commands")


@pytest.mark.parametrize("line", ["/query", "/query bob carol", '/query ""', '/query "bob'])
def test_query_needs_names(line: str) -> None:
    meaning = parse_line(line, screen=True)
    assert isinstance(meaning, InvalidInput)
    assert "usage: /query NAME" in meaning.sentence


def test_query_accepts_a_known_name_without_quotes() -> None:
    assert parse_line("/query bob b", {"bob b"}, screen=True) == OpenConversation(("bob b",))


def test_the_help_lists_every_command() -> None:
    for command in COMMANDS.values():
        assert command.name in help_text(screen=True)
        assert (f"  {command.name}" in help_text()) is not command.screen_only
    assert max(map(len, help_text(screen=True).split("\n"))) < 80


def test_a_known_name_needs_no_quotes() -> None:
    """An answer to "bob b" must not go to the current recipient as text."""
    known = dict.fromkeys(["bob", "bob b", "a: b", "c, d", "b 7"])
    assert parse_line("bob b: hi", known) == SendText(("bob b",), "hi")
    assert parse_line("a: b: hi", known) == SendText(("a: b",), "hi")
    assert parse_line("bob: hi", known) == SendText(("bob",), "hi")
    assert parse_line("bob b:", known) == InvalidInput(
        "the message is empty: write the text after the name"
    )
    assert parse_line("a: b, bob b, x: hi", known) == SendText(("a: b", "bob b", "x"), "hi")
    assert parse_line("c, d: hi", known) == SendText(("c, d",), "hi")
    assert parse_line("/history bob b", known) == ShowHistory("bob b", DEFAULT_HISTORY)
    assert parse_line("/history bob b 3", known) == ShowHistory("bob b", 3)
    assert parse_line("/history b 7", known) == ShowHistory("b 7", DEFAULT_HISTORY)
