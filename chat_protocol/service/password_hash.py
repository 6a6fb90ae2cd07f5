"""Hashes of passwords, in the format of PHC strings: ``$argon2id$...`` and ``$scrypt$...``."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from importlib.util import find_spec

__all__ = ["BadHash", "check_hash", "default_scheme", "hash_password", "is_hash", "verify"]

_SALT_BYTES = 16
_HASH_BYTES = 32

_SCRYPT_LOG_N, _SCRYPT_R, _SCRYPT_P = 14, 8, 5
"""The costs of new hashes: the smallest memory that OWASP recommends."""

_ARGON2 = re.compile(
    rb"\$argon2(?:id|i|d)\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)
_SCRYPT = re.compile(rb"\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")

_MAX_SCRYPT_BYTES = 256 * 1024 * 1024
"""Memory that one check may take."""


class BadHash(ValueError):
    """A hash that cannot be checked; the text is the end of a sentence."""


def is_hash(stored: bytes) -> bool:
    """Return whether a stored password is a hash, and not the password itself."""
    return stored.startswith((b"$argon2", b"$scrypt$"))


def default_scheme() -> str:
    """Return the name of the best scheme that is installed."""
    return "argon2id" if find_spec("argon2") is not None else "scrypt"


def hash_password(password: bytes, scheme: str) -> bytes:
    """Return a new hash. It takes some hundredths of a second.

    Args:
        password: the password.
        scheme: ``argon2id``, which needs the extra ``passwords``, or ``scrypt``.
    """
    salt = os.urandom(_SALT_BYTES)
    if scheme == "argon2id":
        # Imported here because the extra ``passwords`` is optional.
        from chat_protocol.service.argon2_hash import hash_argon2id

        return hash_argon2id(password, salt)
    hashed = _scrypt(password, salt, _SCRYPT_LOG_N, _SCRYPT_R, _SCRYPT_P, _HASH_BYTES)
    head = b"$scrypt$ln=%d,r=%d,p=%d" % (_SCRYPT_LOG_N, _SCRYPT_R, _SCRYPT_P)
    return b"$".join((head, *(b64encode(part).rstrip(b"=") for part in (salt, hashed))))


def check_hash(stored: bytes) -> None:
    """Check whether a hash can be verified on this machine.

    Raises:
        BadHash: it cannot.
    """
    if stored.startswith(b"$argon2"):
        if not _ARGON2.fullmatch(stored):
            raise BadHash("is not an Argon2 hash of version 19")
        if find_spec("argon2") is None:
            raise BadHash("needs the extra 'passwords': run pip install 'chat-protocol[passwords]'")
        return
    log_n, r, p, _, _ = _scrypt_parts(stored)
    if not (0 < log_n < 32 and r and p) or _memory(log_n, r, p) > _MAX_SCRYPT_BYTES:
        raise BadHash(f"needs more than {_MAX_SCRYPT_BYTES >> 20} MiB, or its costs are 0")


def verify(stored: bytes, password: bytes) -> bool:
    """Return whether the password is that of a hash that :func:`check_hash` accepts.

    It takes as long as the costs in the hash say, and releases the GIL meanwhile.
    """
    if stored.startswith(b"$argon2"):
        from chat_protocol.service.argon2_hash import verify_argon2

        return verify_argon2(stored, password)
    log_n, r, p, salt, hashed = _scrypt_parts(stored)
    return hmac.compare_digest(_scrypt(password, salt, log_n, r, p, len(hashed)), hashed)


def _scrypt_parts(stored: bytes) -> tuple[int, int, int, bytes, bytes]:
    match = _SCRYPT.fullmatch(stored)
    if match is None:
        raise BadHash("is not a scrypt hash")
    try:
        salt, hashed = (b64decode(part + b"=" * (-len(part) % 4)) for part in match.groups()[3:])
    except ValueError:
        raise BadHash("is not a scrypt hash") from None
    return int(match[1]), int(match[2]), int(match[3]), salt, hashed


def _scrypt(password: bytes, salt: bytes, log_n: int, r: int, p: int, size: int) -> bytes:
    return hashlib.scrypt(
        password, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_memory(log_n, r, p), dklen=size
    )


def _memory(log_n: int, r: int, p: int) -> int:
    """Return the bytes that scrypt takes (RFC 7914, section 2), with some to spare."""
    return 128 * r * ((1 << log_n) + p + 2) + 1024
