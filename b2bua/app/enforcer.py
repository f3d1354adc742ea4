"""What the switch itself orders: a fan-out goes into the credit file of the business user and, where the settings say
so, blocks its caller. A thread writes it to the binding store, so that no call waits for that."""

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from cdr.seal import Seal
from routing.blocklist import BlockKind, BlockRequest
from routing.counters import Alert
from routing.credit import Source, Violation
from routing.errors import BindingError, Conflict, StoreError
from routing.store.sqlite import Store

__all__ = ["Enforcer"]

BY: Final = "switch"
# Fan-outs that wait for a store which cannot be written. What finds no place is in the log all the same.
MOST_WAITING: Final = 1000
TRIES: Final = 5
RETRY_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0


class Order(NamedTuple):
    """A fan-out at an instant (UTC ms), and for how many seconds it blocks; 0: it does not."""

    alert: Alert
    block_seconds: int
    now_ms: int


class Enforcer:
    """The thread runs from the first order on. ``log`` is told what came of it; it must be safe to call from there."""

    def __init__(self, store: Path, seal: Seal, log: Callable[..., None]) -> None:
        self._store = store
        self._seal = seal
        self._log = log
        self._orders: queue.Queue[Order | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def put(self, order: Order) -> None:
        """Have an order carried out."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="enforcer", daemon=True)
            self._thread.start()
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            self._log("fan_out_not_recorded", reason="too many wait for the binding store")

    def close(self) -> None:
        """Carry out what waits, as far as the store lets us, and stop."""
        if self._thread is None:
            return
        self._closing.set()
        try:
            self._orders.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            for left in range(TRIES - 1, -1, -1):
                try:
                    asyncio.run(self._carry_out(order))
                    break
                except (StoreError, BindingError) as error:
                    if isinstance(error, BindingError) or not left or self._closing.wait(RETRY_SECONDS):
                        self._log("fan_out_not_recorded", reason=str(error))
                        break

    async def _carry_out(self, order: Order) -> None:
        alert, now_ms = order.alert, order.now_ms
        why = (
            f"fan-out: {alert.numbers} middle numbers dialled by one caller, the last one in scenario {alert.scenario}"
        )
        async with await Store.open(self._store, self._seal) as store:
            await store.credit.note(alert.business_user, Violation.FAN_OUT, why, now_ms, by=BY, source=Source.SWITCH)
            if not order.block_seconds:
                return
            request = BlockRequest(
                BlockKind.CALLER,
                alert.caller,
                why,
                expires_ms=now_ms + order.block_seconds * 1000,
                business_user=alert.business_user,
            )
            try:
                entry = await store.blocklist.add(request, now_ms, by=BY)
            except Conflict:
                return  # blocked already
            self._log("fan_out_blocked", entry=entry.id, seconds=order.block_seconds)
