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
    "unhandled failure in a cycle": """
        from twisted.internet.defer import Deferred
        def test_leak():
            deferred = Deferred()
            deferred.itself = deferred
            deferred.errback(RuntimeError("nobody listens"))
        """,
    "coroutine in a cycle": """
        async def work():
            pass
        def test_leak():
            box = [work()]
            box.append(box)
        """,
    "unhandled failure of something older than the test": """
        import pytest
        from twisted.internet.defer import Deferred
        @pytest.fixture(scope="module")
        def box():
            deferred = Deferred()
            deferred.itself = deferred
            return [deferred]
        def test_leak(box):
            box.pop().errback(RuntimeError("nobody listens"))
        """,
    "coroutine older than the test": """
        import pytest
        async def work():
            pass
        @pytest.fixture(scope="module")
        def box():
            box = [work()]
            box.append(box)
            return [box]
        def test_leak(box):
            box.clear()
        """,
}


@pytest.fixture
def guarded(pytester: pytest.Pytester) -> pytest.Pytester:
    here = Path(__file__)
    pytester.makeconftest(here.with_name("leaks.py").read_text())
    # It says which warnings are errors.
    pytester.makepyprojecttoml((here.parents[1] / "pyproject.toml").read_text())
    return pytester


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_fails_the_run(leak: str, guarded: pytest.Pytester) -> None:
    path = guarded.makepyfile(LEAKS[leak])
    result = guarded.runpytest_subprocess("-p", "no:cacheprovider", path)
    result.assert_outcomes(passed=1, errors=1)


def test_every_leak_fails_a_run_in_several_processes(guarded: pytest.Pytester) -> None:
    paths = [
        guarded.makepyfile(**{f"test_{number}": LEAKS[leak]}) for number, leak in enumerate(LEAKS)
    ]
    result = guarded.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2", *paths)
    result.assert_outcomes(passed=len(LEAKS), errors=len(LEAKS))
