"""The log as JSON: one object a line, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import LogLevel
from twisted.python.failure import Failure

from chat_protocol.service.json_log import as_json


def line(**event: Any) -> dict[str, Any]:
    text = as_json({"log_time": 1.5, "log_level": LogLevel.warn, "log_namespace": "here", **event})
    assert text is not None
    assert text.endswith("\n")
    assert "\n" not in text[:-1]
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_says_when_where_and_what() -> None:
    assert line(log_format="Refused {peer}", peer="bob", limit="x", object=object()) == {
        "time": "1970-01-01T00:00:01.500000+00:00",
        "level": "warn",
        "system": "here",
        "message": "Refused bob",
        "peer": "bob",
        "limit": "x",
    }


def test_no_name_of_a_value_hides_what_every_line_has() -> None:
    found = line(log_format="{message}", message="m", level="l", time=2, system="s", traceback="t")
    assert found["level"] == "warn"
    assert found["system"] == "here"
    assert found["time"].startswith("1970")
    assert "traceback" not in found


def test_what_a_peer_chooses_breaks_no_line() -> None:
    found = line(log_format="{who}", who='a\n{"level": "x"}\u2028\x1b\udc80')
    assert found["message"] == 'a\n{"level": "x"}\u2028\x1b\udc80'


def test_a_failure_brings_its_traceback() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        found = line(log_format="It failed", log_failure=Failure())
    assert found["message"] == "It failed"
    assert found["traceback"].rstrip().endswith("ValueError: wrong")


def test_what_says_nothing_is_no_line() -> None:
    assert as_json({"log_time": 1.0, "log_format": ""}) is None
