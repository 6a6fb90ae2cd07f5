"""The measured servers: this project's server, the floor, and other running servers."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from benchmarks.frames import CheckFailed
from benchmarks.loop import Address
from benchmarks.procfs import Reading, listener, read_costs

__all__ = ["FLOOR", "Contender", "External", "Floor", "ProjectServer", "Target", "free_port"]

FLOOR = "floor"
"""The name of the contender with which the others are compared."""

_ROOT = Path(__file__).parents[1]
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """A running server."""

    address: Address
    pid: int | None = None
    """None if its CPU time and memory cannot be read."""
    started_in: float = 0.0
    """Seconds from the start of the process to the first connection."""
    database: Path | None = None
    """The SQLite file of its store, if it has one."""

    def costs(self) -> Reading | None:
        """Return the CPU time and the memory of the server, or None if they cannot be read."""
        return read_costs(self.pid) if self.pid is not None else None


class Contender:
    """A server that can be measured."""

    name: str
    versions: tuple[int, ...] = (1,)
    """The supported versions of the protocol."""
    durable = False
    """Whether it can start with a given SQLite file."""

    @contextmanager
    def running(self, database: Path | None = None) -> Iterator[Target]:
        """Run the server during the context.

        Args:
            database: an SQLite file, of which a durable server uses a copy.
        """
        raise NotImplementedError
        yield


def free_port() -> int:
    """Return an unused port outside the range that the kernel assigns to clients."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def _process(command: list[str], port: int, log: Path, directory: Path = _ROOT) -> Iterator[Target]:
    """Run a child process that listens on a port of 127.0.0.1 during the context."""
    address = ("127.0.0.1", port)
    began = monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        while True:
            try:
                socket.create_connection(address).close()
                break
            except OSError:
                if process.poll() is not None or monotonic() > began + _START_SECONDS:
                    output = log.read_text(errors="replace")[-2000:]
                    raise CheckFailed(f"the server did not start. Its log:\n{output}") from None
                sleep(0.005)
        yield Target(address, process.pid, monotonic() - began)
        if process.poll() is not None:
            output = log.read_text(errors="replace")[-2000:]
            raise CheckFailed(f"the server exited during the measurement. Its log:\n{output}")
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class ProjectServer(Contender):
    """A server of this project, which is started for each measurement.

    Args:
        store: the URL of the store; ``sqlite:`` alone is a new file below ``directory``.
        directory: a directory on the disk to measure.
        options: further options of chatserver.
        python: the interpreter of the installation to measure.
    """

    versions = (1, 2)

    def __init__(
        self,
        store: str,
        directory: Path,
        options: Sequence[str] = (),
        python: Path = Path(sys.executable),
    ) -> None:
        self.name = store
        self.durable = store == "sqlite:"
        self._directory = directory
        self._options = options
        self._twistd = python.with_name("twistd")

    @contextmanager
    def running(self, database: Path | None = None) -> Iterator[Target]:
        folder = Path(tempfile.mkdtemp(prefix="server-", dir=self._directory))
        try:
            file = folder / "chat.db" if self.durable else None
            if file is not None and database is not None:
                shutil.copy(database, file)
            port = free_port()
            command = [
                str(self._twistd),
                "-n",
                "--pidfile=",
                "chatserver",
                f"--listen=tcp:{port}:interface=127.0.0.1",
                f"--store={self.name}{file or ''}",
                "--mailbox-limit=0",
                *self._options,
            ]
            with _process(command, port, folder / "log", folder) as target:
                yield Target(target.address, target.pid, target.started_in, file)
        finally:
            shutil.rmtree(folder)


class Floor(Contender):
    """The relay of benchmarks/floor.py."""

    name = FLOOR

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def running(self, database: Path | None = None) -> Iterator[Target]:
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.floor", str(port)]
        with _process(command, port, self._directory / "floor.log") as target:
            yield target


class External(Contender):
    """A running server of the protocol, measured with version 1.

    If it runs on this machine, its CPU time and memory are measured as well.
    """

    def __init__(self, address: Address, name: str) -> None:
        self.name = name
        self._address = address

    @contextmanager
    def running(self, database: Path | None = None) -> Iterator[Target]:
        local = socket.gethostbyname(self._address[0]).startswith("127.")
        yield Target(self._address, listener(self._address[1]) if local else None)
