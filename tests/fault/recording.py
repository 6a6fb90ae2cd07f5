"""Record what a server under load does to its files and its connections."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from random import Random

from tests.blackbox import wire
from tests.blackbox.server import Server
from tests.fault import population
from tests.fault.outcome import codes_of
from tests.fault.peers import Crowd
from tests.fault.shim import Shim

__all__ = ["record"]


def record(
    options: tuple[str, ...], seconds: float, failed_syncs: int, random: Random
) -> tuple[Shim, int]:
    """Record three servers on one store: one is killed, one is stopped, and one is killed.

    Args:
        options: of the server.
        seconds: of load, for all three together.
        failed_syncs: about how many syncs fail; the kills follow such ones then.
        random: decides about all that is random.

    Returns:
        The trace, and how many answers OK the clients have received.
    """
    folder = Path(tempfile.mkdtemp(prefix="powercut-"))
    shim = Shim(folder)
    peers = population.population(random)
    with (
        Server(folder, options, environment=shim.environment) as server,
        Crowd(server.address, peers) as crowd,
    ):
        crowd.register(*(peer.name for peer in peers if peer.name not in population.NEWCOMERS))
        for peer in peers:
            if peer.name == population.FULL:
                peer.online = False
        crowd.sending = True
        for newcomer in (*population.NEWCOMERS, None):
            end = time.monotonic() + seconds / 3
            while time.monotonic() < end:
                population.come_and_go(crowd, random)
                crowd.run_for(random.uniform(0.05, 0.3))
                if random.random() < failed_syncs * 0.2 / seconds:
                    shim.fail_sync(after=random.randint(0, 5), count=random.choice((1, 1, 2, 3)))
            if newcomer == population.NEWCOMERS[-1]:
                server.terminate()
            else:
                _kill(server, shim, crowd, failed_syncs > 0, random)
            shim.stop()
            if newcomer is not None:
                server.start()
                crowd.register(newcomer)
        server.check_log()
    shutil.rmtree(folder)
    return shim, codes_of(peer.history for peer in peers)[wire.OK]


def _kill(server: Server, shim: Shim, crowd: Crowd, fail: bool, random: Random) -> None:
    """Kill the server between two system calls, so that the trace is complete."""
    if fail:
        # Before the server can do anything about it.
        shim.kill_after_failure(random.randint(1, 3))
        shim.fail_sync()
    else:
        shim.kill_in(random.randint(1, 50))
    crowd.run(lambda: not server.running)
    server.kill9()
