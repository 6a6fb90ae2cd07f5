"""What is typed reaches the server, and what comes from it the screen."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from chat_protocol.cli.exit_codes import Exit, Failed
from chat_protocol.cli.screen.actions import CATCHING_UP, SLICE
from chat_protocol.cli.screen.conversations import EVERYONE
from chat_protocol.cli.screen.entries import Kind
from chat_protocol.cli.screen.history import PAGE, RECENT
from chat_protocol.client import Online
from chat_protocol.domain.limits import Limits
from chat_protocol.testing import MemoryServer
from tests.cli.screen.person import Person


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


@pytest.fixture
def alice(server: MemoryServer) -> Person:
    return Person(server, "alice")


@pytest.fixture
def bob(server: MemoryServer, alice: Person) -> Person:
    return Person(server, "bob")


def test_the_beginning(alice: Person) -> None:
    assert alice.titles == ["chat", "everyone"]
    assert alice.shown[0] == "* Connected to example:5555 as alice."
    assert alice.model.people == {}
    assert alice.model.link.why == ""
    alice.leave()


def test_a_conversation(alice: Person, bob: Person) -> None:
    assert alice.model.people == {"bob": True}
    assert bob.model.people == {"alice": True}
    alice.type("/query bob")
    assert alice.titles == ["chat", "everyone", "bob"]
    alice.type("hello")
    assert alice.shown == ["alice ✓ hello"]
    assert bob.titles == ["chat", "everyone", "alice"]
    assert bob.model.unread == 1
    assert bob.model.current.is_home
    bob.type("alice: hi")
    assert bob.shown == ["alice   hello", "bob ✓ hi"]
    assert alice.shown == ["alice ✓ hello", "bob   hi"]
    bob.leave()
    assert alice.shown[-1] == "* bob has left"
    assert alice.model.people == {"bob": False}
    alice.leave()


def test_what_goes_to_everyone_does_not_change_whom_one_talks_with(
    alice: Person, bob: Person
) -> None:
    alice.type("bob: psst")
    alice.type("/all hello everyone")
    alice.type("secret")
    assert alice.shown == ["alice ✓ psst", "alice ✓ secret"]
    everyone = bob.model.find(EVERYONE)
    assert everyone is not None
    assert [one.text for one in everyone.entries] == ["hello everyone"]


def test_several(server: MemoryServer, alice: Person, bob: Person) -> None:
    carol = Person(server, "carol")
    alice.type("/msg carol,bob both of you")
    assert alice.titles[-1] == "bob, carol"
    assert bob.titles[-1] == "alice, carol"
    assert carol.titles[-1] == "alice, bob"
    carol.actions.show(carol.model.talks[-1])
    carol.type("fine")
    assert alice.shown == ["alice ✓ both of you", "carol   fine"]


def test_a_refusal(alice: Person) -> None:
    alice.type("nobody: hello")
    assert alice.shown == [
        "alice ✗ hello",
        "not sent: no user named nobody; who never logged",
        "in here cannot get messages",
    ]


def test_a_text_that_cannot_be_sent(alice: Person) -> None:
    alice.type("alice: " + "x" * 65_536)
    assert alice.model.hint.startswith("not sent: the text has 65536 bytes")
    alice.type("text")
    alice.type("alice: \udc80")
    assert alice.model.hint == "not sent: the text is not UTF-8"


def test_mistakes_are_hints(alice: Person) -> None:
    alice.type("to nobody")
    assert alice.model.hint.startswith("to whom?")
    alice.type("/frob")
    assert alice.model.hint == "there is no /frob; /help shows what there is"
    alice.type("/close")
    assert alice.model.hint == "this one stays"
    alice.type("/query nobody")
    assert "nobody" in alice.model.hint
    alice.type("")


def test_the_commands(alice: Person, bob: Person) -> None:
    alice.type("/users")
    assert alice.shown[-1] == "* here: alice, bob"
    alice.type("/help")
    assert any("/query bob" in row for row in alice.shown)
    alice.type("/bell")
    assert alice.model.hint == "the bell is on"
    alice.type("/bell off")
    assert (alice.model.hint, alice.model.bell) == ("the bell is off", False)
    alice.type("/query bob")
    alice.type("/close")
    assert alice.titles == ["chat", "everyone"]


def test_pasted_lines_are_texts(alice: Person, bob: Person) -> None:
    alice.type("/query bob")
    alice.actions.pasted(["/quit", "carol: hi", "  indented"])
    alice.server.flush()
    assert alice.shown == ["alice ✓ /quit", "alice ✓ carol: hi", "alice ✓   indented"]


def test_the_mailbox_and_then_what_was_before(server: MemoryServer, alice: Person) -> None:
    bob = Person(server, "bob")
    alice.type("bob: before")
    bob.leave()
    for number in range(3 * SLICE):
        alice.actions.typed(f"n{number}")
    server.flush()
    bob = Person(server, "bob")
    assert bob.model.catching_up == 0
    assert bob.titles == ["chat", "everyone", "alice"]
    talk = bob.model.talks[2]
    assert talk.unread == 3 * SLICE
    assert [one.text for one in talk.entries[:2]] == ["before", "n0"]
    assert talk.entries[-1].text == f"n{3 * SLICE - 1}"


def test_not_all_that_was_counted_needs_to_come(server: MemoryServer, alice: Person) -> None:
    """Some came before the connection broke, and were not acknowledged."""
    alice.actions.happened(Online(2, pending=5))
    assert alice.model.catching_up == 5
    server.advance(CATCHING_UP / 2)
    alice.type("alice: one")
    server.advance(CATCHING_UP / 2)
    assert alice.model.catching_up == 4
    server.advance(CATCHING_UP)
    assert alice.model.catching_up == 0
    alice.actions.happened(Online(2, pending=5))
    alice.leave()
    assert alice.model.catching_up == 5
    server.advance(60)
    # The run was over by then.
    assert alice.model.catching_up == 5


def test_the_past_is_fetched_once_and_in_order(server: MemoryServer, alice: Person) -> None:
    bob = Person(server, "bob")
    carol = Person(server, "carol")
    for number in range(500):
        alice.actions.typed(f"bob: n{number}")
        server.flush()
        bob.actions.typed(f"carol: c{number}")
        server.flush()
    bob.leave()
    carol.leave()
    bob = Person(server, "bob")
    assert bob.titles == ["chat", "everyone", "alice", "carol"]
    talk = bob.model.talks[2]
    bob.actions.show(talk)
    for _ in range(20):
        bob.actions.load_older(talk)
        server.flush()
    assert talk.complete
    assert [one.text for one in talk.entries] == [f"n{number}" for number in range(500)]
    carols = bob.model.talks[3]
    bob.type("/history carol 300")
    assert len(carols.entries) >= 300
    assert [one.text for one in carols.entries[-2:]] == ["c498", "c499"]


def test_what_is_rare_is_looked_for_far_back(server: MemoryServer, alice: Person) -> None:
    alice.type("/all once")
    alice.type("/query alice")
    for number in range(RECENT + 5 * PAGE):
        alice.actions.typed(f"n{number}")
    server.flush()
    alice.leave()
    alice = Person(server, "alice")
    everyone = alice.model.find(EVERYONE)
    assert everyone is not None
    assert everyone.entries == []
    alice.actions.show(everyone)
    server.flush()
    assert [one.text for one in everyone.entries] == ["once"]
    assert everyone.complete


def test_no_more_is_fetched_than_fits(
    server: MemoryServer, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_protocol.cli.screen.conversations.READING", 3)
    alice.type("/query alice")
    for number in range(5):
        alice.type(f"n{number}")
    talk = alice.model.current
    talk.complete = False
    alice.actions.load_older(talk)
    assert "as much as fits" in alice.model.hint
    assert not talk.loading


def test_keys_have_a_turn_between_messages(
    server: MemoryServer, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []

    def later(clock: Any, seconds: float) -> Deferred[None]:
        turns.append(len(alice.model.current.entries))
        return deferLater(clock, seconds)

    monkeypatch.setattr("chat_protocol.cli.screen.actions.deferLater", later)
    alice.type("/query alice")
    for number in range(3 * SLICE + 50):
        alice.actions.typed(f"n{number}")
    server.flush()
    assert len(turns) == 3


def test_own_messages_of_this_run_are_not_shown_twice(alice: Person, bob: Person) -> None:
    alice.type("bob: one")
    alice.type("bob: two")
    alice.type("/history bob")
    alice.type("/history 5")
    assert alice.shown == ["alice ✓ one", "alice ✓ two"]
    alice.type("/all to everyone")
    everyone = alice.model.find(EVERYONE)
    assert everyone is not None
    alice.actions.show(everyone)
    alice.server.flush()
    assert [one.text for one in everyone.entries] == ["to everyone"]


def test_the_server_is_killed_and_comes_back(server: MemoryServer, alice: Person) -> None:
    bob = Person(server, "bob")
    alice.type("bob: before")
    server.kill()
    server.flush()
    assert "not" not in alice.model.link.why
    assert alice.model.link.why
    assert alice.model.link.retry_at >= alice.model.seconds()
    alice.type("meanwhile")
    entry = alice.model.current.entries[-1]
    assert (entry.text, entry.kind) == ("meanwhile", Kind.SENDING)
    server.start()
    server.advance(30)
    assert alice.model.link.why == ""
    assert entry.kind is Kind.STORED
    assert [one.text for one in bob.model.talks[2].entries if not one.is_notice] == [
        "before",
        "meanwhile",
    ]
    alice.leave()
    bob.leave()
    assert isinstance(server.clock, Clock)
    server.advance(60)


def test_leaving_waits_for_answers(server: MemoryServer, alice: Person) -> None:
    server.stall("alice")
    alice.type("alice: on its way")
    alice.type("/quit")
    assert alice.ended == []
    assert alice.model.hint == "waiting for an answer of the server; Ctrl-C leaves at once"
    server.resume()
    server.flush()
    assert alice.ended == [None]


def test_leaving_twice_does_not_wait(server: MemoryServer, alice: Person) -> None:
    server.stall("alice")
    alice.type("alice: on its way")
    alice.type("/quit")
    alice.type("/quit")
    server.advance(10)
    assert alice.ended == [None]


def test_a_server_that_does_not_answer_does_not_keep_one(
    server: MemoryServer, alice: Person
) -> None:
    server.stall("alice")
    alice.type("alice: on its way")
    alice.type("/quit")
    server.advance(30)
    assert isinstance(alice.problem, Failed)
    assert alice.problem.code is Exit.TIMEOUT


def test_a_question_without_an_answer_is_told(
    server: MemoryServer, alice: Person, bob: Person
) -> None:
    server.stall("alice")
    alice.type("/history bob 5")
    assert alice.model.current.loading
    server.advance(10)
    assert "did not answer" in " ".join(alice.shown)
    assert not alice.model.current.loading


def test_version_1() -> None:
    server = MemoryServer(version=1)
    alice = Person(server, "alice")
    assert alice.titles == ["chat"]
    assert any("version 1" in row for row in alice.shown)
    bob = Person(server, "bob")
    alice.type("bob: hello")
    bob.type("alice: hi")
    assert alice.shown == ["alice ✓ hello", "bob   hi"]
    alice.type("/history bob")
    assert "version 1" in alice.model.hint
    alice.type("/users")
    assert "version 1" in alice.shown[-1]
    alice.type("/all hi")
    everyone = alice.model.find(EVERYONE)
    assert everyone is not None
    assert everyone.entries[-1].kind is Kind.FAILED


def test_people_beyond_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat_protocol.cli.screen.actions._USERS_PAGE", 3)
    server = MemoryServer(limits=Limits())
    for number in range(8):
        Person(server, f"p{number}").leave()
    alice = Person(server, "alice")
    assert sorted(alice.model.people) == [f"p{number}" for number in range(8)]
