"""Delivers what webhooks have to be told: signed, in order for each call, tried again on a ladder, then a dead letter.

An event is told at least once: a process that is killed between a receiver's answer and the mark tells it again, under
the same id. The events of one call or message go one after another, each when the one before was taken or given up;
calls go side by side. Each webhook has its own window of requests under way: one at first, doubled with each success,
one again after a failure. So a receiver that is dead holds up nobody but itself.

One process at a time delivers: it holds a lock, and another that runs waits for it.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from b2bua.api.context import Context
from b2bua.api.webhook_message import headers_of, trial_body
from b2bua.api.webhook_sender import Answer, Send, sender
from cdr.outbox import body_of, event_id, parties_of
from cdr.seal import Seal, SealError
from cdr.store.database import StoreError
from cdr.store.files import JournalError, lock, make_directory
from cdr.store.outbox import LOCK_NAME, Item, Outbox, Result, State
from routing.errors import StoreError as BindingStoreError
from routing.numbers import mask
from routing.store.webhooks import Webhooks

__all__ = ["LADDER_MS", "Deliverer", "Target", "delivery", "read_targets", "send_test"]

# Milliseconds from each failed try to the next one; after the last the event is a dead letter.
LADDER_MS: Final = (60_000, 300_000, 600_000, 1_800_000)
# Each step is longer by up to this share, drawn by chance: what failed together does not come back together.
JITTER: Final = 0.1
POLL_SECONDS: Final = 0.2
LOCK_SECONDS: Final = 2.0
# What is under way when the process stops may end within so long; else it is told again by the next one.
LAST_SECONDS: Final = 3.0
# A change of a webhook is in force after so long at most.
TARGETS_MS: Final = 1_000

log = structlog.get_logger("webhooks")


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook as it is sent to: its address and the secrets that sign, the newest first."""

    id: str
    url: str
    reveal: bool
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(slots=True)
class _Lane:
    """The requests under way to one webhook, and how many there may be."""

    window: int = 1
    flying: set[int] = field(default_factory=set)
    failing: bool = False


