"""The switch's own requests, lost on their way: each is sent again until there is an answer."""

from collections.abc import Callable

import pytest

from tests.call.early_flows import (
    caller_updates_when_it_is_up,
    caller_updates_while_it_rings,
    reliable_on_both_sides,
)
from tests.call.flows import (
    callee_hangs_up,
    callee_holds,
    caller_hangs_up,
    caller_holds,
    cancelled_while_ringing,
    keys,
)
from tests.call.world import World
from tests.wire import Conditions, lose


@pytest.mark.parametrize(
    ("flow", "way", "word"),
    [
        (caller_hangs_up, ">b", "INVITE"),
        (caller_hangs_up, ">b", "BYE"),
        (callee_hangs_up, ">a", "BYE"),
        (cancelled_while_ringing, ">b", "CANCEL"),
        (caller_holds, ">b", "INVITE"),
        (callee_holds, ">a", "INVITE"),
        (keys, ">a", "INFO"),
        (keys, ">b", "INFO"),
        (reliable_on_both_sides, ">b", "PRACK"),
        (caller_updates_while_it_rings, ">b", "UPDATE"),
        (caller_updates_when_it_is_up, ">b", "UPDATE"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_request_of_ours_goes_on_until_it_is_answered(flow: Callable[[World], None], way: str, word: str) -> None:
    """Profile §4 item 5: T1 doubling, and the same bytes each time."""
    plain = World()
    flow(plain)
    (expected,) = plain.finish()
    world = World(Conditions(drop=lose(2, way, word)))
    flow(world)
    (story,) = world.finish()
    assert (story.ended.outcome, story.ended.status) == (expected.ended.outcome, expected.ended.status)
    sent = [datagram for datagram in world.network.log if (datagram.way, datagram.word) == (way, word)]
    assert [datagram.lost for datagram in sent[:3]] == [True, True, False]
    assert len({datagram.data for datagram in sent[:3]}) == 1
    assert [round(datagram.at - sent[0].at, 2) for datagram in sent[:3]] == [0.0, 0.5, 1.5]
