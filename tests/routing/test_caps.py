"""Caps and windows: what their texts and objects mean, and which mistakes are told how."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.caps import (
    LARGEST_CAP,
    NO_CAP_SET,
    NO_CAPS,
    Caps,
    CapSet,
    format_cap_set,
    format_caps,
    parse_cap_set,
    parse_caps,
)
from routing.errors import BindingError
from routing.windows import Window, format_window, open_at, parse_window, parse_windows

NUMBERS = st.integers(0, LARGEST_CAP)
CAPS = st.builds(Caps, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
CALLER_CAPS = st.builds(Caps, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@given(st.builds(CapSet, CALLER_CAPS, CAPS, CAPS, CAPS))
def test_caps_read_as_they_were_written(caps: CapSet) -> None:
    assert parse_cap_set(format_cap_set(caps)) == caps


def test_only_what_is_capped_is_written() -> None:
    assert format_caps(Caps(per_hour=3)) == {"per_hour": 3}
    assert format_caps(NO_CAPS) == format_cap_set(NO_CAP_SET) == {}
    assert format_cap_set(CapSet(number=Caps(concurrent=1))) == {"number": {"concurrent": 1}}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"per_week": 1}, "caps.per_week"),
        ({"per_hour": -1}, "caps.per_hour"),
        ({"per_hour": LARGEST_CAP + 1}, "caps.per_hour"),
        ({"per_hour": 1.0}, "caps.per_hour"),
        ({"per_hour": True}, "caps.per_hour"),
        ({"per_hour": "1"}, "caps.per_hour"),
        ({"distinct_x": 1}, "caps.distinct_x"),
        ([], "caps"),
    ],
)
def test_a_wrong_cap_is_named(values: Any, field: str) -> None:
    with pytest.raises(BindingError) as caught:
        parse_caps(values)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"callee": {}}, "caps.callee"),
        ({"caller": 3}, "caps.caller"),
        ({"binding": {"distinct_x": 1}}, "caps.binding.distinct_x"),
        ({"caller": {"per_hour": None}}, "caps.caller.per_hour"),
        (None, "caps"),
    ],
)
def test_a_wrong_set_of_caps_is_named(values: Any, field: str) -> None:
    with pytest.raises(BindingError) as caught:
        parse_cap_set(values)
    assert caught.value.field == field


def test_caps_of_ones_own_go_before_those_by_default() -> None:
    base = CapSet(caller=Caps(per_hour=10, per_day=20), number=Caps(concurrent=2))
    own = CapSet(caller=Caps(per_hour=30, distinct_x=5))
    assert own.over(base) == CapSet(Caps(0, 30, 20, 0, 5), NO_CAPS, Caps(concurrent=2), NO_CAPS)
    assert NO_CAPS.over(NO_CAPS) is NO_CAPS


# windows

# 2026-11-22, a Sunday, 00:00 in China
SUNDAY_MS = 1_795_276_800_000
MINUTE_MS = 60_000


def at(days: int, hours: int, minutes: int = 0) -> int:
    return SUNDAY_MS + ((days * 24 + hours) * 60 + minutes) * MINUTE_MS


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("08:00-22:00", [at(0, 8), at(3, 21, 59)], [at(0, 7, 59), at(0, 22)]),
        ("sun 00:00-24:00", [at(0, 0), at(0, 23, 59), at(7, 12)], [at(1, 0), at(-1, 23, 59)]),
        ("mon-fri 09:00-18:00", [at(1, 9), at(5, 17, 59)], [at(0, 12), at(6, 12), at(1, 18)]),
        ("sat-mon 10:00-11:00", [at(0, 10), at(1, 10), at(6, 10)], [at(2, 10), at(5, 10)]),
        ("sat 22:00-06:00", [at(-1, 22), at(0, 0), at(0, 5, 59)], [at(-1, 21, 59), at(0, 6), at(0, 22), at(-1, 5)]),
    ],
)
def test_a_window_is_open_by_the_clock_in_china(text: str, inside: list[int], outside: list[int]) -> None:
    windows = parse_windows([text])
    assert all(open_at(windows, now_ms) for now_ms in inside)
    assert not any(open_at(windows, now_ms) for now_ms in outside)


def test_without_windows_it_is_always_open_and_with_several_in_any_of_them() -> None:
    assert open_at((), SUNDAY_MS)
    windows = parse_windows(["08:00-09:00", "20:00-21:00"])
    assert open_at(windows, at(0, 8, 30))
    assert open_at(windows, at(0, 20, 30))
    assert not open_at(windows, at(0, 12))


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 1439), st.integers(0, 1440))
def test_windows_read_as_they_were_written(first: int, last: int, start: int, end: int) -> None:
    if start == end:
        return
    window = Window(first, last, start, end)
    again = parse_window(format_window(window))
    assert [again.holds(day, minute) for day in range(7) for minute in range(0, 1440, 7)] == [
        window.holds(day, minute) for day in range(7) for minute in range(0, 1440, 7)
    ]


@pytest.mark.parametrize(
    "text", ["", "8:00-22:00", "08:00", "mo 08:00-22:00", "mon-som 08:00-22:00", "24:00-25:00", "25:00-26:00",
             "08:00-08:00", "08:60-09:00", "08:00-24:01"]
)  # fmt: skip
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(BindingError) as caught:
        parse_windows(["08:00-22:00", text])
    assert caught.value.field == "windows[1]"


def test_a_list_of_windows_is_bounded_and_of_texts() -> None:
    with pytest.raises(BindingError, match="more than 28"):
        parse_windows(["08:00-22:00"] * 29)
    with pytest.raises(BindingError, match="must be a text"):
        parse_windows([8])
