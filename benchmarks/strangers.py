"""``python -m benchmarks.strangers``: what a user notices of hostile connections.

A user on a plain connection sends messages to itself, one at a time with pauses of 5 ms, and
measures the round trip until both the answer and the delivery have arrived. Hostile connections
from the same address send one kind of useless bytes at full speed, with or without a login. A
hostile connection that the server closes is opened again at once. After they have left, the program
measures the time until the server is idle: until it uses at most 10 % of a processor.

The server is pinned to one processor, and the load, the measuring user included, to another one.

The control of a row shows what the machine alone adds. Two servers of the same version run with the
same options, pinned to the same processor. In the control the hostile connections attack the second
server and the user is on the first one, which does nothing else. Then the hostile connections
attack the first server, and the second one is idle. The user, the connections and the duration are
the same. Each row has new servers.

A row passes if the p99 of the round trip is at most 10 ms or 3 times that of the control, if no
round trip takes 100 ms or longer (unless one of the control does), and if the server is idle within
1 s. The program prints a Markdown table, and exits with 1 if a row fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.choices import names_of
from benchmarks.frames import CheckFailed
from benchmarks.report import conditions, markdown, paragraph
from benchmarks.stranger_kinds import KINDS, PLAIN, TLS, WEBSOCKET
from benchmarks.stranger_load import Strangers
from benchmarks.stranger_rows import Outcome, Row, measure_row

__all__ = ["faults", "main", "parser", "rows"]

_MOST_P99 = 0.010
_MOST_RATIO = 3.0
_MOST_SLOWEST = 0.100
_MOST_IDLE = 1.0


def rows(kinds: Sequence[str], full: bool) -> list[Row]:
    """Return the rows to measure."""
    made = []
    for connections in (8, 512) if full else (8,):
        for kind in kinds:
            transport = KINDS[kind].transport or PLAIN
            made.append(Row(Strangers(kind, transport, connections)))
    if full:
        for transport in (TLS, WEBSOCKET):
            made += [
                Row(Strangers(kind, transport, 64))
                for kind in ("unknown", "bad-login", "in-nobody")
                if kind in kinds
            ]
        made += [
            Row(Strangers(kind, PLAIN, 8), "sqlite:")
            for kind in ("no-login", "in-nobody", "in-130000")
            if kind in kinds
        ]
    return made


def faults(outcome: Outcome) -> list[str]:
    """Return the limits that the figures exceed, in words."""
    control, attacked = outcome.control, outcome.attacked
    found = []
    if attacked.p99 > max(_MOST_P99, _MOST_RATIO * control.p99):
        found.append("p99")
    if attacked.slowest >= _MOST_SLOWEST > control.slowest:
        found.append("max")
    if outcome.idle > _MOST_IDLE:
        found.append("idle")
    return found


_HEAD = [
    "load", "transport", "connections", "store", "p50 ms", "p99 ms", "max ms", "control p50 ms",
    "control p99 ms", "control max ms", "idle s", "sent MB", "reconnects", "others", "verdict",
]  # fmt: skip


def _first_cells(row: Row) -> list[str]:
    strangers = row.strangers
    return [strangers.kind, strangers.transport, str(strangers.connections), row.store]


def _line(row: Row, outcome: Outcome) -> list[str]:
    attacked, control = outcome.attacked, outcome.control
    return [
        *_first_cells(row),
        *(
            f"{value * 1e3:.1f}"
            for one in (attacked, control)
            for value in (one.p50, one.p99, one.slowest)
        ),
        f"{outcome.idle:.2f}",
        f"{attacked.flood.sent / 1e6:.1f}",
        str(attacked.flood.reconnects),
        f"{max(attacked.others, control.others):.2f}",
        ", ".join(faults(outcome)) or "ok",
    ]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.strangers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Kinds: " + "; ".join(f"{name}: {kind.title}" for name, kind in KINDS.items()) + ".",
    )
    made.add_argument(
        "--kinds",
        type=names_of("kind", KINDS),
        default=list(KINDS),
        metavar="A,B",
        help="kinds of hostile load (default: all)",
    )
    made.add_argument(
        "--seconds", type=float, default=3.0, help="duration of each hostile load (default: 3)"
    )
    made.add_argument(
        "--rows",
        choices=("quick", "full"),
        default="full",
        help="quick: each kind with 8 connections and the store memory:; full: also with 512, over"
        " TLS, over WebSockets and with sqlite: (default: full)",
    )
    made.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        metavar="FILE",
        help="interpreter of the installation to measure (default: this one)",
    )
    made.add_argument(
        "--directory",
        type=Path,
        help="directory on the disk to measure (default: the one for temporary files)",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 0 if every row passes, else 1."""
    options = parser().parse_args(arguments)
    available = sorted(os.sched_getaffinity(0))
    # On a machine with one processor, the server and the load share it.
    processors = available[0], available[-1]
    chosen = rows(options.kinds, options.rows == "full")
    lines, failed = [_HEAD], False
    with tempfile.TemporaryDirectory(prefix="strangers-", dir=options.directory) as folder:
        for number, row in enumerate(chosen, 1):
            cells = _first_cells(row)
            print(f"{number} of {len(chosen)}: {' '.join(cells)}", file=sys.stderr, flush=True)
            try:
                outcome = measure_row(
                    row, options.seconds, options.python, processors, Path(folder)
                )
            except CheckFailed as failure:
                print(f"FAILED: {failure}", file=sys.stderr)
                lines.append([*cells, *[""] * (len(_HEAD) - len(cells) - 1), "no figures"])
                failed = True
                continue
            lines.append(_line(row, outcome))
            failed |= bool(faults(outcome))
    under = conditions({"seconds": options.seconds})
    print(paragraph("; ".join(f"{key} {value}" for key, value in under.items()) + "."))
    print()
    print(markdown(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
