"""A call that waits for the verification hook (R20): what the caller sees meanwhile, and what the record says."""

import pytest

from routing.decide import Query, Reason, Refusal, Route
from tests.call.phone import PhoneCall
from tests.call.world import World, X


def asked(world: World) -> tuple[PhoneCall, Query, Route]:
    """A call that the rules admit, put to the hook."""
    world.switch.held = True
    call = world.caller.dial(X)
    world.run(1.0)
    (query,) = world.switch.waiting
    route = world.switch.decide(query)
    assert isinstance(route, Route)
    return call, query, route


def decide(world: World, query: Query, decision: Route | Refusal, word: str) -> None:
    world.switch.enter(lambda now: world.real.decided(query, decision, now, word))


@pytest.mark.parametrize("word", ["passed", "failed_open", "skipped", ""])
def test_the_record_of_a_call_says_what_the_hook_said(word: str) -> None:
    world = World()
    call, query, route = asked(world)
    assert call.statuses == [100]
    decide(world, query, route, word)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert (story.ended.outcome, story.ended.verification) == ("answered", word)


@pytest.mark.parametrize(
    ("reason", "word", "status"),
    [
        (Reason.VERIFICATION_REFUSED, "refused", 403),
        (Reason.VERIFICATION_FAILED, "failed_closed", 503),
        (Reason.BINDING_ENDED, "passed", 403),
    ],
)
def test_the_record_of_a_refusal_says_what_the_hook_said(reason: Reason, word: str, status: int) -> None:
    world = World()
    call, query, route = asked(world)
    decide(world, query, Refusal(reason, route.caller, route.dialled, route.binding), word)
    (story,) = world.finish()
    assert call.statuses == [100, status]
    assert (story.ended.reason, story.ended.verification) == (reason, word)
    assert story.attempted.binding_id == "binding-1"


def test_a_cancel_meanwhile_is_honoured_and_the_answer_comes_too_late() -> None:
    world = World()
    call, query, route = asked(world)
    assert world.real.record_of(query)
    call.cancel()
    world.run(1.0)
    assert call.statuses == [100, 487]
    assert world.real.record_of(query) == ""
    decide(world, query, route, "passed")
    (story,) = world.finish()
    assert (story.ended.outcome, story.ended.verification) == ("cancelled", "")
    assert world.callee.calls == []


def test_the_id_that_the_hook_is_told_is_that_of_the_record() -> None:
    world = World()
    _, query, route = asked(world)
    told = world.real.record_of(query)
    decide(world, query, route, "passed")
    world.network.later(5.0, world.caller.calls[0].hang_up)
    (story,) = world.finish()
    assert story.attempted.record_id == told


def test_a_call_that_the_hook_never_answers_is_decided_by_its_time() -> None:
    world = World()
    call, _, _ = asked(world)
    (story,) = world.finish()
    assert call.statuses == [100, 503]
    assert (story.ended.reason, story.ended.verification) == ("undecided", "")
