from __future__ import annotations

import pytest

from chat_protocol.cli.commands import COMMANDS, DEFAULT_HISTORY, help_text
from chat_protocol.cli.intents import (
    CloseTalk,
    Help,
    Mistake,
    Nothing,
    OpenTalk,
    Quit,
    Ring,
    Say,
    ShowHistory,
    ShowUsers,
)
from chat_protocol.cli.lines import parse_line


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("", Nothing()),
        ("   ", Nothing()),
        ("/quit", Quit()),
        ("/help", Help()),
        ("bob: hi there", Say(("bob",), "hi there")),
        ("bob:   hi ", Say(("bob",), "hi")),
        ("/msg bob hi there", Say(("bob",), "hi there")),
        ("/msg  bob   hi", Say(("bob",), "hi")),
        ('"bob b": hi', Say(("bob b",), "hi")),
        ('/msg "bob b" hi', Say(("bob b",), "hi")),
        (r'"a \"b\" \\c": hi', Say((r'a "b" \c',), "hi")),
        ('"a: b": hi', Say(("a: b",), "hi")),
        ("/msg a:b hi", Say(("a:b",), "hi")),
        ("/msg a: hi", Say(("a:",), "hi")),
        ("bob: x: y", Say(("bob",), "x: y")),
        ("bob, carol: hi", Say(("bob", "carol"), "hi")),
        ("bob,carol: hi", Say(("bob", "carol"), "hi")),
        ('bob, "c, d", e: hi', Say(("bob", "c, d", "e"), "hi")),
        ("/msg bob,carol hi", Say(("bob", "carol"), "hi")),
        ('/msg "b,b", carol hi', Say(("b,b", "carol"), "hi")),
        ("/all hi there", Say((), "hi there")),
        ("/users", ShowUsers()),
        ("/history", ShowHistory(None, DEFAULT_HISTORY)),
        ("/history 5", ShowHistory(None, 5)),
        ("/history bob", ShowHistory("bob", DEFAULT_HISTORY)),
        ("/history  bob  5 ", ShowHistory("bob", 5)),
        ('/history "bob b" 5', ShowHistory("bob b", 5)),
        ('/history "5"', ShowHistory("5", DEFAULT_HISTORY)),
        ("/history a:b", ShowHistory("a:b", DEFAULT_HISTORY)),
        ("well, that is: fine", Say(None, "well, that is: fine")),
        ("bob, carol", Say(None, "bob, carol")),
        ("bob,: hi", Say(None, "bob,: hi")),
        ("just text", Say(None, "just text")),
        ("http://example.org/", Say(None, "http://example.org/")),
        ("12:30 is fine", Say(None, "12:30 is fine")),
        ("bob b: hi", Say(None, "bob b: hi")),
        (" bob: hi", Say(None, "bob: hi")),
        (" /quit", Say(None, "/quit")),
        ('"quoted" text', Say(None, '"quoted" text')),
    ],
)
def test_meaning(line: str, meaning: object) -> None:
    assert parse_line(line) == meaning


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/frob", "there is no /frob"),
        ("/quitt", "there is no /quitt"),
        ("/msg", "write /msg NAME text"),
        ('/msg "bob hi', "write /msg NAME text"),
        ("/msg bob", "no text"),
        ("bob:", "no text"),
        ("bob:  ", "no text"),
        ('"": hi', "cannot be empty"),
        ('bob, "": hi', "cannot be empty"),
        ("/msg bob,carol", "no text"),
        ('/msg "bob"hi there', "write /msg NAME text"),
        ("/all", "write /all text"),
        ("/all  ", "write /all text"),
        ("/history bob b", "write /history"),
        ('/history ""', "write /history"),
        ("/history 0", "1 message or more"),
    ],
)
def test_mistakes_say_what_is_wrong(line: str, says: str) -> None:
    meaning = parse_line(line)
    assert isinstance(meaning, Mistake)
    assert says in meaning.sentence


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("/query bob", OpenTalk(("bob",))),
        ("/query bob, carol", OpenTalk(("bob", "carol"))),
        ('/query "bob b"', OpenTalk(("bob b",))),
        ("/close", CloseTalk()),
        ("/bell", Ring(None)),
        ("/bell on", Ring(True)),
        ("/bell off ", Ring(False)),
        ("/bell loud", Mistake("write /bell on or /bell off")),
        ("/users", ShowUsers()),
        ("bob: hi", Say(("bob",), "hi")),
    ],
)
def test_the_full_screen_has_more_commands(line: str, meaning: object) -> None:
    assert parse_line(line, screen=True) == meaning
    if line.startswith(("/query", "/close", "/bell")):
        word = line.split()[0]
        assert parse_line(line) == Mistake(f"there is no {word}; /help shows what there is")


@pytest.mark.parametrize("line", ["/query", "/query bob carol", '/query ""', '/query "bob'])
def test_a_conversation_needs_names(line: str) -> None:
    meaning = parse_line(line, screen=True)
    assert isinstance(meaning, Mistake)
    assert "write /query NAME" in meaning.sentence


def test_a_conversation_with_a_name_one_has_talked_with() -> None:
    assert parse_line("/query bob b", {"bob b"}, screen=True) == OpenTalk(("bob b",))


def test_the_help_has_every_command() -> None:
    for command in COMMANDS.values():
        assert command.name in help_text(screen=True)
        assert (f"  {command.name}" in help_text()) is not command.screen_only
    assert max(map(len, help_text(screen=True).split("\n"))) < 80


def test_a_name_one_has_talked_with_needs_no_quotes() -> None:
    """Who answers "bob b" must not write to whom they wrote last."""
    known = dict.fromkeys(["bob", "bob b", "a: b", "c, d", "b 7"])
    assert parse_line("bob b: hi", known) == Say(("bob b",), "hi")
    assert parse_line("a: b: hi", known) == Say(("a: b",), "hi")
    assert parse_line("bob: hi", known) == Say(("bob",), "hi")
    assert parse_line("bob b:", known) == Mistake("there is no text to send behind the name")
    assert parse_line("a: b, bob b, x: hi", known) == Say(("a: b", "bob b", "x"), "hi")
    assert parse_line("c, d: hi", known) == Say(("c, d",), "hi")
    assert parse_line("/history bob b", known) == ShowHistory("bob b", DEFAULT_HISTORY)
    assert parse_line("/history bob b 3", known) == ShowHistory("bob b", 3)
    assert parse_line("/history b 7", known) == ShowHistory("b 7", DEFAULT_HISTORY)
