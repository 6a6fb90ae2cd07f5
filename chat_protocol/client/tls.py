"""TLS to a server, whose certificate is verified; needs what the extra ``tls`` installs."""

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
    """A server that speaks TLS and shows a certificate for its host name or IP address.

    What it shows is verified in each handshake; a client whose server fails in that tries again,
    with the reason NotTrusted.

    Args:
        reactor: provides IReactorTime, and what HostnameEndpoint needs.
        host: name or IP address, in the certificate as well.
        port: of the server.
        authorities: path of a PEM file with the certificates of those who may sign the server's,
            in place of those that the system knows.
        certificate: path of a PEM file with a certificate of one's own, those between it and its
            root, and its key; for servers that let in by certificate.

    Raises:
        CertificateUnusable: a file is not what it should be.
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
                f"the key in {certificate} does not belong to the first certificate there;"
                " give the file with the two that do"
            )
        own["certificate"] = first
        own["privateKey"] = key
        if chain:
            own["extraCertChain"] = chain
    creator = optionsForClientTLS(host, trusted, extraCertificateOptions=own)
    wrapped: IStreamClientEndpoint = wrapClientTLS(creator, HostnameEndpoint(reactor, host, port))
    return wrapped
