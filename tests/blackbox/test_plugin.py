"""``twistd chatserver``: its help, its options, its refusals and its log."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Client, log_in_when_free
from tests.blackbox.conftest import StartServer
from tests.blackbox.mailbox import burst, register
from tests.blackbox.server import TWISTD, Server, free_port, run_twistd


def run_server(
    directory: Path, *options: str, port: int | None = None
) -> subprocess.CompletedProcess[str]:
    """A server that is to end by itself; one that does not is ended, and the test fails."""
    listen = f"tcp:{port or free_port()}:interface=127.0.0.1"
    return run_twistd(
        "-n", "--pidfile=", "chatserver", "--listen", listen, *options, cwd=directory, timeout=15
    )


def last_words(result: subprocess.CompletedProcess[str]) -> str:
    """What it says on stderr: one line, no traceback anywhere, and a status that is not 0."""
    assert result.returncode != 0, result
    assert "Traceback" not in result.stdout + result.stderr
    assert "Unhandled" not in result.stdout + result.stderr
    return result.stderr


def test_twistd_lists_chatserver(tmp_path: Path) -> None:
    result = run_twistd("--help", cwd=tmp_path)
    assert result.returncode == 0
    (line,) = (one for one in result.stdout.splitlines() if "chatserver" in one)
    assert len(line.split()) > 3, "no description"


def test_the_help_names_every_option(tmp_path: Path) -> None:
    result = run_twistd("chatserver", "--help", cwd=tmp_path)
    assert result.returncode == 0
    for word in (
        "--listen",
        "--store",
        "--mailbox-limit",
        "--max-connections",
        "--max-connections-per-address",
        "--status-interval",
        "sqlite:",
        "memory:",
        "5555",
        "chat.db",
    ):
        assert word in result.stdout, word
    assert not result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert not list(tmp_path.glob("chat*"))


WRONG = {
    "no endpoint": (["--listen", "nonsense:"], "nonsense:"),
    "no number as a port": (["--listen", "tcp:abc"], "tcp:abc"),
    "an empty endpoint": (["--listen", ""], "--listen"),
    "a negative limit": (["--mailbox-limit", "-1"], "--mailbox-limit"),
    "a limit that is no number": (["--mailbox-limit", "x"], "--mailbox-limit"),
    "a broken limit": (["--max-connections", "1.5"], "--max-connections"),
    "an empty limit": (["--max-connections-per-address", ""], "--max-connections-per-address"),
    "a negative interval": (["--status-interval", "-1"], "--status-interval"),
    "no interval": (["--status-interval", "nan"], "--status-interval"),
    "an unknown store": (["--store", "nosuch:x"], "nosuch:x"),
    "no store": (["--store", "chat.db"], "chat.db"),
    "a store without a path": (["--store", "sqlite:"], "sqlite:"),
    "memory with a path": (["--store", "memory:x"], "memory:"),
    "an argument": (["extra"], "extra"),
    "an unknown option": (["--nosuch"], "nosuch"),
}


@pytest.mark.parametrize(("options", "word"), WRONG.values(), ids=WRONG)
def test_wrong_options_end_with_a_sentence(tmp_path: Path, options: list[str], word: str) -> None:
    result = run_twistd("-n", "--pidfile=", "chatserver", *options, cwd=tmp_path)
    assert result.returncode != 0
    output = result.stdout + result.stderr
    assert "Traceback" not in output
    assert "Unhandled" not in output
    sentence = output.strip().splitlines()[-1]
    assert word in sentence
    assert not list(tmp_path.glob("chat*")), "a file was made before the options were understood"


def test_a_port_out_of_range_ends_with_a_sentence(tmp_path: Path) -> None:
    result = run_twistd("-n", "--pidfile=", "chatserver", "--listen", "tcp:99999999", cwd=tmp_path)
    assert "tcp:99999999" in last_words(result)


class TestUnusableStore:
    @staticmethod
    def refused(directory: Path, path: str) -> str:
        words = last_words(run_server(directory, "--store", f"sqlite:{path}"))
        assert words.count("\n") == 1
        assert Path(path).name in words
        return words

    def test_no_directory(self, tmp_path: Path) -> None:
        assert "directory" in self.refused(tmp_path, "nosuch/chat.db")

    def test_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "chat.db").mkdir()
        self.refused(tmp_path, "chat.db")

    @pytest.mark.parametrize("content", [b"hello\n" * 1000, b"SQLite format 3\0" + b"\1" * 5000])
    def test_no_database(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "chat.db").write_bytes(content)
        self.refused(tmp_path, "chat.db")
        assert (tmp_path / "chat.db").read_bytes() == content

    def test_another_programs_database(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "chat.db")) as other:
            other.executescript("CREATE TABLE photo (name TEXT); INSERT INTO photo VALUES ('x');")
        before = (tmp_path / "chat.db").read_bytes()
        assert "another program" in self.refused(tmp_path, "chat.db")
        assert (tmp_path / "chat.db").read_bytes() == before

    def test_a_newer_schema(self, tmp_path: Path) -> None:
        with Server(tmp_path) as server:
            assert server.terminate() == 0
        with closing(sqlite3.connect(tmp_path / "chat.db")) as other:
            other.execute("PRAGMA user_version = 1000")
        assert "newer" in self.refused(tmp_path, "chat.db")

    def test_a_file_in_use(self, tmp_path: Path) -> None:
        with Server(tmp_path) as server:
            register(server.address, "alice")
            assert "in use" in self.refused(tmp_path, "chat.db")
            # By another name as well.
            (tmp_path / "other").mkdir()
            assert "in use" in self.refused(tmp_path / "other", "../chat.db")
            with Client(server.address, "alice") as alice:
                assert alice.send("x", "alice") == wire.OK
            server.check_log()

    def test_a_file_in_use_by_its_symbolic_link(self, tmp_path: Path) -> None:
        (tmp_path / "link.db").symlink_to("chat.db")
        with Server(tmp_path) as server:
            register(server.address, "alice")
            assert "in use" in self.refused(tmp_path, "link.db")

    def test_a_relative_path_names_the_file_of_the_directory(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        with Server(tmp_path, ["--store", "sqlite:data/my.db"]) as server:
            register(server.address, "alice")
        assert (tmp_path / "data/my.db").exists()


def test_an_address_in_use_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    with Server(tmp_path) as server:
        assert isinstance(server.address, tuple)
        words = last_words(run_server(tmp_path / "two", port=server.address[1]))
        assert words.count("\n") == 1
        assert str(server.address[1]) in words
        assert "in use" in words
        # The store it had opened before is free again.
        assert run_server(tmp_path / "two", port=server.address[1]).stderr == words


def test_the_second_of_two_endpoints_in_use_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    with Server(tmp_path) as server:
        assert isinstance(server.address, tuple)
        taken = f"tcp:{server.address[1]}:interface=127.0.0.1"
        words = last_words(run_server(tmp_path / "two", "--listen", taken))
        assert taken in words


def test_an_address_of_another_machine_ends_with_a_sentence(tmp_path: Path) -> None:
    result = run_twistd(
        "-n", "--pidfile=", "chatserver", "--listen", "tcp:5556:interface=192.0.2.1", cwd=tmp_path
    )
    assert "192.0.2.1" in last_words(result)


def test_a_unix_socket_in_no_directory_ends_with_a_sentence(tmp_path: Path) -> None:
    result = run_twistd(
        "-n", "--pidfile=", "chatserver", "--listen", "unix:nosuch/chat.sock", cwd=tmp_path
    )
    assert "nosuch/chat.sock" in last_words(result)


def test_the_default_store_is_chat_db_in_the_working_directory(start_server: StartServer) -> None:
    server = start_server()
    assert (server.directory / "chat.db").is_file()
    server.wait_for_log(str(server.directory / "chat.db"))


def test_the_file_is_one_file_after_an_orderly_end(start_server: StartServer) -> None:
    """What is copied then is a whole backup."""
    server = start_server()
    register(server.address, "bob")
    with Client(server.address, "alice") as alice:
        assert alice.send("kept", "bob") == wire.OK
    assert server.terminate() == 0
    assert not (server.directory / "chat.db-wal").exists()
    copy = server.directory / "copy.db"
    copy.write_bytes((server.directory / "chat.db").read_bytes())
    other = start_server("--store", f"sqlite:{copy}")
    with Client(other.address, "bob") as bob:
        assert bob.receive().text == "kept"


def test_the_memory_store_says_that_it_forgets(start_server: StartServer) -> None:
    server = start_server("--store", "memory:")
    server.wait_for_log("forgets")
    assert not list(server.directory.iterdir())


class TestLog:
    SECRET = "s3cr3t-t3xt"

    def test_logins_and_logouts_are_there_and_texts_are_not(
        self, start_server: StartServer
    ) -> None:
        server = start_server()
        register(server.address, "away")
        with Client(server.address, "alice") as alice, Client(server.address, "bob") as bob:
            assert alice.send(self.SECRET, "bob") == wire.OK
            assert bob.receive().text == self.SECRET
            for to in ("away", "nobody", ""):
                alice.send(self.SECRET, to)
            # And where something is wrong with the frame.
            good = wire.message(self.SECRET, "alice", "bob")[4:]
            for size in (20, len(good) - 1):
                alice.request(wire.sized(good[:size]))
            alice.request(wire.message(b"\xff" + self.SECRET.encode(), "alice", "bob"))
            alice.request(wire.frame(0x777, 5, self.SECRET.encode()))
            alice.write(b"\xff\xff\xff\xff" + self.SECRET.encode())
            alice.read_to_end()
        server.wait_for_log("'bob' left")
        for name in ("alice", "bob"):
            assert f"'{name}' at 127.0.0.1" in server.log
            assert f"'{name}' left" in server.log
        assert server.terminate() == 0
        assert self.SECRET not in server.log

    def test_names_cannot_forge_lines_or_colors(self, start_server: StartServer) -> None:
        server = start_server()
        with Client(server.address) as client:
            assert client.login("x\n2026 [-] 'root' logged in") == wire.USER_NOT_FOUND
            assert client.login("\x1b[31mred") == wire.USER_NOT_FOUND
            assert client.login("\u202etxt") == wire.USER_NOT_FOUND
            assert client.login("h\u00e9\u6f22") == wire.OK
            client.send("x", "y\n[-] forged")
        server.wait_for_log("left")
        assert "\n2026 [-]" not in server.log
        assert "\n[-] forged" not in server.log
        assert "\x1b" not in server.log
        assert server.log.isascii()

    def test_the_number_of_lines_does_not_grow_with_the_messages(
        self, start_server: StartServer
    ) -> None:
        server = start_server("--mailbox-limit", "100", "--status-interval", "0")
        register(server.address, "away")
        with Client(server.address, "alice") as alice, Client(server.address, "bob") as bob:

            def exchange() -> int:
                before = server.log.count("\n")
                for start in range(0, 2000, 500):
                    numbers = range(start, start + 500)
                    burst(alice, "bob", numbers)
                    bob.texts(500)
                    burst(alice, "away", numbers)
                    burst(alice, "nobody", numbers)
                alice.write(wire.unknown(1) * 500 + wire.frame(wire.MESSAGE, 2, b"\0\5") * 500)
                for _ in range(1000):
                    alice.next_frame()
                assert alice.still_works()
                time.sleep(0.2)
                return server.log.count("\n") - before

            first = exchange()
            assert first < 15
            assert exchange() == 0

    def test_the_status_line_names_who_is_on_line_and_is_not_repeated(
        self, start_server: StartServer
    ) -> None:
        server = start_server("--status-interval", "0.1")
        register(server.address, "away")
        with Client(server.address, "alice"), log_in_when_free(server.address, "bob"):
            server.wait_for_log("2 online ('alice', 'bob'), 1 offline")
            time.sleep(0.5)
        server.wait_for_log("0 online, 3 offline")
        assert server.log.count("2 online ('alice', 'bob'), 1 offline") == 1


def test_sigint_ends_the_server_in_good_order(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            str(TWISTD),
            "-n",
            "--pidfile=",
            "chatserver",
            "--listen",
            f"tcp:{free_port()}:interface=127.0.0.1",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "Serving on" in line:
                    process.send_signal(2)
                if "Stopped" in line:
                    break
            else:
                pytest.fail("it did not say that it stopped")
            rest = process.stdout.read()
            process.wait(20)
        finally:
            process.kill()
    assert "Traceback" not in rest
    assert not (tmp_path / "chat.db-wal").exists()
