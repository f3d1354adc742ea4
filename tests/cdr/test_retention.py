"""Nothing goes before 731 days (R10)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr.retention import SHORTEST_DAYS, RetentionError, check_days, expired_months, month_of

DAY_MS = 86_400_000


def ms(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


def months(first: int, count: int) -> list[str]:
    """`count` months from the `first`th month of 2024 on."""
    return [f"{2024 + index // 12}-{index % 12 + 1:02d}" for index in range(first, first + count)]


@pytest.mark.parametrize(
    ("instant_ms", "month"),
    [
        (0, "1970-01"),
        (-1, "1970-01"),
        (ms(2026, 11) - 1, "2026-10"),
        (ms(2026, 11), "2026-11"),
        (10**18, "9999-12"),
    ],
)
def test_the_month_of_an_instant_is_utc_and_never_out_of_range(instant_ms: int, month: str) -> None:
    assert month_of(instant_ms) == month


@pytest.mark.parametrize("days", [-1, 0, 30, 365, 730])
def test_a_shorter_period_is_refused(days: int) -> None:
    with pytest.raises(RetentionError, match="at least 731 days"):
        check_days(days)
    with pytest.raises(RetentionError):
        expired_months([], ms(2026, 11), days)


def test_the_shortest_period_is_accepted() -> None:
    assert check_days(731) == 731


@pytest.mark.parametrize(
    ("now_ms", "gone"),
    [
        (ms(2026, 2, 1), ()),
        (ms(2026, 2, 8) - 1, ()),
        (ms(2026, 2, 8), ("2024-01",)),
        (ms(2026, 3, 8), ("2024-01",)),
        (ms(2026, 3, 11), ("2024-01", "2024-02")),
    ],
)
def test_a_month_goes_when_its_last_day_is_past_retention(now_ms: int, gone: tuple[str, ...]) -> None:
    assert expired_months(months(0, 27), now_ms) == gone


def test_a_clock_that_leaps_ahead_deletes_nothing() -> None:
    assert expired_months(months(0, 24), ms(2090, 1)) == ()
    assert expired_months([*months(0, 23), "2090-01"], ms(2090, 1)) == ()


def test_a_longer_period_keeps_longer() -> None:
    assert expired_months(months(0, 60), ms(2028, 12), 1096)[-1] == "2025-10"
    assert expired_months(months(0, 60), ms(2028, 12), 731)[-1] == "2026-10"


@given(
    st.sets(st.sampled_from(months(0, 120))),
    st.integers(ms(2024, 1), ms(2035, 1)),
    st.integers(SHORTEST_DAYS, 2000),
)
def test_whatever_goes_is_old_enough_to_the_last_millisecond(shelf: set[str], now_ms: int, days: int) -> None:
    for month in expired_months(shelf, now_ms, days):
        year, number = map(int, month.split("-"))
        end = ms(year + number // 12, number % 12 + 1)
        assert now_ms - end >= days * DAY_MS
