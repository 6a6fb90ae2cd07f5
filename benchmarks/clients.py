"""``python -m benchmarks.clients``: what the client for asyncio and the one that blocks cost.

Each kind of client sends messages of 64 bytes to a user who is offline. ``one at a time`` awaits
each answer before the next message. ``many at a time`` has 1,000 messages gathered by one await;
the client that blocks sends them from 16 threads. The clients take turns, each in a process of its
own, with a server and an empty store of its own. Ratios are taken within a repetition, to the
client for Twisted. The program prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.client_load import KINDS
from benchmarks.frames import CheckFailed
from benchmarks.report import markdown
from benchmarks.servers import ProjectServer

__all__ = ["main", "measure", "parser", "table"]

_REFERENCE = "client"
_LOADS = ("one at a time", "many at a time")
_SLACK_SECONDS = 60.0

Rates = dict[str, list[list[float]]]
"""For each kind of client and repetition, the messages per second of each load."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.clients",
        description="Measure how many messages each client of the library sends.",
    )
    made.add_argument(
        "--seconds", type=float, default=3.0, help="duration of each measurement (default: 3)"
    )
    made.add_argument(
        "--repetitions",
        type=int,
        default=5,
        help="repetitions; the clients take turns (default: 5)",
    )
    made.add_argument("--store", default="memory:", help="memory: or sqlite: (default: memory:)")
    return made


def measure(store: str, seconds: float, repetitions: int) -> Rates:
    """Measure all clients that can run here.

    Raises:
        CheckFailed: a client failed.
    """
    kinds = [kind for kind in KINDS if "uvloop" not in kind or find_spec("uvloop")]
    rates: Rates = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="clients-") as directory:
        server = ProjectServer(store, Path(directory))
        for _ in range(repetitions):
            for kind in kinds:
                with server.running() as target:
                    host, port = target.address[:2]
                    _run("-c", _REGISTER, host, str(port))
                    load = ("-m", "benchmarks.client_load", kind, host, str(port), str(seconds))
                    rates[kind].append(json.loads(_run(*load, seconds=seconds)))
    return rates


_REGISTER = """
import sys
from chat_protocol.sync import connect

connect(f"tcp:{sys.argv[1]}:{sys.argv[2]}", "reader").close()
"""


def _run(*arguments: str, seconds: float = 0.0) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=4 * seconds + _SLACK_SECONDS,
    )
    if done.returncode:
        raise CheckFailed(f"a client failed:\n{done.stderr[-2000:]}")
    return done.stdout


def table(rates: Rates) -> str:
    """Return the rates and their ratios to the client for Twisted as a Markdown table."""
    rows = []
    for kind, repetitions in rates.items():
        row = [kind]
        for index in range(len(_LOADS)):
            row.append(f"{median(one[index] for one in repetitions):,.0f}")
            ratios = [
                one[index] / reference[index]
                for one, reference in zip(repetitions, rates[_REFERENCE], strict=True)
            ]
            row.append(f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        rows.append(row)
    head = ["client", *(word for load in _LOADS for word in (f"{load}/s", "ratio"))]
    return markdown([head, *rows])


def main(arguments: list[str]) -> int:
    """Measure, and print the table."""
    options = parser().parse_args(arguments)
    try:
        rates = measure(options.store, options.seconds, options.repetitions)
    except CheckFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    print(table(rates))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
