"""Tab completion."""

from __future__ import annotations

import pytest

from chat_protocol.cli.commands import COMMANDS
from chat_protocol.cli.screen.capabilities import Capabilities
from chat_protocol.cli.screen.completion import (
    MAX_CANDIDATES,
    Completion,
    candidates,
    common_prefix,
)

NAMES = ["bob", "bobby", "Carol", "bob b", "eve"]


@pytest.mark.parametrize(
    ("line", "start", "found"),
    [
        ("/q", 0, ["/query ", "/quit "]),
        ("/his", 0, ["/history "]),
        ("/frob", 0, []),
        ("b", 0, ["bob: ", "bobby: ", '"bob b": ']),
        ("ca", 0, ["Carol: "]),
        ('"bob ', 0, ['"bob b": ']),
        ("bob, e", 5, ["eve: "]),
        ("/msg bo", 5, ["bob ", "bobby ", '"bob b" ']),
        ("/query bob,e", 11, ["eve "]),
        ("/history C", 9, ["Carol "]),
        ("/msg ", 5, ["bob ", "bobby ", "Carol ", '"bob b" ', "eve "]),
        ("/msg bob I think e", 17, ["eve "]),
        ("/all ca", 5, ["Carol "]),
        ("ask ev", 4, ["eve "]),
        (" ev", 1, ["eve "]),
        ("", 0, []),
        ("ask ", 4, []),
        ("nobody", 0, []),
    ],
)
def test_candidates(line: str, start: int, found: list[str]) -> None:
    assert candidates(line, NAMES) == (start, found)


def test_all_commands_are_completed() -> None:
    assert candidates("/", NAMES) == (0, [f"{name} " for name in COMMANDS])


def test_the_number_of_candidates_is_limited() -> None:
    names = [f"p{number}" for number in range(2 * MAX_CANDIDATES)]
    assert len(candidates("p", names)[1]) == MAX_CANDIDATES


def test_the_common_prefix() -> None:
    assert common_prefix(["bob: ", "bobby: "]) == "bob"
    assert common_prefix(["bob: "]) == "bob: "
    assert common_prefix(["bob", "eve"]) == ""
    assert common_prefix([]) == ""


class Tab:
    def __init__(self, line: str) -> None:
        self.line = line
        self.completion = Completion()

    def press(self, by: int = 1) -> str:
        self.line = self.completion.next(self.line, by, lambda: NAMES[:3]) or self.line
        return self.line


def test_a_single_candidate_is_completed() -> None:
    tab = Tab("ca")
    assert tab.press() == "Carol: "
    assert tab.completion.hint(Capabilities()) == ""


def test_repeated_presses_cycle_through_the_candidates() -> None:
    tab = Tab("b")
    assert tab.press() == "bob"
    assert tab.completion.hint(Capabilities()) == "bob:  bobby:"
    assert tab.press() == "bob: "
    assert tab.completion.hint(Capabilities()) == "[bob:]  bobby:"
    assert tab.press() == "bobby: "
    assert tab.press() == "bob: "
    assert tab.press(-1) == "bobby: "


def test_another_line_restarts_the_completion() -> None:
    tab = Tab("b")
    tab.press()
    tab.line = "/msg C"
    assert tab.press() == "/msg Carol "
