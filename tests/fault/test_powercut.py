"""A few power cuts, a few that the disk does not survive, and the model of the disk."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fault.disk import Disk
from tests.fault.program import assert_passes, needs_compiler, run
from tests.fault.shim import Kind, Record

CUTS = 200


@needs_compiler
@pytest.mark.timeout(320)
def test_what_was_answered_ok_survives_a_power_cut() -> None:
    assert_passes("powercut", "--cuts", "6", "--seconds", "2")


@needs_compiler
@pytest.mark.timeout(320)
def test_what_was_answered_ok_survives_a_power_cut_after_failed_syncs() -> None:
    assert_passes("powercut", "--cuts", "6", "--seconds", "2", "--failed-syncs", "10")


@needs_compiler
@pytest.mark.timeout(320)
def test_on_a_disk_that_ignores_syncs_the_check_fails() -> None:
    done = run("powercut", "--cuts", "6", "--seconds", "1", "--ignore-syncs")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAULT" in done.stdout


def _disk(*records: Record) -> Disk:
    disk = Disk()
    for record in records:
        disk.follow(record)
    return disk


def _outcomes(disk: Disk, directory: Path) -> set[bytes | None]:
    """Return what many power cuts leave of the file ``a``."""
    file = directory / "a"
    found = set()
    for number in range(CUTS):
        disk.cut(Random(number), directory)
        found.add(file.read_bytes() if file.exists() else None)
        file.unlink(missing_ok=True)
    return found


OLD, NEW = b"o" * 512, b"n" * 512

SYNCED_FILE = (
    Record(Kind.CREATE, 1, 0, b"a"),
    Record(Kind.WRITE, 1, 0, OLD + OLD),
    Record(Kind.SYNC_BEGIN, 1, 0, b""),
    Record(Kind.SYNC_END, 1, 0, b""),
    Record(Kind.SYNC_BEGIN, 0, 0, b""),
    Record(Kind.SYNC_END, 0, 0, b""),
)


def test_what_was_synced_is_there(tmp_path: Path) -> None:
    assert _outcomes(_disk(*SYNCED_FILE), tmp_path) == {OLD + OLD}


def test_a_write_that_was_not_synced_is_there_in_any_of_its_sectors(tmp_path: Path) -> None:
    disk = _disk(*SYNCED_FILE, Record(Kind.WRITE, 1, 0, NEW + NEW))
    expected = {OLD + OLD, OLD + NEW, NEW + OLD, NEW + NEW}
    assert _outcomes(disk, tmp_path) == expected


def test_a_name_that_was_not_synced_may_be_missing(tmp_path: Path) -> None:
    assert _outcomes(_disk(*SYNCED_FILE[:4]), tmp_path) == {None, OLD + OLD}


def test_a_deleted_file_may_come_back(tmp_path: Path) -> None:
    disk = _disk(*SYNCED_FILE, Record(Kind.UNLINK, 0, 0, b"a"))
    assert _outcomes(disk, tmp_path) == {None, OLD + OLD}


def test_a_size_that_was_not_synced_may_be_the_old_one(tmp_path: Path) -> None:
    disk = _disk(*SYNCED_FILE, Record(Kind.TRUNCATE, 1, 512, b""))
    assert _outcomes(disk, tmp_path) == {OLD, OLD + OLD}


def test_a_write_during_a_sync_is_not_synced(tmp_path: Path) -> None:
    disk = _disk(
        *SYNCED_FILE,
        Record(Kind.SYNC_BEGIN, 1, 0, b""),
        Record(Kind.WRITE, 1, 0, NEW),
        Record(Kind.SYNC_END, 1, 0, b""),
    )
    assert _outcomes(disk, tmp_path) == {OLD + OLD, NEW + OLD}


FAILED_SYNC = Record(Kind.SYNC_FAILED, 1, 0, b"")
NEXT_SYNC = (Record(Kind.SYNC_BEGIN, 1, 0, b""), Record(Kind.SYNC_END, 1, 0, b""))


def test_a_later_sync_does_not_write_what_a_failed_one_has_not(tmp_path: Path) -> None:
    disk = _disk(*SYNCED_FILE, Record(Kind.WRITE, 1, 512, NEW), FAILED_SYNC, *NEXT_SYNC)
    assert _outcomes(disk, tmp_path) == {OLD + OLD, OLD + NEW}


def test_a_page_that_is_written_again_is_synced_as_a_whole(tmp_path: Path) -> None:
    disk = _disk(
        *SYNCED_FILE,
        Record(Kind.WRITE, 1, 512, NEW),
        FAILED_SYNC,
        Record(Kind.WRITE, 1, 0, OLD[:1]),
        *NEXT_SYNC,
    )
    assert _outcomes(disk, tmp_path) == {OLD + NEW}
