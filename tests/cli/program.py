"""Running ``chatclient`` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import IO, Any

from tests.cli.thread_server import PATIENCE, ThreadServer

__all__ = ["COMMAND", "chatclient", "start"]

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from chat_protocol.cli.main import main; sys.exit(main())",
]


def _arguments(server: ThreadServer | None, arguments: tuple[str, ...]) -> list[str]:
    where = [] if server is None else ["--server", server.address]
    return [*COMMAND, *where, *arguments]


def _environ(**more: str) -> dict[str, str]:
    """Return this environment without PYTHONUNBUFFERED, which would hide a missing flush."""
    environ = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}
    return {**environ, "TZ": "UTC", **more}


def chatclient(
    server: ThreadServer | None,
    *arguments: str,
    stdin: bytes = b"",
    stdout: IO[Any] | int = subprocess.PIPE,
    **environ: str,
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end; no traceback may be on stderr."""
    done = subprocess.run(
        _arguments(server, arguments),
        input=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        env=_environ(**environ),
        check=False,
    )
    assert b"Traceback" not in done.stderr
    return done


def start(server: ThreadServer, *arguments: str) -> subprocess.Popen[bytes]:
    """Start it with pipes; use the result as a context manager."""
    return subprocess.Popen(
        _arguments(server, arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environ(),
        bufsize=0,
    )
