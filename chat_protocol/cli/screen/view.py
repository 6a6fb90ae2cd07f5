"""Display of the model with prompt_toolkit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from prompt_toolkit.application import Application, get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindingsBase
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    UIContent,
    UIControl,
    VSplit,
    Window,
)
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.styles import Style

from chat_protocol.cli.screen.capabilities import NICK_STYLES, Row
from chat_protocol.cli.screen.frame import (
    SIDEBAR_COLUMNS,
    SIDEBAR_MIN_WIDTH,
    prompt_row,
    sidebar_rows,
    status_row,
    title_row,
)
from chat_protocol.cli.screen.model import Model
from chat_protocol.cli.screen.viewport import Viewport

__all__ = ["MessageArea", "View", "color_depth"]

_TYPED_ROWS = 6
"""Maximum number of rows for the line being typed."""

_SAVE_TITLE, _RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"
"""Window operations of xterm: push and pop the title."""

_NICK_COLORS = (
    "ansicyan",
    "ansigreen",
    "ansiyellow",
    "ansimagenta",
    "ansiblue",
    "ansibrightcyan",
    "ansibrightgreen",
    "ansibrightyellow",
    "ansibrightmagenta",
    "ansibrightblue",
)

_STYLE = Style.from_dict(
    {
        "title": "reverse",
        "time": "ansibrightblack",
        "me": "bold",
        "notice": "ansibrightblack",
        "pending": "ansibrightblack",
        "sending": "ansiyellow",
        "stored": "ansigreen",
        "failed": "ansired bold",
        "day": "ansibrightblack",
        "new": "ansired",
        "online": "ansigreen",
        "offline": "ansibrightblack",
        "line": "ansibrightblack",
        "side.head": "ansibrightblack",
        "side.number": "ansibrightblack",
        "side.current": "reverse",
        "side.unread": "bold",
        "count": "ansired bold",
        "status": "reverse",
        "status.on": "reverse",
        "status.lost": "noreverse bg:ansired ansiwhite bold",
        "status.question": "noreverse bg:ansiyellow ansiblack bold",
        "status.more": "reverse bold",
        "status.unread": "reverse bold",
        "prompt": "bold",
        "prompt.all": "ansired bold",
        **{f"nick{number}": _NICK_COLORS[number] for number in range(NICK_STYLES)},
    }
)


def color_depth(environ: Mapping[str, str]) -> ColorDepth | None:
    """Return one bit if NO_COLOR is set (no-color.org); None: what the terminal supports."""
    return ColorDepth.DEPTH_1_BIT if environ.get("NO_COLOR") else None


class MessageArea(UIControl):
    """The rows of the current conversation.

    Args:
        model: the state of the screen.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._width = 80
        self._height = 24

    def create_content(self, width: int, height: int) -> UIContent:
        """Return the visible rows, the newest at the bottom."""
        self._width, self._height = width, height
        rows = self.viewport.rows()
        rows = [[] for _ in range(height - len(rows))] + rows
        return UIContent(lambda number: _text(rows[number]), len(rows), show_cursor=False)

    @property
    def viewport(self) -> Viewport:
        """The viewport at the size of the last drawing."""
        return Viewport(self._model.current, self._width, self._height, self._model.capabilities)

    @property
    def page(self) -> int:
        """The number of rows that a page key scrolls."""
        return max(1, self._height - 2)


class View:
    """The full screen.

    Args:
        model: the state of the screen; its ``changed`` and ``ring`` are set here.
        keys: the key bindings.
        environ: environment variables.
        input, output: of prompt_toolkit; default: the terminal.
    """

    def __init__(
        self,
        model: Model,
        keys: KeyBindingsBase,
        environ: Mapping[str, str],
        input: Input | None = None,  # noqa: A002
        output: Output | None = None,
    ) -> None:
        self._model = model
        self.messages = MessageArea(model)
        self.typed = Buffer(multiline=True, history=InMemoryHistory())
        self.app: Application[None] = Application(
            layout=Layout(self._layout(), focused_element=self.typed),
            key_bindings=keys,
            style=_STYLE,
            full_screen=True,
            color_depth=color_depth(environ),
            input=input,
            output=output,
            # SIGWINCH reports a resize, so polling is not needed.
            terminal_size_polling_interval=None,
            min_redraw_interval=0.02,
        )
        # Seconds to wait after an Escape for the rest of a key sequence.
        self.app.ttimeoutlen = 0.1
        self.app.key_processor.before_key_press += lambda _: model.key_pressed()
        self._title = ""
        model.changed = self.changed
        model.ring = self.app.output.bell

    def close(self) -> None:
        """Restore the terminal's title."""
        if self._title:
            self.app.output.write_raw(_RESTORE_TITLE)
            # The terminal may be closed.
            with suppress(OSError):
                self.app.output.flush()

    def changed(self) -> None:
        """Schedule a redraw."""
        unread = self._model.unread
        title = f"({unread}) chatclient" if unread else "chatclient"
        if title != self._title and self.app.is_running:
            if not self._title:
                self.app.output.write_raw(_SAVE_TITLE)
            self._title = title
            self.app.output.set_title(title)
        self.app.invalidate()

    def _layout(self) -> HSplit:
        typed = Window(
            BufferControl(self.typed),
            height=Dimension(min=1, max=_TYPED_ROWS),
            wrap_lines=True,
            dont_extend_height=True,
            get_line_prefix=self._prefix,
        )
        side = VSplit(
            [
                _window(self._side, width=SIDEBAR_COLUMNS),
                Window(width=1, char=self._model.capabilities.vertical, style="class:line"),
                Window(width=1),
            ]
        )
        return HSplit(
            [
                _window(lambda: [title_row(self._model, _columns())], height=1),
                VSplit(
                    [
                        ConditionalContainer(
                            side, Condition(lambda: _columns() >= SIDEBAR_MIN_WIDTH)
                        ),
                        Window(self.messages, wrap_lines=False, always_hide_cursor=True),
                    ]
                ),
                _window(lambda: [status_row(self._model, _columns())], height=1),
                typed,
            ]
        )

    def _side(self) -> list[Row]:
        # Reserve the title, the status line and one row of input.
        rows = get_app().output.get_size().rows - 3
        return sidebar_rows(self._model, max(1, rows))

    def _prefix(self, line: int, wrapped: int) -> StyleAndTextTuples:
        row = prompt_row(self._model, _columns())
        if line or wrapped:
            return [("", " " * min(2, len(row[0][1])))]
        return _text(row)


def _columns() -> int:
    return get_app().output.get_size().columns


def _window(
    rows: Callable[[], list[Row]], width: int | None = None, height: int | None = None
) -> Window:
    """Return a window whose rows are rendered at each redraw."""

    def text() -> StyleAndTextTuples:
        found: StyleAndTextTuples = []
        for row in rows():
            if found:
                found.append(("", "\n"))
            found += _text(row)
        return found

    return Window(FormattedTextControl(text), wrap_lines=False, width=width, height=height)


def _text(row: Row) -> StyleAndTextTuples:
    return [(style, text) for style, text in row]
