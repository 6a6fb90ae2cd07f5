"""The command line of the suite."""

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
from benchmarks.picture import CURVES, draw_suite
from benchmarks.progress import Progress
from benchmarks.report import as_json, conditions, tables, write_into
from benchmarks.servers import Contender, External, Floor, Ours
from benchmarks.suite import run_suite

__all__ = ["main", "parser"]


def _server(words: Sequence[str]) -> External:
    address, name = words
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SystemExit(f"--server wants HOST:PORT and a name, not {address!r}")
    return External((host, int(port)), name)


def _cases(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"there is no case {', '.join(unknown)}; there are {', '.join(CASES)}"
        )
    return names


def parser() -> argparse.ArgumentParser:
    """The options."""
    cases = "; ".join(f"{case.name}: {case.title}" for case in CASES.values())
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure servers of the Console Chat protocol. Every message is checked: a"
        " server that loses, doubles, reorders or alters one fails.",
        epilog=f"Cases: {cases}. The same load for long: python -m benchmarks soak --help.",
    )
    made.add_argument(
        "--cases", type=_cases, default=list(CASES), metavar="A,B", help="only these; default: all"
    )
    made.add_argument(
        "--stores",
        type=lambda text: text.split(","),
        default=["memory:", "sqlite:"],
        metavar="A,B",
        help="of the project's server; sqlite: is a new file (default: memory:,sqlite:)",
    )
    made.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    made.add_argument(
        "--repetitions", type=int, default=3, help="of each case, servers in turn (default: 3)"
    )
    made.add_argument(
        "--server",
        nargs=2,
        action="append",
        default=[],
        metavar=("HOST:PORT", "NAME"),
        help="another server of the protocol, measured as well; it must run already",
    )
    made.add_argument(
        "--processes", type=int, default=1, help="of users, where a server outruns one (default: 1)"
    )
    made.add_argument(
        "--directory", type=Path, help="on the disk to be measured (default: for temporary files)"
    )
    made.add_argument(
        "--picture", type=Path, metavar="FILE", help="curves, as SVG; needs the extra bench"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="every sample, as JSON")
    made.add_argument(
        "--document",
        type=Path,
        metavar="FILE",
        help="put the tables between the marks of this file",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if every server kept every message, 1 otherwise."""
    if arguments and arguments[0] == "soak":
        return soak.main(arguments[1:])
    options = parser().parse_args(arguments)
    if options.picture and find_spec("matplotlib") is None:
        raise SystemExit("--picture needs matplotlib: pip install '.[bench]'")
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.directory) as folder:
        directory = Path(folder)
        contenders: list[Contender] = [Ours(store, directory) for store in options.stores]
        contenders.append(Floor(directory))
        contenders += map(_server, options.server)
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
        print(f"No curves for {options.picture}: they are of {' and '.join(CURVES)}.")
    if options.document:
        write_into(options.document, text)
    return 1 if any(outcome.failures for outcome in outcomes) else 0
