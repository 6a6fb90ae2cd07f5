"""Programs in the panes of a private tmux server."""

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
"""Seconds to wait for an expected event."""

NO_TMUX = "no tmux: apt-get install tmux"

CHATCLIENT = [
    sys.executable,
    "-c",
    "import sys; from chat_protocol.cli.main import main; sys.exit(main())",
]


def has_tmux() -> bool:
    """Return whether tmux is installed."""
    return shutil.which("tmux") is not None


class Tmux:
    """A tmux server without a configuration; it ends with the ``with`` block.

    Args:
        directory: for its socket; tmux runs there, because the full path may be too long.
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
        """Run a tmux command and return its output."""
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
        """Run a program in its own window, which shows the exit code at the end."""
        variables = {"LC_ALL": "C.UTF-8", "TZ": "UTC", **environ}
        words = ["env", *(f"{key}={value}" for key, value in variables.items()), *command]
        line = f'{shlex.join(words)}; echo "exit code $?"; exec sleep 1000'
        size = ("-x", str(width), "-y", str(height))
        self.run("new-session", "-d", "-s", name, *size, "sh", "-c", line)
        self._started = True
        return Pane(self, name)


def _update_style(styles: dict[str, str], code: str) -> None:
    """Update the active style codes with one more code."""
    ends = {"39": "front", "49": "back", "22": "bold", "27": "reverse"}
    if code == "0":
        styles.clear()
    elif code in ends:
        styles.pop(ends[code], None)
    elif re.fullmatch("[39][0-7]", code):
        styles["front"] = code
    elif re.fullmatch("(4|10)[0-7]", code):
        styles["back"] = code
    else:
        styles[{"1": "bold", "7": "reverse"}.get(code, code)] = code


class Pane:
    """The screen of one program."""

    def __init__(self, tmux: Tmux, name: str) -> None:
        self._tmux = tmux
        self._name = name

    @property
    def text(self) -> str:
        """The rows of the screen."""
        return self._tmux.run("capture-pane", "-p", "-t", self._name)

    @property
    def colored(self) -> str:
        """The rows with colors as escape sequences."""
        return self._tmux.run("capture-pane", "-p", "-e", "-t", self._name)

    def screen(self, caption: str = "") -> Screen:
        """Capture the screen for a picture."""
        rows = []
        styles: dict[str, str] = {}
        for row in self._tmux.run("capture-pane", "-peN", "-t", self._name).split("\n")[:-1]:
            # tmux continues with the colors of the previous row.
            rows.append(f"\x1b[{';'.join(styles.values())}m{row}" if styles else row)
            for sequence in re.findall(r"\x1b\[([0-9;]*)m", row):
                for code in sequence.split(";"):
                    _update_style(styles, code or "0")
        shown, x, y, width = self._ask("cursor_flag", "cursor_x", "cursor_y", "pane_width")
        cursor = (int(x), int(y)) if shown == "1" else None
        return Screen(tuple(rows), int(width), cursor, caption)

    def _ask(self, *formats: str) -> list[str]:
        wanted = " ".join(f"#{{{one}}}" for one in formats)
        return self._tmux.run("display-message", "-p", "-t", self._name, wanted).split()

    @property
    def title(self) -> str:
        """The terminal title that the program has set."""
        return self._tmux.run("display-message", "-p", "-t", self._name, "#{pane_title}").strip()

    def type(self, text: str) -> None:
        """Type characters literally."""
        self._tmux.run("send-keys", "-t", self._name, "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by their tmux names."""
        self._tmux.run("send-keys", "-t", self._name, *keys)

    def enter(self, text: str) -> None:
        """Type a line and press Enter."""
        self.type(text)
        self.press("Enter")

    def paste(self, text: str) -> None:
        """Paste text, with bracketed paste if the program enabled it."""
        self._tmux.run("set-buffer", "-b", self._name, text)
        self._tmux.run("paste-buffer", "-p", "-b", self._name, "-t", self._name)

    def signal(self, name: str) -> None:
        """Send a signal to the program."""
        (pid,) = self._ask("pane_pid")
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.Signals[f"SIG{name}"])

    def resize(self, width: int, height: int) -> None:
        """Resize the terminal."""
        self._tmux.run("resize-window", "-t", self._name, "-x", str(width), "-y", str(height))

    def wait_for(self, *texts: str) -> str:
        """Wait until all texts are on the screen; return the screen."""
        return self._wait(lambda screen: all(text in screen for text in texts), texts)

    def wait_for_match(self, pattern: str) -> str:
        """Wait until a regular expression matches the screen."""
        return self._wait(lambda screen: re.search(pattern, screen) is not None, pattern)

    def press_until_match(self, key: str, pattern: str) -> None:
        """Press a key again and again, until a regular expression matches the screen."""

        def matches(screen: str) -> bool:
            found = re.search(pattern, screen) is not None
            if not found:
                self.press(key)
            return found

        self._wait(matches, pattern)

    def wait_until_gone(self, text: str) -> str:
        """Wait until a text is no longer on the screen."""
        return self._wait(lambda screen: text not in screen, f"the end of {text}")

    def _wait(self, condition: Callable[[str], bool], what: object) -> str:
        end = time.monotonic() + PATIENCE
        while not condition(screen := self.text):
            assert time.monotonic() < end, f"{what!r} does not appear in:\n{screen}"
            time.sleep(0.05)
        return screen
