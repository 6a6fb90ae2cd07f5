"""Let fsync fail, then kill the server: no message that was refused is ever received.

After a failed fsync a server does not know whether the batch is on the disk. It may refuse the
messages if it makes sure that they will never appear. If it cannot, for the disk fails again, it
does not answer their senders, but closes their connections. In each round a sync of a server under
load fails, or several in a row. The server is killed with SIGKILL, either some system calls or some
messages later, and started again. In the end every message that was answered OK has been received,
once and in order, and no message that was refused::

    python -m tests.fault.fsync_failure --rounds 20
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.blackbox.server import Server
from tests.fault import population
from tests.fault.history import verdict
from tests.fault.outcome import SERVER_OPTIONS, check_store, codes_of, conclude
from tests.fault.peers import Crowd
from tests.fault.shim import Shim

_OPTIONS = (*SERVER_OPTIONS, "--mailbox-limit", "0")

_WRITE_AHEAD_LOG = "-wal"
_DATABASE = "chat.db"

_IN_A_ROW = 3
"""Syncs of the log that fail one after the other: of a checkpoint perhaps, of the commit, and of
what the server writes to overcome that."""


class Rounds:
    """Plays the rounds.

    Args:
        server: a running one, with the shim.
        shim: of the server.
        crowd: of the server.
        random: decides about all that is random.
    """

    def __init__(self, server: Server, shim: Shim, crowd: Crowd, random: Random) -> None:
        self._server = server
        self._shim = shim
        self._crowd = crowd
        self._random = random
        self.at_once = 0
        """Rounds with a kill some system calls after the failure."""
        self.later = 0
        """Rounds with a kill some messages after the failure."""
        self.unknown = 0
        """How many of these leave the outcome of a commit unknown."""
        self.closed = 0
        """Connections that the server has closed in these."""

    def play(self) -> None:
        """Play one round, and start the server again."""
        crowd, shim, random = self._crowd, self._shim, self._random
        crowd.sending = True
        crowd.run_for(random.uniform(0.1, 0.5))
        file = _WRITE_AHEAD_LOG if random.random() < 0.8 else _DATABASE
        self.restart(file)
        crowd.run_for(random.uniform(0.1, 0.5))
        failed, closed = shim.failed, self._closed()
        at_once = random.random() < 0.5
        if at_once:
            shim.kill_after_failure(random.randint(1, 60))
        count = random.choice((1, _IN_A_ROW))
        # A commit syncs the log, a checkpoint syncs the database.
        after = random.randint(0, 5) if file == _WRITE_AHEAD_LOG else 0
        shim.fail_sync(after=after, count=count)
        crowd.run(lambda: shim.failed > failed)
        if at_once:
            self.at_once += 1
            crowd.run(lambda: not self._server.running)
            return
        self.later += 1
        self.unknown += (file, count) == (_WRITE_AHEAD_LOG, _IN_A_ROW)
        crowd.answered = 0
        enough = random.randint(1, 500)
        crowd.run(lambda: crowd.answered > enough)
        self.closed += self._closed() - closed

    def restart(self, file: str) -> None:
        """Kill the server and start it; the syncs of a file can fail then."""
        self._server.kill9()
        # The clients read what their kernel has.
        self._crowd.run_for(0.02)
        self._shim.stop()
        self._shim.fail_on(file)
        self._server.start()

    def _closed(self) -> int:
        return sum(peer.closed for peer in self._crowd.peers)


def run(options: argparse.Namespace) -> int:
    """Play all rounds and compare; print the figures and return the exit code."""
    random = Random(options.seed)
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="fsync-"))
    shim = Shim(folder)
    auditor = population.auditor(random)
    peers = [*population.population(random), auditor]
    faults: list[str] = []
    with (
        Server(folder, _OPTIONS, environment=shim.environment) as server,
        Crowd(server.address, peers) as crowd,
    ):
        crowd.register(*(peer.name for peer in peers))
        rounds = Rounds(server, shim, crowd, random)
        try:
            for _ in range(options.rounds):
                rounds.play()
            rounds.restart(_WRITE_AHEAD_LOG)
            crowd.settle(auditor)
        except (TimeoutError, AssertionError) as error:
            faults.append(str(error))
        server.kill9()
        server.check_log()
    faults += verdict(peer.history for peer in peers)
    faults += check_store(folder)
    if rounds.unknown and not rounds.closed:
        faults.append("the server has closed no connection, although outcomes were unknown")
    print(
        f"seed {options.seed}: {shim.failed} failed syncs in {time.monotonic() - started:.0f} s;"
        f" {rounds.at_once} kills at once, {rounds.later} some messages later;"
        f" the server has closed {rounds.closed} connections before the latter"
    )
    codes = codes_of(peer.history for peer in peers)
    print(f"{codes.total()} messages sent, by code of their answer {dict(codes)}")
    shutil.rmtree(folder)
    shim.remove()
    return conclude(faults, "nothing lost, nothing refused received, once and in order")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault.fsync_failure", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=20, help="failed syncs [20]")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(run(parse(sys.argv[1:])))
