"""The command line of the benchmark suite."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks import soak
from benchmarks.cases import CASES, Settings
from benchmarks.choices import names_of
from benchmarks.picture import CURVES, draw_suite
from benchmarks.progress import Progress
from benchmarks.report import as_json, conditions, tables, write_into
from benchmarks.servers import BROKERS, Contender, External, Floor, ProjectServer
from benchmarks.suite import run_suite

__all__ = ["main", "parser"]


def _server(words: Sequence[str]) -> External:
    address, name = words
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SystemExit(
            f"--server: {address!r} is not an address. Give HOST:PORT and a name for the tables."
        )
    return External((host, int(port)), name)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cases = "; ".join(f"{case.name}: {case.title}" for case in CASES.values())
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure servers of the Console Chat protocol. Every message is checked: a"
        " server that loses, duplicates, reorders or alters a message fails.",
        epilog=f"Cases: {cases}. For a long-running load see: python -m benchmarks soak --help.",
    )
    made.add_argument(
        "--cases",
        type=names_of("case", CASES),
        default=list(CASES),
        metavar="A,B",
        help="cases to measure (default: all)",
    )
    made.add_argument(
        "--stores",
        type=lambda text: text.split(","),
        default=["memory:", "sqlite:"],
        metavar="A,B",
        help="stores of this project's server; sqlite: is a new file (default: memory:,sqlite:)",
    )
    made.add_argument(
        "--seconds", type=float, default=3.0, help="duration of each measurement (default: 3)"
    )
    made.add_argument(
        "--repetitions",
        type=int,
        default=3,
        help="repetitions of each case; the servers take turns (default: 3)",
    )
    made.add_argument(
        "--server",
        nargs=2,
        action="append",
        default=[],
        metavar=("HOST:PORT", "NAME"),
        help="also measure this running server of the protocol",
    )
    made.add_argument(
        "--processes",
        type=int,
        default=1,
        help="number of load processes, for servers that one process cannot saturate (default: 1)",
    )
    made.add_argument(
        "--directory",
        type=Path,
        help="directory on the disk to measure (default: the one for temporary files)",
    )
    made.add_argument(
        "--picture", type=Path, metavar="FILE", help="write curves as SVG; requires the extra bench"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write all samples as JSON")
    made.add_argument(
        "--document",
        type=Path,
        metavar="FILE",
        help="replace the tables between the markers in this file",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the suite; return 0 if every server passed all checks, else 1."""
    if arguments and arguments[0] == "soak":
        return soak.main(arguments[1:])
    options = parser().parse_args(arguments)
    if options.picture and find_spec("matplotlib") is None:
        raise SystemExit("--picture: matplotlib is not installed. Run pip install '.[bench]'.")
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.directory) as folder:
        directory = Path(folder)
        contenders: list[Contender] = [ProjectServer(store, directory) for store in options.stores]
        contenders.append(Floor(directory))
        contenders += map(_server, options.server)
        for broker in BROKERS:
            if missing := broker.missing():
                print(missing, file=sys.stderr)
            else:
                broker.directory = directory
                contenders.append(broker)
        outcomes = run_suite(
            [CASES[name] for name in options.cases],
            contenders,
            options.repetitions,
            Settings(options.seconds, options.processes, directory),
            Progress(sys.stderr),
        )
    under = conditions({"seconds": options.seconds, "repetitions": options.repetitions})
    text = tables(outcomes, under)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes, under), indent=1) + "\n")
    if options.picture and not draw_suite(options.picture, outcomes):
        print(
            f"Cannot draw {options.picture}: no selected case has curves. Select"
            f" {' or '.join(CURVES)}."
        )
    if options.document:
        write_into(options.document, text)
    return 1 if any(outcome.failures for outcome in outcomes) else 0
