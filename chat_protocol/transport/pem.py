"""PEM files (RFC 7468) with certificates and keys.

The functions raise CertificateUnusable, with a sentence that names the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from chat_protocol.errors import CertificateUnusable

__all__ = ["certificates", "private_key", "read", "revocation_lists"]

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def read(path: str) -> bytes | str:
    """Return the content of a file, or a text that says why it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        return error.strerror or type(error).__name__


def certificates(path: str, data: bytes | str | None) -> list[x509.Certificate]:
    """Return the certificates in a file, at least one.

    Args:
        path: of the file.
        data: as :func:`read` returned it.
    """
    found = [
        _parse(path, "certificate", x509.load_pem_x509_certificate, block)
        for block in _blocks(path, data, rb"(X509 |TRUSTED )?CERTIFICATE")
    ]
    if not found:
        raise CertificateUnusable(
            f"{path} holds no certificate in PEM format; give a file that does"
        )
    return found


def revocation_lists(path: str, data: bytes | str | None) -> list[x509.CertificateRevocationList]:
    """Return the certificate revocation lists in a file; see :func:`certificates`."""
    return [
        _parse(path, "revocation list", x509.load_pem_x509_crl, block)
        for block in _blocks(path, data, rb"X509 CRL")
    ]


def private_key(path: str, data: bytes | str) -> Any:
    """Return the first private key in a file; see :func:`certificates`."""
    blocks = _blocks(path, data, rb"(\w+ )?PRIVATE KEY")
    if not blocks:
        raise CertificateUnusable(
            f"{path} holds no private key in PEM format; give a file that does"
        )
    try:
        return load_pem_private_key(blocks[0], None)
    except TypeError:
        raise CertificateUnusable(
            f"the private key in {path} is encrypted; decrypt it into a file that only its owner"
            " can read"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable(
            f"{path} holds a private key that is damaged; replace it"
        ) from error


def _blocks(path: str, data: bytes | str | None, kind: bytes) -> list[bytes]:
    if not isinstance(data, bytes):
        raise CertificateUnusable(f"cannot read {path}: {data}")
    return [match[0] for match in _BLOCK.finditer(data) if re.fullmatch(kind, match[1])]


def _parse(path: str, what: str, load: Any, block: bytes) -> Any:
    try:
        return load(block)
    except ValueError as error:
        raise CertificateUnusable(f"{path} holds a {what} that is damaged; replace it") from error
