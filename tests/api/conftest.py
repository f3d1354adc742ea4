"""The world in which the API is tried."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cdr.seal import Seal, new_keyring
from tests.api.world import World, world


@pytest.fixture(scope="session")
def api_seal() -> Seal:
    return Seal(new_keyring())


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made
