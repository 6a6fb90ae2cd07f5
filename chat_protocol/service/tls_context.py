"""From PEM files to an OpenSSL context for servers."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions, TLSVersion

from chat_protocol.errors import CertificateUnusable
from chat_protocol.service.config import TLSConfig
from chat_protocol.transport.pem import certificates, private_key, read, revocation_lists

__all__ = ["Files", "make_context"]


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
            read(config.certificate),
            read(config.private_key or config.certificate),
            None if authorities is None else read(authorities),
        )


def make_context(config: TLSConfig, files: Files) -> tuple[SSL.Context, x509.Certificate]:
    """The context for connections, and the server's own certificate.

    Protocol versions and ciphers are Twisted's defaults, TLS 1.2 at least; there is no
    renegotiation. Clients are asked for certificates if there are authorities for them.

    Raises:
        CertificateUnusable: one of the files is not what it should be.
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
    for authority in certificates(path, data):
        store.add_cert(crypto.X509.from_cryptography(authority))
        context.add_client_ca(authority)
    for revoked in revocation_lists(path, data):
        store.add_crl(revoked)
        flags |= crypto.X509StoreFlags.CRL_CHECK
    store.set_flags(flags)
    context.set_verify(SSL.VERIFY_PEER)


def _reason(error: SSL.Error) -> str:
    return str(error.args[0][-1][-1]) if error.args and error.args[0] else "for unknown reasons"
