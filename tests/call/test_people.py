"""What people do: both dial at once, call again, and orders end while they talk.

Profile §4 item 12, the rule: what is under way goes on to its end, whatever becomes of its binding or block; the next
call is refused at once. With `routing.inactive_block_ends_calls` a block that is frozen or returned ends its calls.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from routing.binding import Mode
from routing.plan import CALLABLE, BlockState, Plan
from tests.call.phone import PhoneCall, Stage, answer_after, refuse_with
from tests.call.world import BINDING, BLOCK, NUMBER_B, World, X
from tests.wire import START_MS, Conditions


def test_both_dial_at_the_same_moment() -> None:
    """Profile §4 item 12: two calls, two records; who is engaged already says so."""
    world = World()
    world.caller.on_call = world.callee.on_call = refuse_with(486)
    first = world.caller.dial(X)
    second = world.callee.dial(X)
    told = world.finish()
    assert first.statuses == second.statuses == [100, 486]
    assert [(story.attempted.calling, story.ended.outcome) for story in told] == [("a", "busy"), ("b", "busy")]


def test_both_dial_and_both_calls_are_taken() -> None:
    world = World(Conditions(latency=0.1))
    first = world.caller.dial(X)
    second = world.callee.dial(X)
    first.on("200", first.hang_up, after=2.0)
    second.on("200", second.hang_up, after=3.0)
    told = world.finish()
    assert [story.ended.outcome for story in told] == ["answered", "answered"]
    assert {story.attempted.record_id for story in told} == {story.ended.record_id for story in told}


def test_the_binding_ends_while_it_rings() -> None:
    """What is under way is left to finish; the next call is refused."""
    world = World()
    world.callee.on_call = answer_after(5.0)
    call = world.caller.dial(X)
    world.run(2.0)
    world.bindings = [replace(BINDING, ended_ms=START_MS + 2000)]
    call.on("200", call.hang_up, after=5.0)
    world.run(5.0)
    again = world.caller.dial(X)
    first, second = world.finish()
    assert (first.ended.outcome, first.ended.ended_by) == ("answered", "caller")
    assert again.statuses == [100, 403]
    assert second.ended.reason == "binding_ended"


def test_the_binding_expires_while_they_talk() -> None:
    world = World(binding={"expires_ms": START_MS + 10_000})
    call = world.caller.dial(X)
    world.run(20.0)
    assert world.real.live_calls()[0].state == "up"
    world.callee.call.info()
    world.run(1.0)
    call.hang_up()
    again = world.caller.dial(X)
    first, second = world.finish()
    assert first.ended.talk_ms > 15_000
    assert again.statuses == [100, 403]
    assert second.ended.reason == "binding_expired"


def ended(world: World) -> None:
    world.bindings = [replace(BINDING, ended_ms=world.switch.now.utc_ms)]


def expired(world: World) -> None:
    world.bindings = [replace(BINDING, expires_ms=world.switch.now.utc_ms)]


def taken_over(world: World) -> None:
    """The number serves another order, with other people."""
    world.bindings = [replace(BINDING, id="binding-2", a="+8613811112222", b="+8613933334444")]


def frozen(world: World) -> None:
    world.blocks = [replace(world.blocks[0], state=BlockState.FROZEN)]


def returned(world: World) -> None:
    world.blocks = [replace(world.blocks[0], state=BlockState.RETURNED)]


def gone(world: World) -> None:
    world.blocks = []


CHANGES = [
    (ended, 403, "binding_ended"),
    (expired, 403, "binding_expired"),
    (taken_over, 403, "caller_unbound"),
    (frozen, 403, "block_inactive"),
    (returned, 403, "block_inactive"),
    (gone, 404, "block_unknown"),
]


@pytest.mark.parametrize("seconds", [0.5, 2.0, 8.0], ids=["before it rings", "ringing", "up"])
@pytest.mark.parametrize("by", ["a", "b"])
@pytest.mark.parametrize(("change", "status", "reason"), CHANGES)
def test_what_is_under_way_goes_on_and_the_next_call_is_refused(
    change: Callable[[World], None], status: int, reason: str, by: str, seconds: float
) -> None:
    world = World()
    caller, callee = (world.caller, world.callee) if by == "a" else (world.callee, world.caller)
    callee.on_call = answer_after(4.0, ring=1.0)
    call = caller.dial(X)
    world.run(seconds)
    change(world)
    again = caller.dial(X)
    back = callee.dial(X)  # nor may the other party
    world.run(10.0)
    assert call.stage is Stage.UP
    callee.calls[0].hold()
    world.run(1.0)
    call.hang_up()
    first, second, third = world.finish()
    assert (first.ended.outcome, first.ended.ended_by) == ("answered", "caller")
    assert again.statuses == back.statuses == [100, status]
    assert second.ended.reason == third.ended.reason == reason


@pytest.mark.parametrize("change", [frozen, returned, gone])
def test_a_withdrawn_block_ends_its_calls_where_the_setting_says_so(change: Callable[[World], None]) -> None:
    world = World()
    world.callee.on_call = lambda call: call.accept()
    up = world.caller.dial(X)
    world.run(1.0)
    world.callee.on_call = lambda call: call.ring()
    ringing = world.caller.dial(X)
    world.run(1.0)
    world.switch.held = True
    deciding = world.caller.dial(X)
    world.run(1.0)
    change(world)
    plan = Plan(world.blocks)
    world.switch.enter(
        lambda now: world.real.end_withdrawn(
            lambda x: (block := plan.block_of(x)) is not None and block.state in CALLABLE, now
        )
    )
    world.switch.release()
    told = world.finish()
    assert (up.heard[-1], ringing.heard[-1]) == ("BYE", "403")
    assert [call.heard[-1] for call in world.callee.calls] == ["BYE", "CANCEL"]
    assert deciding.statuses[-1] in (403, 404)
    assert [story.ended.reason for story in told][:2] == ["block_ended", "block_ended"]


@pytest.mark.parametrize("withdrawn", ["number dialled", "number shown", "another"])
def test_a_call_of_two_numbers_ends_with_the_block_of_either(withdrawn: str) -> None:
    y = "700999999990001"
    world = World(binding={"mode": Mode.AXYB, "y": y})
    world.blocks.append(replace(BLOCK, prefix=y[:11]))
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(1.0)
    gone = {"number dialled": X, "number shown": y}.get(withdrawn, "")
    world.switch.enter(lambda now: world.real.end_withdrawn(lambda number: number != gone, now))
    world.run(1.0)
    if call.stage is Stage.UP:
        call.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ("block_ended" if gone else "")
    assert (story.attempted.x, story.attempted.y) == (X, y)


@pytest.mark.parametrize("apart", [0.0, 0.05, 0.1, 0.3, 1.05])
@pytest.mark.parametrize("engaged", [True, False], ids=["says busy when engaged", "takes every call"])
def test_both_dial_at_any_distance(apart: float, engaged: bool) -> None:
    """Two calls that know nothing of each other: each phone decides; two records; nothing is left behind."""
    world = World(Conditions(latency=0.1))
    for phone in (world.caller, world.callee):
        phone.on_call = _unless_engaged if engaged else answer_after(1.0)
    first = world.caller.dial(X)
    second: list[PhoneCall] = []
    world.network.later(apart, lambda: second.append(world.callee.dial(X)))
    world.run(20.0)
    for call in (first, *second):
        if call.stage is Stage.UP:
            call.hang_up()
    told = world.finish()
    outcomes = sorted(story.ended.outcome for story in told)
    assert len(told) == 2
    assert outcomes == (["busy", "busy"] if engaged and apart < 0.2 else outcomes)
    assert "failed" not in outcomes
    assert {story.attempted.calling for story in told} == {"a", "b"}


def _unless_engaged(call: PhoneCall) -> None:
    others = [other for other in call.phone.calls if other is not call and other.stage is not Stage.OVER]
    (refuse_with(486) if others else answer_after(1.0))(call)


def test_one_party_dials_while_the_other_rings_it() -> None:
    """B's phone rings with A's call, and B dials X: A hears nothing of it but a second call."""
    world = World()
    world.callee.on_call = lambda call: call.ring()
    world.caller.on_call = refuse_with(486)
    first = world.caller.dial(X)
    world.run(1.0)
    second = world.callee.dial(X)
    world.run(1.0)
    assert second.statuses == [100, 486]
    first.cancel()
    told = world.finish()
    assert [story.ended.outcome for story in told] == ["cancelled", "busy"]


def test_a_number_that_serves_the_next_order_reaches_the_next_party() -> None:
    other = replace(BINDING, id="binding-2", order_id="order-2", b="+8613900000009")
    world = World()
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.run(5.0)
    world.bindings = [replace(BINDING, ended_ms=START_MS + 4000), other]
    again = world.caller.dial(X)
    again.on("200", again.hang_up)
    told = world.finish()
    assert [story.attempted.callee for story in told] == [NUMBER_B, "+8613900000009"]
    assert [story.attempted.order_id for story in told] == ["order-1", "order-2"]


def test_one_number_for_two_orders_tells_them_apart_by_the_caller() -> None:
    world = World()
    world.bindings.append(replace(BINDING, id="binding-2", a="+8613811112222", b="+8613933334444"))
    first = world.caller.dial(X)
    second = world.caller.dial(X, identity="<tel:+8613811112222>")
    for call in (first, second):
        call.on("200", call.hang_up)
    told = world.finish()
    assert [story.attempted.callee for story in told] == [NUMBER_B, "+8613933334444"]


def test_calling_again_after_busy() -> None:
    world = World()
    world.callee.on_call = refuse_with(486, ring=0.5)
    world.caller.dial(X)
    world.run(5.0)
    world.callee.on_call = answer_after(1.0)
    again = world.caller.dial(X)
    again.on("200", again.hang_up)
    told = world.finish()
    assert [story.ended.outcome for story in told] == ["busy", "answered"]
    assert [story.attempted.sequence for story in told] == [1, 2]


def test_a_long_talk_with_pauses() -> None:
    world = World()
    call = world.caller.dial(X)
    world.run(600.0)
    call.hold()
    world.run(600.0)
    call.reinvite()
    world.run(600.0)
    world.callee.call.hang_up()
    (story,) = world.finish()
    assert 1_790_000 < story.ended.talk_ms < 1_810_000
