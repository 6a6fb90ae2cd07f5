"""What is measured: servers of this project, the floor, and any other that runs already."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from benchmarks.frames import Failed
from benchmarks.loop import Address
from benchmarks.procfs import Reading, listener, read_costs

__all__ = ["FLOOR", "Contender", "External", "Floor", "Ours", "Target", "free_port"]

FLOOR = "floor"
"""The name of the contender that the others are compared with."""

_ROOT = Path(__file__).parents[1]
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """A server that runs."""

    address: Address
    pid: int | None = None
    """None: it cannot be looked at from here."""
    started_in: float = 0.0
    """Seconds from the start of the process to the first connection."""
    database: Path | None = None
    """The file of its store."""

    def costs(self) -> Reading | None:
        """What it has cost so far."""
        return read_costs(self.pid) if self.pid is not None else None


class Contender:
    """A server that can be had for a measurement."""

    name: str
    versions: tuple[int, ...] = (1,)
    """Of the protocol."""
    durable = False
    """Whether it keeps messages in a file that a case may bring."""

    @contextmanager
    def running(self, database: Path | None = None) -> Iterator[Target]:
        """Have it, for as long as the context lasts.

        Args:
            database: a file to begin with, for one that is durable; it gets a copy.
        """
        raise NotImplementedError
        yield


def free_port() -> int:
    """A port that nobody listens on, outside the range the kernel gives to clients."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def _process(command: list[str], port: int, log: Path) -> Iterator[Target]:
    """A child that listens on a port of 127.0.0.1; stopped in the end."""
    address = ("127.0.0.1", port)
    began = monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        while True:
            try:
                socket.create_connection(address).close()
                break
            except OSError:
                if process.poll() is not None or monotonic() > began + _START_SECONDS:
                    words = log.read_text(errors="replace")[-2000:]
                    raise Failed(f"the server does not start:\n{words}") from None
                sleep(0.005)
        yield Target(address, process.pid, monotonic() - began)
        if process.poll() is not None:
            raise Failed(f"the server ended:\n{log.read_text(errors='replace')[-2000:]}")
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Ours(Contender):
    """A server of this project, started for each measurement.

    Args:
        store: its URL; ``sqlite:`` alone is a new file below ``directory``.
        directory: on the disk to be measured.
    """

    versions = (1, 2)

    def __init__(self, store: str, directory: Path) -> None:
        self.name = store
        self.durable = store == "sqlite:"
        self._directory = directory

    @contextmanager
    def running(self, database: Path | None = None) -> Iterator[Target]:
        """See Contender."""
        folder = Path(tempfile.mkdtemp(prefix="server-", dir=self._directory))
        try:
            file = folder / "chat.db" if self.durable else None
            if file is not None and database is not None:
                shutil.copy(database, file)
            port = free_port()
            command = [
                str(Path(sys.executable).with_name("twistd")),
                "-n",
                "--pidfile=",
                "chatserver",
                f"--listen=tcp:{port}:interface=127.0.0.1",
                f"--store={self.name}{file or ''}",
                "--mailbox-limit=0",
            ]
            with _process(command, port, folder / "log") as target:
                yield Target(target.address, target.pid, target.started_in, file)
        finally:
            shutil.rmtree(folder)


class Floor(Contender):
    """See benchmarks/floor.py."""

    name = FLOOR

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def running(self, database: Path | None = None) -> Iterator[Target]:
        """See Contender."""
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.floor", str(port)]
        with _process(command, port, self._directory / "floor.log") as target:
            yield target


class External(Contender):
    """Any server of the protocol that listens somewhere; version 1 is asked of it.

    If it runs on this machine, what it costs is read as well.
    """

    def __init__(self, address: Address, name: str) -> None:
        self.name = name
        self._address = address

    @contextmanager
    def running(self, database: Path | None = None) -> Iterator[Target]:
        """See Contender; it is left as it is."""
        local = socket.gethostbyname(self._address[0]).startswith("127.")
        yield Target(self._address, listener(self._address[1]) if local else None)
