"""Counts under caps: against a naive model, at the edges of windows, within their bound, over a restart."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import counters as module
from routing.caps import Caps
from routing.counters import Counters
from routing.policy import Claim, Use
from routing.reason import Reason

CHINA_MS = 8 * 3_600_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
# midnight in China
MIDNIGHT_MS = 1_795_276_800_000
NUMBERS = [f"70012345678000{index}" for index in range(4)]


def claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {
        "uses": (),
        "binding": "b",
        "most_calls": 0,
        "caller": b"caller01",
        "distinct_x": 0,
        "fan_out": 0,
        "fan_out_ms": HOUR_MS,
        "x": NUMBERS[0],
        "call": True,
    }
    return Claim(**(values | changes))


def use(caps: Caps, key: bytes = b"k", reason: Reason = Reason.BINDING_CAP) -> Use:
    return Use(key, caps, reason)


def attempt(counters: Counters, wanted: Claim, now_ms: int, handle: int = 0) -> Reason | None:
    reason = counters.exceeded(wanted, now_ms)
    if reason is None:
        counters.count(handle, wanted, "+8613800138000", "shop", "delivery", now_ms)
    return reason


class Model:
    """Every attempt that was let through, looked through again each time."""

    def __init__(self) -> None:
        self.past: list[tuple[int, str, str, bool]] = []  # when, caller, X, call
        self.up: Counter[tuple[str, str]] = Counter()

    def window(self, span_ms: int, now_ms: int) -> list[tuple[int, str, str, bool]]:
        number = (now_ms + CHINA_MS) // span_ms
        return [entry for entry in self.past if (entry[0] + CHINA_MS) // span_ms == number]

    def allows(self, caps: Caps, caller: str, x: str, call: bool, now_ms: int) -> bool:
        for span_ms, cap in ((MINUTE_MS, caps.per_minute), (HOUR_MS, caps.per_hour), (DAY_MS, caps.per_day)):
            if cap and sum(entry[1:] == (caller, entry[2], call) for entry in self.window(span_ms, now_ms)) >= cap:
                return False
        if call and caps.concurrent and self.up[caller, ""] >= caps.concurrent:
            return False
        dialled = {entry[2] for entry in self.window(DAY_MS, now_ms) if entry[1] == caller}
        return not (caps.distinct_x and x not in dialled and len(dialled) >= caps.distinct_x)


SMALL = st.integers(0, 3)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 20_000, 59_999, 60_000, 1_200_000, HOUR_MS, 7 * HOUR_MS, DAY_MS]),
        st.sampled_from(["one", "two"]),
        st.sampled_from(NUMBERS),
        st.booleans(),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(st.builds(Caps, SMALL, SMALL, SMALL, SMALL, SMALL), STEPS, st.integers(0, DAY_MS))
def test_a_random_history_agrees_with_a_naive_model(
    caps: Caps, steps: list[tuple[int, str, str, bool, bool]], start: int
) -> None:
    counters, model = Counters(), Model()
    now_ms = MIDNIGHT_MS + start
    live: list[tuple[int, str]] = []
    for handle, (later, caller, x, call, hang_up) in enumerate(steps, 1):
        now_ms += later
        if hang_up and live:
            over, whose = live.pop(0)
            counters.release(over)
            model.up[whose, ""] -= 1
        mark = b"" if call else b"m"
        wanted = claim(
            uses=(use(caps, mark + caller.encode(), Reason.CALLER_CAP),),
            caller=caller.encode(),
            distinct_x=caps.distinct_x,
            x=x,
            call=call,
        )
        allowed = model.allows(caps, caller, x, call, now_ms)
        assert (attempt(counters, wanted, now_ms, handle) is None) == allowed
        if allowed:
            model.past.append((now_ms, caller, x, call))
            if call:
                live.append((handle, caller))
                model.up[caller, ""] += 1


@pytest.mark.parametrize(
    ("caps", "span_ms"), [(Caps(1), MINUTE_MS), (Caps(0, 1), HOUR_MS), (Caps(0, 0, 1), DAY_MS)], ids=str
)
def test_a_cap_is_free_again_at_the_next_full_minute_hour_or_midnight_in_china(caps: Caps, span_ms: int) -> None:
    counters = Counters()
    wanted = claim(uses=(use(caps),))
    assert attempt(counters, wanted, MIDNIGHT_MS) is None
    assert attempt(counters, wanted, MIDNIGHT_MS + span_ms - 1) is Reason.BINDING_CAP
    assert attempt(counters, wanted, MIDNIGHT_MS + span_ms) is None


def test_a_clock_that_steps_back_counts_on_in_the_later_window() -> None:
    counters = Counters()
    wanted = claim(uses=(use(Caps(per_hour=2)),))
    assert attempt(counters, wanted, MIDNIGHT_MS) is None
    assert attempt(counters, wanted, MIDNIGHT_MS - HOUR_MS) is None
    assert attempt(counters, wanted, MIDNIGHT_MS) is Reason.BINDING_CAP


def test_the_first_cap_that_is_reached_is_the_one_that_is_told_and_nothing_is_counted_then() -> None:
    counters = Counters()
    full = use(Caps(per_day=1), b"a", Reason.CALLER_CAP)
    attempt(counters, claim(uses=(full,)), MIDNIGHT_MS)
    both = claim(uses=(use(Caps(per_day=1), b"b"), full))
    assert attempt(counters, both, MIDNIGHT_MS) is Reason.CALLER_CAP
    assert attempt(counters, claim(uses=(use(Caps(per_day=1), b"b"),)), MIDNIGHT_MS) is None


def test_calls_at_one_time_are_given_back_one_by_one_and_once() -> None:
    counters = Counters()
    counters.release(1)
    wanted = claim(uses=(use(Caps(concurrent=2)),))
    assert [attempt(counters, wanted, MIDNIGHT_MS, handle) for handle in (1, 2, 3)] == [None, None, Reason.BINDING_CAP]
    counters.release(1)
    counters.release(1)
    counters.release(99)
    assert [attempt(counters, wanted, MIDNIGHT_MS, handle) for handle in (4, 5)] == [None, Reason.BINDING_CAP]
    counters.release(2)
    counters.release(4)
    assert counters.holding() == 0


def test_messages_are_never_at_one_time() -> None:
    counters = Counters()
    wanted = claim(uses=(use(Caps(concurrent=1)),), call=False)
    assert [attempt(counters, wanted, MIDNIGHT_MS, handle) for handle in (1, 2)] == [None, None]


def test_an_attempt_is_undecided_until_it_is_said_to_be_or_over() -> None:
    counters = Counters()
    for handle in (1, 2):
        attempt(counters, claim(most_calls=5), MIDNIGHT_MS, handle)
    assert sorted(counters.undecided()) == [1, 2]
    counters.decided(1)
    counters.release(2)
    counters.decided(2)
    assert counters.undecided() == []


# middle numbers of one caller


def test_a_caller_may_dial_known_numbers_on_when_it_may_dial_no_new_one() -> None:
    counters = Counters()
    numbers = [NUMBERS[index] for index in (0, 1, 0, 2, 1)]
    told = [attempt(counters, claim(distinct_x=2, x=x), MIDNIGHT_MS) for x in numbers]
    assert told == [None, None, None, Reason.FAN_OUT, None]
    assert attempt(counters, claim(distinct_x=2, x=NUMBERS[2], caller=b"another1"), MIDNIGHT_MS) is None
    assert attempt(counters, claim(distinct_x=2, x=NUMBERS[2]), MIDNIGHT_MS + DAY_MS) is None


def test_a_fan_out_is_told_again_at_as_many_numbers_more() -> None:
    counters = Counters()
    for index in range(200):
        attempt(counters, claim(fan_out=10, x=f"700{index:012d}"), MIDNIGHT_MS)
    assert [alert.numbers for alert in counters.alerts] == list(range(11, 200, 11))
    assert counters.fan_outs == 18


def test_a_fan_out_is_told_in_each_window() -> None:
    counters = Counters()
    for now_ms in (MIDNIGHT_MS, MIDNIGHT_MS + HOUR_MS):
        for x in (*NUMBERS, *NUMBERS):
            assert attempt(counters, claim(fan_out=2, x=x), now_ms) is None
    assert [(alert.caller, alert.numbers) for alert in counters.alerts] == [("+8613800138000", 3)] * 2
    assert counters.fan_outs == 2


def test_another_length_of_the_window_begins_anew() -> None:
    counters = Counters()
    for x in NUMBERS[:2]:
        attempt(counters, claim(fan_out=2, x=x), MIDNIGHT_MS)
    for x in NUMBERS[:2]:
        attempt(counters, claim(fan_out=2, x=x, fan_out_ms=MINUTE_MS), MIDNIGHT_MS)
    assert counters.alerts == []
    attempt(counters, claim(fan_out=2, x=NUMBERS[2], fan_out_ms=MINUTE_MS), MIDNIGHT_MS)
    assert len(counters.alerts) == 1


# totals


def test_the_calls_of_a_binding_are_counted_over_its_whole_life() -> None:
    counters = Counters()
    wanted = claim(most_calls=2)
    assert attempt(counters, wanted, MIDNIGHT_MS) is None
    assert attempt(counters, wanted, MIDNIGHT_MS + 30 * DAY_MS) is None
    assert attempt(counters, wanted, MIDNIGHT_MS + 60 * DAY_MS) is Reason.CALLS_USED_UP
    assert counters.total("b") == 2


def test_what_is_written_down_of_totals_is_asked_for_and_what_is_not_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOTALS", 4)
    file = {"old": 7}
    counters = Counters(lambda binding: file.get(binding, 0))
    assert counters.total("old") == 7
    for index in range(20):
        counters.count(0, claim(most_calls=9, binding=f"{index}"), "", "", "", MIDNIGHT_MS)
        if index % 5 == 4:
            changes = counters.changes()
            file.update(changes.totals)
            if index % 10 == 9:
                counters.written()
    assert [counters.total(f"{index}") for index in range(20)] == [1] * 20


# the bound


def test_while_totals_cannot_be_read_calls_are_counted_and_added_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SETTLED", 1)
    file: dict[str, int | None] = {"b": None, "c": None}
    counters = Counters(file.get)
    wanted = claim(most_calls=3)
    assert [attempt(counters, wanted, MIDNIGHT_MS) for _ in range(4)] == [None, None, None, Reason.CALLS_USED_UP]
    attempt(counters, claim(most_calls=3, binding="c"), MIDNIGHT_MS)
    assert counters.changes().totals == []  # what was written down stays as it is
    file |= {"b": 2, "c": 0}
    assert [counters.changes().totals, counters.changes().totals] == [[("b", 5)], [("c", 1)]]
    assert attempt(counters, wanted, MIDNIGHT_MS) is Reason.CALLS_USED_UP
    file["d"] = 3
    assert attempt(counters, claim(most_calls=3, binding="d"), MIDNIGHT_MS) is Reason.CALLS_USED_UP


def test_full_tables_let_through_what_they_cannot_count_and_say_so() -> None:
    counters = Counters(most=3)
    caps = Caps(per_day=1)
    for index in range(3):
        attempt(counters, claim(uses=(use(caps, b"%d" % index),)), MIDNIGHT_MS)
    assert len(counters) == 3
    fresh = claim(uses=(use(caps, b"new"),), distinct_x=1, fan_out=1)
    assert [attempt(counters, fresh, MIDNIGHT_MS) for _ in range(2)] == [None, None]
    assert counters.uncounted == 6
    assert attempt(counters, claim(uses=(use(caps, b"1"),)), MIDNIGHT_MS) is Reason.BINDING_CAP
    # a window that is over makes room
    assert attempt(counters, fresh, MIDNIGHT_MS + DAY_MS) is None
    assert attempt(counters, fresh, MIDNIGHT_MS + DAY_MS) is Reason.BINDING_CAP


def test_tables_that_are_over_are_taken_apart_bit_by_bit() -> None:
    counters = Counters()
    for x in NUMBERS:
        attempt(counters, claim(uses=(use(Caps(per_day=9), x.encode()),), fan_out=9, x=x), MIDNIGHT_MS)
    attempt(counters, claim(uses=(use(Caps(per_day=9)),), fan_out=9), MIDNIGHT_MS + DAY_MS)
    waste = counters._waste
    assert sum(len(table) for table in waste) == 9  # counts, pairs, numbers by caller
    counters.tidy(5)
    assert sum(len(table) for table in waste) == 4
    counters.tidy()
    assert waste == []


# over a restart


@given(STEPS)
def test_what_was_written_down_goes_on_where_it_was(steps: list[tuple[int, str, str, bool, bool]]) -> None:
    counters = Counters()
    file: dict[tuple[int, int, bytes], int] = {}
    pairs: set[tuple[int, int, bytes]] = set()
    now_ms = MIDNIGHT_MS
    caps = Caps(9, 9, 9)

    def wanted(caller: str, x: str) -> Claim:
        return claim(uses=(use(caps, caller.encode()),), caller=caller.encode() * 2, x=x, distinct_x=9, fan_out=9)

    for later, caller, x, write, _ in steps:
        now_ms += later
        attempt(counters, wanted(caller, x), now_ms)
        if write:
            changes = counters.changes()
            file |= {row[:3]: row.times for row in changes.counts}
            pairs |= set(changes.dialled)
    changes = counters.changes()
    file |= {row[:3]: row.times for row in changes.counts}
    pairs |= set(changes.dialled)
    again = Counters()
    counts = [module.Counted(*key, times) for key, times in file.items()]
    again.restore(counts, [module.Dialled(*pair) for pair in pairs], HOUR_MS, now_ms)
    for caller in ("one", "two"):
        for x in NUMBERS:
            for _ in range(4):
                assert attempt(again, wanted(caller, x), now_ms) == attempt(counters, wanted(caller, x), now_ms)


def test_everything_is_said_once_more_when_what_was_written_is_lost() -> None:
    counters = Counters()
    attempt(counters, claim(uses=(use(Caps(9, 9, 9)),), distinct_x=3, fan_out=3, most_calls=3), MIDNIGHT_MS)
    first = counters.changes()
    assert counters.changes() == ([], [], [])
    counters.touch()
    again = counters.changes()
    assert (sorted(again.counts), sorted(again.dialled), again.totals) == (
        sorted(first.counts),
        sorted(first.dialled),
        first.totals,
    )
