"""Every flow again over a bad network: any one datagram lost, then many lost, doubled, late and out of order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.call.flows import FLOWS, Flow
from tests.call.world import World
from tests.wire import Conditions, nth

EVERY_FLOW = pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
WAYS = ("", "a>", ">a", ">b", "b>")


def play(flow: Flow, conditions: Conditions) -> tuple[World, list[tuple[str, int, str, str]]]:
    """The flow under these conditions: what the records say, and in the last place what the caller was told last."""
    world = World(conditions)
    flow.start(world)
    told = world.finish()
    return world, [
        (story.ended.outcome, story.ended.status, story.ended.ended_by, story.ended.reason) for story in told
    ]


@EVERY_FLOW
@pytest.mark.parametrize("way", WAYS, ids=["all", "from_caller", "to_caller", "to_callee", "from_callee"])
def test_any_one_datagram_may_be_lost(flow: Flow, way: str) -> None:
    world, expected = play(flow, Conditions())
    count = sum(1 for datagram in world.network.log if way in ("", datagram.way))
    assert count or way
    for number in range(count):
        _, happened = play(flow, Conditions(drop=nth(number, way)))
        if flow.settled:
            assert happened == expected, f"without datagram {number}"


@settings(max_examples=250, deadline=None, print_blob=True)
@given(
    flow=st.sampled_from(FLOWS),
    seed=st.integers(0, 1 << 32),
    loss=st.sampled_from([0.0, 0.1, 0.3, 0.6]),
    duplication=st.sampled_from([0.0, 0.3, 1.0]),
    jitter=st.sampled_from([0.0, 0.05, 0.7, 3.0]),
)
def test_over_any_network_a_call_ends_as_it_should(
    flow: Flow, seed: int, loss: float, duplication: float, jitter: float
) -> None:
    play(flow, Conditions(seed=seed, loss=loss, duplication=duplication, jitter=jitter))
