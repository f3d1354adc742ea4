"""OPTIONS to the targets of trunks: hysteresis, what counts as alive, and that no target is stuck up or down."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from b2bua.call.trunk_state import TargetView
from b2bua.sip.message import Request
from routing.targets import Choice, Target
from routing.trunks import Peer, Trunk
from tests.call.phone import refuse_with
from tests.call.world import ADDRESS_B, ADDRESS_C, NUMBER_A, NUMBER_B, TRUNKS, World, X
from tests.wire import Datagram, answer_text

EVERY = 30.0
PROBED = replace(TRUNKS[1], probe_seconds=EVERY)


class Far:
    """A far end that answers OPTIONS with whatever ``status`` is at the moment, 0 for silence; ``after`` seconds."""

    def __init__(self, world: World, status: int = 200) -> None:
        self.script = world.script(ADDRESS_B)
        self.script.react = self.answer
        self.world = world
        self.status = status
        self.after = 0.0

    def answer(self, data: bytes) -> None:
        request = self.script.last(data.split(b" ", 1)[0].decode())
        status = self.status
        if status:
            text = answer_text(request, status, ADDRESS_B, contact="")
            self.world.network.later(self.after, lambda: self.script.send(text))


def probing(trunk: Trunk = PROBED, *others: Trunk) -> World:
    world = World(trunks=(TRUNKS[0], trunk, *(others or (TRUNKS[2],))))
    world.switch.enter(world.real.start)
    return world


def view(world: World, trunk: str = "carrier-b") -> TargetView:
    return next(each for each in world.real.trunk_view(world.switch.now) if each.trunk == trunk)


def probes(world: World) -> list[Datagram]:
    """The probes, repetitions left out."""
    found = [datagram for datagram in world.network.log if (datagram.way, datagram.word) == (">b", "OPTIONS")]
    return list({datagram.message.call_id: datagram for datagram in reversed(found)}.values())[::-1]


def end(world: World) -> None:
    """Stop what goes on for ever, then the usual end."""
    world.switch.enter(world.real.drain)
    world.finish(answers=False)


def test_each_target_of_a_trunk_that_calls_leave_by_is_asked_again_and_again() -> None:
    world = probing()
    Far(world)
    world.run(10 * EVERY)
    times = [datagram.at for datagram in probes(world)]
    assert times[0] <= 5.5
    assert 9 <= len(times) <= 11
    assert all(0.9 * EVERY - 0.3 <= later - earlier <= 1.1 * EVERY + 0.3 for earlier, later in pairwise(times))
    assert len({round(later - earlier, 2) for earlier, later in pairwise(times)}) > 1  # not in step with others
    assert {datagram.target for datagram in probes(world)} == {ADDRESS_B}
    end(world)


def test_a_probe_tells_of_nobody() -> None:
    world = probing()
    Far(world)
    world.run(EVERY)
    request = probes(world)[0].message
    assert isinstance(request, Request)
    assert request.uri == "sip:192.0.2.20:5060"
    assert request.from_value.startswith("<sip:192.0.2.1:5060>;tag=")
    assert request.to_value == "<sip:192.0.2.20:5060>"
    assert request.get("contact") == "<sip:192.0.2.1:5060>"
    assert not request.body
    for number in (NUMBER_A, NUMBER_B, X):
        assert number.lstrip("+").encode() not in probes(world)[0].data
    end(world)


@pytest.mark.parametrize("seconds", [EVERY, 1.0])
def test_probes_are_left_out_of_the_tables_that_must_be_empty(seconds: float) -> None:
    world = probing(replace(PROBED, probe_seconds=seconds))
    far = Far(world)
    for status in (200, 0):
        far.status = status
        for _ in range(12):
            world.run(EVERY / 10)
            assert {name: size for name, size in world.real.tables().items() if size} == {}
    assert world.real.endpoint.timers.deadline() is not None
    end(world)


@pytest.mark.parametrize(
    "trunk", [replace(PROBED, probe_seconds=0.0), replace(PROBED, prefixes=()), replace(PROBED, peers=())]
)
def test_trunks_that_are_not_asked(trunk: Trunk) -> None:
    world = probing(trunk)
    world.run(3 * EVERY)
    assert world.network.log == []
    world.finish()


# hysteresis


def play(statuses: Sequence[int], trunk: Trunk = PROBED) -> list[tuple[str, ...]]:
    """What was logged after each answer (0: none) to one probe after the other."""
    world = probing(trunk)
    far = Far(world)
    seen: list[tuple[str, ...]] = []
    far.status = statuses[0]
    taken = 0
    while len(seen) < len(statuses):
        world.run(0.25)
        if len(probes(world)) > taken + (far.status == 0):  # silence is known when the next probe goes out
            if far.status == 0:
                taken += 1
            else:
                world.run(0.5)
                taken += 1
            seen.append(tuple(change.event for change in world.switch.changes))
            world.switch.changes.clear()
            far.status = statuses[len(seen)] if len(seen) < len(statuses) else 200
    end(world)
    return seen


DOWN, UP = ("target_down",), ("target_up",)


@pytest.mark.parametrize(
    ("statuses", "logged"),
    [
        ([200, 200, 200], [(), (), ()]),
        ([503, 503, 503], [(), (), DOWN]),
        ([408, 503, 408, 503], [(), (), DOWN, ()]),
        ([503, 503, 200, 503, 503, 200], [()] * 6),  # one lucky answer ends the row
        ([503, 503, 503, 200, 200, 200], [(), (), DOWN, (), UP, ()]),
        ([503, 503, 503, 200, 503, 200, 200], [(), (), DOWN, (), (), (), UP]),  # and one miss that of good ones
        ([503, 503, 503, 200, 200, 503, 503, 503], [(), (), DOWN, (), UP, (), (), DOWN]),
    ],
)
def test_three_misses_take_a_target_out_and_two_good_answers_take_it_back(
    statuses: list[int], logged: list[tuple[str, ...]]
) -> None:
    assert play(statuses) == logged


def test_silence_is_a_miss_when_the_next_probe_is_due() -> None:
    world = probing()
    far = Far(world, 0)
    world.run(2.9 * EVERY)
    assert view(world).state == "up"
    world.run(1.3 * EVERY)
    assert (view(world).state, view(world).probe_answer) == ("down", "none")
    far.status = 200
    world.run(2.4 * EVERY)
    assert (view(world).state, view(world).probe_answer) == ("up", "200")
    assert [change.event for change in world.switch.changes] == ["target_down", "target_up"]
    assert [change.target for change in world.switch.changes] == ["udp:192.0.2.20:5060"] * 2
    end(world)


def test_an_answer_that_comes_after_the_next_probe_is_none() -> None:
    world = probing(replace(PROBED, probe_seconds=2.0))
    far = Far(world)
    far.after = 3.0
    world.run(20.0)
    assert view(world).state == "down"
    end(world)


def test_only_one_probe_of_a_target_is_under_way() -> None:
    world = probing(replace(PROBED, probe_seconds=2.0))
    Far(world, 0)
    for _ in range(40):
        world.run(1.0)
        assert len(world.real.endpoint.clients) <= 1
    end(world)


def test_a_connection_that_fails_is_a_miss_at_once() -> None:
    world = probing()
    Far(world, 0)
    for _ in range(3):
        while not world.real.endpoint.clients:
            world.run(0.5)
        (transaction,) = world.real.endpoint.clients.values()
        world.real.endpoint.transport_failed(transaction, world.network.now)
        world.switch.wake()
    assert view(world).state == "down"
    assert view(world).probes == view(world).probes_failed == 3
    end(world)


@pytest.mark.parametrize(
    ("status", "failing", "state"),
    [
        (200, ("408", "503"), "up"),
        (404, ("408", "503"), "up"),
        (405, ("408", "503"), "up"),
        (483, ("408", "503"), "up"),
        (500, ("408", "503"), "up"),
        (408, ("408", "503"), "down"),
        (503, ("408", "503"), "down"),  # profile §4 item 11: not healthy
        (500, ("408", "5xx"), "down"),
        (503, ("408", "5xx"), "down"),
        (503, (), "up"),
        (404, ("3xx", "4xx", "5xx", "6xx"), "down"),
        (200, ("3xx", "4xx", "5xx", "6xx"), "up"),
    ],
)
def test_the_setting_says_which_answers_are_no_sign_of_life(status: int, failing: tuple[str, ...], state: str) -> None:
    world = probing(replace(PROBED, probe_failing=failing))
    Far(world, status)
    world.run(4 * EVERY)
    assert (view(world).state, view(world).probe_answer) == (state, str(status))
    end(world)


def test_a_provisional_answer_is_none_yet() -> None:
    world = probing()
    Far(world, 100)
    world.run(4.5 * EVERY)
    assert view(world).state == "down"
    end(world)


def test_the_round_trip_is_measured() -> None:
    world = probing()
    far = Far(world)
    far.after = 0.1
    world.run(EVERY)
    assert view(world).probe_ms == pytest.approx(120.0, abs=1.0)
    assert (view(world).probes, view(world).probes_failed) == (1, 0)
    end(world)


# what it means for calls


def test_a_target_that_is_down_is_passed_over_until_it_is_up() -> None:
    world = probing()
    far = Far(world, 503)
    world.second.on_call = refuse_with(480)
    world.run(4 * EVERY)
    world.caller.dial(X)
    world.run(1.0)
    far.status = 200
    world.run(3 * EVERY)
    far.status = 486
    world.caller.dial(X)
    world.run(1.0)
    far.script.react = None
    world.switch.enter(world.real.drain)
    told = world.finish(answers=False)
    assert [story.ended.routes for story in told] == [("carrier-c:480",), ("carrier-b:486",)]


def test_a_trunk_goes_on_with_those_of_its_targets_that_are_up() -> None:
    both = replace(PROBED, peers=(Peer(*ADDRESS_B), Peer(*ADDRESS_C)))
    world = probing(both, replace(TRUNKS[2], peers=()))
    Far(world, 503)
    world.second.on_call = refuse_with(486)
    world.run(4 * EVERY)
    assert [each.state for each in world.real.trunk_view(world.switch.now) if each.trunk == "carrier-b"] == [
        "down",
        "up",
    ]
    assert world.real.down(world.switch.now) == frozenset()
    world.caller.dial(X)
    world.run(1.0)
    world.switch.enter(world.real.drain)
    (story,) = world.finish(answers=False, agree=False)  # the phone that stands there knows no OPTIONS
    assert story.ended.routes == ("carrier-b:486",)


def test_when_all_are_down_calls_try_them_all_the_same() -> None:
    """Whoever cannot answer OPTIONS may still take calls; refusing them all would be worse."""
    world = probing(PROBED, replace(TRUNKS[2], prefixes=()))
    far = Far(world, 503)
    world.run(4 * EVERY)
    assert world.real.down(world.switch.now) == {"carrier-b"}
    far.status = 486
    call = world.caller.dial(X)
    world.run(1.0)
    far.script.react = None
    world.switch.enter(world.real.drain)
    (story,) = world.finish(answers=False)
    assert (story.ended.routes, call.statuses[-1]) == (("carrier-b:486",), 486)


# when it ends and begins


def test_a_drain_ends_it() -> None:
    world = probing()
    Far(world)
    world.run(EVERY)
    world.switch.enter(world.real.drain)
    asked = len(probes(world))
    world.switch.enter(lambda now: world.real.targets({}, now))
    world.run(5 * EVERY)
    assert len(probes(world)) == asked
    world.finish()


def test_what_is_under_way_at_the_drain_no_longer_counts() -> None:
    world = probing()
    far = Far(world, 0)
    while not probes(world):
        world.run(0.5)
    far.status = 503
    world.switch.enter(world.real.drain)
    assert {name: size for name, size in world.real.tables().items() if size} == {}
    world.run(5.0)
    assert view(world).probe_answer == ""
    world.finish(answers=False)


def choice(host: str) -> Choice:
    return Choice(0, 0, (Target("UDP", host, 5060, Peer("carrier.example", 0)),))


def test_targets_out_of_dns_are_asked_from_the_moment_they_are_known_until_they_are_gone() -> None:
    world = probing(replace(PROBED, peers=(Peer("carrier.example", 0),)))
    far = Far(world)
    world.run(2 * EVERY)
    assert world.network.log == []
    world.switch.enter(lambda now: world.real.targets({"carrier-b": (choice(ADDRESS_B[0]),)}, now))
    world.run(2 * EVERY)
    assert far.script.words.count("OPTIONS") >= 2
    assert isinstance(probes(world)[0].message, Request)
    assert probes(world)[0].message.uri == "sip:carrier.example"
    asked = len(probes(world))
    world.switch.enter(lambda now: world.real.targets({"carrier-b": ()}, now))
    world.run(3 * EVERY)
    assert len(probes(world)) == asked
    end(world)


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.real.targets({}, world.switch.now),
        lambda world: world.real.reconfigure(
            world.real.limits, (TRUNKS[0], replace(PROBED, weight=3), TRUNKS[2]), world.switch.now
        ),
    ],
)
def test_news_of_others_do_not_begin_the_row_anew(change: Callable[[World], None]) -> None:
    world = probing()
    Far(world, 503)
    world.run(2.5 * EVERY)
    asked = len(probes(world))
    for _ in range(10):
        change(world)
        world.switch.pump()
    world.run(EVERY)
    assert len(probes(world)) <= asked + 2
    assert view(world).state == "down"
    end(world)


def test_a_reload_may_end_and_begin_it() -> None:
    world = probing()
    Far(world)
    world.run(EVERY)
    for seconds in (0.0, 10.0):
        asked = len(probes(world))
        trunks = (TRUNKS[0], replace(PROBED, probe_seconds=seconds), TRUNKS[2])
        world.switch.enter(lambda now, trunks=trunks: world.real.reconfigure(world.real.limits, trunks, now))
        world.run(5 * EVERY)
        assert (len(probes(world)) > asked + 10) == (seconds > 0)
        assert (len(probes(world)) == asked) == (seconds == 0)
    end(world)
