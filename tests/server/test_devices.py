"""Users with several devices, and sessions that only ask and send."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from zope.interface import implementer

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.login_rules import MAX_DEVICES, MAX_SENDERS
from chat_protocol.server.authentication import IReloadable
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    Close,
    Deliver,
    Heartbeat,
    History,
    Login,
    Login2,
    LoginAnswer,
    Presence,
    Response2,
    Users,
)
from tests.server import line
from tests.server.line2 import Peer2, Server2, publish
from tests.server.test_authentication import GuardedServer, database

OK = Response2(Code.OK)
IN_USE = Code.USER_ALREADY_LOGGED


def answer(server: Server2, name: str, **properties: str) -> LoginAnswer:
    """Return the answer to a login on a new connection."""
    found = server.connect().say(Login2(name, properties))[0]
    assert isinstance(found, LoginAnswer)
    return found


def code(server: Server2, name: str, **properties: str) -> int:
    return answer(server, name, **properties).code


def on(server: Server2, name: str, **properties: str) -> Any:
    return server.on(name, **properties)


def token(peer: Any) -> str:
    return str(peer.granted["session"])


def delivered(peer: Peer2, *heard: object) -> list[tuple[str, str]]:
    """Return texts and senders of what came, and acknowledge it."""
    found = [one for one in (*heard, *peer.heard()) if isinstance(one, Deliver)]
    if found:
        peer.say(Ack(found[-1].offset))
    return [(one.message, one.from_) for one in found]


@pytest.fixture
def server() -> Server2:
    return Server2()


@implementer(IReloadable)
class Passwords(InMemoryUsernamePasswordDatabaseDontUse):  # type: ignore[misc]
    """Passwords that can be read again."""

    readings = 0

    def reload_if_changed(self) -> None:
        pass

    def reload(self) -> None:
        self.readings += 1


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(alice=b"secret", bob=b"secret")


@pytest.fixture
def guarded(passwords: Passwords) -> GuardedServer:
    return GuardedServer(passwords)


# The properties of a login.


@pytest.mark.parametrize("device", ["", " ", "a b", "ü", "x" * 65, "\x7f", "a\n"])
@pytest.mark.parametrize("receive", ["0", "1"])
def test_a_device_that_cannot_be(server: Server2, device: str, receive: str) -> None:
    refused = answer(server, "alice", device=device, receive=receive)
    assert refused.code == Code.MALFORMED
    assert refused.detail.startswith("device:")


@pytest.mark.parametrize("device", ["!", "~", "x" * 64, "phone"])
def test_a_device_that_can_be(server: Server2, device: str) -> None:
    assert answer(server, "alice", device=device).properties["resumed"] == "0"
    assert answer(server, "bob", device=device, receive="0").properties["resumed"] == "0"


def test_devices_are_compared_byte_by_byte(server: Server2) -> None:
    alice = on(server, "alice", device="Phone")
    other = on(server, "alice", device="phone", session=token(alice))
    server.on("bob").say(publish("hi", "alice"))
    assert delivered(alice) == delivered(other) == [("hi", "bob")]


def test_a_login_says_whether_the_device_is_known(server: Server2) -> None:
    for expected in ("0", "1"):
        for device in ({}, {"device": "phone"}):
            name = "alice" if device else "bob"
            peer = on(server, name, **device)
            assert peer.granted["resumed"] == expected
            peer.lose()


def test_version_1_is_the_unnamed_device(server: Server2) -> None:
    peer = server.connect()
    peer.send(line.login("alice"))
    server.on("bob").say(publish("hi", "alice"))
    peer.lose()
    again = on(server, "alice")
    assert again.granted["resumed"] == "1"


# Messages.


def test_messages_come_to_each_device_and_own_ones_to_the_others(server: Server2) -> None:
    phone = on(server, "alice", device="phone")
    laptop = on(server, "alice", device="laptop", session=token(phone))
    bob = on(server, "bob")
    bob.say(publish("to alice", "alice"))
    heard = phone.say(publish("to bob", "bob"))
    heard_too = laptop.say(publish("to all"))
    assert delivered(phone, *heard) == [("to alice", "bob"), ("to all", "alice")]
    assert delivered(laptop, *heard_too) == [("to alice", "bob"), ("to bob", "alice")]
    assert delivered(bob) == [("to bob", "alice"), ("to all", "alice")]


def test_an_own_copy_is_what_the_recipients_see(server: Server2) -> None:
    phone = on(server, "alice", device="phone")
    laptop = on(server, "alice", device="laptop", session=token(phone))
    bob, carol = on(server, "bob"), on(server, "carol")
    laptop.say(publish("hi", "carol", "bob"))
    (copy,), (seen,), (also,) = phone.heard(), bob.heard(), carol.heard()
    assert copy == seen == also
    assert (copy.from_, copy.scope, copy.to) == ("alice", 0, ("carol", "bob"))


def test_a_message_to_oneself_comes_once_to_each_device(server: Server2) -> None:
    phone = on(server, "alice", device="phone")
    laptop = on(server, "alice", device="laptop", session=token(phone))
    assert laptop.say(publish("note", "alice"))[0].message == "note"
    assert delivered(phone) == [("note", "alice")]


@pytest.fixture
def trusting() -> GuardedServer:
    return GuardedServer(database(), version_1=True)


def test_version_1_gets_no_own_copies_and_its_position_passes_them(
    trusting: GuardedServer,
) -> None:
    old = trusting.connect()
    old.send(line.login("alice"))
    phone = on(trusting, "alice", device="phone", password="secret")
    bob = on(trusting, "bob", password="ümlaut")
    phone.say(publish("copy", "bob"))
    bob.say(publish("hi", "alice"))
    assert line.parse(old.transport.value()) == [line.Message("hi", "bob", "alice", 5)]
    phone.say(publish("another copy", "bob"))
    trusting.clock.advance(1)
    old.lose()
    again = on(trusting, "alice", password="secret")
    assert (again.granted["pending"], again.mail) == ("0", [])


def test_version_1_passes_copies_that_are_in_the_mailbox(trusting: GuardedServer) -> None:
    old = trusting.connect()
    old.send(line.login("alice"))
    phone = on(trusting, "alice", device="phone", password="secret")
    bob = on(trusting, "bob", password="ümlaut")
    old.lose()
    bob.say(publish("hi", "alice"))
    phone.say(publish("copy", "bob"))
    phone.lose()
    old = trusting.connect()
    assert old.send(line.login("alice")) == [
        line.Response(1, line.OK),
        line.Message("hi", "bob", "alice", 5),
    ]
    trusting.clock.advance(1)
    old.lose()
    again = on(trusting, "alice", password="secret")
    assert (again.granted["pending"], again.mail) == ("0", [])


def test_an_absent_device_gets_everything_later(server: Server2) -> None:
    phone = on(server, "alice", device="phone")
    laptop = on(server, "alice", device="laptop", session=token(phone))
    bob = on(server, "bob")
    phone.lose()
    bob.say(publish("1", "alice"))
    assert delivered(laptop, *laptop.say(publish("2", "bob"))) == [("1", "bob")]
    again = on(server, "alice", device="phone", session=token(laptop))
    assert again.granted["pending"] == "2"
    assert [one.message for one in again.mail] == ["1", "2"]


def test_a_device_too_far_behind_is_disconnected() -> None:
    limits = Limits(mailbox=3)
    server = Server2(MemoryStore(3), limits)
    phone = on(server, "alice", device="phone")
    laptop = on(server, "alice", device="laptop", session=token(phone))
    bob = on(server, "bob")
    for number in range(4):
        bob.say(publish(str(number), "alice"))
        assert delivered(laptop)
    phone.heard()
    server.factory.doStart()  # type: ignore[no-untyped-call]
    for _ in range(110):
        server.clock.advance(0.1)
    (close,) = phone.heard()
    assert (close.code, type(close)) == (Code.MAILBOX_FULL, Close)
    assert laptop.say(Heartbeat()) == [OK]
    for _ in range(110):
        server.clock.advance(0.1)
    assert (
        answer(server, "alice", device="phone", session=token(laptop)).properties["resumed"] == "0"
    )
    server.factory.doStop()  # type: ignore[no-untyped-call]


# Publishing ids.


def test_each_device_has_its_own_publishing_ids(server: Server2) -> None:
    """Two devices that give the same id: each message is stored once."""
    phone = on(server, "alice", device="phone")
    laptop = on(server, "alice", device="laptop", session=token(phone))
    bob = on(server, "bob")
    assert OK in phone.say(publish("of the phone", "bob", id_=1))
    assert OK in laptop.say(publish("of the laptop", "bob", id_=1))
    assert OK in laptop.say(publish("of the laptop", "bob", id_=1))
    assert [text for text, _ in delivered(bob)] == ["of the phone", "of the laptop"]
    phone.lose()
    again = on(server, "alice", device="phone", session=token(laptop))
    assert again.granted["publishing-id"] == "1"


def test_a_session_that_only_sends_has_ids_if_it_has_a_name(server: Server2) -> None:
    script = on(server, "alice", receive="0", device="script")
    assert script.say(publish("1", "alice", id_=7)) == [OK]
    nameless = on(server, "alice", receive="0")
    assert nameless.granted["publishing-id"] == "0"
    (refused,) = nameless.say(publish("2", "alice", id_=1))
    assert (refused.code, refused.detail[:12]) == (Code.MALFORMED, "publishingId")
    assert nameless.say(publish("3", "alice")) == [OK]
    # Many at once, and ids that no other session could have given.
    answers = nameless.say(publish("4", "alice", id_=2), publish("5", "alice", id_=3))
    assert [one.code for one in answers] == [Code.MALFORMED] * 2
    script.lose()
    again = on(server, "alice", receive="0", device="script")
    assert (again.granted["publishing-id"], again.granted["resumed"]) == ("7", "1")


# Who may log in: an open server.


def test_a_name_in_use_is_refused_and_its_holder_notices_nothing(server: Server2) -> None:
    alice = on(server, "alice", presence="1")
    for asked in ({}, {"device": "phone"}, {"receive": "0"}, {"receive": "0", "device": "x"}):
        for shown in ({}, {"session": "wrong"}, {"takeover": "1"}):
            assert code(server, "alice", **asked, **shown) == IN_USE
    assert server.connect().send(line.login("alice")) == [line.Response(1, line.ALREADY)]
    assert alice.heard() == []
    assert alice.say(Heartbeat()) == [OK]


def test_a_stranger_who_only_sends_is_ended_when_the_user_comes(server: Server2) -> None:
    stranger = on(server, "alice", receive="0", device="x")
    nameless = on(server, "alice", receive="0")
    alice = on(server, "alice", device="phone")
    for peer in (stranger, nameless):
        (close,) = peer.heard()
        assert close.code == Code.REPLACED
        assert peer.transport.disconnecting
    for asked in ({"device": "y"}, {"device": "phone"}, {"receive": "0"}, {}):
        assert code(server, "alice", session=token(stranger), **asked) == IN_USE
    script = on(server, "alice", receive="0", device="script", session=token(alice))
    other = on(server, "alice", device="laptop", session=token(alice))
    assert script.say(Heartbeat()) == [OK]
    assert other.say(Heartbeat()) == [OK]


def test_version_1_ends_a_stranger_too(server: Server2) -> None:
    stranger = on(server, "alice", receive="0")
    peer = server.connect()
    assert peer.send(line.login("alice")) == [line.Response(1, line.OK)]
    assert [one.code for one in stranger.heard()] == [Code.REPLACED]


def test_a_session_that_only_sends_takes_over_its_name_by_its_token(server: Server2) -> None:
    first = on(server, "alice", receive="0", device="script")
    assert code(server, "alice", receive="0", device="script") == IN_USE
    second = on(server, "alice", receive="0", device="script", session=token(first))
    assert [one.code for one in first.heard()] == [Code.REPLACED]
    assert second.say(Heartbeat()) == [OK]


def test_it_receives_nothing_and_is_not_online(server: Server2) -> None:
    bob = on(server, "bob", presence="1")
    script = on(server, "alice", receive="0", presence="1", window="5")
    bob.say(publish("hi", "alice"))
    on(server, "carol")
    assert script.heard() == []
    assert [one.username for one in bob.heard() if isinstance(one, Presence)] == ["carol"]
    (users,) = script.say(Users("", 0))
    assert [(one.username, one.online) for one in users.users] == [
        ("alice", 0),
        ("bob", 1),
        ("carol", 1),
    ]
    assert script.granted["pending"] == "0"
    assert script.say(Ack(2**40), Heartbeat()) == [OK]
    (history,) = script.say(History("bob", 0, 10))
    assert [one.message for one in history.messages] == ["hi"]
    script.lose()
    assert [one.message for one in on(server, "alice").mail] == ["hi"]


def test_at_most_32_sessions_only_send(server: Server2) -> None:
    peers = []
    for _ in range(MAX_SENDERS):
        peers.append(on(server, "alice", receive="0"))
        server.clock.advance(1)
    assert code(server, "alice", receive="0") == Code.RATE_LIMITED
    peers[0].lose()
    assert code(server, "alice", receive="0") == Code.OK


def test_at_most_8_devices_are_online(server: Server2) -> None:
    first = on(server, "alice", device="0")
    for number in range(1, MAX_DEVICES):
        on(server, "alice", device=str(number), session=token(first))
    assert code(server, "alice", device="x", session=token(first)) == Code.RATE_LIMITED
    first.lose()
    assert code(server, "alice", device="x", session="none") == IN_USE


def test_a_take_over_concerns_its_own_device_only(server: Server2) -> None:
    phone = on(server, "alice", device="phone")
    laptop = on(server, "alice", device="laptop", session=token(phone))
    watcher = on(server, "bob", presence="1")
    again = on(server, "alice", device="phone", session=token(phone))
    assert [one.code for one in phone.heard()] == [Code.REPLACED]
    assert laptop.say(Heartbeat()) == [OK]
    assert again.say(Heartbeat()) == [OK]
    assert watcher.heard() == []


# Presence.


def test_a_user_is_online_while_any_device_is(server: Server2) -> None:
    watcher = on(server, "bob", presence="1")
    phone = on(server, "alice", device="phone", presence="1")
    assert [(one.username, one.online) for one in watcher.heard()] == [("alice", 1)]
    laptop = on(server, "alice", device="laptop", session=token(phone), presence="1")
    phone.lose()
    assert watcher.heard() == []
    laptop.lose()
    assert [(one.username, one.online) for one in watcher.heard()] == [("alice", 0)]


def test_a_user_hears_no_presence_of_itself(server: Server2) -> None:
    phone = on(server, "alice", device="phone", presence="1")
    laptop = on(server, "alice", device="laptop", session=token(phone), presence="1")
    on(server, "bob")
    laptop.lose()
    assert [one.username for one in phone.heard()] == ["bob"]


# Servers with passwords.


def test_a_password_lets_another_device_in(guarded: GuardedServer) -> None:
    phone = on(guarded, "alice", device="phone", password="secret")
    assert code(guarded, "alice", device="laptop", password="secret") == Code.OK
    assert code(guarded, "alice", device="phone", password="secret") == IN_USE
    on(guarded, "alice", device="phone", password="secret", takeover="1")
    assert [one.code for one in phone.heard()] == [Code.REPLACED]


def test_a_token_stands_for_the_password_once(guarded: GuardedServer) -> None:
    phone = on(guarded, "alice", device="phone", password="secret")
    again = on(guarded, "alice", device="phone", session=token(phone))
    assert [one.code for one in phone.heard()] == [Code.REPLACED]
    assert code(guarded, "alice", device="x", session=token(phone)) == Code.AUTHENTICATION_FAILED
    laptop = on(guarded, "alice", device="laptop", session=token(again))
    # It is spent, though its session goes on.
    assert code(guarded, "alice", device="y", session=token(again)) == Code.AUTHENTICATION_FAILED
    assert again.say(Heartbeat()) == laptop.say(Heartbeat()) == [OK]


@pytest.mark.parametrize(("seconds", "found"), [(299, Code.OK), (301, Code.AUTHENTICATION_FAILED)])
def test_a_token_stands_for_the_password_for_5_minutes(
    guarded: GuardedServer, seconds: float, found: Code
) -> None:
    phone = on(guarded, "alice", device="phone", password="secret")
    phone.lose()
    guarded.clock.advance(seconds)
    assert code(guarded, "alice", device="phone", session=token(phone)) == found
    assert code(guarded, "alice", device="x", session=token(phone)) == Code.AUTHENTICATION_FAILED


def test_a_token_is_of_one_user(guarded: GuardedServer) -> None:
    phone = on(guarded, "alice", device="phone", password="secret")
    assert code(guarded, "bob", session=token(phone)) == Code.AUTHENTICATION_FAILED
    phone.lose()
    assert code(guarded, "bob", session=token(phone)) == Code.AUTHENTICATION_FAILED


def test_a_wrong_password_is_wrong_with_a_token_too(guarded: GuardedServer) -> None:
    phone = on(guarded, "alice", device="phone", password="secret")
    asked = {"device": "phone", "session": token(phone), "password": "wrong"}
    assert code(guarded, "alice", **asked) == Code.AUTHENTICATION_FAILED
    assert phone.say(Heartbeat()) == [OK]


def test_a_token_of_a_session_that_only_sends_stands_for_nothing(guarded: GuardedServer) -> None:
    script = on(guarded, "alice", receive="0", device="script", password="secret")
    for asked in ({"device": "x"}, {"receive": "0", "device": "script"}):
        found = code(guarded, "alice", session=token(script), **asked)
        assert found == Code.AUTHENTICATION_FAILED
    script.lose()
    assert code(guarded, "alice", session=token(script)) == Code.AUTHENTICATION_FAILED


def test_tokens_end_when_the_passwords_are_read_again(
    guarded: GuardedServer, passwords: Passwords
) -> None:
    phone = on(guarded, "alice", device="phone", password="secret")
    laptop = on(guarded, "alice", device="laptop", password="secret")
    laptop.lose()
    passwords.reload()
    for peer in (phone, laptop):
        found = code(guarded, "alice", device="laptop", session=token(peer))
        assert found == Code.AUTHENTICATION_FAILED
    assert phone.say(Heartbeat()) == [OK]
    assert code(guarded, "alice", device="laptop", password="secret") == Code.OK


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("first", ["sender", "owner"])
def test_a_sender_that_nobody_knows_is_not_let_in_beside_the_owner(
    server: Server2, first: str, version: int
) -> None:
    """However the steps of their logins mix."""
    for device in ({}, {"device": "script"}):
        mallory, alice = server.connect(), server.connect()
        logins: list[tuple[Peer2, Any]] = [
            (mallory, Login2("alice", {"receive": "0", **device})),
            (alice, Login2("alice", {}) if version == 2 else Login("alice")),
        ]
        for peer, login in logins if first == "sender" else logins[::-1]:
            peer.protocol.dataReceived(encode(login, 1))
        server.turn()
        assert [one.code for one in alice.heard()] == [Code.OK]
        (refused,) = mallory.heard()
        assert refused.code == IN_USE
        assert mallory.say(History("", 0, 10))[0].code == Code.NOT_LOGGED_IN
        assert code(server, "alice", receive="0") == IN_USE
        alice.say(Close(Code.OK, ""))
        server.turn()
        assert code(server, "alice", receive="0") == Code.OK
