"""Profile §4 item 15, drain: no side door stays open, and nothing that is under way is cut short."""

from collections.abc import Callable

import pytest

from tests.call.phone import PhoneCall, Stage, answer_after, refuse_with
from tests.call.world import ADDRESS_A, TRUNKS, World, X
from tests.wire import SWITCH, request_text

DOORS = ("INVITE", "OPTIONS", "MESSAGE")


def drained(world: World) -> World:
    world.switch.enter(world.real.drain)
    return world


@pytest.mark.parametrize("method", DOORS)
@pytest.mark.parametrize("state", ["idle", "with a call up"])
def test_every_entrance_is_closed(method: str, state: str) -> None:
    world = World()
    call: PhoneCall | None = None
    if state != "idle":
        world.callee.on_call = lambda call: call.accept()
        call = world.callee.dial(X)
        world.caller.on_call = lambda call: call.accept()
        world.run(1.0)
    drained(world)
    phone = world.script(("192.0.2.30", 5060))  # another carrier
    text = request_text(method, f"sip:{X}@{SWITCH[0]}", phone.address, number="13925814703")
    phone.send(text)
    world.run(1.0)
    assert set(phone.words) == {"503"}
    assert phone.last("503").get("retry-after") == "30"
    if method == "INVITE":
        phone.send(text.replace("INVITE", "ACK"))
    if call is not None:
        assert call.stage is Stage.UP
        call.hang_up()
    world.finish(agree=False)
    assert world.callee.calls == ([call] if call else [])


def test_an_invite_that_comes_with_a_tag_we_never_gave_is_no_side_door() -> None:
    world = drained(World())
    phone = world.script(ADDRESS_A)
    phone.send(request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, to_value=f"<sip:{X}@h>;tag=guessed"))
    world.run(1.0)
    assert phone.words[0] == "481"
    world.finish(agree=False)
    assert world.callee.calls == []


def test_a_reload_does_not_open_the_door_again() -> None:
    world = drained(World())
    world.reconfigure(trunks=TRUNKS, max_calls=7)
    call = world.caller.dial(X)
    world.finish()
    assert call.statuses == [503]


def test_what_belongs_to_a_call_goes_on() -> None:
    world = World()
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(1.0)
    drained(world)
    call.hold()
    world.run(1.0)
    world.callee.call.reinvite()
    world.run(1.0)
    call.info()
    world.run(1.0)
    assert (call.heard.count("200"), call.heard.count("INVITE"), call.heard.count("INFO 200")) == (2, 1, 1)
    world.callee.call.hang_up()
    (story,) = world.finish()
    assert (story.ended.outcome, story.ended.ended_by) == ("answered", "callee")


def ringing(world: World) -> PhoneCall:
    world.callee.on_call = answer_after(5.0)
    call = world.caller.dial(X)
    world.run(1.0)
    return call


def failing_over(world: World) -> PhoneCall:
    """The first route says no during the drain: the second is tried all the same."""
    world.callee.on_call = lambda call: world.network.later(3.0, lambda: call.refuse(503))
    world.second.on_call = answer_after(2.0)
    call = world.caller.dial(X)
    world.run(1.0)
    return call


def undecided(world: World) -> PhoneCall:
    world.switch.delay = 2.0
    call = world.caller.dial(X)
    world.run(1.0)
    return call


def unreplied(world: World) -> PhoneCall:
    """The first route is silent."""
    world.script(world.callee.address)
    world.second.on_call = answer_after(1.0)
    call = world.caller.dial(X)
    world.run(1.0)
    return call


@pytest.mark.parametrize("stage", [ringing, failing_over, undecided, unreplied])
def test_a_call_that_is_being_set_up_is_set_up(stage: Callable[[World], PhoneCall]) -> None:
    world = World()
    call = stage(world)
    drained(world)
    call.on("200", call.hang_up, after=3.0)
    (story,) = world.finish()
    assert story.ended.outcome == "answered"


def test_a_call_may_still_be_cancelled_and_refused() -> None:
    world = World()
    cancelled = ringing(world)
    world.callee.on_call = refuse_with(486, ring=2.0)
    busy = world.caller.dial(X)
    world.run(1.0)
    drained(world)
    cancelled.cancel()
    told = world.finish()
    assert [story.ended.outcome for story in told] == ["cancelled", "busy"]
    assert (cancelled.statuses[-1], busy.statuses[-1]) == (487, 486)
