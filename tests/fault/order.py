"""Resend messages of which the first were refused: nothing is received out of order.

A version 2 client sends messages that the server refuses, because the disk is full or the database
does not answer. Then it sends messages that the server stores. The client learns none of these
answers, because its connection is lost. So it reconnects and resends all messages in order, with
the same publishing ids. The server must not store the refused messages now, because later ones are
stored already. It answers them with the code OutOfOrder::

    python -m tests.fault.order --rounds 10
    python -m tests.fault.order --rounds 10 --store postgresql

In half of the rounds the client is a raw socket, in the others it is the client library.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from tests.blackbox.client import PATIENCE
from tests.blackbox.server import Server
from tests.fault.outcome import STORE, conclude
from tests.fault.resending import Refusal, Round
from tests.fault.shim import Shim
from tests.stores.postgres.server import PostgresServer


class FullDisk:
    """Lets one write of a sqlite: store fail with ENOSPC."""

    def __init__(self, shim: Shim) -> None:
        self._shim = shim
        self._failed = 0

    def begin(self) -> None:
        """Let the next write fail."""
        self._failed = self._shim.failed
        self._shim.fail_write()

    def end(self) -> None:
        """Return when a write has failed."""
        deadline = time.monotonic() + PATIENCE
        while self._shim.failed == self._failed:
            assert time.monotonic() < deadline, "no write has failed"
            time.sleep(0.005)


class Restart:
    """Kills the database of a postgresql: store, and starts it."""

    def __init__(self, database: PostgresServer) -> None:
        self._database = database

    def begin(self) -> None:
        """Kill it."""
        self._database.kill()

    def end(self) -> None:
        """Start it."""
        self._database.start()


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Play all rounds; print the figures and return the exit code."""
    random = Random(options.seed)
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="order-"))
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    refusal: Refusal
    with ExitStack() as stack:
        environment = {}
        if options.store == "sqlite":
            shim = Shim(folder)
            stack.callback(shim.remove)
            shim.fail_on("-wal")
            refusal, store, environment = FullDisk(shim), STORE, shim.environment
        else:
            database = PostgresServer()
            stack.callback(database.stop)
            refusal, store = Restart(database), database.new_database()
        server = stack.enter_context(Server(folder, ("--store", store), environment=environment))
        for number in range(options.rounds):
            if number % 2:
                one = Round(f"raw{number}", random)
                await deferToThread(one.play_raw, server.address, refusal)
            else:
                one = Round(f"library{number}", random)
                await one.play_library(reactor, server.address, refusal)
            outcomes += one.outcomes
            faults += one.faults
        await deferToThread(server.kill9)
        server.check_log()
    shutil.rmtree(folder)
    print(
        f"seed {options.seed}: {options.rounds} rounds with {options.store} in"
        f" {time.monotonic() - started:.0f} s; messages by outcome {dict(outcomes)}"
    )
    return conclude(faults, "nothing out of order, and OutOfOrder for what was not stored")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault.order", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=10, help="rounds [10]")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    return parser.parse_args(arguments)


async def run_and_exit(reactor: Any, options: argparse.Namespace) -> None:
    """Run, and exit with the code."""
    if code := await run(reactor, options):
        raise SystemExit(code)


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    """Run with these arguments; for react()."""
    return Deferred.fromCoroutine(run_and_exit(reactor, parse(list(arguments))))


if __name__ == "__main__":
    react(main, sys.argv[1:])
