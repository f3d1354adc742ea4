"""Written before sent, on the day the disk stops: a call whose record is in memory alone does not leave."""

from collections.abc import Callable, Sequence

from cdr import record
from tests.call.phone import Stage, answer_after
from tests.call.world import World, X


def broken_for(kind: type) -> Callable[[Sequence[record.Event]], bool]:
    """A disk that takes no record of this kind."""
    return lambda records: not any(isinstance(event, kind) for event in records)


def test_no_invite_leaves_before_its_attempt_is_written() -> None:
    world = World()
    world.switch.disk = broken_for(record.Attempted)
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.statuses == [100, 503]
    assert call.responses[-1].get("retry-after") == "30"
    assert (story.ended.reason, story.ended.outcome) == ("journal_failed", "failed")
    assert world.network.toward("b") == []


def test_calls_that_are_written_go_on_and_come_back_with_the_disk() -> None:
    world = World()
    up = world.caller.dial(X)
    world.run(2.0)
    world.callee.on_call = answer_after(5.0)
    ringing = world.caller.dial(X)
    world.run(1.0)
    world.switch.disk = broken_for(record.Attempted)
    refused = [world.caller.dial(X), world.caller.dial(X)]
    world.run(6.0)
    assert (up.stage, ringing.stage) == (Stage.UP, Stage.UP)
    world.switch.disk = lambda records: True
    again = world.caller.dial(X)
    for call in (up, ringing):
        call.hang_up()
    again.on("200", again.hang_up)
    told = world.finish()
    assert [call.statuses[-1] for call in refused] == [503, 503]
    assert again.statuses[-1] == 200
    assert [story.ended.reason for story in told] == ["", "", "journal_failed", "journal_failed", ""]


def test_an_answer_and_an_end_are_given_though_only_memory_has_them() -> None:
    world = World()
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X)
    world.run(0.5)
    world.switch.disk = lambda records: False
    call.on("200", call.hang_up, after=1.0)
    (story,) = world.finish()
    assert story.ended.outcome == "answered"


def test_what_is_refused_anyway_is_refused_for_its_own_reason() -> None:
    world = World()
    world.switch.disk = lambda records: False
    call = world.caller.dial("12345")
    (story,) = world.finish()
    assert call.statuses[-1] == 404
    assert story.ended.reason == "number_malformed"
