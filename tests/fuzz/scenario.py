"""Scenarios as bytes: what some clients do to a server, and how one is made out of another.

A scenario is a byte of options and then steps, each a byte: its upper half says what happens, its
lower two bits to which client. SEND has a uint16 and so many bytes behind it: frames, as a rule.
Any bytes are a scenario.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from random import Random
from typing import NamedTuple

from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import (
    Ack,
    Close,
    CorrelationIdTest,
    Heartbeat,
    History,
    Login,
    Login2,
    Message,
    Publish,
    Response,
    Scope,
    Users,
)

__all__ = ["CLIENTS", "Act", "Option", "Step", "frames_of", "join", "mutate", "scenario", "steps"]

CLIENTS = 4
NAMES = ("a", "b", "c", "d", "é", "e\u0301", "", " x", "n" * 256, "nobody", "a\0")
_TEXTS = ("", "x", "hello", "ü" * 9, "\x1b[2J", "y" * 300, "z" * 2000)
_NUMBERS = (0, 1, 2, 3, 5, 100, 2**15, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_LENGTHS = (0, 1, 6, 7, 8, 66 * 1024, 66 * 1024 + 1, 256 * 1024, 2**31, 2**32 - 1)


class Option(IntFlag):
    """What the server is like."""

    SMALL = 1
    """Every limit is met soon."""
    RATES = 2
    PASSWORDS = 4


class Act(IntEnum):
    """What a step does."""

    SEND = 0
    SEND_IN_ONE_TURN = 1
    """With what follows."""
    SEND_IN_TWO = 2
    SEND_BYTEWISE = 3
    TURN = 4
    SECOND = 5
    LONG = 6
    """Half a minute passes."""
    LOSE = 7
    END_OF_INPUT = 8
    STOP_TAKING = 9
    TAKE = 10
    STORE_SLOW = 11
    STORE_REFUSES = 12
    STORE_WELL = 13


SENDING = (Act.SEND, Act.SEND_IN_ONE_TURN, Act.SEND_IN_TWO, Act.SEND_BYTEWISE)
_OTHERS = [act for act in Act if act not in SENDING]


class Step(NamedTuple):
    """One of a scenario."""

    act: Act
    client: int
    data: bytes = b""


def steps(data: bytes) -> Iterator[Step]:
    """The steps behind the options."""
    position = 1
    while position < len(data):
        act = Act((data[position] >> 4) % len(Act))
        client = data[position] % CLIENTS
        position += 1
        if act not in SENDING:
            yield Step(act, client)
            continue
        size = int.from_bytes(data[position : position + 2], "big")
        yield Step(act, client, data[position + 2 : position + 2 + size])
        position += 2 + size


def join(options: int, found: list[Step]) -> bytes:
    """The bytes of a scenario."""
    parts = [bytes([options])]
    for act, client, data in found:
        head = bytes([act << 4 | client])
        if act in SENDING:
            data = data[:65535]
            head += struct.pack(">H", len(data))
        parts += [head, data]
    return b"".join(parts)


def frames_of(data: bytes) -> list[bytes]:
    """The frames in a stream; what is no whole one is the last."""
    found = []
    while len(data) >= 4:
        end = 4 + int.from_bytes(data[:4], "big")
        found.append(data[:end])
        data = data[end:]
    return [*found, data] if data else found


# Making them.


def _recipients(random: Random) -> tuple[str, ...]:
    return tuple(random.choices(NAMES, k=random.choice((0, 1, 1, 1, 2, 3, 9))))


def command(random: Random) -> bytes:
    """A frame that means something."""
    name, text, number = random.choice(NAMES), random.choice(_TEXTS), random.choice(_NUMBERS)
    properties = {
        key: random.choice(("", "1", "2", "3", "50", "x", "9999999999"))
        for key in ("window", "heartbeat", "presence", "session", "password")
        if random.random() < 0.4
    }
    made = random.choice(
        (
            lambda: Login(random.choice(NAMES[:4])),
            lambda: Login2(random.choice(NAMES[:4]), properties),
            lambda: Login2(name, properties),
            lambda: Message(text, name, random.choice(NAMES[:4]), number),
            lambda: Message(text, name, name, number),
            lambda: Publish(number, text, Scope.USERS, (random.choice(NAMES[:4]),), number),
            lambda: Publish(random.randrange(9), text, Scope.USERS, _recipients(random), 1),
            lambda: Publish(number, text, Scope.EVERYONE, (), number),
            lambda: Publish(number, text, random.randrange(4), _recipients(random), number),
            lambda: Ack(number),
            lambda: Ack(random.randrange(40)),
            lambda: History(name, number, random.randrange(3)),
            lambda: Users(name, random.randrange(3)),
            CorrelationIdTest,
            Heartbeat,
            lambda: Close(1, text),
            lambda: Response(1),
        )
    )()
    correlation_id = random.choice((1, 2, 3, *(random.randrange(2**32) for _ in range(7))))
    frame = encode(made, correlation_id)
    return frame * random.choice((1, 1, 1, 2, 5)) if len(frame) < 100 else frame


def _bent(random: Random, frame: bytes) -> bytes:
    """A frame with one thing wrong, or just different."""
    if len(frame) < 11:
        return frame + random.randbytes(random.randrange(8))
    body = bytearray(frame[4:])
    kind = random.randrange(8)
    if kind == 0:
        body[0] = random.choice((0, 1, 2, 3, 255))
    elif kind == 1:
        key = random.choice((1, 2, 3, 9, 0x102, 0x108, 0x10A, 0x10B, 0x10F, 0x110, 0x116, 0x117))
        body[1:3] = (key | random.choice((0, 0, 0, 0x8000))).to_bytes(2, "big")
    elif kind == 2:
        return random.choice(_LENGTHS).to_bytes(4, "big") + bytes(body)
    elif kind == 3:
        del body[random.randrange(7, len(body) + 1) :]
    elif kind == 4:
        body += random.randbytes(random.randrange(1, 20))
    elif kind == 5 and len(body) > 9:
        place = random.randrange(7, len(body) - 1)
        body[place : place + 2] = random.choice(_NUMBERS[:7]).to_bytes(2, "big")
    elif kind == 6 and len(body) > 7:
        place = random.randrange(7, len(body))
        body[place] = random.choice((0, 1, 0x7F, 0x80, 0xC3, 0xED, 0xFF, random.randrange(256)))
    else:
        place = random.randrange(len(body))
        body[place : place + random.randrange(5)] = random.randbytes(random.randrange(5))
    return len(body).to_bytes(4, "big") + bytes(body)


def _stream(random: Random) -> bytes:
    return b"".join(command(random) for _ in range(random.randrange(1, 8)))


def _step(random: Random) -> Step:
    client = random.randrange(CLIENTS)
    if random.random() < 0.7:
        return Step(random.choice(SENDING), client, _stream(random))
    return Step(random.choice(_OTHERS), client)


def scenario(random: Random) -> bytes:
    """A new one, whose clients have logged in."""
    found = []
    for client in range(random.randrange(1, CLIENTS)):
        login = random.choice((Login, Login2))(NAMES[client])
        found.append(Step(Act.SEND, client, encode(login, 1)))
    found += [_step(random) for _ in range(random.randrange(1, 12))]
    return join(random.choice((0, 0, 1, 1, 2, 3, 4, 7)), found)


def mutate(random: Random, data: bytes, other: bytes, max_size: int) -> bytes:
    """A scenario like another, with a change or a few; ``other`` is one to take steps from."""
    options = data[0] if data else 0
    found = list(steps(data))
    for _ in range(random.choice((1, 1, 2, 4))):
        place = random.randrange(len(found) + 1)
        kind = random.randrange(10)
        if kind == 0 or not found:
            found.insert(place, _step(random))
        elif kind == 1:
            del found[min(place, len(found) - 1)]
        elif kind == 2:
            found.insert(place, random.choice(found))
        elif kind == 3:
            options = random.randrange(8)
        elif kind == 4:
            mine = list(steps(other))
            start = random.randrange(len(mine) + 1)
            found[place:place] = mine[start : start + random.randrange(1, 6)]
        else:
            place = min(place, len(found) - 1)
            found[place] = _bent_step(random, found[place])
    return join(options, found)[:max_size]


def _bent_step(random: Random, step: Step) -> Step:
    act, client, data = step
    if act not in SENDING or random.random() < 0.1:
        return Step(act, random.randrange(CLIENTS), data)
    frames = frames_of(data)
    place = random.randrange(len(frames) + 1)
    kind = random.randrange(8)
    if kind < 2 or not frames:
        frames.insert(place, command(random))
    elif kind < 3:
        del frames[min(place, len(frames) - 1)]
    elif kind < 4:
        frames.insert(place, random.choice(frames))
    elif kind < 5:
        act = random.choice(SENDING)
    else:
        place = min(place, len(frames) - 1)
        frames[place] = _bent(random, frames[place])
    return Step(act, client, b"".join(frames))
