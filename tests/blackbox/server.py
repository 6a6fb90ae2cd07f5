"""A server process under test: ``twistd -n chatserver`` in a directory of its own."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from tests.blackbox.client import Address, connect

TWISTD = Path(sys.executable).with_name("twistd")

START_SECONDS = 30.0
STOP_SECONDS = 40.0


def _ports() -> Iterator[int]:
    """Yield ports outside the range that the kernel gives to clients, from a random one on.

    A client that connects to a free port of that range again and again may connect to itself.
    Each worker of pytest-xdist has its own ports, so that no worker takes the port of a server
    that another worker is restarting.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = 12000 // workers
    start = random.SystemRandom().randrange(count)
    while True:
        for number in range(count):
            yield 20000 + worker * count + (start + number) % count


_next_port = _ports()


def free_port() -> int:
    """Return a port on which no process listens."""
    while True:
        port = next(_next_port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def run_twistd(*arguments: str, cwd: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """A twistd that is to end by itself."""
    return subprocess.run(
        [str(TWISTD), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


class Server:
    """Started, killed and restarted at will; the file of the store stays.

    Args:
        directory: where it runs.
        options: of ``chatserver``, beside ``--listen``.
        listen: endpoints; a TCP port of its own if there are none.
        address: where clients reach it, for endpoints given.
        environment: variables that it gets beside those of this process.
        prefix: a command that runs the rest of its arguments.
    """

    def __init__(
        self,
        directory: Path,
        options: Sequence[str] = (),
        listen: Sequence[str] = (),
        address: Address | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self._prefix = prefix
        self._environment = os.environ | (environment or {})
        if address is None:
            address = ("127.0.0.1", free_port())
            listen = [f"tcp:{address[1]}:interface=127.0.0.1"]
        self.address: Address = address
        self._options = [
            *(word for one in listen for word in ("--listen", one)),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self._lines: list[str] = []

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill9()

    # Its life.

    def start(self) -> None:
        """Returns when it accepts connections."""
        assert self._process is None
        # The log goes through a pipe: limits on the size of files are for the store only.
        self._process = process = subprocess.Popen(
            [*self._prefix, str(TWISTD), "-n", "--pidfile=", "chatserver", *self._options],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        reader.start()
        self._readers.append(reader)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                connect(self.address).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    self.kill9()
                    raise AssertionError(f"the server does not start:\n{self.log}") from None
                time.sleep(0.02)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._lines.append(line.decode(errors="replace"))

    def kill9(self) -> None:
        """SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            self._join()

    def begin_to_stop(self) -> None:
        """SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """The return code of a server that stops."""
        assert self._process is not None
        code = self._process.wait(STOP_SECONDS)
        self._process = None
        self._join()
        return code

    def terminate(self) -> int:
        """SIGTERM; the return code."""
        self.begin_to_stop()
        return self.wait()

    def restart(self) -> None:
        """SIGKILL and start."""
        self.kill9()
        self.start()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(10)
        self._readers.clear()

    # What can be seen of it.

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """Everything since the first start."""
        return "".join(self._lines)

    def wait_for_log(self, text: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < deadline, f"no {text!r} in the log:\n{self.log}"
            time.sleep(0.02)

    def rss(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (one for one in status.splitlines() if one.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def peak(self) -> int:
        """The highest resident memory since :meth:`forget_peak`, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (one for one in status.splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def limit(self, what: int, value: int) -> None:
        """Change a soft resource limit of the running process."""
        _, hard = resource.prlimit(self.pid, what)
        resource.prlimit(self.pid, what, (value, hard))

    def check_log(self) -> None:
        """No exception that nobody expected."""
        log = self.log
        for word in ("Traceback", "Unhandled"):
            assert word not in log, log
