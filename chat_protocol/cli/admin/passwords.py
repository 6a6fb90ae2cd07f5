"""The password file of ``--auth file:PATH``, with a line ``name:hash`` for each user."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from chat_protocol.domain.names import canonical_username, normalize_username
from chat_protocol.errors import ChatError
from chat_protocol.service.password_hash import hash_password, is_hash
from chat_protocol.stores.sqlite.admin.copy import synced_folder
from chat_protocol.stores.sqlite.admin.target import check_name

__all__ = ["PasswordFileError", "clear_password", "set_password"]


class PasswordFileError(ChatError):
    """The password file cannot be used or changed; the text is a sentence for the operator."""


def set_password(path: str, name: str, password: str, scheme: str) -> bool:
    """Set a user's password; return whether the user had one before.

    The file is replaced as a whole. A server, which reads it at each login, sees either the old or
    the new file. Other lines are unchanged. A new file is readable only by its owner.

    Args:
        path: path of the file.
        name: of the user.
        password: the password.
        scheme: how it is hashed: see service.password_hash; ``plain``: it stands in the file.

    Raises:
        InvalidUsername: the name is not a valid username.
        PasswordFileError: the name or password cannot be stored in the file, or the file has
            another format or cannot be read or written. The file is unchanged.
        StoreUnusable: the file belongs to a store.
        OSError: the file was written, but could not be synced to disk.
    """
    name = _checked_name(normalize_username(name))
    if not password:
        raise PasswordFileError("a password cannot be empty; use 'password clear' to remove one")
    try:
        stored = password.encode()
    except UnicodeEncodeError:
        raise PasswordFileError("a password must be valid UTF-8") from None
    if scheme != "plain":
        stored = hash_password(stored, scheme)
    elif (
        ":" in password
        or password != password.strip()
        or not password.isprintable()
        or is_hash(stored)
    ):
        raise PasswordFileError(
            "the password file cannot hold, in plain text, a password with a colon, a control"
            " character, or white space at its start or end, or one that looks like a hash"
        )
    return _replace_lines(path, name, b"%s:%s\n" % (name.encode(), stored))


def clear_password(path: str, name: str) -> bool:
    """Remove a user's password; return whether the user had one.

    Raises: as :func:`set_password`.
    """
    if not os.path.exists(path):
        raise PasswordFileError(f"{path} does not exist")
    return _replace_lines(path, _checked_name(canonical_username(name)), b"")


def _checked_name(name: str) -> str:
    if ":" in name:
        raise PasswordFileError("the password file cannot hold a name with a colon")
    return name


def _replace_lines(path: str, name: str, line: bytes) -> bool:
    """Replace all lines of a user with one line, which may be empty."""
    path = os.path.realpath(path)
    mode = 0o600
    lines: list[bytes] = []
    try:
        with suppress(FileNotFoundError), open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            lines = file.readlines()
    except OSError as error:
        raise PasswordFileError(f"cannot read {path}: {error.strerror}") from error
    check_name(path)
    _check_format(path, lines)
    prefix = name.encode() + b":"
    places = [place for place, old in enumerate(lines) if old.startswith(prefix)]
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    if places:
        lines[places[0]] = line
        for place in places[:0:-1]:
            del lines[place]
    else:
        lines.append(line)
    new_path = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(new_path)
    try:
        descriptor = os.open(new_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            with suppress(FileNotFoundError):
                _copy_owner(path, descriptor)
            file.writelines(lines)
            file.flush()
            os.fsync(descriptor)
        os.replace(new_path, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(new_path)
        raise PasswordFileError(
            f"cannot write {path}: {error.strerror}; nothing was changed"
        ) from error
    synced_folder(path)
    return bool(places)


def _check_format(path: str, lines: list[bytes]) -> None:
    """Raise PasswordFileError if this is not a password file, to avoid destroying other data."""
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            problem = "is not valid UTF-8"
        else:
            if "\0" not in text and (not text or text.startswith("#") or ":" in text):
                continue
            problem = "is not name:password"
        raise PasswordFileError(
            f"{path} is not a password file and was not changed: line {number} {problem}"
        )


def _copy_owner(path: str, descriptor: int) -> None:
    """Give the new file the owner of the old one, so that the same users can read it."""
    status = os.stat(path)
    with suppress(PermissionError):
        os.fchown(descriptor, status.st_uid, status.st_gid)
