"""The device that this machine is for a user at a server, kept in the state directory.

For each user and server there is a folder. It has the name of this machine's device; processes that
receive messages at the same time number it. A process holds the lock of its device as long as it
runs, and keeps the token of its session beside it. So another process of this machine can log in
beside it, and the next one goes on where this one ends.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from twisted.python.usage import UsageError

from chat_protocol.domain.login_rules import is_device_name
from chat_protocol.domain.names import canonical_username
from chat_protocol.errors import InvalidUsername

__all__ = ["Device", "open_device", "open_sender", "state_directory"]

_NUMBERS = 100
"""Processes of this machine that may receive at a time, for a user at a server."""


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return the directory for state: see the XDG Base Directory Specification.

    Raises:
        OSError: the environment names none, and this user has no home directory.
    """
    # A relative path has to be ignored.
    if (base := environ.get("XDG_STATE_HOME", "")).startswith("/"):
        return Path(base) / "chat-protocol"
    home = environ.get("HOME", "")
    with suppress(KeyError):
        home = home or pwd.getpwuid(os.getuid()).pw_dir
    if not home.startswith("/"):
        raise OSError(errno.ENOENT, "there is no home directory")
    return Path(home) / ".local" / "state" / "chat-protocol"


class Device:
    """What a process logs in as.

    Args:
        name: the ``device`` of the login; empty: the unnamed one.
        folder: of the user and the server; None: it cannot be used.
        label: of the files of this process in the folder; empty: it has none.
        lock: the descriptor of the lock, held as long as the process runs.
        problem: why the folder cannot be used, as a sentence.
    """

    def __init__(
        self,
        name: str = "",
        folder: Path | None = None,
        label: str = "",
        lock: int | None = None,
        problem: str = "",
    ) -> None:
        self.name = name
        self.problem = problem
        self._folder = folder
        self._label = label
        self._lock = lock

    def tokens(self) -> list[str]:
        """Return tokens that a login may show: its own, then those of the other processes, the
        newest first.
        """
        if self._folder is None:
            return []
        own = self._folder / f"{self._label}.token"
        files = sorted(self._folder.glob("*.token"), key=_modified, reverse=True)
        found = []
        for path in [own, *(file for file in files if file != own)]:
            with suppress(OSError, UnicodeDecodeError):
                found.append(path.read_text(encoding="ascii"))
        return [token for token in dict.fromkeys(found) if token]

    def keep(self, token: str) -> None:
        """Keep the token of the session. If that fails, the next login is without it."""
        if token and self._folder is not None and self._label:
            with suppress(OSError):
                path = self._folder / f"{self._label}.token"
                _write_beside(path, token).replace(path)

    def close(self) -> None:
        """Let another process be this device."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_device(
    server: str, username: str, environ: Mapping[str, str], name: str | None = None
) -> Device:
    """Return the device of this process, which receives messages.

    Args:
        server: tells the server from others.
        username: the user, in any form.
        environ: environment variables: XDG_STATE_HOME and HOME.
        name: what the user has chosen; None: the first name of this machine that is free.

    Raises:
        UsageError: another process of this machine has the device of that name.
    """
    try:
        folder = _folder(server, username, environ)
        if name is not None:
            device = _lock(folder, name)
            if device is None:
                raise UsageError(
                    f"--device {name}: another chatclient is this device now; choose another name"
                )
            return device
        base = _base_name(folder, server, username)
        for number in range(1, _NUMBERS + 1):
            device = _lock(folder, base if number == 1 else f"{base}-{number}")
            if device is not None:
                return device
        raise UsageError(f"{_NUMBERS} chatclients of this machine receive messages for this user")
    except OSError as error:
        become = f"it is {name or 'the unnamed device'} now, and "
        return Device(name or "", problem=_problem(error, become))


def open_sender(server: str, username: str, environ: Mapping[str, str]) -> Device:
    """Return a name for a process that only sends: it is used once, so no two share ids."""
    fresh = f"cli-{secrets.token_hex(8)}"
    try:
        return Device(fresh, _folder(server, username, environ))
    except OSError as error:
        return Device(fresh, problem=_problem(error))


def _folder(server: str, username: str, environ: Mapping[str, str]) -> Path:
    with suppress(InvalidUsername):
        username = canonical_username(username)
    key = sha256(json.dumps([server, username]).encode()).hexdigest()[:32]
    directory = state_directory(environ)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = directory / key
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _base_name(folder: Path, server: str, username: str) -> str:
    """Return the name of this machine's device, which is chosen once."""
    path = folder / "device.json"
    while True:
        with suppress(FileNotFoundError):
            return _stored_name(path)
        chosen = {"server": server, "user": username, "device": f"cli-{secrets.token_hex(6)}"}
        new = _write_beside(path, json.dumps(chosen))
        with suppress(FileExistsError):
            # Unlike a rename, it does not replace what another process has chosen.
            os.link(new, path)
        new.unlink()


def _stored_name(path: Path) -> str:
    name = None
    with suppress(ValueError, KeyError, TypeError):
        name = json.loads(path.read_text(encoding="utf-8"))["device"]
    if not isinstance(name, str) or not is_device_name(f"{name}-{_NUMBERS}"):
        raise OSError(errno.EINVAL, "it is damaged; remove it to get a new device", str(path))
    return name


def _lock(folder: Path, name: str) -> Device | None:
    """Return the device of that name with its lock; None if another process has it."""
    label = sha256(name.encode()).hexdigest()[:16]
    lock = os.open(folder / f"{label}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise
    return Device(name, folder, label, lock)


def _write_beside(path: Path, text: str) -> Path:
    """Write a new file, readable by its user only, beside the path."""
    descriptor, new = tempfile.mkstemp(".new", f"{path.name}.", path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    return Path(new)


def _modified(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _problem(error: OSError, become: str = "") -> str:
    return (
        f"cannot keep the name of this device{f' in {error.filename}' if error.filename else ''}:"
        f" {error.strerror}; {become}the server may refuse it beside another chatclient for the"
        " same user. Set XDG_STATE_HOME to a directory that you can write to"
    )
