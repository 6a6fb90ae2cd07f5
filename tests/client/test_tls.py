"""TLS from the client's side: verification and client certificates."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from chat_protocol.client import ChatClient
from chat_protocol.client.tls import tls_endpoint
from chat_protocol.errors import AuthenticationFailed, CertificateUnusable, NotTrusted
from chat_protocol.server.authentication import Authenticator
from chat_protocol.service.config import TLSConfig
from tests.certificates import Authority
from tests.client.server import RealServer, serving


class Files:
    """Certificate files of an operator."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority()
        self.authorities = str(directory / "ca.pem")
        Path(self.authorities).write_bytes(self.authority.pem)

    def server(self, host: str = "localhost") -> TLSConfig:
        path = self.authority.server(host).write(self.directory / "server.pem")
        return TLSConfig(str(path), client_authorities=self.authorities)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def client(
    server: RealServer, name: str, host: str = "localhost", **files: str | None
) -> ChatClient:
    from twisted.internet import reactor

    return ChatClient(tls_endpoint(reactor, host, server.port, **files), name, reactor)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest_twisted.ensureDeferred
async def test_a_conversation(files: Files, host: str) -> None:
    async with serving(tls=files.server()) as server:
        alice = client(server, "alice", host, authorities=files.authorities)
        alice.startService()
        await alice.when_online(fail_after_failures=1)
        bob = await server.client("bob")
        await alice.send("bob", "hello")
        await bob.send("alice", "x" * 60_000)
        assert (await bob.receive()).text == "hello"
        assert (await alice.receive()).text == "x" * 60_000
        await alice.stopService()


@pytest_twisted.ensureDeferred
async def test_the_server_is_verified(files: Files) -> None:
    """By default with the system's CAs, and again in the next attempt."""
    async with serving(tls=files.server()) as server:
        for authorities in (None, str(Authority().write(files.directory / "other.pem"))):
            alice = client(server, "alice", authorities=authorities)
            alice.startService()
            with pytest.raises(NotTrusted, match="not signed by a trusted authority"):
                await alice.when_online(fail_after_failures=2)
            await alice.stopService()


@pytest_twisted.ensureDeferred
async def test_the_name_of_the_server_is_verified(files: Files) -> None:
    async with serving(tls=files.server("chat.example")) as server:
        alice = client(server, "alice", authorities=files.authorities)
        alice.startService()
        with pytest.raises(NotTrusted, match="for another host name"):
            await alice.when_online(fail_after_failures=1)
        await alice.stopService()


@pytest_twisted.ensureDeferred
async def test_a_client_certificate_instead_of_a_password(files: Files) -> None:
    from twisted.internet import reactor

    between = Authority("Between", files.authority)
    own = between.client("alice")
    path = files.directory / "alice.pem"
    path.write_bytes(own.pem + between.pem + own.key_pem())
    async with serving(tls=files.server(), authenticator=Authenticator([], reactor)) as server:
        for name, certificate, let_in in (
            ("alice", str(path), True),
            ("bob", str(path), False),
            ("alice", None, False),
        ):
            one = client(server, name, authorities=files.authorities, certificate=certificate)
            one.startService()
            if let_in:
                await one.when_online(fail_after_failures=1)
            else:
                with pytest.raises(AuthenticationFailed, match="a certificate with this name"):
                    await one.when_online(fail_after_failures=1)
            await one.stopService()


def test_unusable_certificate_files(files: Files) -> None:
    path = files.directory / "own.pem"
    own, other = files.authority.client("alice"), files.authority.client("alice")
    path.write_bytes(own.pem + other.key_pem())
    for options, said in (
        ({"authorities": "/dev/null"}, "/dev/null holds no certificate"),
        ({"certificate": "nosuch"}, "cannot read nosuch"),
        ({"certificate": files.authorities}, "holds no private key"),
        ({"certificate": str(path)}, "does not match the first certificate"),
    ):
        with pytest.raises(CertificateUnusable, match=said):
            tls_endpoint(Clock(), "localhost", 5555, **options)
