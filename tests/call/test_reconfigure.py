"""Profile §4 item 15, reload: other trunks, limits and times in the middle of calls, and no call is lost by it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b2bua.call.admission import SourceGuard, TokenBucket
from b2bua.sip.parser import Limits
from b2bua.sip.timers import TimerValues
from routing.trunks import Peer, Trunk
from tests.call.phone import PhoneCall, Stage, answer_after, refuse_with
from tests.call.world import ADDRESS_A, ADDRESS_B, ADDRESS_C, TRUNKS, World, X
from tests.wire import SWITCH, Conditions, request_text

ALPHA, BRAVO, CHARLIE = TRUNKS
ELSEWHERE = Peer("192.0.2.99", 5060)


def up(world: World) -> PhoneCall:
    """A call that is up."""
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(1.0)
    assert call.stage is Stage.UP
    return call


def ringing(world: World) -> PhoneCall:
    world.callee.on_call = answer_after(5.0)
    call = world.caller.dial(X)
    world.run(1.0)
    return call


# trunks


@pytest.mark.parametrize("stage", [up, ringing])
@pytest.mark.parametrize(
    "trunks",
    [
        (BRAVO, CHARLIE),
        (ALPHA, CHARLIE),
        (CHARLIE,),
        (replace(ALPHA, peers=(ELSEWHERE,)), BRAVO, CHARLIE),
        (ALPHA, replace(BRAVO, peers=(ELSEWHERE,), max_calls=1), CHARLIE),
    ],
    ids=["caller's removed", "callee's removed", "both removed", "caller's moved", "callee's moved"],
)
@pytest.mark.parametrize("ending", ["caller", "callee", "operator"])
def test_a_live_call_goes_on_to_its_end_over_a_trunk_that_is_gone(
    stage: Callable[[World], PhoneCall], trunks: tuple[Trunk, ...], ending: str
) -> None:
    world = World()
    call = stage(world)
    world.reconfigure(trunks=trunks)
    world.run(30.0)
    assert call.stage is Stage.UP
    call.hold()
    world.run(1.0)
    world.callee.call.info()
    world.run(1.0)
    assert call.heard.count("200") == 2
    if ending == "caller":
        call.hang_up()
    elif ending == "callee":
        world.callee.call.hang_up()
    else:
        assert world.switch.enter(lambda now: world.real.hang_up(world.real.live_calls()[0].id, now))
    (story,) = world.finish()
    assert story.ended.outcome == "answered"


def test_no_new_call_comes_from_a_trunk_that_is_gone_or_goes_there() -> None:
    world = World()
    call = up(world)
    world.reconfigure(trunks=(CHARLIE,))
    refused = world.caller.dial(X)
    world.run(1.0)
    world.reconfigure(trunks=(ALPHA, CHARLIE))
    world.second.on_call = lambda call: call.accept()
    elsewhere = world.caller.dial(X)
    world.run(1.0)
    call.hang_up()
    elsewhere.hang_up()
    told = world.finish()
    assert (refused.statuses, elsewhere.statuses[-1]) == ([403], 200)
    assert [story.ended.reason for story in told] == ["", "trunk_removed", ""]
    assert [story.ended.egress for story in told] == ["carrier-b", "", "carrier-c"]


def test_a_trunk_that_is_gone_is_a_stranger_once_its_last_call_has_settled() -> None:
    world = World()
    call = up(world)
    world.reconfigure(trunks=(BRAVO, CHARLIE))
    world.network.later(1.0, call.hang_up)
    world.run(5.0)
    world.finish()
    assert world.real.tables()["former_trunks"] == 0
    assert "carrier-a" not in world.real.trunk_calls()
    phone = world.script(ADDRESS_A)
    phone.send(request_text("OPTIONS", f"sip:{SWITCH[0]}", ADDRESS_A))
    world.network.run_out()
    assert phone.inbox == []
    assert world.real.statistics.drops["unknown_source"] == 1


def test_a_trunk_that_is_gone_is_told_so_while_its_calls_go_on() -> None:
    world = World()
    call = up(world)
    world.reconfigure(trunks=(ALPHA, BRAVO))  # no call went over carrier-c: its messages settle all the same
    second = world.script(ADDRESS_C)
    second.send(request_text("OPTIONS", f"sip:{SWITCH[0]}", ADDRESS_C))
    world.run(1.0)
    assert second.words == ["403"]
    call.hang_up()
    world.finish()


def test_a_failover_skips_a_trunk_that_is_gone_meanwhile() -> None:
    world = World()
    world.callee.on_call = lambda call: world.network.later(2.0, lambda: call.refuse(503))
    call = world.caller.dial(X)
    world.run(1.0)
    world.reconfigure(trunks=(ALPHA, BRAVO))
    (story,) = world.finish()
    assert story.ended.routes == ("carrier-b:503", "carrier-c:removed")
    assert call.statuses == [100, 500]
    assert world.second.calls == []


def test_a_failover_skips_a_place_that_is_gone_meanwhile() -> None:
    """The trunk is still there, elsewhere; what its old place said would not be listened to for long."""
    world = World()
    world.callee.on_call = lambda call: world.network.later(2.0, lambda: call.refuse(503))
    call = world.caller.dial(X)
    world.run(1.0)
    world.reconfigure(trunks=(ALPHA, BRAVO, replace(CHARLIE, peers=(ELSEWHERE,))))
    (story,) = world.finish()
    assert story.ended.routes == ("carrier-b:503", "carrier-c:removed")
    assert call.statuses == [100, 500]
    assert world.second.calls == []


@pytest.mark.parametrize(
    "trunks",
    [(ALPHA, CHARLIE), (ALPHA, replace(BRAVO, peers=(Peer(*ADDRESS_C),)))],
    ids=["removed", "moved"],
)
def test_a_place_that_is_gone_is_not_parked(trunks: tuple[Trunk, ...]) -> None:
    """Its call in set-up still hears it ask for that; the calls to come have nothing to do with it."""
    world = World()
    world.callee.on_call = refuse_with(503, "Retry-After: 7", after=3.0)
    world.caller.dial(X)
    world.run(1.0)
    world.reconfigure(trunks=trunks)
    world.run(5.0)
    assert world.switch.changes == []
    again = world.caller.dial(X)
    again.on("200", again.hang_up)
    world.run(1.0)
    world.caller.calls[0].hang_up()
    told = world.finish()
    assert again.heard[-1] == "BYE 200"
    assert [story.ended.routes[0] for story in told] == ["carrier-b:503", f"{trunks[1].name}:200"]


def test_a_decision_that_names_a_trunk_that_is_gone_takes_the_next() -> None:
    world = World()
    world.switch.held = True
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.run(1.0)
    waiting = [(query, world.switch.decide(query)) for query in world.switch.waiting]
    world.reconfigure(trunks=(ALPHA, CHARLIE))
    for query, decision in waiting:
        world.switch.enter(lambda now, q=query, d=decision: world.real.decided(q, d, now))  # type: ignore[misc]
    (story,) = world.finish()
    assert story.ended.routes == ("carrier-c:200",)


def test_a_new_trunk_carries_the_next_call() -> None:
    world = World(trunks=TRUNKS[:1])
    none = world.caller.dial(X)
    world.run(1.0)
    world.reconfigure(trunks=TRUNKS)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    assert (none.statuses[-1], call.statuses[-1]) == (500, 200)


def test_two_trunks_with_one_source_change_nothing() -> None:
    world = World()
    call = up(world)
    before = dict(world.real.origins.trunks)
    with pytest.raises(ValueError, match="both claim"):
        world.reconfigure(trunks=(*TRUNKS, replace(CHARLIE, name="carrier-d")), max_calls=7)
    assert world.real.origins.trunks == before
    assert world.real.limits.max_calls == 0
    world.trunks = TRUNKS
    call.hang_up()
    world.finish()


def test_a_trunk_removed_twice_and_brought_back() -> None:
    world = World()
    up(world)
    world.reconfigure(trunks=(ALPHA, CHARLIE))
    world.reconfigure(trunks=TRUNKS)
    world.reconfigure(trunks=(ALPHA, CHARLIE))
    assert world.real.trunk_calls()["carrier-b"] == 1
    world.run(100.0)
    world.callee.call.hang_up()
    world.run(1.0)
    world.reconfigure(trunks=TRUNKS)
    again = world.caller.dial(X)
    again.on("200", again.hang_up)
    told = world.finish()
    assert [story.ended.routes for story in told] == [("carrier-b:200",), ("carrier-b:200",)]


# what was counted stays counted


def test_calls_that_are_up_count_against_a_new_limit() -> None:
    world = World()
    calls = [up(world), up(world)]
    world.reconfigure(trunks=(replace(ALPHA, max_calls=2), BRAVO, CHARLIE))
    first = world.caller.dial(X)
    world.run(1.0)
    world.reconfigure(trunks=(replace(ALPHA, max_calls=3), BRAVO, CHARLIE), max_calls=2)
    second = world.caller.dial(X)
    world.run(1.0)
    assert (first.statuses, second.statuses) == ([503], [503])
    for call in calls:
        call.hang_up()
    told = world.finish()
    assert [story.ended.reason for story in told] == ["", "", "trunk_limit", "total_limit"]


def test_a_parked_trunk_stays_parked_and_its_silence_counted() -> None:
    world = World()
    world.callee.on_call = refuse_with(503, "Retry-After: 100")
    first = world.caller.dial(X)
    first.on("200", first.hang_up)
    world.run(5.0)
    assert world.real.down(world.switch.now) == {"carrier-b"}
    world.reconfigure(trunks=(ALPHA, replace(BRAVO, weight=7), CHARLIE))
    assert world.real.down(world.switch.now) == {"carrier-b"}
    world.reconfigure(trunks=(ALPHA, CHARLIE))
    assert world.real.down(world.switch.now) == frozenset()
    world.finish()


def test_a_bucket_keeps_its_tokens_within_the_new_burst() -> None:
    bucket = TokenBucket(10.0, 10.0)
    assert all(bucket.take(1.0) for _ in range(8))
    bucket.change(1.0, 1.0, 1.0)
    assert [bucket.take(1.0), bucket.take(1.0), bucket.take(2.0)] == [True, False, True]
    bucket.change(0.0, 0.0, 2.0)
    assert [bucket.take(2.0) for _ in range(100)] == [True] * 100
    bucket.change(2.0, 2.0, 3.0)
    assert [bucket.take(3.0) for _ in range(3)] == [True, True, False]


def test_every_source_gets_the_new_rate() -> None:
    guard = SourceGuard(1.0, 1.0)
    assert [guard.admit("192.0.2.1", 0.0) for _ in range(2)] == [True, False]
    guard.change(1.0, 1.0, 0.0)
    guard.change(5.0, 5.0, 0.0)
    assert not guard.admit("192.0.2.1", 0.0)
    assert [guard.admit("192.0.2.1", 1.0) for _ in range(6)] == [True] * 5 + [False]


# times and texts


def test_times_change_for_the_calls_to_come_and_what_comes_next_in_the_present_one() -> None:
    world = World()
    world.script(ADDRESS_B)
    world.reconfigure(no_reply_seconds=1.0, ring_seconds=20.0, timers=TimerValues(t1=0.1, t2=0.4, t4=0.5))
    world.second.on_call = lambda call: call.ring()
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.statuses[-1] == 480
    assert story.ended.routes == ("carrier-b:no_reply", "carrier-c:no_answer")
    assert 21_000 <= story.ended.total_ms <= 21_800
    times = [datagram.at for datagram in world.network.log if datagram.target == ADDRESS_B]
    assert round(times[1] - times[0], 2) == 0.1


def test_limits_of_messages_and_our_name_change_at_once() -> None:
    world = World()
    phone = world.script(ADDRESS_A)
    world.reconfigure(product="other/2", message=Limits(message_bytes=600))
    phone.send(request_text("OPTIONS", f"sip:{SWITCH[0]}", ADDRESS_A))
    phone.send(request_text("OPTIONS", f"sip:{SWITCH[0]}", ADDRESS_A, lines=("X: " + "x" * 500,)))
    world.finish()
    assert phone.words == ["200", "513"]
    assert phone.last("200").get("server") == "other/2"


# in any order

SETS = st.lists(st.sampled_from(TRUNKS), min_size=1, unique=True).map(tuple)
MOVES = st.lists(
    st.tuples(
        st.floats(0.0, 40.0),
        SETS,
        st.sampled_from([0.0, 1.0, 50.0]),
        st.sampled_from([0, 1, 5]),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(MOVES, st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.5, 30.0), st.booleans()), max_size=8))
def test_reloads_in_any_order_lose_no_call_and_leave_nothing_behind(
    moves: list[tuple[float, tuple[Trunk, ...], float, int]], dialled: list[tuple[float, float, bool]]
) -> None:
    """Calls begin at any time and talk as long as they like: the one that is up ends by its user alone."""
    world = World(Conditions(latency=0.05))
    world.callee.on_call = world.second.on_call = answer_after(2.0)
    calls: list[PhoneCall] = []

    def dial(seconds: float, ended_by_callee: bool) -> None:
        call = world.caller.dial(X)
        calls.append(call)
        call.on("200", partial(_hang_up_other, world, call) if ended_by_callee else call.hang_up, after=seconds)

    for at, seconds, ended_by_callee in dialled:
        world.network.later(at, partial(dial, seconds, ended_by_callee))
    for at, trunks, rate, most in moves:
        changed = tuple(replace(trunk, calls_per_second=rate) for trunk in trunks)
        world.network.later(at, partial(world.reconfigure, trunks=changed, max_calls=most))
    told = world.finish(answers=False, agree=False)
    assert {story.ended.ended_by for story in told if story.answered is not None} <= {"caller", "callee"}
    assert not [call for call in calls if call.was_up and call.stage is not Stage.OVER]
    assert world.caller.faults == world.callee.faults == world.second.faults == []


def _hang_up_other(world: World, call: PhoneCall) -> None:
    """The callee hangs up: any one that is up, since the two legs of a call know nothing of each other."""
    others = [other for other in (*world.callee.calls, *world.second.calls) if other.stage is Stage.UP]
    (others[0] if others else call).hang_up()
    if others and call.stage is Stage.UP:
        world.network.later(30.0, call.hang_up)
