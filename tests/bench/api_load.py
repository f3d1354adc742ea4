"""Bindings a second through the API, by HTTP, in batches and one by one: `python -m tests.bench.api_load`.

The API is a process of its own with its store on the disk; what it costs is told as CPU a binding, too, which does not
depend on what else the machine does.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from httpx import AsyncClient, Limits

from routing.plan import Block, BlockState
from routing.store.sqlite import Store
from tests.api.node import ApiNode
from tests.api.things import binding
from tests.api.world import NOW, PROVIDER, USER
from tests.bench.machine import cpu_seconds

BLOCKS = 30  # of 10,000 numbers, so that drawing a free one costs what it costs in practice


class Figure(NamedTuple):
    """What came of one way of asking."""

    name: str
    bindings: int
    seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        rate, cost = self.bindings / self.seconds, self.cpu_seconds / self.bindings * 1000
        return f"{self.name:<28} {rate:8,.0f} bindings/s   {cost:6.3f} ms CPU each"


def bodies(count: int, first: int) -> list[dict[str, object]]:
    hour = int(time.time() * 1000) + 3_600_000
    return [
        binding(a=f"138{number:08}", b=f"139{number:08}", order_id=f"order-{number}", expires_ms=hour)
        for number in range(first, first + count)
    ]


async def provide(store: Store) -> None:
    for number in range(BLOCKS):
        block = Block(f"700555{number:05}", PROVIDER, USER, BlockState.ACTIVE)
        await store.blocks.add(block, NOW, by="bench")


async def at_once(work: Callable[[int], Awaitable[None]], requests: int, parallel: int) -> None:
    """Some clients that each ask again when they are answered."""
    numbers = iter(range(requests))

    async def client() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(client() for _ in range(parallel)))


async def measure(node: ApiNode, pid: int, name: str, total: int, size: int, parallel: int, first: int) -> Figure:
    requests = total // size
    contents = []
    for number in range(requests):
        items = bodies(size, first + number * size)
        contents.append(json.dumps({"items": items} if size > 1 else items[0]).encode())
    path = "/v1/bindings/batch" if size > 1 else "/v1/bindings"
    headers = {"Authorization": f"Bearer {node.key}", "Content-Type": "application/json"}
    limits = Limits(max_connections=parallel, max_keepalive_connections=parallel)
    async with AsyncClient(
        base_url=f"http://127.0.0.1:{node.port}", headers=headers, limits=limits, timeout=120
    ) as http:

        async def ask(number: int) -> None:
            answer = await http.post(path, content=contents[number])
            assert answer.status_code in (200, 201), answer.text[:300]
            assert size == 1 or answer.json()["made"] == size, answer.text[:300]

        begun, spent = time.monotonic(), cpu_seconds(pid)
        await at_once(ask, requests, parallel)
        return Figure(name, requests * size, time.monotonic() - begun, cpu_seconds(pid) - spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bindings", type=int, default=15_000, help="bindings of each figure")
    parser.add_argument("--parallel", type=int, default=8, help="clients at one time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="x700-api-") as directory:
        node = ApiNode(Path(directory), settings="requests_per_second = 0\n")
        node.store(provide)
        process = node.ready()
        first = 0
        print(f"{options.parallel} clients, one API process, journal mode WAL, synchronous FULL")  # noqa: T201
        for name, size, parallel in (
            ("batches of 500", 500, options.parallel),
            ("batches of 100", 100, options.parallel),
            ("one by one", 1, options.parallel),
            ("one by one, one client", 1, 1),
        ):
            total = options.bindings if size > 1 else max(options.bindings // 10, 100)
            figure = asyncio.run(measure(node, process.pid, name, total, size, parallel, first))
            print(figure)  # noqa: T201
            first += total
        assert process.stop() == 0
        node.close()


if __name__ == "__main__":
    main()
