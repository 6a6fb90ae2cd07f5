"""Certificates for tests: an authority, and those that it signs."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


def _name(*common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common])


_CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _identifier(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


class Certificate:
    """A certificate and its key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self, password: bytes | None = None) -> bytes:
        encryption: KeySerializationEncryption = NoEncryption()
        if password is not None:
            encryption = BestAvailableEncryption(password)
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def write(self, path: Path) -> Path:
        """Both in one file, the certificate first."""
        path.write_bytes(self.pem + self.key_pem())
        return path


class Authority(Certificate):
    """Signs for itself, or is signed for by another."""

    def __init__(self, name: str = "Test CA", parent: Authority | None = None) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        certificate = (
            self._builder(self._name, key)
            .issuer_name(self._name if parent is None else parent._name)
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(_CA_USAGE, critical=True)
            .add_extension(_identifier(key if parent is None else parent.key), critical=False)
            .sign(key if parent is None else parent.key, hashes.SHA256())
        )
        super().__init__(key, certificate)

    @staticmethod
    def _builder(
        name: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime = NOW + 30 * DAY
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 30 * DAY)
            .not_valid_after(until)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )

    def server(self, host: str = "localhost", until: datetime = NOW + 30 * DAY) -> Certificate:
        """For a server on this machine, or another name."""
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        if host == "localhost":
            names.append(x509.IPAddress(ip_address("127.0.0.1")))
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(_name(host), key, until)
            .issuer_name(self._name)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_identifier(self.key), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Certificate(key, certificate)

    def client(self, *common_names: str, until: datetime = NOW + 30 * DAY) -> Certificate:
        """For a user."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(_name(*common_names), key, until)
            .issuer_name(self._name)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(_identifier(self.key), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Certificate(key, certificate)

    def revoked(self, *certificates: Certificate) -> bytes:
        """A revocation list, in PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(NOW - DAY)
            .next_update(NOW + 30 * DAY)
        )
        for one in certificates:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(one.serial)
                .revocation_date(NOW - DAY)
                .build()
            )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def trusted(self, client: Path | None = None) -> ssl.SSLContext:
        """What a client has that trusts this authority, and shows the certificate in a file."""
        context = ssl.create_default_context(cadata=self.pem.decode())
        # The default since Python 3.13.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        if client is not None:
            context.load_cert_chain(client)
        return context
