"""The timer queue against a naive model, and the values of RFC 3261's table 4."""

import gc
import weakref
from math import ceil, inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from b2bua.sip.errors import MisuseError
from b2bua.sip.timers import FAR, GRAIN, HORIZON, Timer, TimerQueue, TimerValues


class Bell(Timer):
    """Notes when it fires, and may set itself again while it does. ``due`` is the naive model of its deadline."""

    def __init__(self, queue: TimerQueue, again: list[float] | None = None) -> None:
        super().__init__()
        self.queue = queue
        self.again = again or []
        self.rung: list[float] = []
        self.due = inf
        self.slack = 0.0

    def set(self, deadline: float, now: float) -> None:
        self.queue.set(self, deadline, now)
        self.due = deadline
        self.slack = GRAIN if deadline - now >= FAR else 0.0

    def fire(self, now: float) -> None:
        assert self.deadline == inf, "a timer that fires is no longer armed"
        assert self.due <= now, "a timer never fires early"
        self.rung.append(now)
        self.due = inf
        if self.again:
            self.set(now + self.again.pop(0), now)


def pass_time(queue: TimerQueue, until: float) -> list[float]:
    """Wake the queue whenever it asks for it; the times at which it did."""
    wakes = []
    while (due := queue.deadline()) is not None and due <= until:
        wakes.append(due)
        queue.fire_due(due)
    return wakes


