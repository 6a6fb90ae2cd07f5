"""The frame around the messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.cli.screen.conversations import EVERYONE
from chat_protocol.cli.screen.frame import prompt_row, sidebar_rows, status_row, title_row
from chat_protocol.cli.screen.model import ConnectionStatus, Paste
from tests.cli.screen.samples import Sample, message, plain
from tests.cli.screen.test_rows import columns


def sample_with_people() -> Sample:
    sample = Sample()
    model = sample.model
    model.open(EVERYONE)
    for name, online in (("bob", True), ("carol", False), ("dave", True)):
        model.set_presence(name, online)
    model.receive(message("hi", offset=1))
    return sample


def test_the_sidebar() -> None:
    model = sample_with_people().model
    assert plain(sidebar_rows(model, 10)) == [
        " 1   chat",
        " 2   everyone",
        " 3 ● bob               1",
        " other users",
        " ● dave",
        " ○ carol",
    ]


def test_a_sidebar_longer_than_the_screen() -> None:
    model = sample_with_people().model
    for number in range(30):
        model.open((f"t{number:02}",))
        model.set_presence(f"p{number:02}", False)
    rows = plain(sidebar_rows(model, 12))
    assert len(rows) == 12
    assert rows[0] == " 1   chat"
    assert rows[-1] == "   and 30 more"
    model.show(model.conversations[25])
    rows = plain(sidebar_rows(model, 12))
    assert any("26   t22" in row for row in rows)


def status(sample: Sample, width: int = 120) -> str:
    (row,) = plain([status_row(sample.model, width)])
    return row


def test_the_status_line() -> None:
    sample = sample_with_people()
    model = sample.model
    assert status(sample) == " alice@example:5555 ● online │ unread: bob 1"
    model.connection = ConnectionStatus("the connection was refused", retry_at=4.2)
    assert "not connected: the connection was refused; retrying in 5 s" in status(sample)
    sample.clock.advance(4)
    assert "retrying in 1 s" in status(sample)
    sample.clock.advance(1)
    assert "retrying now" in status(sample)
    model.connection = ConnectionStatus()
    model.pending = 77
    assert "receiving 77 messages" in status(sample)
    model.hint = "this conversation cannot be closed"
    assert status(sample).endswith("this conversation cannot be closed")
    model.paste = Paste("one\ntwo")
    assert status(sample) == " 2 lines pasted: send (o)ne message, (s)everal, or (n)one?"


def test_more_below() -> None:
    sample = sample_with_people()
    model = sample.model
    model.show(model.conversations[2])
    model.current.bottom = model.current.entries[0]
    assert "▼ more below" in status(sample)
    model.receive(message("more", offset=2))
    assert "▼ more below 1 new" in status(sample)


def test_titles_and_prompts() -> None:
    model = sample_with_people().model
    seen = []
    for conversation in [
        *model.conversations,
        model.open(("carol",)),
        model.open(("bob", "carol")),
    ]:
        model.show(conversation)
        seen += plain([title_row(model, 60), prompt_row(model, 60)])
    assert seen == [
        " 1 chat │ example:5555",
        ">",
        " 2 everyone │ all users of example:5555",
        "everyone>",
        " 3 bob │ online",
        "bob>",
        " 4 carol │ offline",
        "carol>",
        " 5 bob, carol",
        "bob, carol>",
    ]


@given(st.text(min_size=1), st.integers(1, 150), st.text())
def test_long_names_fit_the_frame(name: str, width: int, why: str) -> None:
    model = Sample().model
    model.set_presence(name, True)
    model.set_presence("x" + name, True)
    conversation = model.open((name,))
    conversation.unread = 10_000
    model.connection = ConnectionStatus(why)
    for row in plain([status_row(model, width), title_row(model, width)]):
        assert columns(row) <= width
    assert all(columns(row) <= 24 for row in plain(sidebar_rows(model, 10)))
    model.show(conversation)
    assert columns(plain([prompt_row(model, width)])[0]) <= width // 3 + 2
