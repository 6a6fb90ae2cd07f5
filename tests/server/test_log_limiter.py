"""Refusals in the log: a few of each, and how many there were."""

from __future__ import annotations

from twisted.internet.task import Clock

from chat_protocol.server.log_limiter import LINES, LINES_OF_ONE, SECONDS, LogLimiter

# The log.


def test_a_flood_does_not_flood_the_log(log: list[str]) -> None:
    clock = Clock()
    limits = LogLimiter(clock)
    for n in range(1000):
        limits.write("kind", "line {n}", n=n)
        limits.check()
    limits.write("other", "another")
    assert log == [
        *(f"line {n}" for n in range(LINES)),
        f"More of these (kind) are only counted for the next {SECONDS:.0f} s",
        "another",
    ]
    clock.advance(SECONDS)
    log.clear()
    limits.check()
    limits.write("kind", "again")
    assert log == [f"990 more of these (kind) in {SECONDS:.0f} s", "again"]


def test_who_floods_hides_nobody_else(log: list[str]) -> None:
    clock = Clock()
    limits = LogLimiter(clock)
    for n in range(100):
        limits.write("kind", "mallory {n}", whose="mallory", n=n)
    limits.write("kind", "bob", whose="bob")
    assert log == [
        *(f"mallory {n}" for n in range(LINES_OF_ONE)),
        f"More of mallory (kind) are only counted for the next {SECONDS:.0f} s",
        "bob",
    ]
    for n in range(300):
        limits.write("kind", "", whose=f"m{n:03}")
    log.clear()
    clock.advance(SECONDS)
    limits.check()
    unwritten = 100 - LINES_OF_ONE + 300 - (LINES - LINES_OF_ONE - 1)
    (line,) = log
    assert line.startswith(
        f"{unwritten} more of these (kind) in {SECONDS:.0f} s: mallory (97), m006 (1), "
    )
    assert line.endswith("m009 (1), others")
