"""The guard itself: each kind of leak makes a run of pytest fail."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LEAKS = {
    "unhandled failure": """
        from twisted.internet.defer import fail
        def test_leak():
            fail(RuntimeError("nobody listens"))
        """,
    "logged failure": """
        from twisted.logger import Logger
        def test_leak():
            try:
                raise RuntimeError("logged")
            except RuntimeError:
                Logger().failure("oops")
        """,
    "delayed call": """
        def test_leak():
            from twisted.internet import reactor
            reactor.callLater(50, print)
        """,
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_fails_the_run(leak: str, pytester: pytest.Pytester) -> None:
    guard = Path(__file__).with_name("leaks.py").read_text()
    pytester.makeconftest(guard)
    pytester.makepyfile(LEAKS[leak])
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
