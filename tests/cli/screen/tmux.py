"""Programs in the panes of a tmux of their own, as somebody at a terminal sees them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tests.cli.screen.picture import Screen

__all__ = ["CHATCLIENT", "NO_TMUX", "Tmux", "has_tmux"]

PATIENCE = 30.0
"""Seconds until something that a test waits for is not going to happen."""

NO_TMUX = "no tmux: apt-get install tmux"

CHATCLIENT = [
    sys.executable,
    "-c",
    "import sys; from chat_protocol.cli.main import main; sys.exit(main())",
]


def has_tmux() -> bool:
    """Whether the program is there."""
    return shutil.which("tmux") is not None


class Tmux:
    """A tmux server without a configuration; it ends with the ``with`` block.

    Args:
        directory: for its socket; the path may be long, so it is where it runs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started = False

    def __enter__(self) -> Tmux:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._started:
            self.run("kill-server")

    def run(self, *arguments: str) -> str:
        """A command of tmux; returns what it prints."""
        environ = {name: os.environ[name] for name in os.environ if name != "TMUX"}
        done = subprocess.run(
            ["tmux", "-S", "tmux.socket", "-f", os.devnull, *arguments],
            cwd=self._directory,
            env={**environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def open(
        self, name: str, command: list[str], width: int = 90, height: int = 20, **environ: str
    ) -> Pane:
        """Run a program in a window of its own; its exit code is shown when it has ended."""
        variables = {"LC_ALL": "C.UTF-8", "TZ": "UTC", **environ}
        words = ["env", *(f"{key}={value}" for key, value in variables.items()), *command]
        line = f'{shlex.join(words)}; echo "exit code $?"; exec sleep 1000'
        size = ("-x", str(width), "-y", str(height))
        self.run("new-session", "-d", "-s", name, *size, "sh", "-c", line)
        self._started = True
        return Pane(self, name)


def _look(looks: dict[str, str], code: str) -> None:
    """What is in force after one more code: by what it is about."""
    ends = {"39": "front", "49": "back", "22": "bold", "27": "reverse"}
    if code == "0":
        looks.clear()
    elif code in ends:
        looks.pop(ends[code], None)
    elif re.fullmatch("[39][0-7]", code):
        looks["front"] = code
    elif re.fullmatch("(4|10)[0-7]", code):
        looks["back"] = code
    else:
        looks[{"1": "bold", "7": "reverse"}.get(code, code)] = code


class Pane:
    """What one program shows."""

    def __init__(self, tmux: Tmux, name: str) -> None:
        self._tmux = tmux
        self._name = name

    @property
    def text(self) -> str:
        """The rows of the screen."""
        return self._tmux.run("capture-pane", "-p", "-t", self._name)

    @property
    def colored(self) -> str:
        """The rows with their colours, as escape sequences."""
        return self._tmux.run("capture-pane", "-p", "-e", "-t", self._name)

    def screen(self, caption: str = "") -> Screen:
        """All that is needed to draw it."""
        rows = []
        looks: dict[str, str] = {}
        for row in self._tmux.run("capture-pane", "-peN", "-t", self._name).split("\n")[:-1]:
            # tmux goes on in the colours of the row above.
            rows.append(f"\x1b[{';'.join(looks.values())}m{row}" if looks else row)
            for sequence in re.findall(r"\x1b\[([0-9;]*)m", row):
                for code in sequence.split(";"):
                    _look(looks, code or "0")
        shown, x, y, width = self._ask("cursor_flag", "cursor_x", "cursor_y", "pane_width")
        cursor = (int(x), int(y)) if shown == "1" else None
        return Screen(tuple(rows), int(width), cursor, caption)

    def _ask(self, *formats: str) -> list[str]:
        wanted = " ".join(f"#{{{one}}}" for one in formats)
        return self._tmux.run("display-message", "-p", "-t", self._name, wanted).split()

    @property
    def title(self) -> str:
        """What the program called its terminal."""
        return self._tmux.run("display-message", "-p", "-t", self._name, "#{pane_title}").strip()

    def type(self, text: str) -> None:
        """Characters, as they are."""
        self._tmux.run("send-keys", "-t", self._name, "-l", text)

    def press(self, *keys: str) -> None:
        """Keys by the names that tmux has for them."""
        self._tmux.run("send-keys", "-t", self._name, *keys)

    def enter(self, text: str) -> None:
        """A line."""
        self.type(text)
        self.press("Enter")

    def paste(self, text: str) -> None:
        """As the terminal pastes it, in brackets if the program asked for them."""
        self._tmux.run("set-buffer", "-b", self._name, text)
        self._tmux.run("paste-buffer", "-p", "-b", self._name, "-t", self._name)

    def signal(self, name: str) -> None:
        """To the program, by the name of the signal."""
        (pid,) = self._ask("pane_pid")
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.Signals[f"SIG{name}"])

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size."""
        self._tmux.run("resize-window", "-t", self._name, "-x", str(width), "-y", str(height))

    def wait_for(self, *texts: str) -> str:
        """Wait until all of these are on the screen; returns the screen."""
        return self._wait(lambda screen: all(text in screen for text in texts), texts)

    def wait_for_match(self, pattern: str) -> str:
        """Wait until a regular expression matches somewhere on the screen."""
        return self._wait(lambda screen: re.search(pattern, screen) is not None, pattern)

    def wait_until_gone(self, text: str) -> str:
        """Wait until it is not on the screen."""
        return self._wait(lambda screen: text not in screen, f"the end of {text}")

    def _wait(self, condition: Callable[[str], bool], what: object) -> str:
        end = time.monotonic() + PATIENCE
        while not condition(screen := self.text):
            assert time.monotonic() < end, f"{what!r} does not come in:\n{screen}"
            time.sleep(0.05)
        return screen
