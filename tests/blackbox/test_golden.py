"""Version 1, byte by byte, against the published tables."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Address, Client
from tests.blackbox.conftest import StartServer, UserNames

LOGIN_OF_USER1 = bytes.fromhex("0000000e 01 0001 00000001 0005 7573657231")
ITS_ANSWER = bytes.fromhex("00000009 01 0003 00000001 0001")


@pytest.fixture
def pair(address: Address, user: UserNames) -> Iterator[tuple[Client, Client]]:
    with Client(address, user("alice")) as alice, Client(address, user("bob")) as bob:
        yield alice, bob


def test_login_of_user1_and_its_answer_are_the_published_bytes(address: Address) -> None:
    with Client(address) as client:
        client.write(LOGIN_OF_USER1)
        assert client.read(len(ITS_ANSWER)) == ITS_ANSWER
        assert client.quiet(0.2)


def test_a_message_is_answered_and_arrives_as_key_2_with_correlation_id_0(
    start_server: StartServer,
) -> None:
    server = start_server()
    with Client(server.address, "user1") as sender, Client(server.address, "user2") as receiver:
        head = "00000024 01 0002"
        strings = "0005 68656c6c6f 0005 7573657231 0005 7573657232"
        sender.write(bytes.fromhex(f"{head} 01020304 {strings} 00000000 499602d2"))
        assert sender.read(13) == bytes.fromhex("00000009 01 0003 01020304 0001")
        expected = bytes.fromhex(f"{head} 00000000 {strings} 00000000 499602d2")
        assert receiver.read(len(expected)) == expected


@pytest.mark.parametrize("value", [0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("online", [True, False])
def test_time_arrives_untouched(
    address: Address, user: UserNames, value: int, online: bool
) -> None:
    """`time`: an opaque uint64 to the server."""
    with Client(address, user("alice")) as alice:
        bob = Client(address, user("bob"))
        if not online:
            bob.close()
            bob = Client(address)
            # Its name is free as soon as the server has seen the end.
            assert alice.send("", user("bob")) == wire.OK
        with bob:
            assert alice.send("x", user("bob"), value) == wire.OK
            if not online:
                while bob.login(user("bob")) != wire.OK:
                    pass
            while (got := bob.receive()).text != "x":
                pass
            assert got.time == value


@pytest.mark.parametrize("claimed", ["mallory", "", "\u00e9" * 40, b"\x61\x62"])
def test_from_is_the_users_of_the_session_whatever_the_sender_wrote(
    pair: tuple[Client, Client], claimed: str | bytes
) -> None:
    alice, bob = pair
    code = alice.request(wire.message("x", claimed, bob.name, 7, 5))
    assert code == wire.OK
    got = bob.receive()
    assert got == wire.Text("x", alice.name, bob.name, 7)


def test_to_oneself(pair: tuple[Client, Client]) -> None:
    alice, _ = pair
    assert alice.send("note", alice.name, 9) == wire.OK
    assert alice.receive() == wire.Text("note", alice.name, alice.name, 9)


@pytest.mark.parametrize("text", ["", "a", "\0", "\u20ac\U0001f600", "x" * 65535, "\r\n\t"])
def test_a_text_arrives_as_it_was_written(pair: tuple[Client, Client], text: str) -> None:
    alice, bob = pair
    assert alice.send(text, bob.name) == wire.OK
    assert bob.receive().text == text


def test_texts_are_not_normalized(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    assert alice.send("e\u0301", bob.name) == wire.OK
    assert bob.receive().text == "e\u0301"


@pytest.mark.parametrize("correlation_id", [0, 1, 2**31, 2**32 - 1])
def test_the_correlation_id_is_echoed_whatever_it_is(
    pair: tuple[Client, Client], correlation_id: int
) -> None:
    alice, bob = pair
    alice.write(wire.message("x", alice.name, bob.name, 0, correlation_id))
    assert alice.read(13) == wire.answer(wire.OK, correlation_id)


def test_correlation_ids_need_not_differ(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    alice.write(wire.message("x", alice.name, bob.name, 0, 5) * 3)
    assert alice.read(39) == wire.answer(wire.OK, 5) * 3
    assert bob.texts(3) == ["x"] * 3


class TestCodes:
    def test_unknown_recipient_is_3(self, pair: tuple[Client, Client], user: UserNames) -> None:
        alice, _ = pair
        assert alice.send("x", user("nobody")) == wire.USER_NOT_FOUND
        assert alice.still_works()

    @pytest.mark.parametrize("name", ["", " x", "x\n", "x" * 256, "\u200d"])
    def test_a_recipient_that_is_no_username_is_3(
        self, pair: tuple[Client, Client], name: str
    ) -> None:
        alice, _ = pair
        assert alice.send("x", name) == wire.USER_NOT_FOUND

    def test_unknown_recipients_do_not_become_known_by_being_written_to(
        self, pair: tuple[Client, Client], user: UserNames
    ) -> None:
        alice, _ = pair
        codes = [alice.send("x", user("nobody")) for _ in range(3)]
        assert codes == [wire.USER_NOT_FOUND] * 3

    def test_a_second_login_on_the_connection_is_4_and_it_goes_on(
        self, pair: tuple[Client, Client], user: UserNames
    ) -> None:
        alice, bob = pair
        alice_name = alice.name
        for name in (alice.name, bob.name, user("other")):
            assert alice.request(wire.login(name, 9)) == wire.ALREADY_LOGGED
        assert alice.send("x", bob.name) == wire.OK
        assert bob.receive().sender == alice_name

    def test_a_second_login_of_the_user_is_4_and_both_connections_go_on(
        self, pair: tuple[Client, Client], address: Address, user: UserNames
    ) -> None:
        alice, bob = pair
        with Client(address) as second:
            assert second.login(alice.name) == wire.ALREADY_LOGGED
            assert alice.send("x", bob.name) == wire.OK
            assert bob.send("y", alice.name) == wire.OK
            assert alice.receive().text == "y"
            assert second.login(user("other")) == wire.OK
            assert second.send("z", alice.name) == wire.OK
            assert alice.receive().sender == user("other")

    def test_of_two_logins_at_once_one_gets_in(self, address: Address, user: UserNames) -> None:
        clients = [Client(address) for _ in range(8)]
        try:
            for client in clients:
                client.write(wire.login(user("alice"), 1))
            codes = sorted(client.answer(1) for client in clients)
        finally:
            for client in clients:
                client.close()
        assert codes == [wire.OK] + [wire.ALREADY_LOGGED] * 7

    def test_a_message_before_the_login_is_3(
        self, pair: tuple[Client, Client], address: Address, user: UserNames
    ) -> None:
        _, bob = pair
        with Client(address) as client:
            assert client.send("early", bob.name) == wire.USER_NOT_FOUND
            assert client.login(user("late")) == wire.OK
            assert client.send("late", bob.name) == wire.OK
        assert bob.receive().text == "late"

    def test_a_refused_login_may_be_tried_again(self, address: Address, user: UserNames) -> None:
        with Client(address) as client:
            assert client.login("") == wire.USER_NOT_FOUND
            assert client.login(user("alice")) == wire.OK

    @pytest.mark.parametrize(
        "key",
        [0, 4, 5, 8, 10, 0x00FF, 0x0102, 0x0108, 0x010A, 0x010F, 0x0116, 0x0117, 0x8001, 0xFFFF],
    )
    @pytest.mark.parametrize("logged_in", [True, False])
    def test_an_unknown_key_is_2(
        self, address: Address, user: UserNames, key: int, logged_in: bool
    ) -> None:
        """A key of version 2's table in a version 1 frame is an unknown command."""
        with Client(address) as client:
            if logged_in:
                assert client.login(user(f"u{key}")) == wire.OK
            assert client.request(wire.frame(key, 77, b"abc")) == wire.ERROR
            assert client.still_works()

    def test_version_0_is_2(self, pair: tuple[Client, Client]) -> None:
        alice, bob = pair
        assert alice.request(wire.message("x", "", bob.name, 0, 5, version=0)) == wire.ERROR
        assert alice.request(wire.frame(wire.CORRELATION_ID_TEST, 6, version=0)) == wire.ERROR
        assert alice.send("y", bob.name) == wire.OK
        assert bob.receive().text == "y"

    def test_login_of_version_0_is_2(self, address: Address, user: UserNames) -> None:
        with Client(address) as client:
            assert client.request(wire.login(user("alice"), 5, version=0)) == wire.ERROR
            assert client.login(user("alice")) == wire.OK

    def test_a_response_from_a_client_is_ignored(
        self, pair: tuple[Client, Client], address: Address
    ) -> None:
        alice, _ = pair
        with Client(address) as stranger:
            for client in (alice, stranger):
                client.write(wire.answer(1, 3) + wire.frame(wire.RESPONSE, 4) + wire.unknown(5))
                assert client.read(13) == wire.answer(wire.ERROR, 5)


