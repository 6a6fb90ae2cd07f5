"""The application of docs/client.md keeps exactly-once delivery while it is killed repeatedly."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random, randrange
from typing import Any

from twisted.internet.task import deferLater

from tests.client.reactor import in_reactor
from tests.client.server import RealServer, serving

EXAMPLE = Path(__file__).parents[2] / "docs" / "client.md"

MESSAGES = 150
KILLS = 8
PATIENCE = 60.0
"""Seconds for the users to finish after the last kill."""

PROGRAM = """
import sys
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater, react

async def main(reactor, port, name, other, path, count):
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(port))
    application = Application(reactor, endpoint, name, path)
    await application.start()
    sent = "SELECT count(*) FROM sent"
    while (number := application.db.execute(sent).fetchone()[0]) < int(count):
        application.send(other, str(number))
        await deferLater(reactor, 0.002)
    await application.receiving

react(main, sys.argv[1:])
"""


def program() -> str:
    """Return the example with a main function that sends."""
    example, *_ = re.findall(r"```python\n(.*?)```", EXAMPLE.read_text(), re.DOTALL)
    return str(example) + PROGRAM


class Process:
    """A user, in one process after another."""

    def __init__(self, server: RealServer, name: str, other: str, folder: Path) -> None:
        self.path = folder / f"{name}.db"
        self._arguments = [str(server.port), name, other, str(self.path), str(MESSAGES)]
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program(), *self._arguments], stdout=log, stderr=log
            )

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        self._process.kill()
        self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def rows(self, query: str) -> list[Any]:
        if not self.path.exists():
            return []
        with closing(sqlite3.connect(self.path, timeout=10)) as database:
            try:
                return database.execute(query).fetchall()
            except sqlite3.OperationalError:
                # The database was just created.
                return []

    @property
    def done(self) -> bool:
        answered = self.rows("SELECT count(*) FROM sent WHERE outcome = 'stored'")
        received = self.rows("SELECT count(*) FROM received")
        return answered == [(MESSAGES,)] and received == [(MESSAGES,)]


@in_reactor
async def test_exactly_once_in_order_while_clients_are_killed() -> None:
    from tempfile import TemporaryDirectory

    from twisted.internet import reactor

    seed = randrange(10**6)
    print(f"seed {seed}")
    random = Random(seed)
    with TemporaryDirectory() as folder:
        async with serving() as server:
            alice = Process(server, "alice", "bob", Path(folder))
            bob = Process(server, "bob", "alice", Path(folder))
            # Both users must be registered before they receive messages.
            for name in ("alice", "bob"):
                await (await server.client(name)).stopService()
            alice.start()
            bob.start()
            try:
                for _ in range(KILLS):
                    await deferLater(reactor, random.uniform(0.2, 1))
                    victim = random.choice([alice, bob])
                    victim.kill()
                    victim.start()
                for _ in range(int(PATIENCE / 0.1)):
                    if alice.done and bob.done:
                        break
                    await deferLater(reactor, 0.1)
            finally:
                alice.kill()
                bob.kill()
            for sender, receiver in ((alice, bob), (bob, alice)):
                sent = sender.rows("SELECT text, outcome FROM sent ORDER BY id")
                assert [outcome for _, outcome in sent] == ["stored"] * MESSAGES, sender.log
                received = receiver.rows("SELECT text FROM received ORDER BY rowid")
                assert received == [(text,) for text, _ in sent], receiver.log
