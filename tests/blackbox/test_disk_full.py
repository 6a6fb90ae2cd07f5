"""A disk without room: refused with a code, nothing acknowledged lost, and on without restart."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.blackbox import wire
from tests.blackbox.client import PATIENCE, Address, Client, log_in_when_free
from tests.blackbox.conftest import StartServer
from tests.blackbox.figures import report
from tests.blackbox.mailbox import register
from tests.blackbox.server import Server

PADDING = ":" + "x" * 2000


class _Sender:
    """Sends numbered messages and keeps a list of those answered OK."""

    def __init__(self, address: Address, name: str, to: str) -> None:
        self.client = Client(address, name)
        self.to = to
        self.number = 0
        self.accepted: list[int] = []

    def burst(self, count: int = 50) -> list[int]:
        """The codes of the answers."""
        client = self.client
        numbers = range(self.number, self.number + count)
        self.number += count
        client.write(
            b"".join(wire.message(f"{n}{PADDING}", client.name, self.to, n, n) for n in numbers)
        )
        codes = client.answers(numbers)
        self.accepted += [n for n, code in zip(numbers, codes, strict=True) if code == wire.OK]
        return codes


def _numbers(client: Client, fence: str) -> list[int]:
    got = []
    while (text := client.receive().text) != fence:
        got.append(int(text.partition(":")[0]))
    return got


def _full_and_back(server: Server, fill: Callable[[], None], make_room: Callable[[], None]) -> None:
    register(server.address, "away", "reader", "late")
    with Client(server.address, "live") as live:
        to_away = _Sender(server.address, "alice", "away")
        to_live = _Sender(server.address, "carol", "live")
        to_reader = _Sender(server.address, "dave", "reader")
        senders = (to_away, to_live, to_reader)
        for sender in senders:
            assert set(sender.burst()) == {wire.OK}
        fill()
        # Until it is full, and well beyond.
        deadline = time.monotonic() + PATIENCE
        while set(to_away.burst()) != {wire.ERROR}:
            assert time.monotonic() < deadline, "it never becomes full"
        # Nor is there room for one more.
        while to_away.burst(1) != [wire.ERROR]:
            assert time.monotonic() < deadline, "there is always room for one"
        refused = 0
        for _ in range(20):
            for sender in senders:
                codes = sender.burst(10)
                assert set(codes) <= {wire.OK, wire.ERROR}
                refused += codes.count(wire.ERROR)
        assert refused > 300
        # Who is known gets in, and reads the mailbox; who is not is told so, and may try again.
        with Client(server.address) as reader, Client(server.address) as new:
            assert reader.login("reader") == wire.OK
            first = len(to_reader.accepted)
            got = [int(reader.receive().text.partition(":")[0]) for _ in range(first)]
            assert got == to_reader.accepted
            # A user takes less room than a message.
            assert new.login("new") in (wire.ERROR, wire.OK)
            assert new.still_works()
        make_room()
        # Without a restart; it may take a moment.
        deadline = time.monotonic() + PATIENCE
        while set(to_away.burst(1)) != {wire.OK}:
            assert time.monotonic() < deadline, "it does not work again"
            time.sleep(0.05)
        for sender in (to_away, to_live):
            assert set(sender.burst()) == {wire.OK}
        with Client(server.address) as new:
            assert new.login("newer") == wire.OK
        # What the receiver got who was there all the time.
        assert to_live.client.send("fence", "live") == wire.OK
        got = _numbers(live, "fence")
        assert got == to_live.accepted
        server.kill9()
        for sender in senders:
            sender.client.close()
    server.start()
    with Client(server.address, "alice") as alice:
        for name, sender in (("away", to_away), ("reader", to_reader), ("live", to_live)):
            with log_in_when_free(server.address, name) as client:
                assert alice.send("fence", name) == wire.OK
                got = _numbers(client, "fence")
            if sender is to_away:
                assert got == to_away.accepted
            else:
                assert not got, f"{name} has read these before"
    report(f"{len(to_away.accepted)} of {to_away.number} to the mailbox answered OK")


def test_a_file_that_may_not_grow(start_server: StartServer) -> None:
    """RLIMIT_FSIZE: the same errors as a full disk or quota, anywhere."""
    server = start_server()

    def fill() -> None:
        files = [server.directory / name for name in ("chat.db", "chat.db-wal")]
        largest = max(file.stat().st_size for file in files if file.exists())
        server.limit(resource.RLIMIT_FSIZE, largest)

    _full_and_back(
        server,
        fill,
        lambda: server.limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY),
    )


def test_where_nothing_can_be_written_only_known_users_log_in(start_server: StartServer) -> None:
    server = start_server()
    register(server.address, "known")
    with Client(server.address, "alice") as alice:
        assert alice.send("kept", "known") == wire.OK
        server.limit(resource.RLIMIT_FSIZE, 4096)
        assert alice.send("refused", "known") == wire.ERROR
        with Client(server.address) as new, Client(server.address) as known:
            for _ in range(3):
                assert new.login("new") == wire.ERROR
            assert known.login("known") == wire.OK
            assert known.receive().text == "kept"
            assert known.send("refused", "alice") == wire.ERROR
            assert alice.send("x", "new") in (wire.ERROR, wire.USER_NOT_FOUND)
            server.limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
            assert new.login("new") == wire.OK
            assert known.send("again", "new") == wire.OK
            assert new.receive().text == "again"
    # Who has read the mailbox without room does not get it again once there was some.
    with log_in_when_free(server.address, "known") as known:
        assert known.send("fence", "known") == wire.OK
        assert known.receive().text == "fence"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "chat-test", str(where)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_file_system(start_server: StartServer, small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * 1_500_000)
    server = start_server("--mailbox-limit", "0", directory=small_disk)

    _full_and_back(server, lambda: None, filler.unlink)
    free = os.statvfs(small_disk)
    report(f"{free.f_bavail * free.f_frsize:,} bytes free at the end")


def test_a_full_file_system_a_sigkill_and_no_room_at_the_start(
    start_server: StartServer, small_disk: Path
) -> None:
    """Killed while the disk is full and started while it is: everybody can still read."""
    server = start_server("--mailbox-limit", "0", directory=small_disk)
    register(server.address, "away")
    sender = _Sender(server.address, "alice", "away")
    for _ in range(200):
        if set(sender.burst()) == {wire.ERROR}:
            break
    else:
        pytest.fail("it never becomes full")
    assert sender.accepted
    sender.client.close()
    server.restart()
    with Client(server.address, "away") as away:
        got = [int(away.receive().text.partition(":")[0]) for _ in sender.accepted]
        assert got == sender.accepted
        # Reading makes room in the end, or not; there is an answer in any case.
        assert away.send("x", "away") in (wire.OK, wire.ERROR)
    report(f"{len(got)} messages filled the disk")


def test_sigterm_while_the_disk_is_full(start_server: StartServer) -> None:
    """It ends, with 0, and what was answered OK is there afterwards."""
    server = start_server()
    register(server.address, "away", "slow")
    sender = _Sender(server.address, "alice", "away")
    assert set(sender.burst()) == {wire.OK}
    with Client(server.address, "slow", receive_buffer=4096) as slow:
        to_slow = _Sender(server.address, "carol", "slow")
        for _ in range(40):
            assert set(to_slow.burst()) == {wire.OK}
        server.limit(resource.RLIMIT_FSIZE, 4096)
        assert set(sender.burst()) == {wire.ERROR}
        server.begin_to_stop()
        slow.read_to_end()
        got = [int(text.text.partition(":")[0]) for text in slow.inbox]
        assert server.wait() == 0
    sender.client.close()
    to_slow.client.close()
    server.start()
    with Client(server.address, "alice") as alice:
        with Client(server.address, "away") as away:
            assert alice.send("fence", "away") == wire.OK
            assert _numbers(away, "fence") == sender.accepted
        with Client(server.address, "slow") as slow:
            assert alice.send("fence", "slow") == wire.OK
            got += _numbers(slow, "fence")
    assert sorted(set(got)) == to_slow.accepted, "lost"
    report(f"{len(got) - len(set(got))} came twice: their arrival could not be noted")
