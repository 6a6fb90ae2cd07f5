"""TLS and plain connections on the same endpoints, with certificates that change."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Client, log_in_when_free
from tests.blackbox.conftest import StartServer
from tests.blackbox.figures import report
from tests.blackbox.mailbox import register
from tests.blackbox.server import Server, free_port, run_twistd
from tests.certificates import Authority
from tests.cli.program import COMMAND

SESSIONS = 100


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def certificate(tmp_path: Path, authority: Authority) -> Path:
    return authority.server().write(tmp_path / "server.pem")


@pytest.fixture
def trusted(authority: Authority) -> ssl.SSLContext:
    return authority.trusted()


def shown(client: Client) -> int:
    """The serial number of the server's certificate on a connection."""
    assert isinstance(client.sock, ssl.SSLSocket)
    certificate = client.sock.getpeercert()
    assert certificate is not None
    return int(str(certificate["serialNumber"]), 16)


def ended(address: tuple[str, int] | str, data: bytes) -> bytes:
    """What a server that closes the connection sends before it does."""
    assert not isinstance(address, str)
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(data)
        received = b""
        while more := sock.recv(4096):
            received += more
        return received


def test_plain_and_tls_clients_talk_on_one_port(
    start_server: StartServer, certificate: Path, trusted: ssl.SSLContext
) -> None:
    server = start_server("--certificate", str(certificate))
    with (
        Client(server.address, "plain") as plain,
        Client(server.address, "tls", tls=trusted) as tls,
    ):
        for size in (2, 60_000):
            assert plain.send("p" * size, "tls") == tls.send("t" * size, "plain") == wire.OK
            assert tls.receive().text == "p" * size
            assert plain.receive().text == "t" * size
        # Some pages of a mailbox, and answers to everything at once.
        ids = []
        for _ in range(3000):
            ids.append(tls.new_id())
            tls.write(wire.message("m" * 200, "tls", "tls", 0, ids[-1]))
        assert tls.answers(ids) == [wire.OK] * 3000
        assert tls.texts(3000) == ["m" * 200] * 3000
    server.wait_for_log("(TLS) logged in")


@pytest.mark.parametrize("kind", ["ssl", "unix", "haproxy"])
def test_tls_on_endpoints_of_other_kinds(
    tmp_path: Path, certificate: Path, trusted: ssl.SSLContext, kind: str
) -> None:
    port = free_port()
    listen = {
        "ssl": f"ssl:{port}:privateKey=server.pem:certKey=server.pem",
        "unix": "unix:chat.sock",
        "haproxy": f"haproxy:tcp:{port}",
    }[kind]
    address = str(tmp_path / "chat.sock") if kind == "unix" else ("127.0.0.1", port)
    with Server(tmp_path, ["--certificate", "server.pem"], [listen], address) as server:
        if kind == "haproxy":
            assert not isinstance(address, str)
            sock = socket.create_connection(address, timeout=20)
            sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 56324 443\r\n")
            tls = trusted.wrap_socket(sock, server_hostname="localhost")
            tls.sendall(wire.login("bob"))
            assert tls.recv(100)
            server.wait_for_log("'bob' at 192.0.2.7:56324 (TLS) logged in")
            tls.close()
        else:
            with Client(address, "bob", tls=trusted) as bob:
                for text in ("x" * 60_000, "hi"):
                    assert bob.send(text, "bob") == wire.OK
                    assert bob.receive().text == text
        if kind == "ssl":
            ended(("127.0.0.1", port), wire.login("bob"))
            server.wait_for_log("does not use TLS, and this endpoint takes nothing else")
        assert server.terminate() == 0
    server.check_log()


def test_what_comes_on_the_wrong_port_is_said(
    start_server: StartServer, tmp_path: Path, certificate: Path, trusted: ssl.SSLContext
) -> None:
    plain = start_server("--store", "memory:")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Client(plain.address, "alice", tls=trusted)
    plain.wait_for_log("the client starts TLS, and the server has no certificate")
    strict = start_server("--store", "memory:", "--certificate", "server.pem", "--require-tls")
    assert not isinstance(strict.address, str)
    assert ended(strict.address, wire.login("alice")) == b""
    strict.wait_for_log("does not use TLS, and --require-tls is given")
    with Client(strict.address, "alice", tls=trusted) as alice:
        assert alice.still_works()
    _distrust(strict.address)
    strict.wait_for_log("the client does not trust the authority")


