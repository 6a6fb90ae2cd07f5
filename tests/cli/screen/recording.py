"""Make the pictures of the terminal client in docs/screenshots, from captured tmux screens.

::

    python -m tests.cli.screen.recording [--go-client PATH]

``terminal.svg`` is an animation of a conversation, ``terminal.cast`` the same for asciinema. With
the published Go client, ``one-port.svg`` shows it beside the page in a browser and this client.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.blackbox.client import connect
from tests.blackbox.server import Server
from tests.cli.screen.picture import Photo, Screen, film, picture
from tests.cli.screen.tmux import CHATCLIENT, Pane, Tmux
from tests.web.chromium import CHROMIUM, FLAGS

SCREENSHOTS = Path(__file__).parents[3] / "docs" / "screenshots"

PORT = 5555
"""The default port, so that the command in the picture is the usual one; it must be free."""

WIDTH, HEIGHT = 92, 22
FRAME = 0.1


class Recorder:
    """Record a tmux pane.

    Args:
        pane: the recorded pane.
        caption: title of the window.
    """

    def __init__(self, pane: Pane, caption: str) -> None:
        self.pane = pane
        self.frames: list[tuple[float, Screen]] = []
        self.length = 0.0
        self._caption = caption

    def watch(self, seconds: float) -> None:
        """Record for some time."""
        end = time.monotonic() + seconds
        while True:
            screen = self.pane.screen(self._caption)
            if not self.frames or self.frames[-1][1] != screen:
                self.frames.append((self.length, screen))
            left = end - time.monotonic()
            self.length += min(FRAME, max(left, 0.0))
            if left <= 0:
                return
            time.sleep(min(FRAME, left))

    def type(self, text: str, *keys: str) -> None:
        """Type text at a human speed."""
        for character in text:
            self.pane.type(character)
            self.watch(0.07)
        if keys:
            self.watch(0.3)
            self.press(*keys)

    def press(self, *keys: str) -> None:
        """Press keys, and pause to show their effect."""
        for key in keys:
            self.pane.press(key)
            self.watch(0.5)

    def cast(self) -> str:
        """Return the asciinema recording: a header, and the change of each frame."""
        header = {"version": 2, "width": WIDTH, "height": HEIGHT, "env": {"TERM": "xterm"}}
        lines = [json.dumps(header)]
        before: Sequence[str] = ()
        for start, screen in self.frames:
            changed = [
                f"\x1b[{number + 1};1H\x1b[0m\x1b[2K{row}"
                for number, row in enumerate(screen.rows)
                if number >= len(before) or before[number] != row
            ]
            x, y = screen.cursor or (0, 0)
            output = "".join(changed) + f"\x1b[0m\x1b[{y + 1};{x + 1}H"
            lines.append(json.dumps([round(start, 2), "o", output], ensure_ascii=False))
            before = screen.rows
        return "\n".join(lines) + "\n"


def send(name: str, *arguments: str) -> None:
    """Send a message with ``chatclient send``."""
    subprocess.run([*CHATCLIENT, "--user", name, "send", *arguments], check=True, timeout=60)


def prepare() -> None:
    """Register users and fill alice's mailbox."""
    for name in ("alice", "bob", "carol", "dave", "erin"):
        listening = [*CHATCLIENT, "--user", name, "listen", "--idle", "0.2"]
        subprocess.run(listening, check=True, timeout=60)
    for number in range(1, 41):
        send("bob", "alice", f"build {number}: {'failed in lint' if number % 7 == 3 else 'green'}")
    send("dave", "--all", "the new server has moved in; same name, same port")
    send("carol", "--to", "alice", "--to", "dave", "lunch at one?")
    send("bob", "alice", "build 41 is red, and I do not see why. Can you have a look?")


