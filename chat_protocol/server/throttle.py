"""How guessing of passwords is slowed down (docs/protocol.md, clause S67)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from random import random
from typing import NamedTuple

from twisted.internet.interfaces import IReactorTime

from chat_protocol.errors import RateLimited
from chat_protocol.transport.addresses import address_of

__all__ = ["Throttle"]

FREE_GUESSES = 3
"""Wrong passwords for one name from one address that cause no wait."""

FREE_GUESSES_OF_ADDRESS = 20
"""Wrong passwords for all names from one address that cause no wait. The machine's own addresses
have no such limit: they can stand for any number of clients."""

FREE_GUESSES_OF_NAME = 100
"""Wrong passwords for one name from all addresses that cause no wait."""

LONGEST_WAIT = 60.0
"""Longest wait in seconds for FREE_GUESSES; each further wrong password doubles the wait."""

LONGEST_SHARED_WAIT = 5.0
"""Longest wait in seconds for the other two limits. It is shorter, because users wait for the
guesses of others."""

GUESSES_SECONDS = 900.0
"""Time in seconds after the last wrong password in which wrong passwords count."""

RESERVED_SECONDS = 10.0
"""Time in seconds, after the wait of a name, that is kept for addresses without wrong passwords for
it, if one was refused during the wait."""

GUESSERS = 10_000
"""Addresses and names with wrong passwords that the server keeps, and as many names with the right
one. Above it the server drops the oldest."""

KNOWN_ADDRESSES = 32
"""Addresses from which the right password of one name came. Above it the server drops the oldest.
"""


class _Limit(NamedTuple):
    name: str
    free: int
    longest_wait: float
    whose: str
    """A format for the detail of a refusal."""


_OF_BOTH = _Limit("FREE_GUESSES", FREE_GUESSES, LONGEST_WAIT, " for {name!a} from this address")
_OF_ADDRESS = _Limit(
    "FREE_GUESSES_OF_ADDRESS", FREE_GUESSES_OF_ADDRESS, LONGEST_SHARED_WAIT, " from this address"
)
_OF_NAME = _Limit(
    "FREE_GUESSES_OF_NAME", FREE_GUESSES_OF_NAME, LONGEST_SHARED_WAIT, " for {name!a}"
)


class _Guesses:
    """The wrong passwords that count for one limit."""

    __slots__ = ("at", "free_at", "refused", "reserved", "wrong")

    def __init__(self, now: float) -> None:
        self.wrong = 0
        self.at = now
        """When the last password was tried."""
        self.free_at = now
        """When the next one may be tried."""
        self.refused = 0
        """Passwords that were not tried since the last one."""
        self.reserved = now
        """Until then only addresses without wrong passwords may try."""


class Throttle:
    """Slows guessing down for each address, for each name, and for each name from an address.

    After a wait, whoever tries first would win, and that is always the fastest guesser. Therefore
    the next password is drawn: each try has the same chance, and about one passes in each wait.
    For a name, addresses that have sent no wrong password for it come before all others.

    Args:
        clock: measures the waits.
        draw: returns random numbers from 0 to below 1.
    """

    def __init__(self, clock: IReactorTime, draw: Callable[[], float] = random) -> None:
        self._clock = clock
        self._draw = draw
        self._guesses: OrderedDict[tuple[_Limit, str, str], _Guesses] = OrderedDict()
        self._known: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        """By name: addresses from which the right password came."""

    def attempt(self, host: str, name: str) -> None:
        """Count a password that is about to be checked as wrong.

        It counts before its check has ended, so that many at the same time do not pass as one.

        Raises:
            RateLimited: it may not be checked now; the detail says when.
        """
        now = self._clock.seconds()
        counted = self._counted(host, name)
        is_new = True
        for key in counted:
            guesses = self._guesses.get(key)
            if guesses is None:
                continue
            if guesses.at + GUESSES_SECONDS <= now:
                del self._guesses[key]
                continue
            limit = key[0]
            if limit is _OF_BOTH:
                is_new = False
            first = limit is _OF_NAME and is_new
            wait = (guesses.free_at if first else max(guesses.free_at, guesses.reserved)) - now
            if wait > 0 or (not first and self._is_unlucky(guesses, limit, now)):
                guesses.refused += 1
                if first:
                    guesses.reserved = guesses.free_at + RESERVED_SECONDS
                raise RateLimited(
                    f"too many wrong passwords{limit.whose.format(name=name)}: {limit.free} are"
                    f" free ({limit.name}); try again in {int(max(wait, 0)) + 1} s",
                    limit.name,
                )
        for key in counted:
            self._count(key, now)
        while len(self._guesses) > GUESSERS:
            self._guesses.popitem(last=False)

    def _is_unlucky(self, guesses: _Guesses, limit: _Limit, now: float) -> bool:
        """Draw among those who try just after a wait, if others were refused during it."""
        if not guesses.refused or now - guesses.free_at >= limit.longest_wait:
            return False
        return self._draw() * (1 + guesses.refused) >= 1

    def _count(self, key: tuple[_Limit, str, str], now: float) -> None:
        guesses = self._guesses.pop(key, None) or _Guesses(now)
        self._guesses[key] = guesses
        guesses.wrong += 1
        guesses.at = now
        guesses.refused = 0
        guesses.reserved = now
        over = guesses.wrong - key[0].free
        if over >= 0:
            guesses.free_at = now + min(2.0 ** min(over, 10), key[0].longest_wait)

    def undecided(self, host: str, name: str) -> None:
        """Note that the password could not be checked: it does not count."""
        for key in self._counted(host, name):
            guesses = self._guesses.get(key)
            if guesses is not None:
                guesses.wrong -= 1
                if guesses.wrong < key[0].free:
                    guesses.free_at = guesses.at
                    guesses.refused = 0

    def right(self, host: str, name: str) -> None:
        """Note that the password was right: it does not count, and the name is known there.

        The wrong ones for this name from this address no longer count either. Those of the address
        as a whole still do: it may know one password and guess others.
        """
        self.undecided(host, name)
        address = address_of(host)
        self._guesses.pop((_OF_BOTH, address, name), None)
        addresses = self._known.pop(name, None) or OrderedDict()
        self._known[name] = addresses
        addresses.pop(address, None)
        addresses[address] = None
        if len(addresses) > KNOWN_ADDRESSES:
            addresses.popitem(last=False)
        if len(self._known) > GUESSERS:
            self._known.popitem(last=False)

    def knows(self, host: str, name: str) -> bool:
        """Return whether the right password of a name came from an address lately."""
        return address_of(host) in self._known.get(name, ())

    def _counted(self, host: str, name: str) -> list[tuple[_Limit, str, str]]:
        """Return what a password counts for, by limit, address and name.

        Where the right one for a name came from, only the name from there counts. So others who
        guess, at the same address or elsewhere, do not lock its user out.
        """
        address = address_of(host)
        counted = [(_OF_BOTH, address, name)]
        if not self.knows(host, name):
            counted.append((_OF_NAME, "", name))
            if address:
                counted.append((_OF_ADDRESS, address, ""))
        return counted
