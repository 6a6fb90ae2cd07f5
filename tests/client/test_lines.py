from __future__ import annotations

import pytest

from chat_protocol.cli.lines import Help, Mistake, Nothing, Quit, Say, parse_line


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("", Nothing()),
        ("   ", Nothing()),
        ("/quit", Quit()),
        ("/help", Help()),
        ("bob: hi there", Say("bob", "hi there")),
        ("bob:   hi ", Say("bob", "hi")),
        ("/msg bob hi there", Say("bob", "hi there")),
        ("/msg  bob   hi", Say("bob", "hi")),
        ('"bob b": hi', Say("bob b", "hi")),
        ('/msg "bob b" hi', Say("bob b", "hi")),
        (r'"a \"b\" \\c": hi', Say(r'a "b" \c', "hi")),
        ('"a: b": hi', Say("a: b", "hi")),
        ("/msg a:b hi", Say("a:b", "hi")),
        ("/msg a: hi", Say("a:", "hi")),
        ("bob: x: y", Say("bob", "x: y")),
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
    ],
)
def test_mistakes_say_what_is_wrong(line: str, says: str) -> None:
    meaning = parse_line(line)
    assert isinstance(meaning, Mistake)
    assert says in meaning.sentence


def test_a_name_one_has_talked_with_needs_no_quotes() -> None:
    """Who answers "bob b" must not write to whom they wrote last."""
    known = ["bob", "bob b", "a: b"]
    assert parse_line("bob b: hi", known) == Say("bob b", "hi")
    assert parse_line("a: b: hi", known) == Say("a: b", "hi")
    assert parse_line("bob: hi", known) == Say("bob", "hi")
