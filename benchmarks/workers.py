"""Load processes, which run the loads separately from the measuring process."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import traceback
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from time import monotonic, process_time
from typing import NamedTuple

from benchmarks.frames import CheckFailed
from benchmarks.loads import Control, Plan, Result
from benchmarks.procfs import Reading, machine_time

__all__ = ["Load", "Phase", "run"]

Load = Callable[[Plan, Control], Result]


class Phase(NamedTuple):
    """A phase of a load, with the costs of the server before and after it, if they are known."""

    before: Reading | None
    after: Reading | None
    seconds: float
    machine: float
    """CPU time of all programs on the machine, in seconds."""

    @property
    def cpu(self) -> float | None:
        """CPU time of the server during the phase, in seconds."""
        if self.before is None or self.after is None:
            return None
        return self.after.cpu - self.before.cpu

    @property
    def rss(self) -> int | None:
        """Growth of the server's memory during the phase, in bytes."""
        if self.before is None or self.after is None:
            return None
        return self.after.rss - self.before.rss


class _PipeControl:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.cpu: float | None = None
        """CPU time of this process at the beginning of the first phase, in seconds."""

    def ready(self) -> None:
        # The prepared objects live as long as the process, so the collector need not scan them.
        gc.collect()
        gc.freeze()
        self._pipe.send(None)
        self._pipe.recv()
        if self.cpu is None:
            self.cpu = process_time()


def _work(pipe: Connection, load: Load, plan: Plan) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    outcome: Result | str
    control = _PipeControl(pipe)
    try:
        outcome = result = load(plan, control)
        result.cpu = process_time() - (control.cpu or 0.0)
    except CheckFailed as failure:
        outcome = str(failure)
    except Exception:
        outcome = traceback.format_exc()
    pipe.send(outcome)


def run(
    load: Load, plans: Sequence[Plan], costs: Callable[[], Reading | None]
) -> tuple[Result, list[Phase]]:
    """Run a load in one process per plan, with a common beginning of each phase.

    Args:
        costs: returns the costs of the server; called at the beginning and the end of each phase.

    Raises:
        CheckFailed: the server violated the protocol.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    readings: list[tuple[Reading | None, float, float]] = []
    try:
        for plan in plans:
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, load, plan), daemon=True)
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
        while True:
            outcomes = [_receive(pipe) for pipe in pipes]
            readings.append((costs(), monotonic(), machine_time()))
            if isinstance(outcomes[0], Result):
                break
            for pipe in pipes:
                pipe.send(None)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.kill()
            process.join()
    total = Result()
    for outcome in outcomes:
        if outcome is not None:
            total.merge(outcome)
    return total, [
        Phase(before, after, end - begin, used_after - used_before)
        for (before, begin, used_before), (after, end, used_after) in pairwise(readings)
    ]


def _receive(pipe: Connection) -> Result | None:
    try:
        outcome = pipe.recv()
    except EOFError:
        raise CheckFailed("a load process exited unexpectedly") from None
    if isinstance(outcome, str):
        raise CheckFailed(outcome)
    assert outcome is None or isinstance(outcome, Result)
    return outcome
