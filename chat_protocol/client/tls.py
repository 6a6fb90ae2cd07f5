"""TLS endpoints that verify the server; requires the extra ``tls``."""

from __future__ import annotations

from typing import Any

from OpenSSL import crypto
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)

from chat_protocol.errors import CertificateUnusable
from chat_protocol.transport.pem import certificates, private_key, read

__all__ = ["tls_endpoint"]


def tls_endpoint(
    reactor: Any,
    host: str,
    port: int,
    *,
    authorities: str | None = None,
    certificate: str | None = None,
) -> IStreamClientEndpoint:
    """Return an endpoint for a TLS server, whose certificate must match its host name or IP
    address.

    Each handshake verifies the certificate. If that fails, the client retries with the reason
    NotTrusted.

    Args:
        reactor: provides IReactorTime and what HostnameEndpoint needs.
        host: name or IP address; the certificate must contain it.
        port: TCP port of the server.
        authorities: path of a PEM file with the CA certificates to trust instead of the system's.
        certificate: path of a PEM file with the client's certificate, its intermediate certificates
            and its private key, for servers that authenticate clients by certificate.

    Raises:
        CertificateUnusable: a file cannot be read or does not hold what it should.
    """
    trusted = None
    if authorities is not None:
        found = certificates(authorities, read(authorities))
        roots = [Certificate(crypto.X509.from_cryptography(one)) for one in found]  # type: ignore[no-untyped-call]
        trusted = trustRootFromCertificates(roots)  # type: ignore[no-untyped-call]
    own: dict[str, Any] = {}
    if certificate is not None:
        data = read(certificate)
        first, *chain = certificates(certificate, data)
        key = private_key(certificate, data)
        if key.public_key() != first.public_key():
            raise CertificateUnusable(
                f"the private key in {certificate} does not match the first certificate in it;"
                " use a file with a matching pair"
            )
        own["certificate"] = first
        own["privateKey"] = key
        if chain:
            own["extraCertChain"] = chain
    creator = optionsForClientTLS(host, trusted, extraCertificateOptions=own)
    wrapped: IStreamClientEndpoint = wrapClientTLS(creator, HostnameEndpoint(reactor, host, port))
    return wrapped
