"""When keys were last used: noted in memory with every request, written down now and then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from routing.errors import StoreError
from routing.store.keys import Keys

__all__ = ["Usage"]

WRITE_SECONDS = 30.0  # what a crash may lose of it: it tells which keys are still in use, nothing hangs on it


class Usage:
    """The last use of each key, UTC milliseconds."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._instants: dict[str, int] = {}

    def note(self, key_id: str, now_ms: int) -> None:
        """A key was used."""
        self._instants[key_id] = now_ms

    async def write(self) -> None:
        """Put what was noted into the store; kept for the next time when it does not answer."""
        instants, self._instants = self._instants, {}
        if instants:
            try:
                await self._keys.used(instants)
            except StoreError:
                self._instants = {**instants, **self._instants}

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write regularly, and at the end once more."""

        async def forever() -> None:
            while True:
                await asyncio.sleep(WRITE_SECONDS)
                await self.write()

        task = asyncio.create_task(forever(), name="usage of keys")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.write()