def test_a_version_above_the_highest_known_is_read_as_the_highest(
    pair: tuple[Client, Client],
) -> None:
    alice, bob = pair
    alice.write(wire.message("x", alice.name, bob.name, 1, 5, version=255))
    (size,) = struct.unpack(">I", alice.read(4))
    frame = wire.parse(alice.read(size))
    assert frame.version < 255
    assert (frame.key, frame.correlation_id, frame.body[:2]) == (wire.RESPONSE, 5, b"\0\1")
    assert bob.receive().text == "x"


def test_bytes_behind_the_known_fields_are_ignored(
    pair: tuple[Client, Client], address: Address, user: UserNames
) -> None:
    """Bytes behind the known fields are ignored; they do not reach the recipient either."""
    alice, bob = pair
    junk = b"\xff" * 33

    def longer(frame: bytes) -> bytes:
        return wire.sized(frame[4:] + junk)

    assert alice.request(longer(wire.message("x", alice.name, bob.name, 8, 5))) == wire.OK
    expected = wire.message("x", alice.name, bob.name, 8, 0)
    assert bob.read(len(expected)) == expected
    # The same once the server knows the two: another way through it.
    assert alice.request(longer(wire.message("y", alice.name, bob.name, 8, 6))) == wire.OK
    assert bob.read(len(expected)) == wire.message("y", alice.name, bob.name, 8, 0)
    with Client(address) as client:
        assert client.request(longer(wire.login(user("c")))) == wire.OK
        assert client.request(longer(wire.correlation_test(7))) == wire.OK


