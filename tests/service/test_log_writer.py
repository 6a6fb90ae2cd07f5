"""The thread that writes the log, over real pipes and files."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from twisted.logger import LogEvent, Logger

from chat_protocol.service import log_writer
from chat_protocol.service.log_output import LogFileOutput, StandardOutput, make_log
from chat_protocol.service.log_writer import LogWriter

PATIENCE = 20.0


class Pipe:
    """An output whose other end is read when the test says so."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()

    def write(self, data: memoryview) -> int:
        return os.write(self._writing, data)

    def reopen(self) -> None:
        pass

    def rotate(self) -> None:
        pass

    def close(self) -> None:
        os.close(self._writing)

    def read_to_end(self) -> list[str]:
        with open(self.reading) as file:
            return file.read().splitlines()


def as_text(event: LogEvent) -> str:
    return str(event["log_format"]).format(**event) + "\n"


@pytest.fixture
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "LOG_BUFFER", 100_000)


@contextmanager
def closing(writer: LogWriter) -> Iterator[LogWriter]:
    yield writer
    writer._output._file.close()  # type: ignore[attr-defined]


def logged(writer: LogWriter, *lines: str) -> None:
    logger = Logger(observer=writer)
    for line in lines:
        logger.info(line)


def test_a_pipe_that_nobody_reads_blocks_nobody(small_buffer: None) -> None:
    pipe = Pipe()
    writer = LogWriter(pipe, as_text)
    writer.start()
    lines = [f"line {n} {'x' * 90}" for n in range(5000)]
    logged(writer, *lines)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(pipe.read_to_end()))
    reader.start()
    deadline = time.monotonic() + PATIENCE
    while writer._waiting or writer._lost:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    logged(writer, "later")
    writer.finish()
    pipe.close()
    reader.join()
    kept = [line for line in got if line.startswith("line")]
    # The oldest, in order and whole; then how many are missing; then what came later.
    assert kept == lines[: len(kept)]
    assert len(kept) > 900
    missing = f"{5000 - len(kept)} lines are missing here from the log: it was not read in time"
    assert got == [*kept, missing, "later"]


def test_the_end_of_the_process_does_not_wait_for_a_reader(
    small_buffer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "FLUSH_SECONDS", 0.05)
    pipe = Pipe()
    writer = LogWriter(pipe, as_text)
    writer.start()
    logged(writer, *("x" * 1000 for _ in range(100)))
    writer.finish()
    logged(writer, "Server Shut Down.")
    os.close(pipe.reading)
    while writer._waiting:
        time.sleep(0.01)
    pipe.close()


def test_each_line_is_written_at_once_when_the_process_ends() -> None:
    pipe = Pipe()
    writer = LogWriter(pipe, as_text)
    writer.start()
    writer.finish()
    logged(writer, "Server Shut Down.")
    assert os.read(pipe.reading, 100) == b"Server Shut Down.\n"
    pipe.close()
    os.close(pipe.reading)


def test_before_the_start_lines_are_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with closing(make_log(str(path), "text")) as writer:
        logged(writer, "here")
        assert path.read_text().endswith("here\n")


def test_a_signal_handler_may_log_while_the_same_thread_logs() -> None:
    pipe = Pipe()
    writer = LogWriter(pipe, as_text)
    writer.start()
    before = signal.signal(signal.SIGUSR1, lambda *_: logged(writer, "signal"))
    try:
        with writer._lock:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    writer.finish()
    pipe.close()
    assert pipe.read_to_end() == ["signal"]


def test_a_full_disk_costs_lines_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "log"
    output = LogFileOutput(str(path))
    writer = LogWriter(output, as_text)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        logged(writer, *(f"{n} {'x' * 92}" for n in range(10, 30)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    logged(writer, "later", "last")
    output._file.close()  # type: ignore[no-untyped-call]
    # Ten lines are whole, the next one has no room, and no line is written into the same line.
    *whole, cut, missing, later, last = path.read_text().splitlines()
    assert [line[:2] for line in whole] == [str(n) for n in range(10, 20)]
    assert cut == "20 " + "x" * 37
    assert missing == "10 lines are missing here from the log: File too large"
    assert (later, last) == ("later", "last")


def test_a_file_that_was_renamed_is_left_and_a_new_one_has_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch(0o640)
    path.chmod(0o640)
    with closing(make_log(str(path), "json")) as writer:
        writer.start()
        logged(writer, "first")
        writer.finish()
        path.rename(tmp_path / "log.old")
        logged(writer, "second")
        writer.reopen()
        logged(writer, "third")
    written = [
        json.loads(line)["message"] for line in (tmp_path / "log.old").read_text().splitlines()
    ]
    assert written == ["first", "second"]
    assert json.loads(path.read_text())["message"] == "third"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_path_that_cannot_be_opened_is_reported_in_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    output = LogFileOutput(str(folder / "log"))
    folder.rename(tmp_path / "moved")
    output.reopen()
    assert output.write(memoryview(b"on\n")) == 3
    assert (tmp_path / "moved" / "log").read_text() == "on\n"
    output._file.close()  # type: ignore[no-untyped-call]


def test_a_rotated_file_has_a_number(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with closing(make_log(str(path), "text")) as writer:
        writer.start()
        logged(writer, "first")
        writer.rotate()
        writer.finish()
        logged(writer, "second")
    assert (tmp_path / "log.1").read_text().endswith("first\n")
    assert path.read_text().endswith("second\n")


def test_a_file_is_rotated_at_the_size_of_twistd(tmp_path: Path) -> None:
    output = LogFileOutput(str(tmp_path / "log"))
    for _ in range(21):
        output.write(memoryview(b"x" * 50_000))
    assert (tmp_path / "log.1").stat().st_size == 1_000_000
    assert (tmp_path / "log").stat().st_size == 50_000
    output._file.close()  # type: ignore[no-untyped-call]


def test_standard_output_that_does_not_block_is_waited_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    reading, writing = os.pipe()
    saved = os.dup(1)
    os.dup2(writing, 1)
    os.set_blocking(1, False)
    try:
        output = StandardOutput()
        written = output.write(memoryview(b"x" * 200_000))
        threading.Timer(0.05, os.read, (reading, 200_000)).start()
        assert written < 200_000
        assert output.write(memoryview(b"y")) == 1
    finally:
        os.dup2(saved, 1)
        for one in (saved, reading, writing):
            os.close(one)


def test_a_rotation_that_fails_half_way_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    output = LogFileOutput(str(path))
    # The file is closed, and then the new name is that of a directory.
    (tmp_path / "log.1").mkdir()
    (tmp_path / "log.1" / "x").touch()
    monkeypatch.setattr(output._file, "listLogs", list)
    output.rotate()
    (tmp_path / "log.1" / "x").unlink()
    (tmp_path / "log.1").rmdir()
    assert output.write(memoryview(b"on\n")) == 3
    assert path.read_text() == "on\n"
    output._file.close()  # type: ignore[no-untyped-call]


def test_the_thread_does_not_wait_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "FLUSH_SECONDS", 10 * PATIENCE)
    path = tmp_path / "log"
    with closing(make_log(str(path), "text")) as writer:
        writer.start()
        writer.finish()
        done = threading.Event()
        writer._work.put(lambda: logged(writer, "from the thread"))
        writer._work.put(done.set)
        assert done.wait(PATIENCE)
        writer.finish()
        assert "from the thread" in path.read_text()
