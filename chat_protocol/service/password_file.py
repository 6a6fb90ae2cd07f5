"""The passwords of ``--auth file:``."""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import partial
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from chat_protocol.errors import ChatError
from chat_protocol.server.authentication import IReloadable
from chat_protocol.service.password_checks import PasswordChecks
from chat_protocol.service.password_hash import BadHash, check_hash, is_hash, verify

__all__ = ["PasswordFile", "PasswordFileUnusable"]


class PasswordFileUnusable(ChatError):
    """The password file cannot be used; the text says what is wrong with it."""


@implementer(ICredentialsChecker, IReloadable)
class PasswordFile:
    """Checks passwords against a file of lines ``name:password`` or ``name:hash``.

    A changed file is read at the next login. If it cannot be used, the passwords that were read
    last stay valid.

    If the file has a hash, each check takes as long as one, that of an unknown name as well. So the
    time of an answer does not tell who has a password. Passwords that were right are remembered by
    a digest with a key of this process, so that the next login with them costs nothing.

    Args:
        path: path of the file.
        checks: runs the checks of hashes.

    Raises:
        PasswordFileUnusable: the file cannot be read, or a line is no password, or a hash that
            cannot be checked.
    """

    log = Logger(namespace="chat_protocol.service")
    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, path: str, checks: PasswordChecks) -> None:
        self._path = path
        self._checks = checks
        self._key = os.urandom(32)
        self.readings = 0
        self._seen: object = self._signature()
        """Tells whether the file is still the one that was read last."""
        self._use(self._read())

    def _use(self, passwords: dict[bytes, bytes]) -> None:
        self.readings += 1
        self._passwords = passwords
        self._any_hash = next(filter(is_hash, passwords.values()), None)
        """A hash for names that have none; None: the file has no hash."""
        self._remembered: dict[bytes, bytes] = {}

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes | tuple[()]]:
        self.reload_if_changed()
        name, password = credentials.username, credentials.password
        stored = self._passwords.get(name)
        if self._any_hash is None:
            return _answer(stored is not None and hmac.compare_digest(stored, password), name)
        digest = hashlib.blake2b(password, key=self._key).digest()
        if hmac.compare_digest(self._remembered.get(name, b""), digest):
            return succeed(name)
        check = partial(_is_right, stored, password, self._any_hash)
        checked = self._checks.check(getattr(credentials, "host", ""), check)
        return checked.addCallback(self._checked, name, stored, digest)

    def _checked(
        self, is_right: bool, name: bytes, stored: bytes | None, digest: bytes
    ) -> Deferred[bytes | tuple[()]]:
        if is_right and self._passwords.get(name) == stored:
            self._remembered[name] = digest
        return _answer(is_right, name)

    def reload_if_changed(self) -> None:
        if self._signature() != self._seen:
            self.reload()

    def reload(self) -> None:
        self._seen = self._signature()
        try:
            self._use(self._read())
        except PasswordFileUnusable as error:
            self.log.error(
                "Cannot read the passwords in {path}: {reason}. The old ones stay valid.",
                path=self._path,
                reason=str(error),
            )

    def _signature(self) -> object:
        try:
            status = os.stat(self._path)
        except OSError as error:
            return error.errno
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def _read(self) -> dict[bytes, bytes]:
        passwords: dict[bytes, bytes] = {}
        try:
            with open(self._path, "rb") as file:
                for number, line in enumerate(file, 1):
                    name, *fields = line.rstrip().split(b":")
                    if fields:
                        _check(fields[0], number)
                        passwords.setdefault(name, fields[0])
                    elif name and not name.startswith(b"#"):
                        raise PasswordFileUnusable(
                            f"line {number} is not name:password, nor a comment (#)"
                        )
        except OSError as error:
            raise PasswordFileUnusable(error.strerror or str(error)) from error
        return passwords


def _check(stored: bytes, number: int) -> None:
    if is_hash(stored):
        try:
            check_hash(stored)
        except BadHash as error:
            raise PasswordFileUnusable(f"line {number} {error}") from None


def _is_right(stored: bytes | None, password: bytes, any_hash: bytes) -> bool:
    if stored is not None and is_hash(stored):
        return verify(stored, password)
    verify(any_hash, password)
    return stored is not None and hmac.compare_digest(stored, password)


def _answer(is_right: bool, name: bytes) -> Deferred[bytes | tuple[()]]:
    return succeed(name) if is_right else fail(UnauthorizedLogin())
