"""A population of users of both versions that send to each other in every way there is."""

from __future__ import annotations

from random import Random

from tests.fault.history import History
from tests.fault.peers import Crowd, Peer, Plan, nothing

__all__ = ["FULL", "MAILBOX_LIMIT", "NEWCOMERS", "auditor", "come_and_go", "population"]

FULL = "full"
"""An offline user; its mailbox becomes full."""

MAILBOX_LIMIT = 400
"""Small enough to fill that mailbox. The other mailboxes are read often."""

NEWCOMERS = ("new1", "new2")
"""Users that register during the load."""

_OFTEN_OFFLINE = ("away1", "away2")

_UNKNOWN = "nobody"
"""A name that is not registered: a message to it is refused."""

_SIZES = (20, 200, 3000)
_PAUSES = 0.4
"""Probability that a user sends no message now."""


def population(random: Random) -> list[Peer]:
    """Return the users; newcomers and the user with the full mailbox are offline.

    Only a version 1 client sends to the full mailbox. A version 2 client would resend a message
    that was refused without its knowledge, and it might be stored after all, behind later ones.
    """

    def peer(name: str, version: int, plan: Plan = nothing, acks: float = 1.0) -> Peer:
        return Peer(History(name, version), random, plan, acks=acks, sizes=_SIZES)

    def one_of(*names: str) -> Plan:
        return lambda: None if random.random() < _PAUSES else (random.choice(names),)

    def any_of(*names: str) -> Plan:
        def plan() -> tuple[str, ...] | None:
            kind = random.random()
            if kind < _PAUSES:
                return None
            if kind < _PAUSES + 0.1:
                return ()
            if kind < _PAUSES + 0.15:
                return (random.choice(names), _UNKNOWN)
            if kind < _PAUSES + 0.3:
                return tuple(random.sample(names, random.randint(2, 3)))
            return (random.choice(names),)

        return plan

    peers = [
        peer("ann1", 1, one_of("ben1", "dot2", "away1", "away2")),
        peer("ben1", 1, one_of("ann1", "eli2", "ben1")),
        peer("max1", 1, one_of(FULL)),
        peer("dot2", 2, any_of("ann1", "eli2", "away1", "away2", "dot2")),
        peer("eli2", 2, any_of("ben1", "dot2", "away2"), acks=0.05),
        peer("fay2", 2, one_of("gil1", "eli2"), acks=0.5),
        peer("gil1", 1),
        peer("away1", 1),
        peer("away2", 2, any_of("dot2", "ann1", "away1")),
        *(peer(name, 2, one_of("ann1", "dot2")) for name in NEWCOMERS),
        peer(FULL, 1),
    ]
    for one in peers:
        one.online = one.name not in (*NEWCOMERS, FULL)
    return peers


def auditor(random: Random) -> Peer:
    """Return the user that :meth:`Crowd.settle` needs."""
    return Peer(History("auditor", 2), random)


def come_and_go(crowd: Crowd, random: Random) -> None:
    """Let some users log in or leave."""
    for peer in crowd.peers:
        if peer.name in _OFTEN_OFFLINE and random.random() < 0.5:
            peer.online = not peer.online
