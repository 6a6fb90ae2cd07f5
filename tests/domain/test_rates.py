"""Token buckets."""

from __future__ import annotations

import pytest

from chat_protocol.domain.rates import Allowance, Bucket, Buckets, Rate


def test_a_bucket_is_full_at_first_and_fills_again() -> None:
    bucket = Bucket(Rate(2, 10), 100.0)
    assert bucket.level(100.0) == 10
    bucket.take(10, 100.0)
    assert (bucket.level(100.0), bucket.wait(100.0)) == (0, 0.5)
    assert bucket.level(101.5) == 3
    assert bucket.wait(101.5) == 0
    assert bucket.level(1000.0) == 10


def test_a_debt_is_worked_off_first() -> None:
    bucket = Bucket(Rate(2, 10), 0.0)
    bucket.take(14, 0.0)
    assert bucket.wait(0.0) == 2.5
    assert bucket.level(2.0) == 0


def test_each_key_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(Rate(1, 2), 10)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0, 0, 1]
    assert buckets.take("b", 0.0) == 0
    assert buckets.take("a", 1.0) == 0
    assert len(buckets) == 2


def test_without_a_rate_there_is_no_limit_and_nothing_is_kept() -> None:
    buckets = Buckets(Rate(0, 0), 10)
    assert [buckets.take("a", 0.0) for _ in range(100)] == [0] * 100
    assert len(buckets) == 0


def test_the_least_recently_used_bucket_is_dropped() -> None:
    buckets = Buckets(Rate(1, 1), 3)
    for key in "abc":
        buckets.take(key, 0.0)
    assert buckets.take("a", 0.0) > 0
    buckets.take("d", 0.0)
    assert len(buckets) == 3
    assert buckets.take("a", 0.0) > 0
    assert buckets.take("b", 0.0) == 0


def test_an_allowance_keeps_to_the_rate_in_the_long_run() -> None:
    bucket = Bucket(Rate(10, 100), 0.0)
    allowance = Allowance((bucket,))
    taken = budget = 0.0
    now = 0.0
    while now < 100:
        if budget < 1:
            budget = allowance.portion(-budget, now)
        if budget < 1:
            now += max(0.02, allowance.wait(now))
        else:
            budget -= 1
            taken += 1
    assert 1090 <= taken <= 1110


def test_the_tightest_rate_of_an_allowance_counts() -> None:
    mine, everybodys = Bucket(Rate(1, 100), 0.0), Bucket(Rate(5, 20), 0.0)
    allowance = Allowance((mine, everybodys))
    portions = [allowance.portion(0, 0.0) for _ in range(12)]
    assert sum(portions) == 20
    assert allowance.portion(0, 0.0) == 0
    assert allowance.wait(0.0) == pytest.approx(0.2)
    assert allowance.rate(0.0) == Rate(5, 20)
    assert mine.level(0.0) == 80


def test_rates_in_words() -> None:
    assert [str(Rate(0.5, 30)), str(Rate(0, 0))] == ["0.5 a second, 30 at once", "none"]
