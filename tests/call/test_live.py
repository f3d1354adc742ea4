"""Live calls as they are asked for: all, a provider's, one of them, or a page."""

from tests.call.phone import answer_after
from tests.call.world import World, X


def talking(calls: int) -> World:
    world = World()
    world.callee.on_call = answer_after(0.2)
    for _ in range(calls):
        world.caller.dial(X)
        world.run(0.5)
    return world


def hang_all_up(world: World) -> None:
    for call in world.real.live_calls():
        assert world.switch.enter(lambda now, call=call: world.real.hang_up(call.id, now))  # type: ignore[misc]
    world.finish()


def test_a_live_call_names_its_binding_for_as_long_as_it_lives() -> None:
    world = World()
    world.callee.on_call = answer_after(3.0)
    world.caller.dial(X)
    for state in ("setup", "up"):
        world.run(2.5)
        (live,) = world.real.live_calls()
        assert live.state == state
        assert (live.provider, live.business_user, live.binding_id, live.order_id) == (
            "provider",
            "shop",
            "binding-1",
            "order-1",
        )
    hang_all_up(world)


def test_a_call_of_which_nothing_is_decided_is_nobodys() -> None:
    world = World()
    world.switch.held = True
    world.caller.dial(X)
    world.run(0.5)
    (live,) = world.real.live_calls()
    assert (live.state, live.provider, live.binding_id) == ("deciding", "", "")
    assert world.real.live_calls("provider") == []
    world.switch.held = False
    world.switch.release()
    world.finish()


def test_calls_are_asked_for_by_provider_and_by_id() -> None:
    world = talking(3)
    calls = world.real.live_calls()
    assert [call.number for call in calls] == sorted({call.number for call in calls})
    assert world.real.live_calls("provider") == calls
    assert world.real.live_calls("another") == []
    assert world.real.live_calls(record_id=calls[1].id) == [calls[1]]
    assert world.real.live_calls("another", record_id=calls[1].id) == []
    hang_all_up(world)


def test_calls_are_asked_for_in_pages() -> None:
    world = talking(5)
    calls = world.real.live_calls()
    assert world.real.live_calls(limit=2) == calls[:2]
    assert world.real.live_calls(after=calls[1].number, limit=2) == calls[2:4]
    assert world.real.live_calls(after=calls[3].number, limit=2) == calls[4:]
    assert world.real.live_calls(after=calls[4].number) == []
    hang_all_up(world)


def test_a_provider_hangs_up_its_own_calls_only() -> None:
    world = talking(1)
    (live,) = world.real.live_calls()
    assert not world.switch.enter(lambda now: world.real.hang_up(live.id, now, "another"))
    assert not world.switch.enter(lambda now: world.real.hang_up("no such call", now, "provider"))
    assert world.real.live_calls() == [live]
    assert world.switch.enter(lambda now: world.real.hang_up(live.id, now, "provider"))
    (story,) = world.finish()
    assert (story.ended.reason, story.ended.ended_by) == ("hung_up", "switch")
