"""No test of call control may end without its invariants checked."""

from collections.abc import Iterator

import pytest

from tests.call.world import World


@pytest.fixture(autouse=True)
def every_world_is_finished() -> Iterator[None]:
    """Fail a test that left out ``World.finish``."""
    World.open.clear()
    yield
    assert all(world.finished for world in World.open), "a world was not finished"
    World.open.clear()
