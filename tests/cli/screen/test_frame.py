"""What stands around the messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.cli.screen.conversations import EVERYONE
from chat_protocol.cli.screen.frame import prompt_row, side_rows, status_row, title_row
from chat_protocol.cli.screen.model import Link, Paste
from tests.cli.screen.samples import Sample, message, plain
from tests.cli.screen.test_rows import columns


def sample_with_people() -> Sample:
    sample = Sample()
    model = sample.model
    model.open(EVERYONE)
    for name, online in (("bob", True), ("carol", False), ("dave", True)):
        model.present(name, online)
    model.arrived(message("hi", offset=1))
    return sample


def test_the_list_at_the_side() -> None:
    model = sample_with_people().model
    assert plain(side_rows(model, 10)) == [
        " 1   chat",
        " 2   everyone",
        " 3 ● bob               1",
        " people",
        " ● dave",
        " ○ carol",
    ]


def test_a_list_that_is_longer_than_the_screen() -> None:
    model = sample_with_people().model
    for number in range(30):
        model.open((f"t{number:02}",))
        model.present(f"p{number:02}", False)
    rows = plain(side_rows(model, 12))
    assert len(rows) == 12
    assert rows[0] == " 1   chat"
    assert rows[-1] == "   and 30 more"
    model.show(model.talks[25])
    rows = plain(side_rows(model, 12))
    assert any("26   t22" in row for row in rows)


def status(sample: Sample, width: int = 120) -> str:
    (row,) = plain([status_row(sample.model, width)])
    return row


def test_the_status_line() -> None:
    sample = sample_with_people()
    model = sample.model
    assert status(sample) == " alice@example:5555 ● on-line │ unread: bob 1"
    model.link = Link("nobody answers there", retry_at=4.2)
    assert "not connected: nobody answers there; again in 5 s" in status(sample)
    sample.clock.advance(4)
    assert "again in 1 s" in status(sample)
    sample.clock.advance(1)
    assert "trying now" in status(sample)
    model.link = Link()
    model.catching_up = 77
    assert "77 are coming in" in status(sample)
    model.hint = "this one stays"
    assert status(sample).endswith("this one stays")
    model.paste = Paste("one\ntwo")
    assert status(sample) == " 2 lines pasted: (o)ne message, (s)everal, or (n)othing?"


def test_more_below() -> None:
    sample = sample_with_people()
    model = sample.model
    model.show(model.talks[2])
    model.current.bottom = model.current.entries[0]
    assert "▼ more below" in status(sample)
    model.arrived(message("more", offset=2))
    assert "▼ more below 1 new" in status(sample)


def test_titles_and_prompts() -> None:
    model = sample_with_people().model
    seen = []
    for talk in [*model.talks, model.open(("carol",)), model.open(("bob", "carol"))]:
        model.show(talk)
        seen += plain([title_row(model, 60), prompt_row(model, 60)])
    assert seen == [
        " 1 chat │ example:5555",
        ">",
        " 2 everyone │ every user of example:5555",
        "everyone>",
        " 3 bob │ here",
        "bob>",
        " 4 carol │ not here",
        "carol>",
        " 5 bob, carol",
        "bob, carol>",
    ]


@given(st.text(min_size=1), st.integers(1, 150), st.text())
def test_names_do_not_break_the_frame(name: str, width: int, why: str) -> None:
    model = Sample().model
    model.present(name, True)
    model.present("x" + name, True)
    talk = model.open((name,))
    talk.unread = 10_000
    model.link = Link(why)
    for row in plain([status_row(model, width), title_row(model, width)]):
        assert columns(row) <= width
    assert all(columns(row) <= 24 for row in plain(side_rows(model, 10)))
    model.show(talk)
    assert columns(plain([prompt_row(model, width)])[0]) <= width // 3 + 2
