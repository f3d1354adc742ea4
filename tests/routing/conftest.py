from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cdr.seal import Seal, new_keyring
from routing.store.reader import Reader
from routing.store.sqlite import Store
from tests.routing.samples import provide


@pytest.fixture(scope="session")
def seal() -> Seal:
    return Seal(new_keyring())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bindings.db"


@pytest.fixture
async def store(path: Path, seal: Seal) -> AsyncIterator[Store]:
    """A store with the sample block in it."""
    async with await Store.open(path, seal) as opened:
        await provide(opened)
        yield opened


@pytest.fixture
def reader(path: Path, seal: Seal) -> Iterator[Reader]:
    """A reader of the same file, which need not be there yet."""
    opened = Reader(path, seal)
    yield opened
    opened.close()
