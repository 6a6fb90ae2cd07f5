"""A backup made under load, restored elsewhere: what was answered OK before is in it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.blackbox import wire
from tests.blackbox.client import Client, log_in_when_free
from tests.blackbox.conftest import StartServer
from tests.blackbox.figures import report
from tests.blackbox.mailbox import register
from tests.blackbox.server import Server

PAIRS = 4
BURST = 50


def chatadmin(*arguments: object) -> str:
    program = Path(sys.executable).with_name("chatadmin")
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class _Sender(threading.Thread):
    """Sends numbered messages to one who is away, until it is told to stop."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(daemon=True)
        self._client = Client(server.address, f"sender{number}")
        self.to = f"away{number}"
        self.accepted = 0
        self.stop = False

    def run(self) -> None:
        client = self._client
        while not self.stop:
            numbers = range(self.accepted, self.accepted + BURST)
            client.write(
                b"".join(wire.message(f"{n}", client.name, self.to, n, n + 1) for n in numbers)
            )
            assert set(client.answers([n + 1 for n in numbers])) == {wire.OK}
            self.accepted += BURST
        client.close()


def test_a_backup_under_load_has_all_that_was_answered_before_it(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server("--mailbox-limit", "0")
    register(server.address, *[f"away{number}" for number in range(PAIRS)])
    senders = [_Sender(server, number) for number in range(PAIRS)]
    for sender in senders:
        sender.start()
    made = []
    for number in range(4):
        while any(sender.accepted < 500 * (number + 1) for sender in senders):
            assert all(sender.is_alive() for sender in senders)
            time.sleep(0.01)
        before = [sender.accepted for sender in senders]
        backup = tmp_path / f"backup{number}.db"
        chatadmin("--store", f"sqlite:{server.directory / 'chat.db'}", "backup", backup)
        made.append((backup, before))
    for sender in senders:
        sender.stop = True
        sender.join()
    after = [sender.accepted for sender in senders]
    server.kill9()
    for backup, before in made:
        elsewhere = tmp_path / backup.stem
        elsewhere.mkdir()
        store = f"sqlite:{elsewhere / 'chat.db'}"
        chatadmin("--store", store, "restore", backup)
        chatadmin("--store", store, "check")
        restored = start_server("--mailbox-limit", "0", directory=elsewhere)
        with Client(restored.address, "fence") as fence:
            for sender, least, most in zip(senders, before, after, strict=True):
                with log_in_when_free(restored.address, sender.to) as away:
                    assert fence.send("fence", sender.to) == wire.OK
                    got = []
                    while (text := away.receive().text) != "fence":
                        got.append(int(text))
                assert got == list(range(len(got)))
                assert least <= len(got) <= most
        restored.check_log()
        restored.kill9()
    report(
        f"answered before each backup: {[sum(before) for _, before in made]}, in all {sum(after)}"
    )
