"""The passwords of ``--auth file:``."""

from __future__ import annotations

import os
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from chat_protocol.server.authentication import IReloadable

__all__ = ["PasswordFile"]


@implementer(ICredentialsChecker, IReloadable)
class PasswordFile:
    """Checks passwords against a file of lines ``name:password``.

    A changed file is read at the next login. If it cannot be read, the passwords that were read
    last stay valid.

    Args:
        path: path of the file.

    Raises:
        OSError: the file cannot be read.
    """

    log = Logger(namespace="chat_protocol.service")
    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: object = self._signature()
        """Tells whether the file is still the one that was read last."""
        self._passwords = self._read()

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes | tuple[()]]:
        if self._signature() != self._seen:
            self.reload()
        password = self._passwords.get(credentials.username)
        if password is None or not credentials.checkPassword(password):
            return fail(UnauthorizedLogin())
        return succeed(credentials.username)

    def reload(self) -> None:
        self._seen = self._signature()
        try:
            self._passwords = self._read()
        except OSError as error:
            self.log.error(
                "Cannot read the passwords in {path}: {reason}. The old ones stay valid.",
                path=self._path,
                reason=error.strerror,
            )

    def _signature(self) -> object:
        try:
            status = os.stat(self._path)
        except OSError as error:
            return error.errno
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def _read(self) -> dict[bytes, bytes]:
        passwords: dict[bytes, bytes] = {}
        with open(self._path, "rb") as file:
            for line in file:
                name, *fields = line.rstrip().split(b":")
                if fields:
                    passwords.setdefault(name, fields[0])
        return passwords
