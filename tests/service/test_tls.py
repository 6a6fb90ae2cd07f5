"""Certificates from files: what is usable, and what happens when they change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import crypto
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.errors import CertificateUnusable
from chat_protocol.service.config import TLSConfig
from chat_protocol.service.tls import CHECK_SECONDS, CertificateReloader
from chat_protocol.service.tls_context import PEMFiles, make_context
from chat_protocol.transport.sockets import hand_over
from tests.certificates import NOW, Authority, Certificate
from tests.transport.tls import TLSClient

DAY = timedelta(days=1)


class Log(list[tuple[LogLevel, str]]):
    def of(self, level: LogLevel) -> list[str]:
        return [text for at, text in self if at is level]


@pytest.fixture
def log() -> Iterator[Log]:
    lines = Log()

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append((event["log_level"], formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Served:
    """Certificates that are looked at by a Clock."""

    def __init__(self, directory: Path, certificate: Certificate, **options: Any) -> None:
        self.path = certificate.write(directory / "server.pem")
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.certificates = CertificateReloader(
            TLSConfig(str(self.path), **options),
            self.clock,
            lambda: int(self.clock.seconds()) * 10**9,
        )
        self.certificates.start()

    @property
    def serial(self) -> int:
        return self.certificates._certificate.serial_number

    def looks(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(CHECK_SECONDS)


@pytest.fixture
def served(tmp_path: Path, authority: Authority) -> Iterator[Served]:
    served = Served(tmp_path, authority.server())
    yield served
    served.certificates.stop()


# When the files change.


def test_a_new_certificate_is_taken_and_named(
    served: Served, authority: Authority, log: Log
) -> None:
    new = authority.server()
    new.write(served.path)
    served.looks(1)
    assert served.serial == new.serial
    (line,) = log.of(LogLevel.info)
    assert f"New connections use the certificate CN=localhost, serial number {new.serial:x}" in line


def test_nothing_is_said_while_nothing_changes(served: Served, log: Log) -> None:
    context = served.certificates._context
    served.looks(5)
    assert served.certificates._context is context
    assert not log


BROKEN = {
    "no certificate": (
        lambda path: path.write_text("nothing"),
        "holds no certificate in PEM format",
    ),
    "gone": (lambda path: path.unlink(), "cannot read"),
    "half": (
        lambda path: path.write_bytes(path.read_bytes()[:400]),
        "holds no certificate in PEM format",
    ),
    "another's key": (
        lambda path: path.write_bytes(Authority().server().pem + Authority().server().key_pem()),
        "does not match the certificate",
    ),
}


@pytest.mark.parametrize(("break_it", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_one_is_reported_once_and_the_old_one_kept(
    served: Served, authority: Authority, log: Log, break_it: Any, said: str
) -> None:
    serial, context = served.serial, served.certificates._context
    break_it(served.path)
    served.looks(5)
    (line,) = log.of(LogLevel.error)
    assert said in line
    assert line.startswith("Cannot load the changed certificate, the old one stays in use: ")
    assert (served.serial, served.certificates._context) == (serial, context)
    new = authority.server()
    new.write(served.path)
    served.looks(1)
    assert served.serial == new.serial


@pytest.mark.parametrize(("break_it", "said"), BROKEN.values(), ids=BROKEN)
def test_reload_uses_or_reports_the_files_at_once(
    served: Served, authority: Authority, log: Log, break_it: Any, said: str
) -> None:
    new = authority.server()
    new.write(served.path)
    served.certificates.reload()
    assert served.serial == new.serial
    break_it(served.path)
    served.certificates.reload()
    served.looks(5)
    (line,) = log.of(LogLevel.error)
    assert said in line
    assert served.serial == new.serial


def test_files_that_are_replaced_one_after_the_other_are_no_fault(
    tmp_path: Path, authority: Authority, log: Log
) -> None:
    old, new = authority.server(), authority.server()
    key = tmp_path / "key.pem"
    key.write_bytes(old.key_pem())
    served = Served(tmp_path, old, private_key=str(key))
    served.path.write_bytes(new.pem)
    served.looks(1)
    assert served.serial == old.serial
    key.write_bytes(new.key_pem())
    served.looks(1)
    assert served.serial == new.serial
    assert not log.of(LogLevel.error)
    served.certificates.stop()


def test_the_old_one_back_is_no_news(served: Served, log: Log) -> None:
    old = served.path.read_bytes()
    served.path.write_text("nothing")
    served.looks(1)
    served.path.write_bytes(old)
    served.looks(2)
    served.path.write_text("nothing")
    served.looks(1)
    assert not log
    served.looks(1)
    assert len(log.of(LogLevel.error)) == 1


def test_stopped_it_looks_no_more(served: Served) -> None:
    served.certificates.stop()
    assert not served.clock.getDelayedCalls()
    served.certificates.stop()


def test_the_end_is_announced_each_day(tmp_path: Path, authority: Authority, log: Log) -> None:
    served = Served(tmp_path, authority.server(until=NOW + 16 * DAY))
    for _ in range(20):
        served.clock.advance(24 * 60 * 60)
    warnings, errors = log.of(LogLevel.warn), log.of(LogLevel.error)
    assert len(warnings) == 14
    assert "expires at" in warnings[0]
    assert len(errors) == 4
    assert "has expired and clients refuse it" in errors[0]
    served.certificates.stop()


# What is usable.


def unusable(config: TLSConfig) -> str:
    with pytest.raises(CertificateUnusable) as caught:
        make_context(config, PEMFiles.read(config))
    return str(caught.value)


def test_a_certificate_with_those_above_it(tmp_path: Path, authority: Authority) -> None:
    between = Authority("Between", authority)
    own = between.server()
    path = tmp_path / "chain.pem"
    path.write_bytes(own.pem + between.pem + own.key_pem())
    config = TLSConfig(str(path))
    assert make_context(config, PEMFiles.read(config))[1] == own.certificate


def test_what_stands_in_the_files_is_named(tmp_path: Path, authority: Authority) -> None:
    own = authority.server()
    path = tmp_path / "own.pem"

    def of(data: bytes, **options: Any) -> str:
        path.write_bytes(data)
        return unusable(TLSConfig(str(path), **options))

    block = b"-----BEGIN %b-----\nAAAA\n-----END %b-----\n"
    assert "holds no private key in PEM format" in of(own.pem)
    assert "is encrypted" in of(own.pem + own.key_pem(b"secret"))
    assert "holds a private key that is damaged" in of(own.pem + block % ((b"PRIVATE KEY",) * 2))
    assert "holds a certificate that is damaged" in of(block % ((b"CERTIFICATE",) * 2))
    assert "cannot read nosuch: No such file" in of(own.pem, private_key="nosuch")
    good = own.pem + own.key_pem()
    assert "cannot read nosuch" in of(good, client_authorities="nosuch")
    assert "holds no certificate" in of(good, client_authorities="/dev/null")
    lists = tmp_path / "lists.pem"
    lists.write_bytes(authority.pem + block % ((b"X509 CRL",) * 2))
    assert "revocation list that is damaged" in of(good, client_authorities=str(lists))


def test_the_certificate_must_be_usable_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CertificateUnusable, match="cannot read"):
        CertificateReloader(TLSConfig(str(tmp_path / "nosuch")), Clock(), lambda: 0)


# Names.


class Transport:
    def __init__(self, certificate: Certificate | None) -> None:
        self._certificate = certificate

    def getPeerCertificate(self) -> crypto.X509 | None:
        if self._certificate is None:
            return None
        return crypto.X509.from_cryptography(self._certificate.certificate)


@pytest.mark.parametrize(
    ("names", "name"), [(("alice",), "alice"), (("Zoë",), "Zoë"), ((), None), (("a", "b"), None)]
)
def test_the_name_is_the_only_common_name(
    served: Served, authority: Authority, names: tuple[str, ...], name: str | None
) -> None:
    transport: Any = Transport(authority.client(*names))
    assert served.certificates.name_of(transport) == name


def test_without_a_certificate_there_is_no_name(served: Served) -> None:
    assert served.certificates.name_of(Transport(None)) is None


# Connections.


@implementer(IHalfCloseableProtocol)
class Receiver(Protocol):
    def __init__(self) -> None:
        self.told: list[object] = []

    def dataReceived(self, data: bytes) -> None:
        self.told.append(data)

    def readConnectionLost(self) -> None:
        self.told.append("closed its side")

    def writeConnectionLost(self) -> None:
        raise AssertionError

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.told.append("lost")


class Wrapped:
    """A protocol in TLS, and its client."""

    def __init__(self, served: Served, authority: Authority, protocol: Protocol) -> None:
        self.tls = served.certificates.wrap(protocol)
        self.transport = StringTransport()
        self.tls.makeConnection(self.transport)
        self.client = TLSClient(authority.trusted(), self.tls.dataReceived, self.transport)
        self.client.shake_hands()


def test_a_client_that_closes_its_side_still_gets_its_answers(
    served: Served, authority: Authority
) -> None:
    receiver = Receiver()
    wrapped = Wrapped(served, authority, receiver)
    wrapped.client.send(b"request")
    wrapped.client.close()
    assert receiver.told == [b"request", "closed its side"]
    assert not wrapped.transport.disconnecting
    wrapped.tls.write(b"answer")
    served.clock.advance(0)
    assert wrapped.client.read() == b"answer"
    wrapped.tls.loseConnection()
    assert wrapped.transport.disconnecting


def test_the_protocol_that_the_connection_was_handed_over_to_is_told(
    served: Served, authority: Authority
) -> None:
    before, after = Receiver(), Receiver()
    wrapped = Wrapped(served, authority, before)
    assert hand_over(wrapped.tls, before, after)
    wrapped.client.close()
    assert (before.told, after.told) == ([], ["closed its side"])


def test_a_protocol_without_half_close_is_closed(served: Served, authority: Authority) -> None:
    wrapped = Wrapped(served, authority, Protocol())
    wrapped.client.close()
    assert wrapped.transport.disconnecting


def test_new_connections_get_the_new_certificate(served: Served, authority: Authority) -> None:
    old = Wrapped(served, authority, Receiver()).client.serial
    new = authority.server()
    new.write(served.path)
    served.looks(1)
    assert Wrapped(served, authority, Receiver()).client.serial == new.serial != old
