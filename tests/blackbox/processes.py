"""twistd processes whose log and whose daemons are of interest."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.blackbox.client import connect
from tests.blackbox.server import TWISTD, free_port

PATIENCE = 30.0


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not {what}"
        time.sleep(0.02)


def accepts(port: int) -> bool:
    with suppress(OSError):
        connect(("127.0.0.1", port)).close()
        return True
    return False


@contextmanager
def foreground(
    directory: Path, *options: str, twistd: tuple[str, ...] = (), stdout: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], tuple[str, int]]]:
    """A server in the foreground, and its address; killed at the end."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(str(TWISTD), "-n", "--pidfile=", *twistd, "chatserver"),
            *("--listen", f"tcp:{port}:interface=127.0.0.1", *options),
        ],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
    )
    try:
        wait_until(lambda: process.poll() is not None or accepts(port), "serving")
        assert process.poll() is None
        yield process, ("127.0.0.1", port)
    finally:
        process.kill()
        process.wait()


def run_daemon(
    directory: Path, *options: str, twistd: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the parent process of a daemon to its end."""
    return subprocess.run(
        [str(TWISTD), *twistd, "chatserver", *options],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def stop_daemon(pid_file: Path) -> None:
    """Stop the daemon of a pid file, if there is one."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), "stopped")
