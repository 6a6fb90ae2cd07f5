"""A synchronous standby of a PostgreSQL server of the tests."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from chat_protocol.wire.frames import split_frames, text_of
from tests.stores.postgres.server import PATIENCE, PostgresServer

__all__ = ["INTERRUPTIONS", "Standby"]

INTERRUPTIONS = ("pg_terminate_backend", "pg_cancel_backend")
"""Functions that end the wait of a server process for a standby."""

_NAME = "standby1"

_WAITING = """
SELECT {function}(pid) FROM pg_stat_activity
WHERE wait_event = 'SyncRep' AND application_name LIKE 'chat-protocol batches%'
"""


class Standby(PostgresServer):
    """A hot standby that commits of the primary wait for.

    Args:
        primary: a running server.
    """

    def __init__(self, primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__(fsync=True)

    def _create(self) -> None:
        where = f"host={self._primary.folder} user=chat application_name={_NAME}"
        self._run("pg_basebackup", "-D", str(self._data), "-d", where, "-R", "-X", "stream")
        super().start()
        with psycopg.connect(self._primary.url("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'")
            connection.execute("SELECT pg_reload_conf()")
        self.wait_until_synchronous()

    def wait_until_synchronous(self) -> None:
        """Wait until commits of the primary wait for this server."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(psycopg.Error), self._connected() as connection:
                row = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchone()
                if row == ("sync",):
                    return
            time.sleep(0.05)
        raise AssertionError("the standby does not follow")

    def _connected(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._primary.url("postgres"), autocommit=True, connect_timeout=3)

    def both(self, url: str) -> str:
        """Return the URL that leads to whichever of the two servers can be written to."""
        here, there = str(self._primary.folder), str(self.folder)
        return url.replace(f"host={here}", f"host={here},{there}&target_session_attrs=read-write")

    def interrupt(self, function: str) -> int:
        """Call a function with each server process of the primary that waits for this server.

        Returns:
            For how many processes it was called.
        """
        query = _WAITING.format(function=function).encode()
        with suppress(psycopg.Error), self._connected() as connection:
            return len(connection.execute(query).fetchall())
        return 0

    def stall(self, seconds: float, function: str = "") -> int:
        """Receive nothing for a while, and then call :meth:`interrupt`."""
        self.signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
            return self.interrupt(function) if function else 0
        finally:
            self.signal(signal.SIGCONT)

    def take_over(self, random: Random) -> int:
        """Become the primary, after the former one died while this server received nothing.

        Waits for this server are interrupted before that.

        Returns:
            How many.
        """
        self.wait_until_synchronous()
        self.signal(signal.SIGSTOP)
        count = 0
        for _ in range(5):
            time.sleep(0.3)
            count += self.interrupt(random.choice(INTERRUPTIONS))
        self._primary.kill()
        self.signal(signal.SIGCONT)
        self._promote()
        return count

    def _promote(self) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_promote()")

    def texts(self, url: str) -> set[str]:
        """Return the texts of all messages in a database of this server."""
        own = url.replace(f"host={self._primary.folder},", "host=")
        with psycopg.connect(own, autocommit=True) as connection:
            rows = connection.execute("SELECT frames, count FROM chat.message")
            return {text_of(frame).decode() for row in rows for frame in split_frames(*row)}

    @property
    def log(self) -> str:
        """What the server has logged."""
        return Path(self.folder, "log").read_text(errors="replace")
