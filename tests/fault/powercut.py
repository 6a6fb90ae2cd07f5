"""Simulate power cuts: a message that was answered OK survives, once and in order.

Clients of both versions load a server with a sqlite: store. A preloaded library records what the
server writes to its files and syncs, and what it reads from and writes to its clients. For each
power cut the program chooses a moment of this record and makes the files that the power cut may
leave: all that was synced, and a random part of the rest (tests/fault/disk.py). It starts the
server on these files. All users log in, resend the messages that have no answer, and receive what
there is. Then ``chatadmin check`` looks at the files::

    python -m tests.fault.powercut --cuts 200
    python -m tests.fault.powercut --cuts 200 --failed-syncs 20
    python -m tests.fault.powercut --cuts 20 --ignore-syncs     # has to fail
    python -m tests.fault.powercut --cuts 200 --seed 7 --trace /tmp/trace-x/trace

An answer counts if the server's kernel had taken it before the power cut. A version 2 user receives
each message once, before or after the power cut. A version 1 user receives it at least once: before
the power cut if the kernel had taken it by then, else after it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import BoundedSemaphore

from tests.blackbox import wire
from tests.blackbox.server import Server
from tests.fault import population
from tests.fault.disk import Disk
from tests.fault.facts import Facts
from tests.fault.history import History, verdict
from tests.fault.outcome import SERVER_OPTIONS, check_store, codes_of, conclude
from tests.fault.peers import Crowd, Peer
from tests.fault.recording import record
from tests.fault.shim import Kind, read_trace

_OPTIONS = (*SERVER_OPTIONS, "--mailbox-limit", str(population.MAILBOX_LIMIT))


def moments(trace: Path, count: int, random: Random) -> list[int]:
    """Return after how many records each power cut happens, in ascending order.

    Half of the power cuts follow a change of the files or a sync.
    """
    kinds = [one.kind for one in read_trace(trace)]
    on_disk = [n for n, kind in enumerate(kinds, 1) if Kind.CREATE <= kind <= Kind.SYNC_END]
    chosen = random.choices(on_disk, k=count // 2)
    chosen += random.choices(range(1, len(kinds) + 1), k=count - count // 2)
    return sorted(chosen)


class Audit:
    """Starts a server after a power cut, and looks at what its users receive.

    Args:
        directory: with the files; it is deleted in the end.
        users: what they had sent and received before the power cut.
        random: for the peers.
    """

    def __init__(self, directory: Path, users: list[History], random: Random) -> None:
        self.resent = sum(len(one.unanswered()) for one in users if one.version != 1)
        self.repeated = 0
        """Messages that version 1 users have received twice."""
        self.faults: list[str] = []
        self._directory = directory
        self._users = users
        self._random = random

    def run(self) -> None:
        """Do all of it; ``faults`` holds the result."""
        try:
            with Server(self._directory, _OPTIONS) as server:
                self._receive(server)
            server.check_log()
        except (AssertionError, OSError, ValueError, KeyError) as error:
            self.faults.append(f"{type(error).__name__}: {error}")
        self.faults += check_store(self._directory)
        shutil.rmtree(self._directory)

    def _receive(self, server: Server) -> None:
        before = {one.name: len(one.received) for one in self._users}
        due = {
            one.name: {offset for offset in one.offsets if offset > one.acknowledged}
            for one in self._users
        }
        peers = [Peer(one, self._random) for one in self._users]
        auditor = population.auditor(self._random)
        with Crowd(server.address, [*peers, auditor]) as crowd:
            try:
                crowd.settle(auditor)
            except TimeoutError as error:
                self.faults.append(str(error))
        self.faults += verdict([*self._users, auditor.history])
        for peer in peers:
            if missing := due[peer.name] - peer.delivered:
                self.faults.append(
                    f"{peer.name}: {len(missing)} unacknowledged were not delivered again"
                )
            if peer.history.version == 1:
                received = peer.history.received
                first = Counter(received[: before[peer.name]])
                second = Counter(received[before[peer.name] :])
                self.repeated += (first & second).total()
                if any(count > 1 for count in second.values()):
                    self.faults.append(f"{peer.name}: one connection has delivered a message twice")


def cut(trace: Path, options: argparse.Namespace, facts: Facts, disk: Disk) -> list[Audit]:
    """Follow the trace to its end; return an audit for each power cut."""
    cuts = moments(trace, options.cuts, Random(options.seed))
    slots = BoundedSemaphore(2 * options.jobs)
    audits: list[Audit] = []

    def prepare() -> Iterator[Audit]:
        for number, one in enumerate(read_trace(trace), 1):
            disk.follow(one)
            facts.follow(one)
            while len(audits) < len(cuts) and cuts[len(audits)] == number:
                random = Random(f"{options.seed}/{len(audits)}")
                directory = Path(tempfile.mkdtemp(prefix="cut-"))
                disk.cut(random, directory)
                audits.append(Audit(directory, facts.copy(), random))
                yield audits[-1]

    def run(audit: Audit) -> None:
        try:
            audit.run()
        finally:
            slots.release()

    with ThreadPoolExecutor(options.jobs) as pool:
        running: list[Future[None]] = []
        for audit in prepare():
            # Not far ahead: each audit has files.
            slots.acquire()
            running.append(pool.submit(run, audit))
        for future in running:
            future.result()
    return audits


def run(options: argparse.Namespace) -> int:
    """Record, cut the power and audit; print the figures and return the exit code."""
    started = time.monotonic()
    shim, accepted, trace = None, 0, options.trace
    if trace is None:
        shim, accepted = record(
            _OPTIONS, options.seconds, options.failed_syncs, Random(options.seed)
        )
        trace = shim.trace
    recorded = time.monotonic() - started
    facts, disk = Facts(), Disk(options.ignore_syncs)
    audits = cut(trace, options, facts, disk)
    codes = codes_of(facts.users.values())
    faults = [f"cut {n}: {fault}" for n, one in enumerate(audits, 1) for fault in one.faults]
    if codes[wire.OK] < accepted:
        faults.append(f"the clients have {accepted} answers OK, the trace has {codes[wire.OK]}")
    print(
        f"seed {options.seed}: {recorded:.0f} s recorded, {disk.writes} writes of"
        f" {disk.bytes / 1e6:.0f} MB, {disk.syncs} syncs, {disk.failed_syncs} failed;"
        f" {codes.total()} messages sent,"
        f" by code of their answer {dict(codes)}"
    )
    print(
        f"{len(audits)} power cuts, {sum(bool(one.faults) for one in audits)} with faults, in"
        f" {time.monotonic() - started:.0f} s; {sum(one.resent for one in audits)} messages resent"
        f" in version 2, {sum(one.repeated for one in audits)} received twice in version 1"
    )
    if faults:
        print(f"the trace is kept: --seed {options.seed} --trace {trace}")
    elif shim is not None:
        shim.remove()
    return conclude(faults, "nothing lost, nothing refused received, once and in order")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault.powercut", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--cuts", type=int, default=200, help="power cuts [200]")
    parser.add_argument("--seconds", type=float, default=6, help="of load to record [6]")
    parser.add_argument("--failed-syncs", type=int, default=0, help="syncs to fail, about [0]")
    parser.add_argument("--jobs", type=int, default=2, help="audits at a time [2]")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--trace", type=Path, help="use a trace that an earlier run has kept")
    parser.add_argument(
        "--ignore-syncs", action="store_true", help="treat syncs as no-ops: the run has to fail"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(run(parse(sys.argv[1:])))
