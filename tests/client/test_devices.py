"""Devices: what a client asks for, and what it does with what it is told."""

from __future__ import annotations

from typing import Any

import pytest

from chat_protocol.client import ChatClient, Online, ResumeState
from chat_protocol.errors import NotConnected, UserAlreadyLogged
from chat_protocol.testing import MemoryServer
from tests.client.line import Foreseeable, Line, result, send, silence


def asked(**options: Any) -> dict[str, str]:
    line = Line(None, **options)
    line.connect()
    return line.log_in()


def test_by_default_it_is_the_unnamed_device_and_receives() -> None:
    assert asked().keys().isdisjoint({"device", "receive", "takeover"})


def test_it_asks_for_its_device() -> None:
    assert asked(device="laptop")["device"] == "laptop"
    assert asked(resume=ResumeState(device="laptop"))["device"] == "laptop"
    assert asked(receive=False)["receive"] == "0"


def test_it_takes_over_at_the_first_login_only() -> None:
    line = Line(None, device="laptop", take_over=True)
    line.connect()
    assert line.log_in()["takeover"] == "1"
    line.lose()
    line.connect()
    assert "takeover" not in line.log_in()


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 65, "\n"])
def test_a_name_that_no_device_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 characters"):
        Line(None, device=name)


def test_the_state_of_another_device_is_not_resumed() -> None:
    with pytest.raises(ValueError, match="of the device 'phone', not of 'laptop'"):
        Line(None, device="laptop", resume=ResumeState(device="phone"))
    assert Line(device="laptop").client.resume_state.device == "laptop"


def test_ids_begin_at_a_distance_unless_they_are_known() -> None:
    line = Line(granted={"publishing_id": "41"}, random=Foreseeable(1000))
    silence(*send(line, "a", "b"))
    assert line.published() == [(1042, "a"), (1043, "b")]
    line.reconnect(publishing_id="1042")
    assert line.published() == [(1042, "a"), (1043, "b")]
    line = Line(
        granted={"publishing_id": "41"},
        random=Foreseeable(1000),
        resume=ResumeState(publishing_id=50),
    )
    silence(*send(line, "a"))
    assert line.published() == [(51, "a")]


def test_a_distance_leaves_ids_for_messages() -> None:
    line = Line(granted={"publishing_id": str(2**63 - 9)}, random=Foreseeable(2**32))
    silence(*send(line, "a"))
    assert line.published() == [(2**63 - 4, "a")]


def test_what_is_in_flight_fails_when_the_server_no_longer_knows_the_device() -> None:
    line = Line(device="laptop")
    first, second = send(line, "a", "b")
    line.published()
    line.lose()
    (queued,) = send(line, "c")
    line.connect()
    line.log_in(resumed="0")
    for one in (first, second):
        with pytest.raises(NotConnected, match=r"no longer knows this device; .* may or may not"):
            result(one)
    assert [text for _, text in line.published()] == ["c"]
    silence(queued)
    assert line.events[-1] == Online(2, 0, False)


def test_a_server_that_does_not_speak_of_it_knows_the_device() -> None:
    line = Line()
    silence(*send(line, "a"))
    line.published()
    line.reconnect()
    assert [text for _, text in line.published()] == ["a"]


def client(server: MemoryServer, name: str, **options: object) -> ChatClient:
    made = ChatClient(server.endpoint(), name, server.clock, **options)  # type: ignore[arg-type]
    made.startService()
    return made


def test_devices_of_one_user_on_a_server_in_memory() -> None:
    server = MemoryServer()
    laptop = client(server, "alice", device="laptop")
    server.run(laptop.when_online())
    bob = client(server, "bob")
    server.run(bob.when_online())
    token = laptop.resume_state.session
    phone = client(server, "alice", resume=ResumeState(session=token, device="phone"))
    server.run(phone.when_online())
    script = client(
        server, "alice", device="script", receive=False, resume=ResumeState(0, 0, token)
    )
    server.run(script.send("bob", "from the script"))
    server.run(laptop.send("bob", "from the laptop"))
    server.run(bob.send("alice", "to alice"))
    received = {
        name: [server.run(one.receive()) for _ in range(count)]
        for name, one, count in (("laptop", laptop, 2), ("phone", phone, 3), ("bob", bob, 2))
    }
    found = {
        name: [(message.text, message.sender, message.own) for message in messages]
        for name, messages in received.items()
    }
    assert found == {
        "laptop": [("from the script", "alice", True), ("to alice", "bob", False)],
        "phone": [
            ("from the script", "alice", True),
            ("from the laptop", "alice", True),
            ("to alice", "bob", False),
        ],
        "bob": [("from the script", "alice", False), ("from the laptop", "alice", False)],
    }
    assert received["laptop"][0].recipients == ("bob",)
    stranger = client(server, "alice", device="other")
    with pytest.raises(UserAlreadyLogged):
        server.run(stranger.when_online())
    for one in (laptop, phone, script, bob):
        server.run(one.stopService())


def test_a_mailbox_has_what_some_device_has_not_acknowledged() -> None:
    server = MemoryServer()
    phone = client(server, "alice", device="phone")
    server.run(phone.when_online())
    bob = client(server, "bob")
    server.run(bob.send("alice", "one"))
    assert [message.message for message in server.mailbox("alice")] == ["one"]
    token = phone.resume_state.session
    laptop = client(server, "alice", device="laptop", resume=ResumeState(session=token))
    server.run(laptop.when_online())
    server.run(bob.send("alice", "two"))
    for receiver, left in ((phone, ["one", "two"]), (laptop, [])):
        for expected in ("one", "two"):
            message = server.run(receiver.receive())
            assert message.text == expected
        receiver.acknowledge(message)
        server.flush()
        assert [message.message for message in server.mailbox("alice")] == left


def test_without_a_device_a_client_that_receives_nothing_sends_nothing() -> None:
    server = MemoryServer()
    bob = client(server, "bob")
    asking = client(server, "alice", receive=False)
    server.run(bob.when_online())
    for sending in (asking.send("bob", "x"), asking.send_to_all("x")):
        with pytest.raises(ValueError, match="sends under a device: give device="):
            server.run(sending)
