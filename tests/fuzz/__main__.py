"""The decoder and the sessions under a coverage-guided fuzzer::

    pip install atheris
    python -m tests.fuzz FOLDER --frames 1000000 --seconds 590
    python -m tests.fuzz FOLDER --replay            # play what is in the folder, without atheris

FOLDER keeps the scenarios that reach something new, and ``figures.json``, what was done so far:
another run goes on from there. What breaks a promise is written to ``FOLDER/crash-...``, and ends
the run with a traceback.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path
from random import Random

from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import provider

_SAVE_EVERY = 500
_MAX_BYTES = 6000

_failures: list[Failure] = []


@provider(ILogObserver)
def _observe(event: LogEvent) -> None:
    if event.get("log_failure") is not None:
        _failures.append(event["log_failure"])


class Figures:
    """What was done, in all runs of a folder."""

    def __init__(self, folder: Path, frames: int, seconds: float) -> None:
        self._path = folder / "figures.json"
        self._end = time.monotonic() + seconds
        self._last = time.monotonic()
        self._most = frames
        self._runs = 0
        self.figures = {"executions": 0, "frames": 0, "seconds": 0.0}
        if self._path.exists():
            self.figures = json.loads(self._path.read_text())

    def played(self, frames: int) -> None:
        self.figures["executions"] += 1
        self.figures["frames"] += frames
        self._runs += 1
        if self._runs % _SAVE_EVERY:
            return
        now = time.monotonic()
        self.figures["seconds"] = round(self.figures["seconds"] + now - self._last, 1)
        self._last = now
        self._path.write_text(json.dumps(self.figures))
        if self.figures["frames"] >= self._most or now >= self._end:
            print(json.dumps(self.figures), flush=True)
            # The fuzzer has no other way out that is not called a crash.
            os._exit(0)


def _play(data: bytes) -> int:
    from tests.fuzz.harness import Fault, play

    frames = play(data)
    if _failures:
        raise Fault(_failures.pop().getTraceback())
    return frames


def fuzz(folder: Path, options: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=["chat_protocol"]):
        importlib.import_module("tests.fuzz.harness")
    from tests.fuzz.scenario import mutate, scenario

    figures = Figures(folder, options.frames, options.seconds)

    def one(data: bytes) -> None:
        figures.played(_play(data))

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if len(data) < 3:
            return scenario(random)[:max_size]
        return mutate(random, data, scenario(random), max_size)

    def crossover(data: bytes, other: bytes, max_size: int, seed: int) -> bytes:
        return mutate(Random(seed), data, other, max_size)

    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    if not any(corpus.iterdir()):
        for seed in range(50):
            (corpus / f"seed-{seed}").write_bytes(scenario(Random(seed)))
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-artifact_prefix={folder}/",
        f"-max_len={_MAX_BYTES}",
        "-len_control=0",
        "-timeout=60",
        "-rss_limit_mb=4096",
        f"-seed={options.seed}",
    ]
    atheris.Setup(arguments, one, custom_mutator=mutator, custom_crossover=crossover)
    atheris.Fuzz()


def replay(folder: Path) -> None:
    played = frames = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".json":
            try:
                frames += _play(path.read_bytes())
            except Exception:
                print(f"{path}:", flush=True)
                raise
            played += 1
    print(f"{played} scenarios, {frames} frames")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=10**6, help="in all runs of that folder")
    parser.add_argument("--seconds", type=float, default=590, help="of this run")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--replay", action="store_true", help="play what is there, and end")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    globalLogBeginner.beginLoggingTo([_observe], redirectStandardIO=False, discardBuffer=True)
    if options.replay:
        replay(options.folder)
    else:
        fuzz(options.folder, options)


if __name__ == "__main__":
    main()