class AgainstTheModel(RuleBasedStateMachine):
    """Nine timers, each with its naive model."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = TimerQueue()
        self.bells = [Bell(self.queue) for _ in range(9)]
        self.now = 100.0

    which = st.integers(0, 8)
    delays = st.one_of(
        st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.9, 2.0, 5.1, 32.0, 32.9, 33.0, 33.1, 4 * 3600.0]), st.floats(0, 100)
    )

    @rule(number=which, delay=delays)
    def set(self, number: int, delay: float) -> None:
        self.bells[number].set(self.now + delay, self.now)

    @rule(number=which)
    def cancel(self, number: int) -> None:
        self.queue.cancel(self.bells[number])
        self.bells[number].due = inf

    @rule(number=which, again=st.lists(st.sampled_from([0.0, 0.5, 4.0, 34.0]), max_size=3))
    def let_it_set_itself(self, number: int, again: list[float]) -> None:
        self.bells[number].again = again

    @rule(elapsed=delays)
    def wake_late(self, elapsed: float) -> None:
        self.now += elapsed
        self._wake()

    @precondition(lambda self: self.queue.deadline() is not None)
    @rule()
    def wake_when_asked(self) -> None:
        due = self.queue.deadline()
        assert due is not None
        self.now = max(self.now, due)
        self._wake()

    def _wake(self) -> None:
        for bell in self.bells:
            bell.rung.clear()
        fired = self.queue.fire_due(self.now)
        assert fired == sum(len(bell.rung) for bell in self.bells)
        for bell in self.bells:
            assert bell.due == inf or bell.due + bell.slack > self.now, "it should have fired"

    @invariant()
    def as_many_are_armed(self) -> None:
        assert [bell.deadline for bell in self.bells] == [bell.due for bell in self.bells]
        assert len(self.queue) == sum(bell.due != inf for bell in self.bells)

    @invariant()
    def the_next_wake_is_never_late(self) -> None:
        latest = min(bell.due + bell.slack for bell in self.bells)
        if latest != inf:
            due = self.queue.deadline()
            assert due is not None
            assert due <= latest


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_timer_fires_once_at_its_deadline() -> None:
    queue = TimerQueue()
    bell = Bell(queue)
    bell.set(10.5, 10.0)
    assert queue.fire_due(10.49) == 0
    assert queue.fire_due(10.5) == 1
    assert queue.fire_due(99.0) == 0
    assert bell.rung == [10.5]
    assert queue.deadline() is None


def test_a_timer_moved_later_fires_at_the_new_time_only() -> None:
    queue = TimerQueue()
    bell = Bell(queue)
    bell.set(1.0, 0.0)
    bell.set(7.0, 0.5)
    assert queue.deadline() == 1.0  # the entry that it has is early, and serves again
    assert pass_time(queue, 60.0) == [1.0, 7.0]
    assert bell.rung == [7.0]


def test_a_timer_moved_earlier_fires_early_and_not_again() -> None:
    queue = TimerQueue()
    bell = Bell(queue)
    bell.set(9.0, 0.0)
    bell.set(2.0, 0.0)
    assert queue.deadline() == 2.0
    pass_time(queue, 60.0)
    assert bell.rung == [2.0]


def test_a_cancelled_timer_is_silent_and_may_be_set_again() -> None:
    queue = TimerQueue()
    bell = Bell(queue)
    queue.cancel(bell)
    assert len(queue) == 0
    bell.set(5.0, 0.0)
    queue.cancel(bell)
    queue.cancel(bell)
    assert len(queue) == 0
    bell.set(8.0, 1.0)
    pass_time(queue, 60.0)
    assert bell.rung == [8.0]


def test_equal_deadlines_fire_in_the_order_they_were_set() -> None:
    queue = TimerQueue()
    order: list[int] = []

    class Numbered(Timer):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def fire(self, now: float) -> None:
            order.append(self.number)

    for number in (3, 1, 2):
        queue.set(Numbered(number), 4.0, 0.0)
    assert queue.fire_due(4.0) == 3
    assert order == [3, 1, 2]


def test_a_timer_that_fires_may_disarm_another() -> None:
    queue = TimerQueue()
    second = Bell(queue)

    class First(Timer):
        def fire(self, now: float) -> None:
            queue.cancel(second)

    queue.set(First(), 4.0, 0.0)
    second.set(4.0, 0.0)
    assert queue.fire_due(4.0) == 1
    assert second.rung == []
    assert len(queue) == 0


@pytest.mark.parametrize("delay", [0.01, 1.234, FAR - 0.01])
def test_a_near_deadline_is_kept_to_the_instant(delay: float) -> None:
    queue = TimerQueue()
    bell = Bell(queue)
    bell.set(7.77 + delay, 7.77)
    pass_time(queue, 60.0)
    assert bell.rung == [7.77 + delay]


def test_far_deadlines_share_a_wake_and_are_late_by_the_grain_at_most() -> None:
    queue = TimerQueue()
    bells = [Bell(queue) for _ in range(40)]
    for number, bell in enumerate(bells):
        bell.set(32.0 + number / 160, 0.0)
    wakes = pass_time(queue, 60.0)
    assert len(wakes) == 2  # 32.0 itself, and the quarter of a second behind it
    assert [bell.rung for bell in bells] == [[32.0], *[[32.25]] * 39]


def test_a_far_deadline_drawn_near_is_sharp() -> None:
    queue = TimerQueue()
    bell = Bell(queue)
    bell.set(10.1, 0.0)
    bell.set(10.2, 9.0)
    pass_time(queue, 60.0)
    assert bell.rung == [10.2]


def test_a_very_far_deadline_is_looked_at_once_a_horizon() -> None:
    queue = TimerQueue()
    bell = Bell(queue)
    four_hours = 4 * 3600.0
    bell.set(four_hours, 0.0)
    wakes = pass_time(queue, inf)
    assert bell.rung == [four_hours]
    assert len(wakes) == ceil(four_hours / HORIZON)
    steps = [later - earlier for earlier, later in zip([0.0, *wakes], wakes, strict=False)]
    assert max(steps) <= HORIZON


def test_a_cancelled_timer_is_let_go_within_the_horizon() -> None:
    queue = TimerQueue()
    bell = Bell(queue)
    gone = weakref.ref(bell)
    bell.set(4 * 3600.0, 0.0)
    queue.cancel(bell)
    del bell
    assert queue.fire_due(HORIZON) == 0
    assert queue.deadline() is None
    gc.collect()
    assert gone() is None


def test_a_timer_without_a_purpose_is_our_mistake() -> None:
    queue = TimerQueue()
    queue.set(Timer(), 1.0, 0.0)
    with pytest.raises(MisuseError, match="Timer has no fire"):
        queue.fire_due(1.0)


def test_the_defaults_are_those_of_table_4() -> None:
    values = TimerValues()
    assert (values.t1, values.t2, values.t4, values.timeout) == (0.5, 4.0, 5.0, 32.0)
    assert values.guard > 3600


def test_everything_follows_from_t1() -> None:
    assert TimerValues(t1=0.1).timeout == pytest.approx(6.4)
    assert TimerValues(t1=1.0).guard == 3664.0


def test_a_timer_that_raises_does_not_take_the_others_of_its_bucket_with_it() -> None:
    queue = TimerQueue()
    fired: list[str] = []

    class Named(Timer):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def fire(self, now: float) -> None:
            fired.append(self.name)
            if self.name == "bad":
                raise ValueError(self.name)

    for name in ("first", "bad", "last"):
        queue.set(Named(name), 10.0, 0.0)
    with pytest.raises(ValueError, match="bad"):
        queue.fire_due(10.0)
    assert fired == ["first", "bad"]
    assert queue.deadline() is not None
    queue.fire_due(10.0)
    assert fired == ["first", "bad", "last"]
    assert len(queue) == 0
