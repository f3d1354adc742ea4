"""Admission by measured load: which calls are turned away, how cheaply, and that it ends by itself."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.call.admission import LoadController
from tests.call.phone import PhoneCall, Stage
from tests.call.world import ADDRESS_A, World, X
from tests.wire import SWITCH, request_text

BOUND = 0.1


def controller(bound: float = BOUND) -> LoadController:
    return LoadController(bound, 32.0)


@pytest.mark.parametrize(
    ("waited", "share"),
    [(0.0, 1.0), (0.1, 1.0), (0.101, 0.996), (0.175, 0.75), (0.25, 0.5), (0.325, 0.25), (0.4, 0.0), (5.0, 0.0)],
)
def test_the_share_of_calls_taken_falls_with_the_wait(waited: float, share: float) -> None:
    load = controller()
    load.waited = waited
    assert sum(load.takes() for _ in range(1000)) == pytest.approx(1000 * share, abs=2)


def test_without_a_bound_every_call_is_taken() -> None:
    load = controller(0.0)
    load.waited = 60.0
    assert all(load.takes() for _ in range(100))


def test_it_is_over_when_nobody_was_turned_away_for_a_while() -> None:
    load = controller()
    assert not load.relieved(0.0)
    assert load.refused("first", "tag", 10.0)
    assert not load.refused("second", "tag", 11.0)
    assert load.overloaded
    assert not load.relieved(11.0 + LoadController.CALM_SECONDS - 0.1)
    assert load.relieved(11.0 + LoadController.CALM_SECONDS)
    assert not load.overloaded
    assert not load.relieved(20.0)
    assert load.refused("third", "tag", 20.0)


def test_a_refusal_is_remembered_for_as_long_as_it_may_be_asked_for_again() -> None:
    load = controller()
    load.refused("a", "tag-a", 0.0)
    load.refused("b", "tag-b", 31.0)
    assert (load.remembered("a", 31.9), load.remembered("b", 62.9)) == ("tag-a", "tag-b")
    assert load.remembered("never", 62.9) == ""
    assert (load.remembered("a", 100.0), len(load)) == ("", 0)
    assert not load.relieved(200.0) or len(load) == 0


def test_a_flood_of_refusals_does_not_take_the_memory() -> None:
    load = controller()
    for number in range(3 * LoadController.MOST_REFUSALS):
        load.refused(str(number), "tag", 1.0)
    assert len(load) <= 2 * LoadController.MOST_REFUSALS
    assert load.remembered(str(3 * LoadController.MOST_REFUSALS - 1), 1.0) == "tag"


class Simulation:
    """One server with a queue: a call takes ``work`` seconds, turning one away a twelfth of it."""

    def __init__(self, work: float) -> None:
        self.work = work
        self.load = controller()
        self.queue: deque[float] = deque()
        self.clock = 0.0
        self.carried: list[float] = []
        self.longest = 0.0

    def run(self, rate: float, seconds: float, burst: int = 1) -> int:
        """Calls come evenly, or so many at a time; returns how many were carried."""
        before, end, due = len(self.carried), self.clock + seconds, self.clock
        while self.clock < end:
            while due <= self.clock:
                self.queue.extend([due] * burst)
                due += burst / rate
            if not self.queue:
                self.clock = due
                continue
            waited = self.clock - self.queue.popleft()
            self.load.waited = waited
            self.longest = max(self.longest, waited)
            if self.load.takes():
                self.clock += self.work
                self.carried.append(self.clock)
            else:
                self.load.refused(str(self.clock), "tag", self.clock)
                self.clock += self.work / 12
        self.load.relieved(self.clock)
        return len(self.carried) - before


@pytest.mark.parametrize("times", [1.2, 2.0, 5.0])
def test_beyond_its_capacity_a_server_carries_what_its_refusals_leave(times: float) -> None:
    """Nobody waits for T1, so nobody sends again."""
    scene = Simulation(0.001)
    scene.run(times * 1000, 2.0)
    carried = scene.run(times * 1000, 10.0) / 10
    assert carried >= 0.98 * (1000 - (times * 1000 - 1000) / 12 * 1.1)
    assert scene.longest < 0.5


def test_below_its_capacity_nobody_is_turned_away() -> None:
    scene = Simulation(0.001)
    assert scene.run(950, 10.0, burst=50) >= 9450
    assert not scene.load.overloaded


def test_it_recovers_within_seconds() -> None:
    scene = Simulation(0.001)
    scene.run(3000, 10.0)
    assert scene.load.overloaded
    scene.run(300, 3.0)
    assert not scene.load.overloaded
    assert scene.run(300, 1.0) >= 299


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 20)), max_size=60))
def test_whatever_comes_it_ends(steps: list[tuple[float, float]]) -> None:
    load, now = controller(), 0.0
    for number, (waited, pause) in enumerate(steps):
        now += pause
        load.waited = waited
        if not load.takes():
            load.refused(str(number), "tag", now)
        load.relieved(now)
        assert waited > BOUND or load.takes()
    load.relieved(now + 65.0)
    load.relieved(now + 130.0)
    assert not load.overloaded
    assert len(load) == 0


# in the switch


def loaded(world: World, waited: float) -> None:
    world.real.load.waited = waited


def test_a_new_call_gets_503_before_any_work_and_what_is_up_goes_on() -> None:
    world = World(settings={"overload_seconds": BOUND})
    world.callee.on_call = lambda call: call.accept()
    up = world.caller.dial(X)
    world.run(1.0)
    loaded(world, 1.0)
    refused = world.caller.dial(X)
    world.run(0.1)
    assert (refused.statuses, refused.responses[-1].get("retry-after")) == ([503], "2")
    assert refused.responses[-1].get("reason") == 'Q.850;cause=42;text="overload"'
    assert refused.stage is Stage.OVER
    up.hold()
    world.callee.call.info()
    world.run(1.0)
    assert up.heard.count("200") == 2
    script = world.script(ADDRESS_A)
    script.send(request_text("OPTIONS", f"sip:{SWITCH[0]}", ADDRESS_A))
    world.run(0.1)
    assert script.words == ["200"]
    world.network.attach(ADDRESS_A, world.caller, "a")
    up.hang_up()
    world.run(0.1)
    assert world.real.load.overloaded
    assert world.switch.enter(world.real.relieved) is False
    loaded(world, 0.0)
    again: list[PhoneCall] = [world.caller.dial(X)]
    again[0].on("200", again[0].hang_up)
    world.run(3.0)
    assert world.switch.enter(world.real.relieved) is True
    told = world.finish(refusals=1)
    assert len(told) == 2
    assert again[0].statuses[-1] == 200
    assert world.switch.notices == [("overload_began", "carrier-a")]


def test_an_invite_that_was_turned_away_rings_nowhere_when_it_comes_again() -> None:
    """Its 503 was lost, and meanwhile the switch has time."""
    world = World(settings={"overload_seconds": BOUND})
    phone = world.script(ADDRESS_A)
    text = request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210")
    loaded(world, 1.0)
    phone.send(text)
    world.run(0.5)
    loaded(world, 0.0)
    phone.send(text)
    world.run(1.0)
    assert phone.words == ["503", "503"]
    assert phone.inbox[0] == phone.inbox[1]
    assert world.finish(agree=False, refusals=1) == []
    assert world.callee.calls == []
    assert world.real.statistics.refusals["carrier-a", "overload"] == 1


def test_the_ack_of_a_refusal_is_not_even_read() -> None:
    world = World(settings={"overload_seconds": BOUND})
    phone = world.script(ADDRESS_A)
    loaded(world, 1.0)
    text = request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210")
    phone.send(text)
    world.run(0.1)
    ack = text.replace("INVITE", "ACK").replace("Max-Forwards: 70", "Max-Forwards").encode()  # nobody could
    phone.send(ack.replace(b"To: <sip:700123456789012@192.0.2.1>", b"To: " + phone.last("503").to_value.encode()))
    phone.send(ack)
    world.run(0.1)
    assert world.real.endpoint.drops["malformed"] == 1
    assert world.real.endpoint.received["ACK"] == 1
    assert world.finish(agree=False, refusals=1) == []


def test_an_invite_that_is_in_hand_is_not_turned_away_when_it_comes_again() -> None:
    world = World(settings={"overload_seconds": BOUND})
    world.callee.on_call = lambda call: call.ring()
    call = world.caller.dial(X)
    world.run(0.2)
    loaded(world, 5.0)
    wire = next(datagram.data for datagram in world.network.log if datagram.way == "a>")
    world.network.send(ADDRESS_A, SWITCH, wire)
    world.run(0.2)
    assert "503" not in call.heard
    call.cancel()
    (story,) = world.finish()
    assert story.ended.outcome == "cancelled"
