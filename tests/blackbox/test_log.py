"""A log that nobody reads, and a log file with a full disk: the server goes on."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import resource
import signal
import subprocess
import termios
import threading
import time
from pathlib import Path

from tests.blackbox import wire
from tests.blackbox.client import Address, Client, log_in_when_free
from tests.blackbox.processes import foreground, wait_until

LONG = "\U0001f600" * 63
"""A name that takes 630 characters in the log."""


def visit(address: Address, times: int) -> None:
    """Cause log lines."""
    for _ in range(times):
        log_in_when_free(address, LONG).close()


def talk(address: Address) -> None:
    with Client(address, "alice") as alice, Client(address, "bob") as bob:
        assert alice.send("hello", "bob") == wire.OK
        assert bob.receive().text == "hello"


class Reader:
    """Reads everything from a descriptor, in a thread."""

    def __init__(self, descriptor: int) -> None:
        self.data = b""
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while more := os.read(self._descriptor, 1 << 16):
                self.data += more
        except OSError:
            # A pseudo-terminal has no other end.
            pass

    def join(self) -> str:
        self._thread.join(20)
        return self.data.decode()


def test_a_pipe_that_nobody_reads_does_not_stop_the_server(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, 1031, 4096)  # F_SETPIPE_SZ
    with foreground(tmp_path, "--store", "memory:", stdout=writing) as (process, address):
        os.close(writing)
        # 4 KiB in the pipe, and 1 MiB in the server's buffer.
        visit(address, 1200)
        talk(address)
        reader = Reader(reading)
        wait_until(lambda: b"missing here" in reader.data, "told of")
        talk(address)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    lines = reader.join().splitlines()
    os.close(reading)
    (place,) = (n for n, line in enumerate(lines) if "missing here from the log" in line)
    assert re.search(r" \d+ lines are missing here from the log: it was not read", lines[place])
    assert sum(map(len, lines[:place])) > 1_000_000
    assert "'alice' at" in "".join(lines[place:])
    assert lines[-1].endswith("Server Shut Down.")
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in lines)


def test_the_server_stops_although_nobody_reads_its_log(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, 1031, 4096)
    with foreground(tmp_path, "--store", "memory:", stdout=writing) as (process, address):
        os.close(writing)
        visit(address, 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    os.close(reading)


def test_a_terminal_whose_output_is_stopped_does_not_stop_the_server(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with foreground(tmp_path, "--store", "memory:", stdout=theirs) as (process, address):
        # What Ctrl-S does.
        termios.tcflow(theirs, termios.TCOOFF)
        visit(address, 20)
        talk(address)
        termios.tcflow(theirs, termios.TCOON)
        os.close(theirs)
        reader = Reader(ours)
        wait_until(lambda: b"'bob' left" in reader.data, "written")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert reader.join().splitlines()[-1].endswith("Server Shut Down.")
    os.close(ours)


def test_a_log_whose_reader_has_gone_does_not_stop_the_server(tmp_path: Path) -> None:
    with foreground(tmp_path, "--store", "memory:", stdout=subprocess.PIPE) as (process, address):
        assert process.stdout is not None
        process.stdout.close()
        talk(address)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_full_disk_under_the_log_file_does_not_stop_the_server(tmp_path: Path) -> None:
    path = tmp_path / "log"
    twistd = ("--logfile", str(path))
    with foreground(tmp_path, "--store", "memory:", twistd=twistd) as (process, address):
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        limit = path.stat().st_size + 100
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, hard))
        visit(address, 5)
        wait_until(lambda: path.stat().st_size == limit, "full")
        talk(address)
        # The lines of the talk are lost only if they are written while the disk is full.
        time.sleep(0.2)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        talk(address)
        wait_until(lambda: "missing here from the log: File too large" in path.read_text(), "said")
