"""Hooks: what they decide, what they are told, and what becomes of their faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from chat_protocol.client import ChatClient
from chat_protocol.domain.limits import Limits
from chat_protocol.errors import (
    InternalFault,
    MailboxFull,
    Malformed,
    Refused,
    Unavailable,
)
from chat_protocol.server import gate
from chat_protocol.server.gate import HOOK_SECONDS
from chat_protocol.server.hooks import Hooks, IHooks, MessageInfo
from chat_protocol.testing import MemoryServer


class Recorder(Hooks):
    """Does what a test says with a text, and notes what it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.told: list[tuple[Any, ...]] = []
        self.decisions: dict[str, Any] = {}
        self.after: Any = None

    def admit(self, message: MessageInfo) -> Any:
        self.asked.append(message.text)
        decision = self.decisions.get(message.text)
        if isinstance(decision, Exception):
            raise decision
        return decision

    def stored(self, message: MessageInfo) -> Any:
        self.told.append((message.sender, message.recipients, message.text, message.offset))
        if isinstance(self.after, Exception):
            raise self.after
        return self.after

    def logged_in(self, user: str, device: str) -> None:
        self.told.append(("in", user, device))

    def logged_out(self, user: str, device: str) -> None:
        self.told.append(("out", user, device))


@pytest.fixture
def hooks() -> Recorder:
    return Recorder()


@pytest.fixture
def server(hooks: Recorder) -> Iterator[MemoryServer]:
    server = MemoryServer(hooks=hooks)
    yield server
    server.run(server.stop(), within=20)


def logged_in(server: MemoryServer, name: str, **options: Any) -> ChatClient:
    client = ChatClient(server.endpoint(), name, server.clock, **options)
    client.startService()
    server.run(client.when_online())
    return client


def failed(server: MemoryServer, sending: Deferred[None]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        server.run(sending)
    assert isinstance(caught.value, Exception)
    return caught.value


def test_they_provide_the_interface(hooks: Recorder) -> None:
    assert verifyObject(IHooks, hooks)
    assert verifyObject(IHooks, Hooks())


def test_what_is_not_refused_is_stored_and_told_behind_its_answer(
    server: MemoryServer, hooks: Recorder
) -> None:
    alice, bob = logged_in(server, "alice", device="laptop"), logged_in(server, "bob")
    server.run(alice.send(["bob", "alice"], "both"))
    server.run(bob.send_to_all("all"))
    assert hooks.told == [
        ("in", "alice", "laptop"),
        ("in", "bob", ""),
        ("alice", ("bob", "alice"), "both", 1),
        ("bob", (), "all", 2),
    ]
    for client in (alice, bob):
        server.run(client.stopService(), within=9)
    assert hooks.told[4:] == [("out", "alice", "laptop"), ("out", "bob", "")]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("refusal", "detail"),
    [(MailboxFull("no more today"), "no more today"), (Malformed("no links"), "no links")],
)
def test_a_refusal_is_answered_with_its_code_and_detail(
    later: bool, refusal: Refused, detail: str, server: MemoryServer, hooks: Recorder
) -> None:
    alice, bob = logged_in(server, "alice"), logged_in(server, "bob")
    hooks.decisions["no"] = fail(refusal) if later else refusal
    sending = [alice.send("bob", text) for text in ("before", "no", "after")]
    error = failed(server, sending[1])
    assert (type(error), str(error)) == (type(refusal), detail)
    server.run(sending[2])
    assert [message.message for message in server.received] == ["before", "after"]
    assert [server.run(bob.receive()).text for _ in range(2)] == ["before", "after"]


def test_a_decision_holds_up_its_session_only_and_keeps_its_order(
    server: MemoryServer, hooks: Recorder
) -> None:
    alice, bob = logged_in(server, "alice"), logged_in(server, "bob")
    waits: Deferred[None] = Deferred()
    hooks.decisions["slow"] = waits
    sending = [alice.send("bob", text) for text in ("1", "slow", "3", "4")]
    server.run(sending[0])
    server.run(bob.send("alice", "beside"))
    assert hooks.asked == ["1", "slow", "beside"]
    assert not sending[2].called
    waits.callback(None)
    server.run(sending[3])
    assert [one.message for one in server.received] == ["1", "beside", "slow", "3", "4"]


