"""``chatclient`` as a process: output, errors and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import COMMAND, chatclient, start
from tests.cli.thread_server import PATIENCE, ThreadServer, wait_for
from tests.client import frames

NOON = 1_699_963_200


@pytest.fixture
def server() -> Iterator[ThreadServer]:
    backlog = b"".join(
        frames.delivery(text, "alice", "bob", NOON * 10**9)
        for text in ("one", "t\nw\x1b[2Jo", "three")
    )
    with ThreadServer({"bob": backlog}) as server:
        yield server


def test_send(server: ThreadServer) -> None:
    done = chatclient(server, "--user", "alice", "send", "bob", "hi there")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert server.received == [("alice", "bob", "hi there")]


def test_send_lines(server: ThreadServer) -> None:
    """More lines than the limit of messages in flight."""
    lines = [f"line {number} ü" for number in range(250)]
    text = "\n".join([*lines[:100], "", *lines[100:]]).encode()
    done = chatclient(server, "-u", "alice", "send", "bob", "-", stdin=text)
    assert (done.returncode, done.stderr) == (0, b"")
    assert server.received == [("alice", "bob", line) for line in lines]


def test_send_lines_waits_for_answers(server: ThreadServer) -> None:
    """A slow server does not get more messages than the limit."""
    done = chatclient(server, "-ualice", "-t0.5", "send", "mute", "-", stdin=b"x\n" * 300)
    assert done.returncode == 4
    assert server.unanswered == 100


def test_send_all_of_stdin_as_one(server: ThreadServer) -> None:
    done = chatclient(server, "-u", "alice", "send", "-w", "bob", "-", stdin=b"one\ntwo\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert server.received == [("alice", "bob", "one\ntwo")]


def test_messages_received_while_sending_are_printed(server: ThreadServer) -> None:
    """The server counts them as delivered, so they must be shown now."""
    done = chatclient(server, "-u", "bob", "send", "alice", "hi")
    assert done.returncode == 0
    assert [line.split(b"\t")[2] for line in done.stdout.splitlines()] == [
        b"one",
        b"t\\nw\\x1b[2Jo",
        b"three",
    ]


def test_a_message_received_just_after_the_last_answer_is_printed(server: ThreadServer) -> None:
    done = chatclient(server, "-u", "late", "send", "late", "hi")
    assert (done.returncode, done.stdout.split(b"\t")[1:]) == (0, [b"late", b"hi\n"])


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "expected"),
    [
        (["-u", "alice", "send", "nobody", "hi"], b"", 1, "no user named nobody"),
        (["-u", "alice", "send", "nobody", "-"], b"a\nb\nc\n", 1, "no user named nobody"),
        (["-u", "alice", "send", "full", "hi"], b"", 1, "may be full"),
        (["-u", "taken", "send", "bob", "hi"], b"", 1, "taken is already logged in elsewhere"),
        (["-u", "alice", "send", "bob"], b"", 2, "two arguments"),
        (
            ["-u", "alice", "send", "bob", "-"],
            b"ok\n\xff\n",
            2,
            "line 2 of the input is not valid UTF-8",
        ),
        (["-u", "alice", "send", "bob", "-"], b"x" * 70_000, 2, "the maximum is 65535"),
        (["-u", "alice", "send", "-w", "bob", "-"], b"x\n" * 40_000, 2, "the maximum is 65535"),
        (["-u", "alice", "send", "-w", "bob", "-"], b"x" * 2_000_000, 2, "too long"),
        (["-u", "alice", "send", "hangup", "hi"], b"", 3, "the server closed the connection"),
        (["-u", "alice", "send", "hangup", "hi"], b"", 3, "may or may not have been stored"),
        (
            ["-u", "alice", "send", "--all", "hi"],
            b"",
            1,
            "version 1, which cannot send to everyone",
        ),
        (["-u", "alice", "users"], b"", 1, "version 1, which does not support Users"),
        (["-u", "alice", "history"], b"", 1, "version 1, which does not support History"),
        (["-u", "alice", "-t", "0.2", "send", "mute", "hi"], b"", 4, "within 0.2 seconds"),
        (["-u", "mute", "-t", "0.2", "send", "bob", "hi"], b"", 4, "within 0.2 seconds"),
        (["--server", "frob:x", "-u", "alice", "listen"], b"", 2, "not a usable endpoint"),
    ],
)
def test_errors_have_a_sentence_and_an_exit_code(
    server: ThreadServer, arguments: list[str], stdin: bytes, code: int, expected: str
) -> None:
    done = chatclient(server, *arguments, stdin=stdin)
    assert done.stdout == b""
    assert expected in done.stderr.decode()
    assert done.stderr.startswith(b"chatclient: ")
    assert done.stderr.count(b"\n") == 1
    assert done.returncode == code


def test_a_refused_connection() -> None:
    with ThreadServer() as server:
        pass
    done = chatclient(server, "-u", "alice", "listen")
    assert done.returncode == 3
    assert b"start the server" in done.stderr


def test_listen_prints_one_message_per_line(server: ThreadServer) -> None:
    done = chatclient(server, "-u", "bob", "listen", "--count", "3")
    assert done.stdout.decode().splitlines() == [
        "2023-11-14T12:00:00+00:00\talice\tone",
        "2023-11-14T12:00:00+00:00\talice\tt\\nw\\x1b[2Jo",
        "2023-11-14T12:00:00+00:00\talice\tthree",
    ]
    assert (done.returncode, done.stderr) == (0, b"")


def test_listen_prints_json(server: ThreadServer) -> None:
    done = chatclient(server, "-u", "bob", "listen", "--json", "--count", "2")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["text"] for each in found] == ["one", "t\nw\x1b[2Jo"]
    assert found[0]["iso"] == "2023-11-14T12:00:00Z"
    assert (done.returncode, done.stderr) == (0, b"")


def test_idle_without_count_is_a_success(server: ThreadServer) -> None:
    done = chatclient(server, "-u", "bob", "listen", "--idle", "0.2")
    assert len(done.stdout.splitlines()) == 3
    assert (done.returncode, done.stderr) == (0, b"")


def test_idle_before_the_count_is_reached_is_a_timeout(server: ThreadServer) -> None:
    done = chatclient(server, "-u", "bob", "listen", "--idle", "0.2", "--count", "4")
    assert len(done.stdout.splitlines()) == 3
    assert done.returncode == 4
    assert done.stderr == b"chatclient: received 3 of 4 messages, then none for 0.2 seconds\n"


def test_listen_flushes_every_line(server: ThreadServer) -> None:
    with start(server, "-u", "alice", "listen") as process:
        assert process.stdout is not None
        for text in ("one", "two"):
            server.push("alice", frames.delivery(text))
            assert process.stdout.readline().endswith(f"\t{text}\n".encode())
        process.terminate()
        assert process.wait(PATIENCE) == 143


def test_ctrl_c_stops_in_order(server: ThreadServer) -> None:
    with start(server, "-u", "alice", "listen") as process:
        wait_for(lambda: "alice" in server.logins)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, b"")


def test_a_lost_connection_ends_listen(server: ThreadServer) -> None:
    with start(server, "-u", "alice", "--no-reconnect", "listen") as process:
        wait_for(lambda: "alice" in server.connections)
        server.connections["alice"].shutdown(2)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3
    assert b"the server closed the connection" in errors


def test_a_lost_connection_ends_send_while_stdin_is_idle(server: ThreadServer) -> None:
    with start(server, "-u", "alice", "--no-reconnect", "send", "bob", "-") as process:
        wait_for(lambda: "alice" in server.connections)
        server.connections["alice"].shutdown(2)
        assert process.wait(PATIENCE) == 3


def test_a_refusal_ends_send_while_stdin_is_idle(server: ThreadServer) -> None:
    with start(server, "-u", "alice", "send", "nobody", "-") as process:
        assert process.stdin is not None
        process.stdin.write(b"hi\n")
        assert process.wait(PATIENCE) == 1


def test_send_reports_which_lines_were_not_stored(server: ThreadServer) -> None:
    lines = b"one\n\ntwo\nthree\n"
    done = chatclient(server, "-u", "alice", "send", "nobody", "-", stdin=lines)
    assert done.returncode == 1
    assert done.stderr.startswith(b"chatclient: line 1: no user named nobody")
    assert done.stderr.endswith(b"; lines not stored among the first 4: 1, 3 to 4\n")
    long = b"one\n" + b"x" * 70_000 + b"\n"
    done = chatclient(server, "-u", "alice", "send", "bob", "-", stdin=long)
    assert (done.returncode, b"line 2 of the input has 70000 bytes" in done.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [["bob", "--", "-x"], ["--", "bob", "-x"], ["bob", "-x"]])
def test_a_text_may_begin_with_a_minus_sign(arguments: list[str], server: ThreadServer) -> None:
    assert chatclient(server, "-u", "alice", "send", *arguments).returncode == 0


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_on_a_full_disk(option: str, unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        done = chatclient(None, option, stdout=full, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 5
    assert done.stderr == b"chatclient: cannot write the output: No space left on device\n"


def test_a_closed_reader_is_noticed_before_the_next_message(
    server: ThreadServer,
) -> None:
    with start(server, "-u", "alice", "listen") as process:
        assert process.stdout is not None
        wait_for(lambda: "alice" in server.logins)
        process.stdout.close()
        assert process.wait(PATIENCE) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_no_stdout_at_all(server: ThreadServer) -> None:
    command = [*COMMAND, "--server", server.address, "-u", "bob", "listen"]
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command],
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_reported(server: ThreadServer) -> None:
    with open("/dev/full", "wb") as full:
        done = chatclient(server, "-u", "bob", "listen", stdout=full)
    assert done.returncode == 5
    assert b"cannot write the output" in done.stderr


def test_characters_outside_the_output_encoding_are_escaped(server: ThreadServer) -> None:
    server.deliveries["carol"] = frames.delivery("ü 漢")
    done = chatclient(
        server, "-u", "carol", "listen", "-n", "1", PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    assert done.stdout.endswith(b"\tbob\t\\xfc \\u6f22\n")
    assert done.returncode == 0


def test_a_conversation_through_pipes(server: ThreadServer) -> None:
    lines = b"bob: hi\nnobody: hi\n/help\n/quit\nnot read\n"
    done = chatclient(server, "-u", "alice", stdin=lines)
    shown = done.stdout.decode().splitlines()
    assert shown[1].startswith("* the server speaks version 1")
    assert shown[2] == "* stored for bob"
    assert shown[3].startswith("* not sent: no user named nobody")
    assert (done.returncode, done.stderr) == (0, b"")
    assert server.received == [("alice", "bob", "hi")]


def test_a_conversation_prompts_for_a_name_until_one_is_accepted(server: ThreadServer) -> None:
    done = chatclient(server, stdin=b"taken\n\nalice\nbob: hi\n")
    assert "* taken is already logged in elsewhere" in done.stdout.decode()
    assert done.returncode == 0
    assert server.received == [("alice", "bob", "hi")]


def test_a_conversation_without_a_name_ends(server: ThreadServer) -> None:
    done = chatclient(server)
    assert done.returncode == 0
    assert server.logins == []


def test_a_conversation_ends_with_the_connection(server: ThreadServer) -> None:
    with start(server, "-u", "alice", "--no-reconnect") as process:
        wait_for(lambda: "alice" in server.connections)
        server.connections["alice"].shutdown(2)
        assert process.wait(PATIENCE) == 3


def test_lines_from_a_file(server: ThreadServer, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("bob: from a file\n")
    with script.open("rb") as lines:
        done = subprocess.run(
            [*COMMAND, "--server", server.address, "-u", "alice"],
            stdin=lines,
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
            env=os.environ,
            check=False,
        )
    assert done.returncode == 0
    assert server.received == [("alice", "bob", "from a file")]