def test_a_certificate_is_exchanged_under_100_sessions(
    start_server: StartServer, authority: Authority, certificate: Path, trusted: ssl.SSLContext
) -> None:
    server = start_server("--certificate", str(certificate), "--store", "memory:")
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(Client(server.address, f"user{n}", tls=trusted))
            for n in range(SESSIONS)
        ]
        (before,) = {shown(one) for one in sessions}
        assert _all_talk(sessions)

        certificate.write_text("broken")
        server.wait_for_log("the old one stays in use: ")
        with Client(server.address, tls=trusted) as other:
            assert shown(other) == before

        new = authority.server()
        new.write(certificate)
        server.wait_for_log("New connections use the certificate")
        assert _all_talk(sessions)
        assert {shown(one) for one in sessions} == {before}
        for n in range(10):
            later = stack.enter_context(Client(server.address, f"later{n}", tls=trusted))
            assert shown(later) == new.serial
            assert later.send("hi", f"later{n}") == wire.OK
    report(f"{SESSIONS} sessions over an exchange of certificates: none dropped")


def _all_talk(sessions: list[Client]) -> bool:
    for one, other in zip(sessions, sessions[1:] + sessions[:1], strict=True):
        assert one.send("hi", other.name) == wire.OK
        assert other.receive().sender == one.name
    return True


def test_a_certificate_stands_in_for_a_password(
    start_server: StartServer, tmp_path: Path, authority: Authority, certificate: Path
) -> None:
    (tmp_path / "users").write_text("carol:secret\n")
    (tmp_path / "authorities.pem").write_bytes(authority.pem)
    server = start_server(
        "--certificate", "server.pem", "--client-authorities", "authorities.pem",
        "--auth", "file:users",
    )  # fmt: skip
    shows_alice = authority.trusted(authority.client("alice").write(tmp_path / "alice.pem"))
    with Client(server.address, tls=shows_alice) as alice:
        assert alice.login("bob") != wire.OK
        assert alice.login("alice") == wire.OK
        assert alice.send("hi", "alice") == wire.OK
        assert alice.receive().sender == "alice"
    with log_in_when_free_as(server, shows_alice):
        server.wait_for_log("'alice' at 127.0.0.1")
    for context in (None, authority.trusted()):
        with Client(server.address, tls=context) as nobody:
            assert nobody.login("alice") != wire.OK
            assert nobody.login("") != wire.OK


@contextmanager
def log_in_when_free_as(server: Server, context: ssl.SSLContext) -> Iterator[Client]:
    """With an empty name: the one in the certificate."""
    deadline = time.monotonic() + 20
    while True:
        with Client(server.address, tls=context) as client:
            if client.login("") == wire.OK:
                assert client.send("hi", "alice") == wire.OK
                yield client
                return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_certificate_of_strangers_or_revoked_gets_nobody_in(
    start_server: StartServer, tmp_path: Path, authority: Authority, certificate: Path
) -> None:
    revoked = authority.client("alice")
    revoked.write(tmp_path / "revoked.pem")
    (tmp_path / "authorities.pem").write_bytes(authority.pem + authority.revoked(revoked))
    server = start_server(
        "--certificate", "server.pem", "--client-authorities", "authorities.pem",
    )  # fmt: skip
    Authority("Other").client("alice").write(tmp_path / "stranger.pem")
    for name in ("revoked", "stranger"):
        context = authority.trusted(tmp_path / f"{name}.pem")
        # The client's part of the handshake is done before the server has looked.
        with (
            Client(server.address, tls=context) as client,
            pytest.raises((ssl.SSLError, ConnectionError, EOFError)),
        ):
            client.login("alice")
    server.wait_for_log("is not signed by an authority in --client-authorities")
    good = authority.client("alice").write(tmp_path / "good.pem")
    with Client(server.address, "alice", tls=authority.trusted(good)) as alice:
        assert alice.still_works()


