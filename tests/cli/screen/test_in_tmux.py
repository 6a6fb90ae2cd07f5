"""The real program in a real terminal with a real server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.server import Server
from tests.cli.screen.tmux import CHATCLIENT, NO_TMUX, Pane, Tmux, has_tmux

pytest.importorskip("prompt_toolkit")
pytestmark = pytest.mark.skipif(not has_tmux(), reason=NO_TMUX)


class Chat:
    """A server and users at terminals."""

    def __init__(self, server: Server, tmux: Tmux) -> None:
        self.server = server
        self.tmux = tmux
        host, port = server.address  # type: ignore[str-unpack,misc]
        self.address = f"{host}:{port}"

    def client(self, name: str, width: int = 90, height: int = 20, **environ: str) -> Pane:
        """Open a client and wait until it is online."""
        pane = self.open(name, width, height, **environ)
        pane.wait_for("online")
        return pane

    def open(self, name: str, width: int = 90, height: int = 20, **environ: str) -> Pane:
        command = [*CHATCLIENT, "--server", self.address, "--user", name]
        return self.tmux.open(name, command, width, height, **environ)

    def script(self, name: str, *arguments: str, stdin: str = "") -> str:
        """Run a command of ``chatclient`` for a user."""
        done = subprocess.run(
            [*CHATCLIENT, "--server", self.address, "--user", name, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    with Tmux(tmp_path) as tmux:
        yield tmux


@pytest.fixture
def chat(tmp_path: Path, tmux: Tmux) -> Iterator[Chat]:
    with Server(tmp_path) as server:
        yield Chat(server, tmux)


def test_a_conversation_of_two_people(chat: Chat) -> None:
    alice, bob = chat.client("alice"), chat.client("bob")
    alice.wait_for("● bob")
    alice.type("/query b")
    alice.press("Tab", "Enter")
    alice.wait_for("bob │ online", "bob>")
    alice.enter("are you there?")
    alice.wait_for("alice ✓ are you there?")
    bob.wait_for_match(r"3 ● alice +1")
    bob.wait_for("unread: alice 1")
    assert bob.title == "(1) chatclient"
    assert "are you there?" not in bob.text
    bob.press("M-3")
    bob.wait_for("alice   are you there?")
    bob.enter("yes")
    alice.wait_for("bob   yes")
    assert bob.title == "chatclient"
    bob.enter("/all the build is green")
    alice.wait_for("unread: everyone 1")
    alice.press("M-a")
    alice.wait_for("bob   the build is green")
    alice.enter("/quit")
    alice.wait_for("exit code 0")
    bob.wait_for("alice went offline", "alice │ offline")


def test_a_refused_message_shows_the_reason(chat: Chat) -> None:
    alice = chat.client("alice")
    alice.enter("nobody: hello?")
    alice.wait_for("alice ✗ hello?", "not sent: no user named nobody")


def test_history_is_loaded_at_the_next_start(chat: Chat) -> None:
    """At the start, and by scrolling up."""
    chat.script("bob", "listen", "--idle", "0.2")
    lines = "".join(f"line {number}\n" for number in range(1, 301))
    chat.script("alice", "send", "bob", "-", stdin=lines)
    alice = chat.client("alice")
    alice.wait_for("3 ○ bob")
    alice.press("M-3")
    alice.wait_for("line 300")
    alice.press_until_match("PageUp", r"line 1\n")
    alice.wait_for("more below")
    alice.press("End")
    alice.wait_for("line 300")
    alice.wait_until_gone("more below")
    alice.press("PageUp")
    alice.wait_until_gone("line 300")
    alice.press("PageDown")
    alice.wait_for("line 300")


def test_the_server_is_killed_and_restarted(chat: Chat) -> None:
    """A half-typed line is kept; a line sent while offline is delivered once."""
    alice, bob = chat.client("alice"), chat.client("bob")
    alice.enter("bob: before")
    alice.wait_for("✓ before")
    bob.wait_for("unread: alice 1")
    bob.press("M-3")
    alice.type("half a")
    alice.wait_for("bob> half a")
    chat.server.kill9()
    alice.wait_for_match(r"not connected: .*; (retrying in \d+ s|retrying now)")
    alice.type(" line")
    alice.press("Enter")
    alice.wait_for("alice … half a line")
    chat.server.start()
    alice.wait_for("● online", "alice ✓ half a line")
    bob.wait_for("● online", "alice   half a line")
    assert bob.text.count("half a line") == 1
    assert alice.text.count("half a line") == 1


def test_resizing(chat: Chat) -> None:
    chat.script("bob", "listen", "--idle", "0.2")
    alice = chat.client("alice")
    alice.enter("bob: " + " ".join(f"word{number}" for number in range(30)))
    alice.wait_for("word29", " │")
    alice.resize(40, 12)
    narrow = alice.wait_for("word29")
    narrow = alice.wait_until_gone("everyone")
    assert max(map(len, narrow.splitlines())) <= 40
    assert len(narrow.splitlines()) == 12
    alice.type("still typing")
    alice.wait_for("bob> still typing")
    alice.resize(120, 30)
    alice.wait_for("2   everyone", "3 ○ bob", "word29", "bob> still typing")


HOSTILE = (
    "\x1b]0;owned\x07 \x1b[2J\x1b[1;1H\x1b[31mred \x9b31m \x1b[5i \u202eesrever\u202c "
    "\x0e\x08\x7f \u2028 e" + "\u0301" * 500 + " \r\x1b[A\nFAKE\n12:00 alice ✓ I agree\u200b"
)


def test_control_sequences_are_shown_escaped(chat: Chat) -> None:
    alice = chat.client("alice")
    chat.script("mallory", "send", "--whole", "alice", "-", stdin=HOSTILE)
    alice.wait_for("unread: mallory 1")
    alice.press("M-3")
    screen = alice.wait_for("I agree")
    assert "\\x1b]0;owned\\x07" in screen
    assert "\\x1b[2J" in screen
    assert "\\x9b" in screen
    assert "\\u202e" in screen
    assert "\\u200b" in screen
    assert alice.title == "chatclient"
    # All rows of a message are indented, so none can imitate another message.
    rows = [row for row in screen.splitlines() if "FAKE" in row or "I agree" in row]
    assert [row.index("│") + 1 for row in rows] == [25, 25]
    assert all(re.match(r" {10}", row[26:]) for row in rows)
    assert "\x1b[31mred" not in alice.colored
    # The layout is unchanged.
    assert "2   everyone" in screen
    alice.enter("no")
    alice.wait_for("alice ✓ no")


def test_a_mailbox_of_10_000_at_the_login(chat: Chat) -> None:
    """Keys are handled while messages arrive."""
    chat.script("bob", "listen", "--idle", "0.2")
    lines = "".join(f"number {number}\n" for number in range(1, 10_001))
    chat.script("alice", "send", "bob", "-", stdin=lines)
    bob = chat.open("bob")
    seen = []
    typed = ""
    while "unread: alice 10000" not in (screen := bob.text):
        coming = re.search(r"receiving (\d+) messages", screen)
        if coming:
            typed += "x"
            bob.type("x")
            seen.append(int(coming[1]))
            bob.wait_for(f"> {typed}")
    assert len(set(seen)) > 2, seen
    assert seen == sorted(seen, reverse=True)
    bob.press("C-u", "M-3")
    bob.wait_for("number 10000")
    # Messages beyond the scrollback are loaded from the server.
    bob.press("C-Home")
    bob.wait_for_match("number (7|8)\\d\\d\\d\n")
    bob.enter("/quit")
    bob.wait_for("exit code 0")
    assert chat.script("bob", "listen", "--idle", "0.5") == ""


def test_without_colors(chat: Chat) -> None:
    colored, plain = chat.client("alice"), chat.client("bob", NO_COLOR="1")
    colored.enter("bob: hello")
    colored.wait_for("alice ✓ hello")
    plain.wait_for("unread: alice 1")
    plain.press("M-3")
    plain.wait_for("alice   hello")
    assert re.search(r"\x1b\[[0-9;]*3[1-7]", colored.colored)
    assert not re.search(r"\x1b\[(?:[0-9]+;)*(?:3|4|9|10)[0-8]", plain.colored)


def test_a_terminal_without_utf_8(chat: Chat) -> None:
    alice = chat.client("alice", LC_ALL="C")
    chat.script("bob", "send", "alice", "gr\u00fc\u00df dich")
    alice.wait_for("unread: bob 1")
    alice.press("M-3")
    screen = alice.wait_for("gr\\xfc\\xdf dich")
    alice.enter("hi")
    screen = alice.wait_for("alice + hi")
    assert screen.isascii()


def test_pasting_several_lines(chat: Chat) -> None:
    chat.script("bob", "listen", "--idle", "0.2")
    alice = chat.client("alice")
    alice.enter("/query bob")
    alice.wait_for("bob>")
    alice.paste("one\n/quit\n\nthree\n")
    alice.wait_for("3 lines pasted")
    alice.press("s")
    alice.wait_for("✓ one", "✓ /quit", "✓ three")
    alice.paste("first\nsecond")
    alice.wait_for("2 lines pasted")
    alice.press("o")
    alice.wait_for("bob> first", "second")
    alice.press("Enter")
    alice.wait_for_match(r"✓ first\s")
    alice.paste("never\nsent")
    alice.wait_for("2 lines pasted")
    alice.press("n")
    alice.wait_until_gone("lines pasted")
    assert "never" not in alice.text
    received = chat.script("bob", "listen", "--count", "4").splitlines()
    assert [line.split("\t")[2] for line in received] == ["one", "/quit", "three", "first\\nsecond"]


def test_a_required_password_is_prompted_for(tmp_path: Path, tmux: Tmux) -> None:
    (tmp_path / "passwords").write_text("alice:secret\n")
    with Server(tmp_path, options=["--auth", "file:passwords"]) as server:
        alice = Chat(server, tmux).open("alice")
        alice.wait_for("Password for alice:")
        alice.enter("wrong")
        alice.wait_for("rejected the password")
        alice.wait_for_match(r"(?s)Password for alice:.*Password for alice: *\n")
        alice.enter("secret")
        screen = alice.wait_for("Connected to", "online")
        assert "secret" not in screen


@pytest.mark.parametrize("how", ["quit", "key", "signal", "fault"])
def test_the_terminal_is_restored_at_the_end(chat: Chat, how: str) -> None:
    faulty = (
        "from chat_protocol.cli.screen import keys\n"
        "def complete(*arguments): raise RuntimeError('of a key')\n"
        "keys.Keyboard._complete = complete\n"
    )
    command = [*CHATCLIENT[:2], faulty + CHATCLIENT[2], "-s", chat.address, "-u", "alice"]
    alice = chat.tmux.open("alice", command)
    before = alice.title
    alice.wait_for("online")
    assert alice.title == "chatclient"
    ends = {"quit": 0, "key": 130, "signal": 143, "fault": 70}
    if how == "quit":
        alice.enter("/quit")
    elif how == "key":
        alice.press("C-c")
    elif how == "signal":
        alice.signal("TERM")
    else:
        alice.press("Tab")
    screen = alice.wait_for(f"exit code {ends[how]}")
    assert "everyone" not in screen
    assert "Traceback" not in screen
    assert ("internal error in chatclient: RuntimeError: of a key" in screen) is (how == "fault")
    assert alice.title == before
    # Echo and cursor are restored.
    alice.enter("typed afterwards")
    alice.wait_for("typed afterwards")
    assert alice.screen().cursor is not None
