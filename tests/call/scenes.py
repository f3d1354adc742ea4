"""What scenes of several test files begin with, and how they are looked at when they are over."""

import pytest

from tests.call.phone import PhoneCall, Stage
from tests.call.world import TRUNKS, World, X
from tests.wire import SWITCH, Conditions, Datagram

ALPHA, BRAVO, CHARLIE = TRUNKS
HERE = f"sip:{SWITCH[0]}:{SWITCH[1]}"
PAI = "P-Asserted-Identity: <sip:13876543210@192.0.2.10>"
HOUR = 3600.0
BOTH_WAYS = pytest.mark.parametrize("from_caller", [True, False], ids=["from_caller", "from_callee"])


def result(world: World, *, agree: bool = True) -> tuple[str, int, str]:
    """The end of a world with one attempt: (outcome, status, who ended it) of its one record."""
    (story,) = world.finish(agree=agree)
    return str(story.ended.outcome), story.ended.status, story.ended.ended_by


def sent(world: World, way: str, word: str, since: float = 0.0) -> list[Datagram]:
    """What went this way under this name, repetitions too."""
    return [each for each in world.network.log if (each.way, each.word) == (way, word) and each.at >= since]


def up(conditions: Conditions | None = None) -> tuple[World, PhoneCall, PhoneCall]:
    """A call that is up, with nothing on its way: (world, the caller's call, the callee's)."""
    world = World(conditions)
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(2.0)
    assert call.stage is Stage.UP
    return world, call, world.callee.call


def both(world: World, call: PhoneCall, other: PhoneCall, from_caller: bool) -> tuple[PhoneCall, PhoneCall]:
    """(who acts, the other one)."""
    return (call, other) if from_caller else (other, call)


def fault_free(world: World) -> bool:
    """No phone has had anything to object to."""
    return world.caller.faults == world.callee.faults == world.second.faults == []
