"""What stands around the messages: title, list at the side, status line."""

from __future__ import annotations

from math import ceil

from chat_protocol.cli.screen.capabilities import Row
from chat_protocol.cli.screen.conversations import EVERYONE, Talk
from chat_protocol.cli.screen.model import Model
from chat_protocol.cli.text import quoted

__all__ = ["SIDE_COLUMNS", "SIDE_FROM", "prompt_row", "side_rows", "status_row", "title_row"]

SIDE_COLUMNS = 24
"""Columns of the list at the side."""

SIDE_FROM = 72
"""Columns of the screen from which on there is room for it."""

_PROMPT_SHARE = 3
"""The part of the row that the names in front of the typed line may take."""


def title_row(model: Model, width: int) -> Row:
    """The conversation that is shown, and who is there."""
    talk, look = model.current, model.look
    said = f" {model.talks.index(talk) + 1} {model.title(talk)}"
    if talk.is_home:
        said += f" {look.upright} {model.server}"
    elif talk.partners == EVERYONE:
        said += f" {look.upright} every user of {model.server}"
    elif len(talk.partners) == 1 and (talk.partners[0] in model.people):
        said += f" {look.upright} {'here' if model.people[talk.partners[0]] else 'not here'}"
    return [("class:title", look.pad(said, width))]


def side_rows(model: Model, height: int, width: int = SIDE_COLUMNS) -> list[Row]:
    """Conversations with their numbers and what is unread, and below them the other people."""
    at = model.talks.index(model.current)
    room = height - min(height // 3, len(model.people) + 1)
    first = max(0, min(at - room // 2, len(model.talks) - room))
    shown = model.talks[first : first + room]
    rows = [_talk_row(model, talk, first + n + 1, width) for n, talk in enumerate(shown)]
    left = height - len(rows) - 1
    alone = {talk.partners[0] for talk in model.talks if len(talk.partners) == 1}
    others = sorted(
        (name for name in model.people if name not in alone),
        key=lambda name: (not model.people[name], name),
    )
    if left > 0 and others:
        rows.append([("class:side.head", model.look.pad(" people", width))])
        cut = len(others) > left
        for name in others[: left - 1 if cut else left]:
            here = model.people[name]
            mark = model.look.here if here else model.look.away
            style = "class:here" if here else "class:away"
            named = model.look.pad(model.look.name(name), width - 3)
            rows.append([(style, f" {mark} "), ("class:side" if here else "class:away", named)])
        if cut:
            more = f"   and {len(others) - left + 1} more"
            rows.append([("class:away", model.look.pad(more, width))])
    return rows


def _talk_row(model: Model, talk: Talk, number: int, width: int) -> Row:
    look = model.look
    mark = " "
    if len(talk.partners) == 1 and talk.partners[0] in model.people:
        mark = look.here if model.people[talk.partners[0]] else look.away
    count = f" {talk.unread}" if talk.unread else ""
    style = "class:side"
    if talk is model.current:
        style = "class:side.current"
    elif talk.unread:
        style = "class:side.unread"
    named = look.pad(model.title(talk), width - 5 - len(count))
    here = "class:here" if mark == look.here else "class:away"
    quiet = talk is model.current
    return [
        (style if quiet else f"{style} class:side.number", f"{number:>2} "),
        (style if quiet else f"{style} {here}", mark),
        (style, f" {named}"),
        (style if quiet else f"{style} class:count", count),
    ]


def status_row(model: Model, width: int) -> Row:
    """The connection, what is unread and where, and a hint for the one who types."""
    look, link, talk = model.look, model.link, model.current
    row: Row = [("class:status", f" {look.fit(quoted(model.me), width // 3)}@{model.server} ")]
    if link.why:
        seconds = max(0, ceil(link.retry_at - model.seconds()))
        when = f"again in {seconds} s" if seconds else "trying now"
        row.append(("class:status.lost", f" not connected: {link.why}; {when} "))
    else:
        row.append(("class:status.on", f"{look.here} on-line "))
    if model.paste is not None:
        count = len(model.paste.lines)
        asked = f" {count} lines pasted: (o)ne message, (s)everal, or (n)othing? "
        row = [("class:status.question", asked)]
    elif model.hint:
        row.append(("class:status", f"{look.upright} {model.hint} "))
    else:
        if model.catching_up:
            row.append(("class:status", f"{look.upright} {model.catching_up} are coming in "))
        if talk.loading:
            row.append(("class:status", f"{look.upright} loading "))
        if not talk.follows:
            more = f" {talk.below} new" if talk.below else ""
            row.append(("class:status.more", f" {look.below} more below{more} "))
        unread = [one for one in model.talks if one.unread and one is not talk]
        if unread:
            where = "; ".join(f"{model.title(one)} {one.unread}" for one in unread[:5])
            row.append(("class:status.unread", f"{look.upright} unread: {where} "))
    return _fit_row(model, row, width)


def prompt_row(model: Model, width: int) -> Row:
    """What stands in front of the line being typed: to whom it goes."""
    talk = model.current
    to = "" if talk.is_home else model.look.fit(model.title(talk), width // _PROMPT_SHARE)
    style = "class:prompt.all" if talk.partners == EVERYONE else "class:prompt"
    return [(style, f"{to}> ")]


def _fit_row(model: Model, row: Row, width: int) -> Row:
    """Cut to the width, and filled up."""
    fitting: Row = []
    left = width
    for style, text in row:
        shown = model.look.fit(text, left)
        fitting.append((style, shown))
        left -= model.look.width(shown)
        if left <= 0:
            return fitting
    return [*fitting, ("class:status", " " * left)]