class TestCorrelationIdTest:
    def test_is_answered_ok_within_4_seconds_and_holds_up_nothing(
        self, pair: tuple[Client, Client]
    ) -> None:
        alice, bob = pair
        start = time.monotonic()
        count = 200
        alice.write(b"".join(map(wire.correlation_test, range(count))))
        assert alice.send("meanwhile", bob.name) == wire.OK
        early = len(alice.codes)
        assert early < count, "every test was answered before a message behind them"
        arrived = list(alice.codes)
        while len(alice.codes) < count:
            frame = alice.next_frame()
            alice.codes[frame.correlation_id] = frame.code
            arrived.append(frame.correlation_id)
        seconds = time.monotonic() - start
        assert set(alice.codes) == set(range(count))
        assert set(alice.codes.values()) == {wire.OK}
        # Of 200 delays spread over 0 to 4 seconds the longest is above 3 with certainty.
        assert 3 < seconds < 6
        assert arrived != sorted(arrived), "random delays keep no order"

    def test_needs_no_login(self, address: Address) -> None:
        with Client(address) as client:
            client.write(wire.correlation_test(3))
            assert client.still_works()
            assert client.answer(3) == wire.OK

    def test_of_a_connection_that_goes_away_does_no_harm(
        self, pair: tuple[Client, Client], address: Address
    ) -> None:
        with Client(address) as client:
            client.write(wire.correlation_test(3) * 8)
            assert client.still_works()
        alice, bob = pair
        assert alice.send("x", bob.name) == wire.OK


def test_a_login_and_what_follows_it_in_one_segment(address: Address, user: UserNames) -> None:
    """Pipelined behind a login, commands find the session."""
    name = user("alice")
    with Client(address) as client:
        client.write(wire.login(name, 1) + wire.message("x", name, name, 0, 2) + wire.unknown(3))
        assert client.next_frame() == wire.parse(wire.answer(wire.OK, 1)[4:])
        assert client.answers([2, 3]) == [wire.OK, wire.ERROR]
        assert client.receive().text == "x"


def test_what_a_client_writes_before_it_closes_is_carried_out(
    address: Address, user: UserNames
) -> None:
    with Client(address, user("bob")) as bob:
        sock = socket.create_connection(address)  # type: ignore[arg-type]
        name = user("alice")
        sock.sendall(wire.login(name) + wire.message("bye", name, bob.name))
        sock.shutdown(socket.SHUT_WR)
        try:
            assert bob.receive() == wire.Text("bye", name, bob.name, 0)
        finally:
            sock.close()


def test_lengths_are_big_endian(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    text = "x" * 0x0102
    assert alice.send(text, bob.name) == wire.OK
    (size,) = struct.unpack(">I", bob.read(4))
    payload = bob.read(size)
    assert payload[7:9] == b"\x01\x02"
