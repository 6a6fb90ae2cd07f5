"""Lines of the log are what Twisted makes of an event."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.logger import LogLevel, formatEventAsClassicLogText
from twisted.python.failure import Failure

from chat_protocol.service import log_output
from chat_protocol.service.log_output import _as_text, _format_time, _simple_line

BASE = {"log_time": 1_700_000_000.5, "log_level": LogLevel.info, "log_namespace": "chat.x"}

SIMPLE: list[dict[str, Any]] = [
    {"log_format": "{peer} logged in{device}", "peer": "bob", "device": ""},
    {
        "log_format": "{user!a} {n:,} {{}} {a.real} {b[0]}",
        "user": "ü",
        "n": 12345,
        "a": 1,
        "b": "x",
    },
    {"log_format": "two\nlines of {x}", "x": "a\nb"},
]

OTHERS: list[dict[str, Any]] = [
    {},
    {"log_format": None},
    {"log_format": ""},
    {"log_format": b"bytes {x}", "x": 1},
    {"log_format": "{call()} (and this)", "call": lambda: "called"},
    {"log_format": "{missing}"},
    {"log_format": "{x:,}", "x": "no number"},
    {"log_format": "x", "log_system": "system"},
    {"log_format": "x", "log_failure": Failure(ValueError("why"))},
    {"log_format": "x", "log_level": None},
    {"log_format": "x", "log_namespace": None},
]


@pytest.mark.parametrize("event", SIMPLE + OTHERS)
def test_a_line_is_what_twisted_makes_of_it(event: dict[str, Any]) -> None:
    event = BASE | event
    assert _as_text(event) == formatEventAsClassicLogText(event, formatTime=_format_time)
    assert _as_text({"log_format": "x"}) == "- [-#-] x\n"


@pytest.mark.parametrize("event", SIMPLE)
def test_a_simple_line_is_not_made_by_twisted(
    event: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(log_output, "formatEventAsClassicLogText")
    assert _simple_line(BASE | event)
