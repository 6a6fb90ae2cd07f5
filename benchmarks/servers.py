"""The measured servers: this project's server, the floor, and other running servers."""

from __future__ import annotations

import random
import re
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

from benchmarks.dialing import make_certificate
from benchmarks.frames import CheckFailed
from benchmarks.loop import Address
from benchmarks.mqtt import MQTT
from benchmarks.nats import NATS
from benchmarks.procfs import Reading, listener, read_costs
from benchmarks.protocols import Protocol

__all__ = [
    "BROKERS",
    "FLOOR",
    "Broker",
    "Contender",
    "External",
    "Floor",
    "ProjectServer",
    "Target",
    "free_port",
]

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
    protocol: Protocol | None = None
    """The protocol of a broker; None: that of this project."""
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
                f"--certificate={make_certificate(folder / 'certificate.pem')}",
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


class Broker(Contender):
    """Another program that delivers messages, measured in the cases with one message in flight.

    Args:
        program: the name of the program, which is looked for on PATH.
        protocol: the protocol of its clients.
        options: the options of the program, in front of the name of its configuration file.
        configuration: the text of this file, with {port} and {directory}.
        needs: the oldest version that does what the configuration demands.
    """

    versions = ()

    def __init__(
        self,
        name: str,
        program: str,
        protocol: Protocol,
        options: Sequence[str],
        configuration: str,
        needs: tuple[int, int] = (0, 0),
    ) -> None:
        self.name = name
        self.program = program
        self.protocol = protocol
        self._options = options
        self._configuration = configuration
        self._needs = needs

    def missing(self) -> str:
        """Return a sentence that says why the broker cannot be measured; empty if it can."""
        path = shutil.which(self.program)
        if path is None:
            return f"{self.name} is not measured: {self.program} is not on PATH."
        if self._needs == (0, 0):
            return ""
        shown = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        found = re.search(r"(\d+)\.(\d+)", shown)
        if found and (int(found[1]), int(found[2])) >= self._needs:
            return ""
        needed = ".".join(map(str, self._needs))
        return f"{self.name} is not measured: {path} is {shown.strip()}, {needed} is needed."

    @contextmanager
    def running(self, database: Path | None = None) -> Iterator[Target]:
        with tempfile.TemporaryDirectory(prefix="broker-", dir=self.directory) as name:
            folder, port = Path(name), free_port()
            file = folder / "configuration"
            file.write_text(self._configuration.format(port=port, directory=folder))
            command = [self.program, *self._options, str(file)]
            with _process(command, port, folder / "log", folder) as target:
                yield target

    directory: Path | None = None
    """A directory on the disk to measure; None: the one for temporary files."""


BROKERS = (
    Broker(
        "mosquitto",
        "mosquitto",
        MQTT,
        ("-c",),
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        "set_tcp_nodelay true\n",
    ),
    Broker(
        "nats, sync always",
        "nats-server",
        NATS,
        ("-c",),
        'listen: "127.0.0.1:{port}"\n'
        'jetstream {{ store_dir: "{directory}", sync_interval: always }}\n',
        (2, 15),
    ),
)
"""The brokers that are measured if they are installed."""
