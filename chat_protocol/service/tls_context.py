"""Create the OpenSSL context of the server from PEM files."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions, TLSVersion

from chat_protocol.errors import CertificateUnusable
from chat_protocol.service.config import TLSConfig
from chat_protocol.transport.pem import certificates, private_key, read, revocation_lists

__all__ = ["PEMFiles", "make_context"]


@dataclass(frozen=True)
class PEMFiles:
    """The contents of the PEM files; a str is the reason why a file cannot be read."""

    certificate: bytes | str
    private_key: bytes | str
    client_authorities: bytes | str | None

    @classmethod
    def read(cls, config: TLSConfig) -> PEMFiles:
        """Read the files that ``config`` names."""
        authorities = config.client_authorities
        return cls(
            read(config.certificate),
            read(config.private_key or config.certificate),
            None if authorities is None else read(authorities),
        )


def make_context(config: TLSConfig, files: PEMFiles) -> tuple[SSL.Context, x509.Certificate]:
    """Create the context for connections; return it with the server's certificate.

    The context requires TLS 1.2 or later, with Twisted's default ciphers and without renegotiation.
    It requests client certificates if ``config`` names CAs for them.

    Raises:
        CertificateUnusable: a file cannot be read or used.
    """
    certificate, *chain = certificates(config.certificate, files.certificate)
    key_path = config.private_key or config.certificate
    key = private_key(key_path, files.private_key)
    context: SSL.Context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    try:
        context.use_certificate(certificate)
        for authority in chain:
            context.add_extra_chain_cert(authority)
    except SSL.Error as error:
        raise CertificateUnusable(
            f"cannot use the certificate {config.certificate}: {_reason(error)}. Give another"
            " certificate."
        ) from error
    try:
        context.use_privatekey(key)
        context.check_privatekey()
    except (SSL.Error, TypeError) as error:
        raise CertificateUnusable(
            f"the private key in {key_path} does not match the certificate in"
            f" {config.certificate}. Give the key of that certificate."
        ) from error
    if config.client_authorities is not None:
        _verify_clients(context, config.client_authorities, files.client_authorities)
    return context, certificate


def _verify_clients(context: SSL.Context, path: str, data: bytes | str | None) -> None:
    store = context.get_cert_store()
    assert store is not None
    # Trust an intermediate CA of the file even if the file does not contain its root.
    flags = crypto.X509StoreFlags.PARTIAL_CHAIN
    for authority in certificates(path, data):
        store.add_cert(crypto.X509.from_cryptography(authority))
        context.add_client_ca(authority)
    for revoked in revocation_lists(path, data):
        store.add_crl(revoked)
        flags |= crypto.X509StoreFlags.CRL_CHECK
    store.set_flags(flags)
    context.set_verify(SSL.VERIFY_PEER)


def _reason(error: SSL.Error) -> str:
    return str(error.args[0][-1][-1]) if error.args and error.args[0] else "OpenSSL gives no reason"
