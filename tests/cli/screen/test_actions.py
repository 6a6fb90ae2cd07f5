"""Actions between the screen model and the server."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode
from chat_protocol.cli.screen.actions import MAILBOX_TIMEOUT, MESSAGES_PER_TURN
from chat_protocol.cli.screen.conversations import EVERYONE
from chat_protocol.cli.screen.entries import EntryKind
from chat_protocol.cli.screen.history import PAGE_SIZE, RECENT_MESSAGES
from chat_protocol.client import Online
from chat_protocol.domain.limits import Limits
from chat_protocol.testing import MemoryServer
from chat_protocol.wire.codes import Code
from tests.cli.screen.screen_user import ScreenUser


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


@pytest.fixture
def alice(server: MemoryServer) -> ScreenUser:
    return ScreenUser(server, "alice")


@pytest.fixture
def bob(server: MemoryServer, alice: ScreenUser) -> ScreenUser:
    return ScreenUser(server, "bob")


def test_the_first_screen(alice: ScreenUser) -> None:
    assert alice.titles == ["chat", "everyone"]
    assert alice.shown[0] == "* Connected to example:5555 as alice."
    assert alice.model.presence == {}
    assert alice.model.connection.offline_reason == ""
    alice.leave()


def test_a_conversation(alice: ScreenUser, bob: ScreenUser) -> None:
    assert alice.model.presence == {"bob": True}
    assert bob.model.presence == {"alice": True}
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
    assert alice.shown[-1] == "* bob went offline"
    assert alice.model.presence == {"bob": False}
    alice.leave()


def test_a_message_to_everyone_keeps_the_conversation(alice: ScreenUser, bob: ScreenUser) -> None:
    alice.type("bob: psst")
    alice.type("/all hello everyone")
    alice.type("secret")
    assert alice.shown == ["alice ✓ psst", "alice ✓ secret"]
    everyone = bob.model.find(EVERYONE)
    assert everyone is not None
    assert [one.text for one in everyone.entries] == ["hello everyone"]


def test_several_recipients(server: MemoryServer, alice: ScreenUser, bob: ScreenUser) -> None:
    carol = ScreenUser(server, "carol")
    alice.type("/msg carol,bob both of you")
    assert alice.titles[-1] == "bob, carol"
    assert bob.titles[-1] == "alice, carol"
    assert carol.titles[-1] == "alice, bob"
    carol.actions.show(carol.model.conversations[-1])
    carol.type("fine")
    assert alice.shown == ["alice ✓ both of you", "carol   fine"]


def test_a_refusal(alice: ScreenUser) -> None:
    alice.type("nobody: hello")
    assert alice.shown == [
        "alice ✗ hello",
        "not sent: no user named nobody; a user must log",
        "in once before receiving messages",
    ]


def test_a_message_refused_as_out_of_order_is_marked_as_failed(
    server: MemoryServer, alice: ScreenUser
) -> None:
    server.refuse_next(Code.OUT_OF_ORDER, "publishingId 1 was not stored, but 2 was")
    alice.type("alice: late")
    (entry,) = alice.model.current.entries
    assert entry.kind is EntryKind.FAILED
    assert "publishingId 1 was not stored, but 2 was" in entry.reason
    alice.type("again")
    assert alice.model.current.entries[-1].kind is EntryKind.STORED


def test_a_text_that_cannot_be_sent(alice: ScreenUser) -> None:
    alice.type("alice: " + "x" * 65_536)
    assert alice.model.hint.startswith("not sent: the text has 65536 bytes")
    alice.type("text")
    alice.type("alice: \udc80")
    assert alice.model.hint == "not sent: the text is not valid UTF-8"


def test_invalid_input_is_shown_as_a_hint(alice: ScreenUser) -> None:
    alice.type("to nobody")
    assert alice.model.hint.startswith("no recipient")
    alice.type("/frob")
    assert alice.model.hint == "unknown command /frob; /help lists the commands"
    alice.type("/close")
    assert alice.model.hint == "this conversation cannot be closed"
    alice.type("/query nobody")
    assert "nobody" in alice.model.hint
    alice.type("")


def test_the_commands(alice: ScreenUser, bob: ScreenUser) -> None:
    alice.type("/users")
    assert alice.shown[-1] == "* online: alice, bob"
    alice.type("/help")
    assert any("/query bob" in row for row in alice.shown)
    alice.type("/bell")
    assert alice.model.hint == "the bell is on"
    alice.type("/bell off")
    assert (alice.model.hint, alice.model.bell) == ("the bell is off", False)
    alice.type("/query bob")
    alice.type("/close")
    assert alice.titles == ["chat", "everyone"]


def test_pasted_lines_are_never_commands(alice: ScreenUser, bob: ScreenUser) -> None:
    alice.type("/query bob")
    alice.actions.send_pasted(["/quit", "carol: hi", "  indented"])
    alice.server.flush()
    assert alice.shown == ["alice ✓ /quit", "alice ✓ carol: hi", "alice ✓   indented"]


def test_the_mailbox_is_received_before_history(server: MemoryServer, alice: ScreenUser) -> None:
    bob = ScreenUser(server, "bob")
    alice.type("bob: before")
    bob.leave()
    for number in range(3 * MESSAGES_PER_TURN):
        alice.actions.handle_line(f"n{number}")
    server.flush()
    bob = ScreenUser(server, "bob")
    assert bob.model.pending == 0
    assert bob.titles == ["chat", "everyone", "alice"]
    conversation = bob.model.conversations[2]
    assert conversation.unread == 3 * MESSAGES_PER_TURN
    assert [one.text for one in conversation.entries[:2]] == ["before", "n0"]
    assert conversation.entries[-1].text == f"n{3 * MESSAGES_PER_TURN - 1}"


def test_missing_mailbox_messages_are_not_awaited_forever(
    server: MemoryServer, alice: ScreenUser
) -> None:
    """Some of the counted messages arrived before a reconnect and were not acknowledged."""
    alice.actions.observe(Online(2, pending=5))
    assert alice.model.pending == 5
    server.advance(MAILBOX_TIMEOUT / 2)
    alice.type("alice: one")
    server.advance(MAILBOX_TIMEOUT / 2)
    assert alice.model.pending == 4
    server.advance(MAILBOX_TIMEOUT)
    assert alice.model.pending == 0
    alice.actions.observe(Online(2, pending=5))
    alice.leave()
    assert alice.model.pending == 5
    server.advance(60)
    # The run had ended before the timeout.
    assert alice.model.pending == 5


def test_history_is_loaded_once_and_in_order(server: MemoryServer, alice: ScreenUser) -> None:
    bob = ScreenUser(server, "bob")
    carol = ScreenUser(server, "carol")
    for number in range(500):
        alice.actions.handle_line(f"bob: n{number}")
        server.flush()
        bob.actions.handle_line(f"carol: c{number}")
        server.flush()
    bob.leave()
    carol.leave()
    bob = ScreenUser(server, "bob")
    assert bob.titles == ["chat", "everyone", "alice", "carol"]
    conversation = bob.model.conversations[2]
    bob.actions.show(conversation)
    for _ in range(20):
        bob.actions.load_older(conversation)
        server.flush()
    assert conversation.complete
    assert [one.text for one in conversation.entries] == [f"n{number}" for number in range(500)]
    carols = bob.model.conversations[3]
    bob.type("/history carol 300")
    assert len(carols.entries) >= 300
    assert [one.text for one in carols.entries[-2:]] == ["c498", "c499"]


def test_rare_messages_are_searched_far_back(server: MemoryServer, alice: ScreenUser) -> None:
    alice.type("/all once")
    alice.type("/query alice")
    for number in range(RECENT_MESSAGES + 5 * PAGE_SIZE):
        alice.actions.handle_line(f"n{number}")
    server.flush()
    alice.leave()
    alice = ScreenUser(server, "alice")
    everyone = alice.model.find(EVERYONE)
    assert everyone is not None
    assert everyone.entries == []
    alice.actions.show(everyone)
    server.flush()
    assert [one.text for one in everyone.entries] == ["once"]
    assert everyone.complete


def test_history_stops_at_the_limit(
    server: MemoryServer, alice: ScreenUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_protocol.cli.screen.conversations.SCROLLBACK_WHILE_SCROLLED", 3)
    alice.type("/query alice")
    for number in range(5):
        alice.type(f"n{number}")
    conversation = alice.model.current
    conversation.complete = False
    alice.actions.load_older(conversation)
    assert "no more messages fit" in alice.model.hint
    assert not conversation.loading


def test_keys_get_a_turn_between_messages(
    server: MemoryServer, alice: ScreenUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []

    def later(clock: Any, seconds: float) -> Deferred[None]:
        turns.append(len(alice.model.current.entries))
        return deferLater(clock, seconds)

    monkeypatch.setattr("chat_protocol.cli.screen.actions.deferLater", later)
    alice.type("/query alice")
    for number in range(3 * MESSAGES_PER_TURN + 50):
        alice.actions.handle_line(f"n{number}")
    server.flush()
    assert len(turns) == 3


def test_own_messages_of_this_run_are_not_shown_twice(alice: ScreenUser, bob: ScreenUser) -> None:
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


def test_the_server_is_killed_and_restarted(server: MemoryServer, alice: ScreenUser) -> None:
    bob = ScreenUser(server, "bob")
    alice.type("bob: before")
    server.kill()
    server.flush()
    assert "not" not in alice.model.connection.offline_reason
    assert alice.model.connection.offline_reason
    assert alice.model.connection.retry_at >= alice.model.seconds()
    alice.type("meanwhile")
    entry = alice.model.current.entries[-1]
    assert (entry.text, entry.kind) == ("meanwhile", EntryKind.SENDING)
    server.start()
    server.advance(30)
    assert alice.model.connection.offline_reason == ""
    assert entry.kind is EntryKind.STORED
    assert [one.text for one in bob.model.conversations[2].entries if not one.is_notice] == [
        "before",
        "meanwhile",
    ]
    alice.leave()
    bob.leave()
    assert isinstance(server.clock, Clock)
    server.advance(60)


def test_quitting_waits_for_answers(server: MemoryServer, alice: ScreenUser) -> None:
    server.stall("alice")
    alice.type("alice: on its way")
    alice.type("/quit")
    assert alice.ended == []
    assert alice.model.hint == "waiting for an answer from the server; Ctrl-C quits immediately"
    server.resume()
    server.flush()
    assert alice.ended == [None]


def test_quitting_twice_does_not_wait(server: MemoryServer, alice: ScreenUser) -> None:
    server.stall("alice")
    alice.type("alice: on its way")
    alice.type("/quit")
    alice.type("/quit")
    server.advance(10)
    assert alice.ended == [None]


def test_quitting_times_out_if_the_server_does_not_answer(
    server: MemoryServer, alice: ScreenUser
) -> None:
    server.stall("alice")
    alice.type("alice: on its way")
    alice.type("/quit")
    server.advance(30)
    assert isinstance(alice.error, CommandFailed)
    assert alice.error.code is ExitCode.TIMEOUT


def test_a_query_timeout_is_shown(server: MemoryServer, alice: ScreenUser, bob: ScreenUser) -> None:
    server.stall("alice")
    alice.type("/history bob 5")
    assert alice.model.current.loading
    server.advance(10)
    assert "did not answer" in " ".join(alice.shown)
    assert not alice.model.current.loading


def test_version_1() -> None:
    server = MemoryServer(version=1)
    alice = ScreenUser(server, "alice")
    assert alice.titles == ["chat"]
    assert any("version 1" in row for row in alice.shown)
    bob = ScreenUser(server, "bob")
    alice.type("bob: hello")
    bob.type("alice: hi")
    assert alice.shown == ["alice ✓ hello", "bob   hi"]
    alice.type("/history bob")
    assert "version 1" in alice.model.hint
    alice.type("/users")
    assert "speaks version 1, which does not support Users" in " ".join(alice.shown[-2:])
    alice.type("/all hi")
    everyone = alice.model.find(EVERYONE)
    assert everyone is not None
    assert everyone.entries[-1].kind is EntryKind.FAILED


def test_users_beyond_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat_protocol.cli.screen.actions._USERS_PAGE", 3)
    server = MemoryServer(limits=Limits())
    for number in range(8):
        ScreenUser(server, f"p{number}").leave()
    alice = ScreenUser(server, "alice")
    assert sorted(alice.model.presence) == [f"p{number}" for number in range(8)]
