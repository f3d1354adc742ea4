"""The stores of one node, opened as its settings say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from b2bua.app.config import Settings
from routing.store.sqlite import Store

HOUR_MS = 3_600_000
PRIVATE = 0o700  # what lies there is sealed, but nobody else's business


def make_directories(settings: Settings) -> None:
    """Create what does not exist yet of the directories that files are put into. OSError where that is impossible."""
    for directory in (settings.node.data_dir, settings.routing.store.parent, settings.ops.control_socket.parent):
        directory.mkdir(mode=PRIVATE, parents=True, exist_ok=True)


@asynccontextmanager
async def binding_store(settings: Settings) -> AsyncIterator[Store]:
    """The binding store for writing, created where there is none."""
    make_directories(settings)
    quarantine_ms = settings.numbers.quarantine_hours * HOUR_MS
    async with await Store.open(settings.routing.store, settings.seal(), quarantine_ms=quarantine_ms) as store:
        yield store
