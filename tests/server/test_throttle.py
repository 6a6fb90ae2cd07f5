"""How guessing of passwords is slowed down, and whom it does not keep out."""

from __future__ import annotations

from random import Random

import pytest
from twisted.internet.task import Clock

from chat_protocol.errors import RateLimited
from chat_protocol.server.throttle import (
    FREE_GUESSES,
    FREE_GUESSES_OF_ADDRESS,
    FREE_GUESSES_OF_NAME,
    GUESSERS,
    GUESSES_SECONDS,
    KNOWN_ADDRESSES,
    LONGEST_SHARED_WAIT,
    LONGEST_WAIT,
    RESERVED_SECONDS,
    Throttle,
)

_HERE = "192.0.2.1"
_ELSEWHERE = "198.51.100.1"

_WAIT = (
    r"^too many wrong passwords for 'alice' from this address: 3 are free \(FREE_GUESSES\);"
    r" try again in \d+ s$"
)


def refused(throttle: Throttle, host: str, name: str) -> str:
    """Try a wrong password, and return the limit that refuses it; empty: it was checked."""
    try:
        throttle.attempt(host, name)
    except RateLimited as error:
        return error.limit
    return ""


def guess_all_names(throttle: Throttle, host: str) -> None:
    """Use up what is free for an address."""
    for number in range(FREE_GUESSES_OF_ADDRESS):
        throttle.attempt(host, str(number))


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def test_guessing_one_name_gets_slower_and_the_detail_says_the_wait() -> None:
    clock = Clock()
    throttle = Throttle(clock, draw=lambda: 0.0)
    for _ in range(FREE_GUESSES):
        throttle.attempt(_HERE, "alice")
    waits = []
    for _ in range(8):
        with pytest.raises(RateLimited, match=_WAIT) as caught:
            throttle.attempt(_HERE, "alice")
        assert caught.value.limit == "FREE_GUESSES"
        waited = 0
        while waited == 0 or refused(throttle, _HERE, "alice"):
            clock.advance(1)
            waited += 1
        waits.append(waited)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    throttle.attempt(_HERE, "bob")
    throttle.attempt(_ELSEWHERE, "alice")


@pytest.mark.parametrize(
    ("here", "too"), [(_HERE, "::ffff:192.0.2.1"), ("2001:db8::1", "2001:db8::f:2")]
)
def test_one_address_cannot_try_every_name(here: str, too: str) -> None:
    throttle = Throttle(Clock())
    guess_all_names(throttle, here)
    assert refused(throttle, too, "another") == "FREE_GUESSES_OF_ADDRESS"
    throttle.attempt(_ELSEWHERE, "another")


@pytest.mark.parametrize("here", ["127.0.0.1", "::1", ""])
def test_the_machines_own_address_stands_for_any_number_of_clients(here: str) -> None:
    throttle = Throttle(Clock())
    for number in range(10 * FREE_GUESSES_OF_ADDRESS):
        throttle.attempt(here, str(number))
    for _ in range(FREE_GUESSES):
        throttle.attempt(here, "alice")
    assert refused(throttle, here, "alice") == "FREE_GUESSES"


def test_on_a_unix_socket_a_password_counts_once_for_each_limit() -> None:
    throttle = Throttle(Clock())
    for _ in range(FREE_GUESSES):
        throttle.attempt("", "alice")
    assert [guesses.wrong for guesses in throttle._guesses.values()] == [FREE_GUESSES] * 2


def test_many_addresses_cannot_guess_one_name_or_lock_out_its_user() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    throttle.right(_HERE, "alice")
    for number in range(FREE_GUESSES_OF_NAME):
        throttle.attempt(address(number), "alice")
    assert refused(throttle, _ELSEWHERE, "alice") == "FREE_GUESSES_OF_NAME"
    throttle.attempt(_HERE, "alice")
    throttle.attempt(_ELSEWHERE, "bob")
    clock.advance(2 * LONGEST_SHARED_WAIT)
    throttle.attempt(_ELSEWHERE, "alice")