def test_a_fault_is_logged_and_answered_with_an_error(
    server: MemoryServer, hooks: Recorder, logged_failures: list[Failure]
) -> None:
    alice = logged_in(server, "alice")
    for fault in (ZeroDivisionError("secret"), fail(ZeroDivisionError("secret"))):
        hooks.decisions["x"] = fault
        error = failed(server, alice.send("alice", "x"))
        assert isinstance(error, InternalFault)
        assert "secret" not in str(error)
    assert [str(logged_failures.pop().value) for _ in range(2)] == ["secret"] * 2
    server.run(alice.send("alice", "fine"))
    assert [one.message for one in server.received] == ["fine"]


def test_a_decision_that_does_not_come_is_a_refusal(server: MemoryServer, hooks: Recorder) -> None:
    alice = logged_in(server, "alice", timeout=99)
    hooks.decisions["x"] = Deferred()
    sending = alice.send("alice", "x")
    with capturedLogs() as log:
        server.advance(HOOK_SECONDS - 1)
        assert not sending.called
        server.advance(1)
    assert isinstance(failed(server, sending), Unavailable)
    assert any("has not decided" in (formatEvent(event) or "") for event in log)
    server.run(alice.send("alice", "fine"))


def test_what_waits_is_bounded(hooks: Recorder) -> None:
    server = MemoryServer(hooks=hooks, limits=Limits(session_backlog=1000))
    alice, bob = logged_in(server, "alice", in_flight=1000), logged_in(server, "bob")
    waits: Deferred[None] = Deferred()
    hooks.decisions["slow"] = waits
    sending = [alice.send("bob", text) for text in ("slow", *(str(n) for n in range(200)))]
    server.flush()
    (connection,) = server._connections(["alice"])
    assert connection.paused
    server.run(bob.send("alice", "beside"))
    waits.callback(None)
    for one in sending:
        server.run(one)
    assert not connection.paused
    assert [one.message for one in server.received][1:] == ["slow", *(str(n) for n in range(200))]
    server.run(server.stop(), within=20)


def test_messages_wait_while_too_much_is_left_to_do_afterwards(
    server: MemoryServer, hooks: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "AFTER_LIMIT", 2)
    alice = logged_in(server, "alice")
    left: list[Deferred[None]] = []

    def after(message: MessageInfo) -> Deferred[None]:
        left.append(Deferred())
        return left[-1]

    monkeypatch.setattr(hooks, "stored", after)
    for number in range(2):
        server.run(alice.send("alice", str(number)))
    sending = alice.send("alice", "2")
    server.flush()
    assert hooks.asked == ["0", "1"]
    left.pop(0).callback(None)
    server.run(sending)
    assert hooks.asked == ["0", "1", "2"]
    for one in left:
        one.callback(None)


def test_a_fault_afterwards_is_logged_only(
    server: MemoryServer, hooks: Recorder, logged_failures: list[Failure]
) -> None:
    alice = logged_in(server, "alice")
    hooks.after = ZeroDivisionError("secret")
    server.run(alice.send("alice", "x"))
    assert [one.type for one in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()


def test_faults_at_logins_and_logouts_are_logged_only(
    server: MemoryServer, hooks: Recorder, logged_failures: list[Failure]
) -> None:
    def broken(user: str, device: str) -> None:
        raise ZeroDivisionError

    hooks.logged_in = hooks.logged_out = broken  # type: ignore[method-assign]
    alice = logged_in(server, "alice")
    server.run(alice.stopService(), within=9)
    assert [one.type for one in logged_failures] == [ZeroDivisionError] * 2
    logged_failures.clear()


def test_what_is_stored_already_is_not_told_again(server: MemoryServer, hooks: Recorder) -> None:
    alice = logged_in(server, "alice")
    waiting = alice.send("alice", "once")
    hooks.decisions["once"] = None
    server.stall("alice", to_server=False)
    server.flush()
    server.cut("alice")
    server.run(waiting, within=60)
    assert hooks.asked == ["once", "once"]
    assert [told[2] for told in hooks.told if told[0] == "alice"] == ["once"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_session_that_ends_leaves_its_messages_to_the_hooks(
    version: int, hooks: Recorder
) -> None:
    server = MemoryServer(hooks=hooks, version=version)
    alice = logged_in(server, "alice")
    waits: Deferred[None] = Deferred()
    hooks.decisions["last"] = waits
    sending = alice.send("alice", "last")
    sending.addErrback(lambda _: None)
    server.flush()
    stopping = alice.stopService()
    server.advance(6)
    waits.callback(None)
    server.run(stopping, within=9)
    server.flush()
    assert [one.message for one in server.received] == ["last"]
    server.run(server.stop(), within=20)
