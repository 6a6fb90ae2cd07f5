"""The file of ``--auth file:PATH``: a line ``name:password`` for each user."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from chat_protocol.domain.names import normalise_username
from chat_protocol.errors import ChatError
from chat_protocol.stores.sqlite.admin.copy import synced_folder
from chat_protocol.stores.sqlite.admin.target import check_name

__all__ = ["PasswordFileError", "clear_password", "set_password"]


class PasswordFileError(ChatError):
    """The file cannot take that; the text is a sentence for the operator."""


def set_password(path: str, name: str, password: str) -> bool:
    """Have the file give a user that password; returns whether there was one before.

    The file is replaced as a whole, so a server, which reads it at each login, sees the old one
    or the new one. Other lines stay as they are. A new file can be read by its owner only.

    Raises:
        InvalidUsername: nobody can have that name.
        PasswordFileError: the format has no place for it; or the file has another format, or
            cannot be read or written, and is as it was.
        StoreUnusable: the file belongs to a store.
        OSError: it is written, but may be lost with the system.
    """
    name = _writable_name(name)
    if not password:
        raise PasswordFileError("a password cannot be empty; 'password clear' takes one away")
    if ":" in password or password != password.strip() or not password.isprintable():
        raise PasswordFileError(
            "a password in such a file holds no colon and no control character, and no white space"
            " at its ends"
        )
    return _replace(path, name, f"{name}:{password}\n".encode())


def clear_password(path: str, name: str) -> bool:
    """Have the file give a user no password; returns whether there was one.

    Raises: as :func:`set_password`.
    """
    if not os.path.exists(path):
        raise PasswordFileError(f"there is no file {path}")
    return _replace(path, _writable_name(name), b"")


def _writable_name(name: str) -> str:
    name = normalise_username(name)
    if ":" in name:
        raise PasswordFileError("a name with a colon has no place in such a file")
    return name


def _replace(path: str, name: str, line: bytes) -> bool:
    """Put the line in the place of those of a user."""
    path = os.path.realpath(path)
    mode = 0o600
    lines: list[bytes] = []
    try:
        with suppress(FileNotFoundError), open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            lines = file.readlines()
    except OSError as error:
        raise PasswordFileError(f"{path} cannot be read: {error.strerror}") from error
    check_name(path)
    _check_format(path, lines)
    prefix = name.encode() + b":"
    places = [place for place, one in enumerate(lines) if one.startswith(prefix)]
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    if places:
        lines[places[0]] = line
        for place in places[:0:-1]:
            del lines[place]
    else:
        lines.append(line)
    made = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(made)
    try:
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            if places:
                _keep_owner(path, descriptor)
            file.writelines(lines)
            file.flush()
            os.fsync(descriptor)
        os.replace(made, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(made)
        raise PasswordFileError(
            f"{path} cannot be written: {error.strerror}; nothing was changed"
        ) from error
    synced_folder(path)
    return bool(places)


def _check_format(path: str, lines: list[bytes]) -> None:
    """PasswordFileError if it is another one: a file of that may be worth more than a password."""
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            wrong = "is not UTF-8"
        else:
            if "\0" not in text and (not text or text.startswith("#") or ":" in text):
                continue
            wrong = "is not name:password"
        raise PasswordFileError(
            f"{path} is no file of passwords, and is left as it is: its line {number} {wrong}"
        )


def _keep_owner(path: str, descriptor: int) -> None:
    """Whoever may read the old file is to read the new one."""
    was = os.stat(path)
    with suppress(PermissionError):
        os.fchown(descriptor, was.st_uid, was.st_gid)
