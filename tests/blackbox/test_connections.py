"""How connections end, and how many there may be."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.blackbox import wire
from tests.blackbox.client import PATIENCE, Address, Client, log_in_when_free
from tests.blackbox.conftest import StartServer, UserNames
from tests.blackbox.figures import report
from tests.blackbox.mailbox import register
from tests.blackbox.server import Server, free_port


def test_a_half_closed_client_still_gets_its_answers(address: Address, user: UserNames) -> None:
    with Client(address) as client:
        name = user("alice")
        client.write(
            wire.login(name, 1)
            + b"".join(wire.message(str(n), name, name, n, n) for n in range(2, 500))
            + wire.unknown(500)
            + wire.correlation_test(501)
        )
        client.finish_writing()
        client.read_to_end()
        expected = {1: 1} | dict.fromkeys(range(2, 500), 1) | {500: 2, 501: 1}
        assert client.codes == expected


def test_a_half_close_frees_the_user(address: Address, user: UserNames) -> None:
    with Client(address, user("alice")) as alice:
        alice.write(wire.correlation_test(1))
        alice.finish_writing()
        with log_in_when_free(address, user("alice")) as again:
            assert again.send("x", user("alice")) == wire.OK
            assert again.receive().text == "x"
        assert alice.answer(1) == wire.OK


def test_a_half_close_without_a_request_ends_the_connection(address: Address) -> None:
    with Client(address) as client:
        client.finish_writing()
        with pytest.raises(EOFError):
            client.read(1)


@pytest.mark.parametrize("busy", [False, True])
def test_a_client_that_vanishes_frees_its_user_at_once(
    address: Address, user: UserNames, busy: bool
) -> None:
    """A RST, also in the middle of requests and with messages on their way to it."""
    with Client(address, user("bob")) as bob:
        for n in range(10):
            alice = log_in_when_free(address, user("alice"))
            if busy:
                alice.write(
                    b"".join(
                        wire.message(f"{n}", alice.name, user("alice"), 0, k) for k in range(500)
                    )
                )
            start = time.monotonic()
            alice.reset()
            log_in_when_free(address, user("alice")).reset()
            assert time.monotonic() - start < 5
        assert bob.still_works()


def test_a_message_to_a_user_who_vanished_waits_for_the_next_login(
    address: Address, user: UserNames
) -> None:
    with Client(address, user("alice")) as alice:
        Client(address, user("bob")).reset()
        log_in_when_free(address, user("bob")).reset()
        time.sleep(0.2)
        assert alice.send("x", user("bob")) == wire.OK
        with log_in_when_free(address, user("bob")) as bob:
            assert bob.receive().text == "x"


def _refused(address: Address) -> bool:
    """Whether a connection is ended without a word."""
    with Client(address) as client:
        try:
            return not client.still_works()
        except (EOFError, ConnectionError):
            return True


def _open(address: Address, count: int) -> list[Client]:
    clients: list[Client] = []
    deadline = time.monotonic() + PATIENCE
    while len(clients) < count:
        assert time.monotonic() < deadline, f"{len(clients)} of {count}"
        client = Client(address)
        try:
            assert client.still_works()
        except (EOFError, ConnectionError):
            # One that was closed before still counts for a moment.
            client.close()
            time.sleep(0.02)
        else:
            clients.append(client)
    return clients


@pytest.mark.parametrize("option", ["--max-connections", "--max-connections-per-address"])
def test_one_connection_too_many_is_closed_and_the_others_go_on(
    start_server: StartServer, option: str
) -> None:
    server = start_server(option, "3")
    clients = _open(server.address, 3)
    try:
        for _ in range(20):
            assert _refused(server.address)
        for n, client in enumerate(clients):
            assert client.login(f"user{n}") == wire.OK
            assert client.send("x", client.name) == wire.OK
        clients.pop().close()
        clients += _open(server.address, 1)
        assert _refused(server.address)
        server.wait_for_log(option)
    finally:
        for client in clients:
            client.close()


def test_connections_are_counted_by_address(start_server: StartServer) -> None:
    server = start_server("--max-connections-per-address", "2")
    clients = _open(server.address, 2)
    assert _refused(server.address)
    assert isinstance(server.address, tuple)
    with socket.create_connection(server.address, 10, ("127.0.0.2", 0)) as other:
        other.sendall(wire.unknown(5))
        assert other.recv(100) == wire.answer(wire.ERROR, 5)
    for client in clients:
        client.close()


def test_no_file_descriptors_left(start_server: StartServer) -> None:
    """Sessions go on; when there is room again new logins work; the log is not flooded."""
    server = start_server()
    register(server.address, "carol")
    with Client(server.address, "alice") as alice, Client(server.address, "bob") as bob:
        server.limit(resource.RLIMIT_NOFILE, server.open_files() + 5)
        lines = server.log.count("\n")
        crowd = []
        for _ in range(60):
            client = Client(server.address)
            client.write(wire.unknown(1))
            crowd.append(client)
        until = time.monotonic() + 2
        count = 0
        while time.monotonic() < until:
            assert alice.send("x", "bob") == wire.OK
            assert bob.receive().text == "x"
            assert alice.send(str(count), "carol") == wire.OK
            count += 1
        for client in crowd:
            client.close()
        with log_in_when_free(server.address, "carol") as carol:
            assert carol.texts(count) == [str(n) for n in range(count)]
        new = server.log.count("\n") - lines
        report(f"{count} exchanges with no descriptor left, {new} lines in the log")
        assert count > 50
        # A few for each that could not be accepted, not one for each time round.
        assert new < 400


def test_several_endpoints_serve_the_same_users(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    path = str(tmp_path / "chat.sock")
    listen = [*(f"tcp:{port}:interface=127.0.0.1" for port in ports), f"unix:{path}"]
    with Server(tmp_path, listen=listen, address=("127.0.0.1", ports[0])) as server:
        with (
            Client(("127.0.0.1", ports[0]), "alice") as alice,
            Client(("127.0.0.1", ports[1]), "bob") as bob,
            log_in_when_free(path, "carol") as carol,
        ):
            clients = (alice, bob, carol)
            for one in clients:
                for other in clients:
                    assert one.send("x", other.name) == wire.OK
                    assert other.receive().sender == one.name
            with Client(path) as again:
                assert again.login("alice") == wire.ALREADY_LOGGED
        assert server.terminate() == 0
        server.check_log()
    assert not Path(path).exists()


def test_a_unix_socket_left_by_a_killed_server_is_taken_over(tmp_path: Path) -> None:
    path = str(tmp_path / "chat.sock")
    with Server(tmp_path, listen=[f"unix:{path}"], address=path) as server:
        server.kill9()
        assert Path(path).exists()
        server.start()
        with Client(path, "alice") as alice:
            assert alice.send("x", "alice") == wire.OK


def test_a_session_over_a_unix_socket_that_lasts(tmp_path: Path) -> None:
    """Whatever looks after connections from time to time copes with one that is not TCP."""
    path = str(tmp_path / "chat.sock")
    with Server(tmp_path, listen=[f"unix:{path}"], address=path) as server:
        with Client(path, "alice") as alice:
            time.sleep(2.5)
            assert alice.send("x", "alice") == wire.OK
        assert server.terminate() == 0
        server.check_log()


def test_the_conversation_over_a_unix_socket(tmp_path: Path) -> None:
    """Slow receivers, half-closes and all: no TCP in it."""
    path = str(tmp_path / "chat.sock")
    with Server(tmp_path, listen=[f"unix:{path}"], address=path) as server:
        with Client(path, "bob") as bob, Client(path, "alice") as alice:
            for start in range(0, 1000, 100):
                numbers = range(start, start + 100)
                alice.write(
                    b"".join(
                        wire.message(f"{n}:" + "x" * 4000, "alice", "bob", 0, n) for n in numbers
                    )
                )
                assert set(alice.answers(numbers)) == {wire.OK}
            got = [int(bob.receive().text.partition(":")[0]) for _ in range(1000)]
            assert got == list(range(1000))
            alice.write(wire.correlation_test(9))
            alice.finish_writing()
            assert alice.answer(9) == wire.OK
        assert server.terminate() == 0
        server.check_log()


@pytest.mark.parametrize("chosen", [(), ("--max-connections", "1000")])
def test_open_files_bound_the_connections_and_the_status_pages_stay(
    tmp_path: Path, chosen: tuple[str, ...]
) -> None:
    status = free_port()
    options = ["--status", f"tcp:{status}:interface=127.0.0.1", *chosen]
    few_files = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    with Server(tmp_path, options, prefix=few_files) as server:
        server.wait_for_log("At most 32 connections: the process may have 64 open files")
        clients = [Client(server.address) for _ in range(60)]
        refused = [client for client in clients[32:] if _is_closed(client)]
        assert len(refused) == 28
        for path in ("healthz", "metrics"):
            with urlopen(f"http://127.0.0.1:{status}/{path}", timeout=PATIENCE) as answer:
                assert answer.status == 200
        with clients[0] as first:
            first.write(wire.login("alice", 1))
            assert first.answer(1) == wire.OK
        for client in clients[1:]:
            client.close()
        server.check_log()


def _is_closed(client: Client) -> bool:
    try:
        client.read(1)
    except (EOFError, ConnectionResetError):
        return True
    return False
