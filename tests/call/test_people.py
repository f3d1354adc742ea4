"""What people do: both dial at once, call again, and orders end while they talk."""

from dataclasses import replace

from routing.plan import BlockState
from tests.call.phone import answer_after, refuse_with
from tests.call.world import BINDING, NUMBER_B, World, X
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


def test_the_block_is_frozen_while_they_talk() -> None:
    world = World()
    call = world.caller.dial(X)
    world.run(3.0)
    world.blocks = [replace(world.blocks[0], state=BlockState.FROZEN)]
    world.run(3.0)
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.outcome == "answered"


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
