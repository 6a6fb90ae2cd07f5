"""From PEM files (RFC 7468) to an OpenSSL context for servers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions, TLSVersion

from chat_protocol.errors import ChatError
from chat_protocol.service.config import TLSConfig

__all__ = ["CertificateUnusable", "Files", "make_context"]

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class CertificateUnusable(ChatError):
    """A certificate or key cannot be used; the text is a sentence for the operator."""


@dataclass(frozen=True)
class Files:
    """What stands in the files, or why one cannot be read."""

    certificate: bytes | str
    private_key: bytes | str
    client_authorities: bytes | str | None

    @classmethod
    def read(cls, config: TLSConfig) -> Files:
        """Read them as they are now."""
        authorities = config.client_authorities
        return cls(
            _read(config.certificate),
            _read(config.private_key or config.certificate),
            None if authorities is None else _read(authorities),
        )


def _read(path: str) -> bytes | str:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        return error.strerror or type(error).__name__


def make_context(config: TLSConfig, files: Files) -> tuple[SSL.Context, x509.Certificate]:
    """The context for connections, and the server's own certificate.

    Protocol versions and ciphers are Twisted's defaults, TLS 1.2 at least; there is no
    renegotiation. Clients are asked for certificates if there are authorities for them.

    Raises:
        CertificateUnusable: one of the files is not what it should be.
    """
    certificate, *chain = _certificates(config.certificate, files.certificate)
    key_path = config.private_key or config.certificate
    key = _key(key_path, files.private_key)
    context: SSL.Context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    try:
        context.use_certificate(certificate)
        for authority in chain:
            context.add_extra_chain_cert(authority)
    except SSL.Error as error:
        raise CertificateUnusable(
            f"{config.certificate} is not usable ({_reason(error)}); give another certificate"
        ) from error
    try:
        context.use_privatekey(key)
        context.check_privatekey()
    except (SSL.Error, TypeError) as error:
        raise CertificateUnusable(
            f"the key in {key_path} does not belong to the certificate in {config.certificate};"
            " give the two that do"
        ) from error
    if config.client_authorities is not None:
        _ask_clients(context, config.client_authorities, files.client_authorities)
    return context, certificate


def _ask_clients(context: SSL.Context, path: str, data: bytes | str | None) -> None:
    store = context.get_cert_store()
    assert store is not None
    # Who is in the file is trusted, whether or not its own authority is there as well.
    flags = crypto.X509StoreFlags.PARTIAL_CHAIN
    for authority in _certificates(path, data):
        store.add_cert(crypto.X509.from_cryptography(authority))
        context.add_client_ca(authority)
    for block in _blocks(path, data, rb"X509 CRL"):
        store.add_crl(_parse(path, "revocation list", x509.load_pem_x509_crl, block))
        flags |= crypto.X509StoreFlags.CRL_CHECK
    store.set_flags(flags)
    context.set_verify(SSL.VERIFY_PEER)


def _certificates(path: str, data: bytes | str | None) -> list[x509.Certificate]:
    found = [
        _parse(path, "certificate", x509.load_pem_x509_certificate, block)
        for block in _blocks(path, data, rb"(X509 |TRUSTED )?CERTIFICATE")
    ]
    if not found:
        raise CertificateUnusable(f"{path} holds no certificate in PEM form; give one that does")
    return found


def _key(path: str, data: bytes | str) -> Any:
    blocks = _blocks(path, data, rb"(\w+ )?PRIVATE KEY")
    if not blocks:
        raise CertificateUnusable(
            f"{path} holds no private key in PEM form; give the file that does as --private-key"
        )
    try:
        return load_pem_private_key(blocks[0], None)
    except TypeError:
        raise CertificateUnusable(
            f"the key in {path} is encrypted; give one that is not, in a file that only the"
            " server can read"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable(f"{path} holds a private key that is broken") from error


def _blocks(path: str, data: bytes | str | None, kind: bytes) -> list[bytes]:
    if not isinstance(data, bytes):
        raise CertificateUnusable(f"cannot read {path}: {data}")
    return [match[0] for match in _BLOCK.finditer(data) if re.fullmatch(kind, match[1])]


def _parse(path: str, what: str, load: Any, block: bytes) -> Any:
    try:
        return load(block)
    except ValueError as error:
        raise CertificateUnusable(f"{path} holds a {what} that is broken") from error


def _reason(error: SSL.Error) -> str:
    return str(error.args[0][-1][-1]) if error.args and error.args[0] else "for unknown reasons"
