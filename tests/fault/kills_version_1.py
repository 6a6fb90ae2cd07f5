"""Kill a server under version 1 load: only messages of its last moments are received twice.

Raw version 1 clients send as many messages as their window allows, and read at once; one recipient
is often offline. A version 1 client cannot acknowledge. So messages that the server has delivered
shortly before a SIGKILL may be delivered again. Nothing that was answered OK is lost, and the order
of each sender is kept::

    python -m tests.fault.kills_version_1 --kills 20

A message may be received twice if the first time was at most ``--max-age`` seconds before the kill.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from bisect import bisect
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.blackbox.server import Server
from tests.fault import population
from tests.fault.history import History, verdict
from tests.fault.outcome import SERVER_OPTIONS, codes_of, conclude
from tests.fault.peers import Crowd, Peer, Plan, nothing

_OPTIONS = (*SERVER_OPTIONS, "--mailbox-limit", "0")

_WINDOW = 100

_OFTEN_OFFLINE = "away"


class Kill(NamedTuple):
    """When a server was killed, and when the next one was started."""

    killed: float
    started: float


def users(random: Random) -> list[Peer]:
    """Return senders, recipients, users that do both, and one that is often offline."""

    def peer(name: str, plan: Plan = nothing) -> Peer:
        return Peer(History(name, 1), random, plan, window=_WINDOW, sizes=(10, 50, 500))

    def one_of(*names: str) -> Plan:
        return lambda: (random.choice(names),)

    return [
        peer("sender1", one_of("receiver1")),
        peer("sender2", one_of("receiver2", "receiver1", _OFTEN_OFFLINE)),
        peer("both1", one_of("both2", "receiver2")),
        peer("both2", one_of("both1", "both2")),
        peer("receiver1"),
        peer("receiver2"),
        peer(_OFTEN_OFFLINE),
    ]


def ages(histories: Iterable[History], kills: Sequence[Kill]) -> list[float]:
    """Return for each message received twice how many seconds before a kill the first time was.

    The age is infinite if there was no kill between the two times.
    """
    starts = [kill.started for kill in kills]
    found = []
    for history in histories:
        last_time: dict[tuple[str, str], float] = {}
        for arrival, now in zip(history.received, history.times, strict=True):
            message = (arrival.sender, arrival.text)
            before, last_time[message] = last_time.get(message), now
            if before is None:
                continue
            last = bisect(starts, now) - 1
            if last < 0 or before > starts[last]:
                found.append(float("inf"))
            else:
                # What a client reads after the kill was in its kernel before.
                found.append(max(0.0, kills[last].killed - before))
    return found


def load(server: Server, crowd: Crowd, count: int, random: Random) -> list[Kill]:
    """Load a server and kill it again and again."""
    kills = []
    for _ in range(count):
        crowd.sending = True
        crowd.answered = 0
        crowd.run(lambda: crowd.answered > 100)
        for peer in crowd.peers:
            peer.online = peer.name != _OFTEN_OFFLINE or random.random() < 0.7
        crowd.run_for(random.uniform(0.05, 0.6))
        killed = time.monotonic()
        server.kill9()
        # The clients read what their kernel has.
        crowd.run_for(0.05)
        kills.append(Kill(killed, time.monotonic()))
        server.start()
    crowd.run_for(0.3)
    return kills


def run(options: argparse.Namespace) -> int:
    """Load, kill and compare; print the figures and return the exit code."""
    random = Random(options.seed)
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    auditor = population.auditor(random)
    peers = [*users(random), auditor]
    histories = [peer.history for peer in peers]
    faults = []
    with Server(folder, _OPTIONS) as server, Crowd(server.address, peers) as crowd:
        crowd.register(*(peer.name for peer in peers))
        kills = load(server, crowd, options.kills, random)
        try:
            crowd.settle(auditor)
        except TimeoutError as error:
            faults.append(str(error))
        server.kill9()
        server.check_log()
    shutil.rmtree(folder)
    faults += verdict(histories)
    repeated = ages(histories, kills)
    oldest = max(repeated, default=0.0)
    if oldest > options.max_age:
        faults.append(
            f"a message was received again that was received {oldest:.3f} s before a kill"
        )
    codes = codes_of(histories)
    print(
        f"seed {options.seed}: {len(kills)} kills in {time.monotonic() - started:.0f} s;"
        f" {codes.total()} messages sent, by code of their answer {dict(codes)};"
        f" {sum(len(history.received) for history in histories)} received"
    )
    print(f"{len(repeated)} received twice, the oldest {oldest:.3f} s before a kill")
    return conclude(faults, "nothing lost, in order, and only the last moments twice")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault.kills_version_1", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs of the server [20]")
    parser.add_argument(
        "--max-age", type=float, default=0.2, help="of a message received twice, in s [0.2]"
    )
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(run(parse(sys.argv[1:])))
