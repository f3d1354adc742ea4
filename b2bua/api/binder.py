"""Bindings that are asked for one by one at the same time share a transaction: while one is written to the disk, those
that come meanwhile gather for the next."""

import asyncio
from collections.abc import Callable
from typing import Final

from routing.binding import Binding, BindingRequest
from routing.errors import BindingError
from routing.store.bindings import Bindings

__all__ = ["Binder"]

MOST: Final = 200  # in one transaction: bounds how long each of them waits for the others

Waiting = tuple[BindingRequest, "asyncio.Future[Binding]"]


class Binder:
    """For one event loop. `clock` gives UTC milliseconds."""

    def __init__(self, bindings: Bindings, clock: Callable[[], int]) -> None:
        self._bindings = bindings
        self._clock = clock
        self._waiting: dict[str, list[Waiting]] = {}
        self._writer: asyncio.Task[None] | None = None

    async def bind(self, request: BindingRequest, by: str) -> Binding:
        """As `Bindings.bind`."""
        future: asyncio.Future[Binding] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(by, []).append((request, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="bindings")
        return await future

    async def _write(self) -> None:
        """Until nobody waits any more: some of one key, then some of the next, so that none waits for all of one."""
        try:
            while self._waiting:
                by = next(iter(self._waiting))
                waiting = self._waiting.pop(by)
                if waiting[MOST:]:
                    self._waiting[by] = waiting[MOST:]
                await self._settle(by, waiting[:MOST])
        finally:
            self._writer = None

    async def _settle(self, by: str, waiting: list[Waiting]) -> None:
        try:
            requests = [request for request, _ in waiting]
            answers = await self._bindings.bind_many(requests, self._clock(), by=by)
        except Exception as error:  # noqa: BLE001 - each of those who asked is told, and the next are served
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(waiting, answers, strict=True):
            if future.done():
                continue  # whoever asked has gone
            if isinstance(answer, BindingError):
                future.set_exception(answer)
            else:
                future.set_result(answer)
