"""CPU time of one decision with the real reader on a real SQLite file: `python -m tests.bench.micro_decide`.

Measured with the store at rest, and while another process commits all the time, since every commit of another makes a
reader's cached pages stale. Figures are of this thread's CPU: the best of several repeats, then their median.
"""

import argparse
import asyncio
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

from cdr.seal import Seal, format_keyring, new_keyring, parse_keyring
from routing.binding import BindingRequest
from routing.decide import Query, Route, decide
from routing.plan import Block, BlockState
from routing.store.reader import Reader
from routing.store.sqlite import Store
from routing.trunks import Peer, Trunk

BINDINGS = 10_000
ROUNDS = 10_000
REPEATS = 7

NOW_MS = 1_800_000_000_000
EXPIRES_MS = NOW_MS + 86_400_000
PREFIX = "70012345678"

TRUNKS = (
    Trunk("east", (Peer("192.0.2.1", 5060),), prefixes=("", "13"), priority=10),
    Trunk("west", (Peer("192.0.2.2", 5060),), prefixes=("", "13"), priority=10),
    Trunk("spare", (Peer("192.0.2.3", 5060),), priority=20),
)


def request(number: int) -> BindingRequest:
    """Return the request of the n-th order: parties of its own, middle numbers shared when they run out."""
    return BindingRequest(
        x=f"{PREFIX}{number % 10_000:04d}",
        a=f"138{number:08d}",
        b=f"139{number:08d}",
        business_user="shop",
        scenario="delivery",
        order_id=f"order-{number}",
        real_name=f"proof-{number}",
        consent=f"consent-{number}",
        expires_ms=EXPIRES_MS,
    )


async def fill(path: Path, seal: Seal, count: int) -> float:
    """Create the store with its bindings; return seconds a binding."""
    async with await Store.open(path, seal) as store:
        await store.registry.enrol("provider", "shop", "delivery", now_ms=NOW_MS, by="bench")
        await store.blocks.add(Block(PREFIX, "provider", "shop", BlockState.ACTIVE), NOW_MS, by="bench")
        began = time.perf_counter()
        for number in range(count):
            await store.bindings.bind(request(number), NOW_MS, by="bench")
        return (time.perf_counter() - began) / count


def keep_writing(path: Path, keyring: str, first: int, writing: Event, stop: Event) -> None:
    """Bind fresh orders until told to stop; the body of the writing process."""

    async def write() -> None:
        number = first
        async with await Store.open(path, Seal(parse_keyring(keyring))) as store:
            while not stop.is_set():
                await store.bindings.bind(request(number), NOW_MS, by="bench")
                number += 1
                writing.set()

    asyncio.run(write())


def measure(what: Callable[[int], object], rounds: int) -> str:
    """Return best and median microseconds of this thread's CPU per call."""
    figures = []
    for _ in range(REPEATS):
        began = time.thread_time()
        for number in range(rounds):
            what(number)
        figures.append((time.thread_time() - began) / rounds * 1e6)
    return f"{min(figures):6.2f} µs best {statistics.median(figures):6.2f} µs median"


def main() -> int:
    """Fill a store, measure, print one figure a line; 1 when a decision was not a route."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bindings", type=int, default=BINDINGS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()

    keyring = new_keyring()
    seal = Seal(keyring)
    draw = random.Random(700)
    orders = [request(draw.randrange(options.bindings)) for _ in range(options.rounds)]
    queries = [Query(number, "east", order.x, f"+86{order.a}", False) for number, order in enumerate(orders)]

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bindings.db"
        elapsed = asyncio.run(fill(path, seal, options.bindings)) * 1e6
        show("bind, elapsed, with its fsync", f"{elapsed:6.0f} µs")
        reader = Reader(path, seal)
        plan = reader.plan()

        def find(number: int) -> object:
            query = queries[number]
            return reader.find(query.dialled, query.caller)

        def whole(number: int) -> object:
            return decide(queries[number], plan, reader.find, TRUNKS, (), NOW_MS, draw.random)

        found = reader.find(queries[0].dialled, queries[0].caller)

        def pure(_: int) -> object:
            return decide(queries[0], plan, lambda dialled, caller: found, TRUNKS, (), NOW_MS, draw.random)

        if not all(isinstance(whole(number), Route) for number in range(options.rounds)):
            return 1
        show("decide without the store", measure(pure, options.rounds))
        show("find", measure(find, options.rounds))
        show("decide", measure(whole, options.rounds))

        processes = multiprocessing.get_context("spawn")
        writing, stop = processes.Event(), processes.Event()
        arguments = (path, format_keyring(keyring), options.bindings, writing, stop)
        writer = processes.Process(target=keep_writing, args=arguments, daemon=True)
        writer.start()
        try:
            writing.wait()
            show("find, another process writing", measure(find, options.rounds))
            show("decide, another process writing", measure(whole, options.rounds))
        finally:
            stop.set()
            writer.join()
        reader.close()
    return 0


def show(what: str, figure: str) -> None:
    print(f"{what:<32} {figure}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
