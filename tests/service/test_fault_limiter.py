"""Of a fault that happens again and again, the log has a few tracebacks."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure

from chat_protocol.service import fault_limiter
from chat_protocol.service.fault_limiter import FAULTS, SECONDS, FaultLimiter
from chat_protocol.service.log_output import make_log


def as_line(event: LogEvent) -> str:
    what = "fault: " if "log_failure" in event else ""
    return f"{what}{formatEvent(event)}\n"


def event(text: str, time: float = 0, failure: Failure | None = None) -> dict[str, Any]:
    made = {"log_time": time, "log_format": "{what}", "what": text}
    return made if failure is None else {**made, "log_failure": failure}


def one() -> Failure:
    try:
        raise ValueError("one")
    except ValueError:
        return Failure()  # type: ignore[no-untyped-call]


def another() -> Failure:
    try:
        raise ValueError("another")
    except ValueError:
        return Failure()  # type: ignore[no-untyped-call]


def test_the_first_ones_are_written_and_the_others_counted() -> None:
    limiter = FaultLimiter(as_line)
    lines = [limiter(event(str(n), n / 10, one())) for n in range(FAULTS + 5)]
    expected: list[str | None] = [f"fault: {n}\n" for n in range(FAULTS)]
    counted = "More faults like the last one are only counted for the next 59 s\n"
    assert lines == [*expected, counted, None, None, None, None]
    # Others have counts of their own, and what is no fault has none.
    assert limiter(event("x", 2, another())) == "fault: x\n"
    assert [limiter(event("y", 2)) for _ in range(50)] == ["y\n"] * 50
    assert limiter(event("z", SECONDS, one())) == (
        "5 more faults like the next one in 60 s\nfault: z\n"
    )
    assert limiter(event("z", SECONDS, one())) == "fault: z\n"
    assert limiter(event("x", 2 + SECONDS, another())) == "fault: x\n"


def test_it_knows_a_bounded_number_of_faults(monkeypatch: Any) -> None:
    monkeypatch.setattr(fault_limiter, "_KINDS", 2)
    limiter = FaultLimiter(as_line)
    for failure in (one(), another(), Failure(KeyError("made, not raised"))):  # type: ignore[no-untyped-call]
        limiter(event("x", 0, failure))
    assert len(limiter._kinds) == 1


def test_the_log_of_the_server_has_it() -> None:
    for log_format in ("text", "json"):
        writer = make_log("-", log_format)
        lines = [writer._format(event("x", 1, one())) for _ in range(FAULTS + 5)]
        assert sum(line is not None for line in lines) == FAULTS + 1
