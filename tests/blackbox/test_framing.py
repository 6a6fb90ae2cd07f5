"""Frames in every portion, and bytes that are none."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from chat_protocol.domain.limits import Limits
from tests.blackbox import wire
from tests.blackbox.client import Address, Client
from tests.blackbox.conftest import StartServer, UserNames
from tests.blackbox.figures import report

BAD_UTF8 = [b"\xff", b"\xc3", b"a\xe2\x82", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]
"""Not a byte of it, cut off, cut off, a surrogate, too long a form, above U+10FFFF."""


@pytest.fixture
def pair(address: Address, user: UserNames) -> Iterator[tuple[Client, Client]]:
    with Client(address, user("alice")) as alice, Client(address, user("bob")) as bob:
        yield alice, bob


def test_a_conversation_split_at_every_byte(address: Address, user: UserNames) -> None:
    """Each cut in turn, between two segments; then every byte a segment of its own."""
    with Client(address, user("bob")) as bob:
        name = user("alice")
        request = (
            wire.login(name, 1)
            + wire.message("one", name, bob.name, 1, 2)
            + wire.message("two \u20ac", name, bob.name, 2, 3)
            + wire.message("x", name, user("nobody"), 3, 4)
            + wire.unknown(5)
        )
        cuts = [[cut] for cut in range(1, len(request))]
        cuts.append(list(range(1, len(request))))
        for cut in cuts:
            with Client(address) as alice:
                for start, end in zip([0, *cut], [*cut, len(request)], strict=True):
                    alice.write(request[start:end])
                    if len(cut) == 1 and start == 0:
                        # Let the first portion be read by itself.
                        time.sleep(0.001)
                while (code := alice.answer(1)) == wire.ALREADY_LOGGED:
                    # The session before was not seen to end yet; the rest came in vain.
                    alice.answers([2, 3, 4, 5])
                    time.sleep(0.002)
                    alice.write(request)
                assert code == wire.OK
                assert alice.answers([2, 3, 4, 5]) == [1, 1, 3, 2], cut
                assert bob.texts(2) == ["one", "two \u20ac"], cut


def test_500_frames_glued_in_one_segment(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    frames = [wire.message(str(n), alice.name, bob.name, n, n) for n in range(500)]
    # Something else among them, so that they are not all of one kind.
    frames[100:100] = [wire.unknown(1000)]
    alice.write(b"".join(frames))
    assert alice.answers(range(500)) == [wire.OK] * 500
    assert alice.answer(1000) == wire.ERROR
    assert bob.texts(500) == [str(n) for n in range(500)]


@pytest.mark.parametrize("warm", [False, True])
def test_a_message_cut_at_every_length_is_2_and_the_connection_goes_on(
    pair: tuple[Client, Client], warm: bool
) -> None:
    """Every length of the body from the correlationId alone to one byte too few."""
    alice, bob = pair
    if warm:
        # The server has met the recipient: another way through it.
        assert alice.send("warm", bob.name) == wire.OK
        assert bob.receive().text == "warm"
    payload = wire.message("hello", alice.name, bob.name, 1, 5)[4:]
    for size in range(wire.MIN, len(payload)):
        assert alice.request(wire.sized(payload[:size])) == wire.ERROR, size
    assert alice.request(wire.sized(payload)) == wire.OK
    assert bob.receive().text == "hello"


def test_a_login_cut_at_every_length_is_2_and_may_be_tried_again(
    address: Address, user: UserNames
) -> None:
    with Client(address) as client:
        payload = wire.login(user("alice"), 5)[4:]
        for size in range(wire.MIN, len(payload)):
            assert client.request(wire.sized(payload[:size])) == wire.ERROR, size
        assert client.request(wire.sized(payload)) == wire.OK


@pytest.mark.parametrize("field", ["text", "from", "to"])
@pytest.mark.parametrize("bad", BAD_UTF8)
def test_bad_utf8_in_a_message_is_2(pair: tuple[Client, Client], field: str, bad: bytes) -> None:
    alice, bob = pair
    parts: dict[str, str | bytes] = {"text": "x", "from": alice.name, "to": bob.name}
    for again in range(2):
        wrong = parts | {field: bad}
        code = alice.request(wire.message(wrong["text"], wrong["from"], wrong["to"], 0, 5))
        assert code == wire.ERROR
        # The second round is behind a good message, which the server then knows the way of.
        assert alice.send(f"good {again}", bob.name) == wire.OK
        assert bob.receive().text == f"good {again}"


@pytest.mark.parametrize("bad", BAD_UTF8)
def test_bad_utf8_in_a_login_is_2(address: Address, user: UserNames, bad: bytes) -> None:
    with Client(address) as client:
        assert client.login(bad) == wire.ERROR
        assert client.login(user("alice")) == wire.OK


def test_one_bad_text_among_many_good_ones(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    texts: list[str | bytes] = [str(n) for n in range(100)]
    texts[50] = b"\xff"
    alice.write(b"".join(wire.message(t, alice.name, bob.name, 0, n) for n, t in enumerate(texts)))
    codes = alice.answers(range(100))
    assert [n for n, code in enumerate(codes) if code != wire.OK] == [50]
    assert bob.texts(99) == [str(n) for n in range(100) if n != 50]


@pytest.mark.parametrize("length", [0, 1, 6, 2**31, 2**32 - 1, wire.MAX_BEFORE_LOGIN + 1])
def test_a_length_out_of_bounds_before_login_ends_the_connection(
    address: Address, length: int
) -> None:
    with Client(address) as client:
        rest = b"\x01" * 300_000
        client.write(wire.unknown(8) * 20 + struct.pack(">I", length) + rest + wire.unknown(9))
        # What was asked before is answered, nothing behind it is.
        for _ in range(20):
            assert client.read(13) == wire.answer(wire.ERROR, 8)
        with pytest.raises(EOFError):
            client.read(1)


@pytest.mark.parametrize("length", [0, 1, 6, 2**31, 2**32 - 1, wire.MAX + 1])
def test_a_length_out_of_bounds_after_login_ends_the_connection_and_what_was_sent_is_stored(
    pair: tuple[Client, Client], length: int
) -> None:
    alice, bob = pair
    before = b"".join(wire.message(str(n), alice.name, bob.name, 0, n) for n in range(50))
    behind = wire.message("behind", alice.name, bob.name, 0, 99)
    alice.write(before + struct.pack(">I", length) + behind + b"\0" * 300_000)
    # A FIN, not a RST: that could overtake the answers.
    with pytest.raises(EOFError):
        alice.answer(99)
    assert alice.codes == dict.fromkeys(range(50), wire.OK)
    assert bob.texts(50) == [str(n) for n in range(50)]
    assert bob.send("fence", bob.name) == wire.OK
    assert bob.receive().text == "fence"


def test_the_user_of_a_connection_ended_for_a_length_is_free(
    pair: tuple[Client, Client], address: Address
) -> None:
    alice, _ = pair
    alice.write(struct.pack(">I", 0))
    with pytest.raises(EOFError):
        alice.read(1)
    with Client(address) as again:
        assert again.login(alice.name) == wire.OK


@pytest.mark.parametrize("length", [wire.MIN, 66 * 1024 - 1, 66 * 1024])
def test_every_length_up_to_66_kib_is_answered_before_login(
    address: Address, user: UserNames, length: int
) -> None:
    with Client(address) as client:
        payload = wire.unknown(5)[4:].ljust(length, b"\xff")
        assert client.request(wire.sized(payload)) == wire.ERROR
    login = wire.login(user("alice"), 6)[4:]
    if length > wire.MIN:
        with Client(address) as client:
            assert client.request(wire.sized(login.ljust(length, b"\xff"))) == wire.OK


@pytest.mark.parametrize("length", [66 * 1024 + 1, 256 * 1024 - 1, 256 * 1024])
def test_every_length_up_to_256_kib_is_answered_after_login(
    pair: tuple[Client, Client], length: int
) -> None:
    alice, bob = pair
    for again in range(2):
        payload = wire.message("x", alice.name, bob.name, again, 5)[4:].ljust(length, b"\xff")
        assert alice.request(wire.sized(payload)) == wire.OK
        assert bob.receive() == wire.Text("x", alice.name, bob.name, again)


def _random_frame(chance: random.Random, names: list[str]) -> bytes:
    """A frame of a good length, with anything in it: noise, or one thing that is wrong."""
    name = chance.choice(names)
    kind = chance.randrange(6)
    correlation_id = chance.randrange(2**31)
    if kind == 0:
        return wire.sized(chance.randbytes(chance.randrange(wire.MIN, 300)))
    if kind == 1:
        return wire.frame(chance.randrange(12), correlation_id, chance.randbytes(40))
    if kind == 2:
        return wire.frame(
            chance.choice([1, 2, 3, 9, 0x102, 0x117]),
            correlation_id,
            wire.string(chance.randbytes(chance.randrange(30))) * chance.randrange(4),
            chance.choice([0, 1, 1, 2, 255]),
        )
    good = bytearray(
        chance.choice(
            [
                wire.login(name, correlation_id),
                wire.message("spam", name, name, correlation_id, correlation_id),
                wire.message(chance.randbytes(8), name, name, 0, correlation_id),
                wire.correlation_test(correlation_id),
            ]
        )
    )
    if kind == 3:
        good[chance.randrange(4, len(good))] = chance.randrange(256)
    return bytes(good)


def _random_end(chance: random.Random, names: list[str]) -> bytes:
    """Nothing, noise, or the beginning of a frame."""
    kind = chance.randrange(3)
    if kind == 0:
        return b""
    if kind == 1:
        return chance.randbytes(chance.randrange(1, 200))
    frame = _random_frame(chance, names)
    return frame[: chance.randrange(len(frame))]


_BARRIER = wire.unknown(0xFFFFFFFF)
_BARRIER_ANSWER = wire.answer(wire.ERROR, 0xFFFFFFFF)


def _few_tests(frames: list[bytes]) -> list[bytes]:
    """Leave out CorrelationIdTests above the limit (L60): one more ends the connection."""
    tests = [frame for frame in frames if frame[5:7] == wire.correlation_test(0)[5:7]]
    surplus = tests[Limits().tests_before_login :]
    return [frame for frame in frames if frame not in surplus]


def _throw(address: Address, seed: int, frames: int, names: list[str], wrong: list[str]) -> None:
    """So many frames from connections with up to 40 each; says what is not as it should be."""
    chance = random.Random(seed)
    while frames > 0:
        count = min(frames, chance.randrange(1, 40))
        frames -= count
        with Client(address) as client:
            thrown = _few_tests([_random_frame(chance, names) for _ in range(count)])
            client.write(b"".join(thrown) + _BARRIER)
            answers = b""
            while _BARRIER_ANSWER not in answers:
                data = client.sock.recv(65536)
                if not data:
                    wrong.append(f"the connection ended after {thrown}")
                    return
                answers += data
            client.write(_random_end(chance, names))
            if chance.random() < 0.5:
                client.reset()


def test_10000_random_frames_harm_nobody(start_server: StartServer) -> None:
    """No traceback in the log (the fixture looks), the others unaffected, memory flat."""
    seed = random.SystemRandom().randrange(2**32)
    report(f"seed {seed}")
    server = start_server()
    names = [f"fuzz{n}" for n in range(6)]
    wrong: list[str] = []
    with Client(server.address, "alice") as alice, Client(server.address, "bob") as bob:
        # What any use costs once: first connections, first errors.
        _throw(server.address, seed - 1, 1000, names, wrong)
        before = server.rss()
        threads = [
            threading.Thread(target=_throw, args=(server.address, seed + n, 2500, names, wrong))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        count = 0
        slowest = 0.0
        while any(thread.is_alive() for thread in threads):
            start = time.monotonic()
            assert alice.send(f"a{count}", "bob", count) == wire.OK
            assert bob.send(f"b{count}", "alice", count) == wire.OK
            assert bob.receive() == wire.Text(f"a{count}", "alice", "bob", count)
            assert alice.receive() == wire.Text(f"b{count}", "bob", "alice", count)
            slowest = max(slowest, time.monotonic() - start)
            count += 1
        for thread in threads:
            thread.join()
        growth = server.rss() - before
    report(f"{count} exchanges meanwhile, slowest {slowest:.3f} s; memory {growth:+,} bytes")
    assert not wrong
    assert count > 10
    assert growth < 10_000_000


def test_too_much_before_a_login_ends_the_connection_behind_its_answers(
    address: Address, user: UserNames
) -> None:
    with Client(address) as client:
        client.write(b"".join(wire.unknown(number) for number in range(200)))
        assert client.answers(range(64)) == [wire.ERROR] * 64
        with pytest.raises(EOFError):
            client.read(1)
    with Client(address) as again:
        assert again.login(user("alice")) == wire.OK


def test_a_script_that_sends_everything_and_closes_its_side(
    address: Address, user: UserNames
) -> None:
    with Client(address, user("bob")) as bob, Client(address) as script:
        name = user("alice")
        texts = [str(number) for number in range(2000)]
        sent = [wire.message(text, name, bob.name, 0, n) for n, text in enumerate(texts)]
        script.write(wire.login(name, 1) + b"".join(sent))
        script.sock.shutdown(socket.SHUT_WR)
        assert bob.texts(len(texts)) == texts