def conversation(tmux: Tmux, server: Server) -> Recorder:
    """Record unread messages, an answer, a server that is killed, and history."""
    path = Path(sys.executable).parent
    shell = ["env", f"PATH={path}:/usr/bin:/bin", "PS1=$ ", "sh"]
    film = Recorder(tmux.open("alice", shell, WIDTH, HEIGHT), "chatclient")
    bob = tmux.open("bob", [*CHATCLIENT, "--user", "bob"], WIDTH, HEIGHT)
    bob.wait_for("online")
    film.pane.wait_for("$")
    film.watch(0.6)
    film.type("chatclient --user alice", "Enter")
    film.pane.wait_for("unread")
    film.watch(2.5)
    film.press("M-3")
    film.watch(2.0)
    film.type("looking", "Enter")
    bob.press("M-3")
    bob.enter("it began with the upgrade of yesterday, I think")
    film.watch(2.0)
    film.type("found it: two tests write to the same file. Fix is on its way", "Enter")
    film.watch(1.0)
    server.kill9()
    film.watch(2.0)
    film.type("pushed", "Enter")
    film.watch(2.0)
    server.start()
    film.pane.wait_for("online", "✓ pushed")
    film.watch(2.0)
    bob.wait_for("online")
    bob.enter("and green again. thanks!")
    film.watch(2.0)
    film.press("PageUp", "PageUp")
    film.watch(1.0)
    film.press("End", "M-a")
    film.watch(1.5)
    film.type("one is fine with me", "Enter")
    film.watch(1.5)
    film.type("/msg er", "Tab")
    film.type("are you coming too?", "Enter")
    film.watch(2.5)
    film.type("/quit", "Enter")
    film.watch(1.5)
    return film


def three_clients(tmux: Tmux, browser: Any, go_client: str) -> list[list[Screen | Photo]]:
    """Record the published version 1 client, the page and this client on one port."""
    frank = tmux.open("frank", [go_client, f"localhost:{PORT}"], 62, 20)
    frank.wait_for("Enter your user name")
    frank.enter("frank")
    frank.wait_for("3. Exit")
    width, height = 1170, 420
    page = browser.new_page(viewport={"width": width, "height": height}, locale="en-GB")
    page.goto(f"http://localhost:{PORT}/")
    page.fill("#name", "grace")
    page.click("#enter")
    page.wait_for_selector("#chat:not([hidden])")
    page.click('#people button[data-name="frank"]')
    say(page, "which client is that?")
    frank.wait_for("which client is that?")
    alice = tmux.open("alice-2", [*CHATCLIENT, "--user", "alice"], 72, 20)
    alice.wait_for("online")
    for name, text in (
        ("grace", "the one written in Go, of version 1"),
        ("alice", "hello alice, same port here"),
    ):
        frank.enter("1")
        frank.wait_for("to:")
        frank.enter(name)
        frank.wait_for("text:")
        frank.enter(text)
        frank.wait_for_match(r"(?s)3\. Exit\s+\*+\s*$")
    alice.wait_for_match("● frank +1")
    alice.enter("/query frank")
    alice.wait_for("same port here")
    alice.enter("as grace is, in her browser")
    alice.wait_for("✓ as grace is")
    frank.wait_for("as grace is")
    alice.enter("/msg frank,grace lunch, the three of us?")
    alice.wait_for("✓ lunch")
    frank.wait_for("lunch, the three")
    shown = page.get_by_text("lunch, the three of us?").first
    shown.wait_for()
    shown.click()
    say(page, "with pleasure")
    alice.wait_for("grace   with pleasure")
    frank.wait_for("with pleasure")
    page.wait_for_timeout(500)
    return [
        [
            alice.screen("chatclient: version 2"),
            frank.screen("the published client, in Go: version 1"),
        ],
        [Photo(page.screenshot(), (width, height), f"http://localhost:{PORT}: version 2")],
    ]


def say(page: Any, text: str) -> None:
    """Type a message into the page."""
    page.fill("#text", text)
    page.press("#text", "Enter")


def write(name: str, text: str) -> None:
    """Write a file in docs/screenshots."""
    SCREENSHOTS.mkdir(exist_ok=True)
    (SCREENSHOTS / name).write_text(text)
    print(f"{SCREENSHOTS / name}: {len(text.encode()):,} bytes")


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--go-client", help="the binary of the published client")
    arguments = parser.parse_args()
    try:
        connect(("127.0.0.1", PORT)).close()
    except OSError:
        pass
    else:
        parser.error(f"port {PORT} is in use")
    with tempfile.TemporaryDirectory() as directory, Tmux(Path(directory)) as tmux:
        address = ("127.0.0.1", PORT)
        with Server(Path(directory), [], [f"tcp:{PORT}:interface=127.0.0.1"], address) as server:
            prepare()
            made = conversation(tmux, server)
            still = max(
                number
                for number, (_, screen) in enumerate(made.frames)
                if any("found it" in row and "✓" in row for row in screen.rows)
            )
            write("terminal.svg", film(made.frames, made.length, still))
            write("terminal.cast", made.cast())
            if arguments.go_client:
                from playwright.sync_api import sync_playwright

                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                    screens = three_clients(tmux, browser, arguments.go_client)
                    write("one-port.svg", picture(screens))


if __name__ == "__main__":
    main()