class Deliverer:
    """`turn` starts what is due; `run` does so until it is stopped. Times are UTC milliseconds, of `clock`."""

    def __init__(
        self,
        outbox: Outbox,
        targets: Callable[[int], Awaitable[Sequence[Target]]],
        send: Send,
        seal: Seal,
        *,
        parallel: int,
        clock: Callable[[], int],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`targets(now_ms)` gives the webhooks that may be sent to at that instant; `parallel` is the largest window;
        `chance` draws from [0, 1)."""
        self._outbox = outbox
        self._targets = targets
        self._send = send
        self._seal = seal
        self._parallel = parallel
        self._clock = clock
        self._chance = chance
        self._known: dict[str, Target] = {}
        self._read_ms = -TARGETS_MS
        self._lanes: dict[str, _Lane] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._results: list[tuple[str, Result]] = []
        self._news = asyncio.Event()

    async def turn(self) -> int:
        """Mark what has come of the requests, and start those that are due now; how many are under way.

        Raises the StoreError of either store; what was not marked stays to be marked.
        """
        self._news.clear()
        await self._mark()
        now_ms = self._clock()
        waiting = await self._outbox.waiting(now_ms)
        if waiting and not 0 <= now_ms - self._read_ms < TARGETS_MS:
            self._known = {target.id: target for target in await self._targets(now_ms)}
            self._read_ms = now_ms
        for webhook in waiting:
            target = self._known.get(webhook)
            if target is not None:
                await self._start(target, now_ms)
        return len(self._under_way)

    async def settled(self) -> None:
        """Wait until nothing is under way, and mark it."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        await self._mark()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`; what is under way then may end within a few seconds."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                try:
                    await self.turn()
                except (StoreError, BindingStoreError) as error:
                    log.error("webhooks_held_up", error=str(error))
                    await asyncio.wait([stopping], timeout=LOCK_SECONDS)
                    continue
                news = asyncio.create_task(self._news.wait())
                await asyncio.wait([stopping, news], timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
        finally:
            stopping.cancel()
            await self._end()

    async def _end(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=LAST_SECONDS)
        for task in self._under_way:
            task.cancel()
        with suppress(StoreError):  # what was not marked is told again
            await self._mark()

    async def _start(self, target: Target, now_ms: int) -> None:
        lane = self._lanes.setdefault(target.id, _Lane())
        room = lane.window - len(lane.flying)
        if room <= 0:
            return
        due = await self._outbox.due(target.id, now_ms, lane.window)
        for item in [each for each in due if each.number not in lane.flying][:room]:
            lane.flying.add(item.number)
            task = asyncio.create_task(self._deliver(target, lane, item))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _deliver(self, target: Target, lane: _Lane, item: Item) -> None:
        result = await self._try(target, item)
        taken = result.state == State.DELIVERED
        lane.window = min(lane.window * 2, self._parallel) if taken else 1
        if lane.failing is taken:
            # once for each time that a receiver goes or comes back, not once for each event
            lane.failing = not taken
            log.info("webhook_recovered" if taken else "webhook_failing", webhook=target.id, error=result.error)
        if result.state == State.DEAD:
            log.warning("webhook_dead_letter", webhook=target.id, record=item.notice.record_id, error=result.error)
        self._results.append((target.id, result))
        self._news.set()

    async def _try(self, target: Target, item: Item) -> Result:
        notice = item.notice
        try:
            parties = parties_of(notice, self._seal)
        except (SealError, ValueError):
            return Result(item.number, State.DEAD, 0, 0, "its numbers do not open with this keyring")
        body = body_of(notice, parties, _as_it_is if target.reveal else mask)
        identifier = event_id(notice.record_id, notice.phase)
        answer = await self._send(target.url, body, headers_of(identifier, self._clock(), body, target.secrets))
        if not answer.error:
            return Result(item.number, State.DELIVERED, 0, answer.status, "")
        if item.attempts >= len(LADDER_MS):
            return Result(item.number, State.DEAD, 0, answer.status, answer.error)
        step = LADDER_MS[item.attempts]
        due_ms = self._clock() + step + int(step * JITTER * self._chance())
        return Result(item.number, State.WAITING, due_ms, answer.status, answer.error)

    async def _mark(self) -> None:
        results = self._results[:]
        await self._outbox.settle([result for _, result in results], self._clock())
        del self._results[: len(results)]
        for webhook, result in results:
            lane = self._lanes[webhook]
            lane.flying.discard(result.number)


def _as_it_is(number: str) -> str:
    return number


async def read_targets(webhooks: Webhooks, now_ms: int) -> list[Target]:
    """Every active webhook with its secrets, from the store."""
    return [Target(each.id, each.url, each.reveal, secrets) for each, secrets in await webhooks.signing(now_ms)]


async def send_test(send: Send, target: Target, now_ms: int) -> Answer:
    """Try a webhook out, now and once: an event of type webhook.test without data."""
    identifier = f"test-{os.urandom(8).hex()}"
    body = trial_body(identifier, now_ms)
    return await send(target.url, body, headers_of(identifier, now_ms, body, target.secrets))


@asynccontextmanager
async def delivery(context: Context) -> AsyncIterator[None]:
    """Deliver in the background, as one process alone."""
    stop = asyncio.Event()
    working = asyncio.create_task(_deliver(context, stop), name="webhooks")
    try:
        yield
    finally:
        stop.set()
        await working


async def _deliver(context: Context, stop: asyncio.Event) -> None:
    held = await _take_lock(context.records, stop)
    if held is None:
        return
    outbox = Outbox(context.records, durable=False)
    settings = context.settings
    try:
        async with sender(settings.webhook_seconds) as send:
            deliverer = Deliverer(
                outbox,
                lambda now_ms: read_targets(context.store.webhooks, now_ms),
                send,
                context.seal,
                parallel=settings.webhook_parallel,
                clock=context.clock,
            )
            await deliverer.run(stop)
    finally:
        await outbox.close()
        os.close(held)


async def _take_lock(records: Path, stop: asyncio.Event) -> int | None:
    """The lock of the one that delivers, as soon as nobody has it; None when `stop` comes first."""
    said = False
    while True:
        try:
            make_directory(records)
            return lock(records / LOCK_NAME, "process that delivers webhooks")
        except JournalError as error:
            if not said:
                log.info("webhooks_wait", error=str(error))
                said = True
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOCK_SECONDS)
            return None
