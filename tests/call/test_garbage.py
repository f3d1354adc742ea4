"""What a call has held is free as soon as it is over: a collector that walks seldom would let it pile up."""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.call.flows import FLOWS, Flow
from tests.call.world import World


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What only the collector would find, filled by `gc.collect`."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
def test_a_call_that_is_over_leaves_nothing_to_the_collector(flow: Flow, garbage: list[object]) -> None:
    world = World()
    flow.start(world)
    world.finish()
    gc.collect()
    left = Counter(type(thing).__name__ for thing in garbage if type(thing).__module__.startswith("b2bua."))
    assert not left