def test_a_sigkill_loses_nothing_that_a_tls_receiver_has_not_taken(
    start_server: StartServer, certificate: Path, trusted: ssl.SSLContext
) -> None:
    """What was answered OK is with the kernel or in the mailbox: TLS's buffers die with it."""
    server = start_server("--certificate", str(certificate))
    register(server.address, "bob")
    bob = Client(server.address, receive_buffer=4096, tls=trusted)
    assert bob.login("bob") == wire.OK
    with Client(server.address, "alice") as alice:
        texts = [f"{n}:" + "x" * 1000 for n in range(3000)]
        sent = [alice.send(text, "bob") for text in texts]
        assert sent == [wire.OK] * len(texts)
    server.kill9()
    # What comes to an end in the middle of a record is an error of TLS.
    bob.read_to_end()
    received = [text.text for text in bob.inbox]
    bob.close()
    assert 0 < len(received) < len(texts)
    server.start()
    with log_in_when_free(server.address, "bob") as bob:
        while len(set(received)) < len(texts):
            received.append(bob.receive().text)
    assert sorted(set(received)) == sorted(texts)


def test_tls_that_breaks_while_much_is_on_its_way_ends_the_connection(
    start_server: StartServer, certificate: Path, trusted: ssl.SSLContext
) -> None:
    server = start_server("--certificate", str(certificate), "--store", "memory:")
    with Client(server.address, receive_buffer=4096, tls=trusted) as bob:
        assert bob.login("bob") == wire.OK
        with Client(server.address, "alice") as alice:
            assert [alice.send("x" * 60_000, "bob") for _ in range(300)] == [wire.OK] * 300
        with socket.socket(fileno=os.dup(bob.sock.fileno())) as below:
            below.settimeout(20)
            below.sendall(b"\xff" * 100)
            with suppress(ConnectionError):
                while below.recv(1 << 20):
                    pass
    with log_in_when_free(server.address, "bob") as bob:
        assert bob.receive().text == "x" * 60_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--certificate", "nosuch.pem"], "cannot read nosuch.pem: No such file"),
        (["--private-key", "server.pem"], "--private-key requires --certificate"),
        (["--require-tls"], "--require-tls requires --certificate"),
        (["--certificate="], "--certificate: the path is empty"),
    ],
)
def test_what_cannot_be_is_said_at_the_start(tmp_path: Path, options: list[str], said: str) -> None:
    done = run_twistd("-n", "--pidfile=", "chatserver", "--listen", "tcp:0", *options, cwd=tmp_path)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("chat*"))


def test_chatclient_verifies_and_shows_a_certificate(
    start_server: StartServer, tmp_path: Path, authority: Authority, certificate: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    authority.client("alice").write(tmp_path / "alice.pem")
    server = start_server(
        "--certificate", "server.pem", "--client-authorities", "ca.pem", "--require-tls"
    )
    assert not isinstance(server.address, str)
    where = f"localhost:{server.address[1]}"

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "-s", where, "-u", "alice", *options, "send", "alice", "hi"]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
        )

    done = run("--ca", "ca.pem", "--certificate", "alice.pem")
    assert (done.returncode, done.stderr) == (0, "")
    done = run("--tls")
    assert done.returncode == 3
    assert "not signed by a trusted authority" in done.stderr
    assert "--ca FILE" in done.stderr
    done = run("--ca", "ca.pem")
    assert done.returncode == 1
    assert "--certificate" in done.stderr
    done = run("--ca", "nosuch.pem")
    assert done.returncode == 2
    assert "cannot read nosuch.pem" in done.stderr


def _distrust(address: tuple[str, int]) -> None:
    """Refuse a server's certificate, and read on to the end.

    A client that closes with unread bytes resets the connection, and its alert may be dropped.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(address, 20) as peer:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                peer.sendall(outgoing.read())
                incoming.write(peer.recv(65_536))
            except ssl.SSLCertVerificationError:
                break
            else:
                pytest.fail("the certificate was trusted")
        peer.sendall(outgoing.read())
        while peer.recv(65_536):
            pass