@pytest.mark.parametrize("guessers", [60, 1000])
def test_a_user_at_a_new_address_comes_before_those_who_have_guessed(guessers: int) -> None:
    """After a restart, no address is known."""
    clock = Clock()
    throttle = Throttle(clock, Random(1).random)
    guessed = 0
    for turn in range(20_000 if guessers == 1000 else 2_000):
        guessed += not refused(throttle, address(turn % guessers), "alice")
        clock.advance(0.5)
    assert guessed < FREE_GUESSES_OF_NAME + turn * 0.5 / LONGEST_SHARED_WAIT + 2
    waited = 0
    while refused(throttle, _HERE, "alice"):
        waited += 2
        for _ in range(20):
            for number in range(3):
                refused(throttle, address((waited + number) % guessers), "alice")
            clock.advance(0.1)
    assert waited <= LONGEST_SHARED_WAIT + RESERVED_SECONDS
    # What was kept for the new address is over when it has tried, or if it does not come.
    throttle.right(_HERE, "alice")
    clock.advance(LONGEST_SHARED_WAIT)
    assert any(not refused(throttle, address(number), "alice") for number in range(guessers))


def test_what_is_kept_for_a_new_address_ends() -> None:
    clock = Clock()
    throttle = Throttle(clock, draw=lambda: 0.0)
    for number in range(FREE_GUESSES_OF_NAME):
        throttle.attempt(address(number), "alice")
    assert refused(throttle, _HERE, "alice") == "FREE_GUESSES_OF_NAME"
    clock.advance(1 + RESERVED_SECONDS - 0.1)
    assert refused(throttle, address(1), "alice") == "FREE_GUESSES_OF_NAME"
    clock.advance(0.2)
    throttle.attempt(address(1), "alice")


def test_a_guesser_does_not_lock_out_those_who_were_let_in_from_its_address() -> None:
    throttle = Throttle(Clock())
    throttle.right(_HERE, "alice")
    guess_all_names(throttle, _HERE)
    assert refused(throttle, _HERE, "bob") == "FREE_GUESSES_OF_ADDRESS"
    for _ in range(FREE_GUESSES):
        throttle.attempt(_HERE, "alice")
    assert refused(throttle, _HERE, "alice") == "FREE_GUESSES"


def test_a_new_name_gets_in_beside_a_guesser_who_tries_all_the_time() -> None:
    """The guesser is always the first after a wait, with a new name each time."""
    clock = Clock()
    throttle = Throttle(clock, Random(1).random)
    guess_all_names(throttle, _HERE)
    tried = guessed = 0
    waited = []
    for second in range(3600):
        for number in range(10):
            guessed += not refused(throttle, _HERE, f"{second} {number}")
            clock.advance(0.1)
        tried += 1
        if not refused(throttle, _HERE, f"bob {second}"):
            waited.append(tried)
            tried = 0
    # One in eleven tries is that of the new name.
    assert len(waited) > 20
    assert max(waited) < 600
    assert guessed < 3600 / LONGEST_SHARED_WAIT


def test_passwords_that_are_being_checked_count() -> None:
    throttle = Throttle(Clock())
    guess_all_names(throttle, _HERE)
    assert refused(throttle, _HERE, "alice")
    throttle.right(_HERE, "0")
    assert not refused(throttle, _HERE, "alice")
    assert refused(throttle, _HERE, "bob")
    throttle.undecided(_HERE, "1")
    assert not refused(throttle, _HERE, "bob")


def test_the_right_password_clears_the_wrong_ones() -> None:
    throttle = Throttle(Clock())
    for _ in range(FREE_GUESSES - 1):
        throttle.attempt(_HERE, "alice")
    throttle.right(_HERE, "alice")
    for _ in range(FREE_GUESSES):
        throttle.attempt(_HERE, "alice")


def test_after_a_while_wrong_passwords_no_longer_count() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(10):
        guess_all_names(throttle, _HERE)
        clock.advance(GUESSES_SECONDS)
    for _ in range(FREE_GUESSES):
        throttle.attempt(_HERE, "alice")
    clock.advance(LONGEST_WAIT)
    throttle.attempt(_HERE, "alice")
    assert refused(throttle, _HERE, "alice")


def test_the_oldest_are_dropped_above_a_limit() -> None:
    throttle = Throttle(Clock())
    throttle.right(_HERE, "alice")
    for number in range(GUESSERS):
        throttle.right(address(number), "bob")
    assert throttle.knows(_HERE, "alice"), "one name does not push out another"
    assert sum(map(len, throttle._known.values())) == 1 + KNOWN_ADDRESSES
    assert throttle.knows(address(GUESSERS - 1), "bob")
    for number in range(GUESSERS):
        throttle.right(address(number), str(number))
    assert len(throttle._known) == GUESSERS
    for number in range(FREE_GUESSES_OF_NAME):
        throttle.attempt(address(number), "alice")
    assert refused(throttle, _HERE, "alice") == "FREE_GUESSES_OF_NAME"
    for number in range(GUESSERS):
        throttle.attempt(address(number), str(number))
    assert len(throttle._guesses) == GUESSERS
