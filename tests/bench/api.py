"""How many bindings a second the API makes while calls go on, in batches and one by one: ``python -m tests.bench api``.

The API runs on the core of the switch, its clients with SIPp and the recorder on the other. Middle numbers are left to
the store to choose.
"""

import asyncio
import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from b2bua.app.storage import binding_store
from routing.access import Role
from routing.plan import Block, BlockState
from tests.bench.bench import Bench, rounded, say
from tests.bench.figures import Row, Span
from tests.bench.load import Load
from tests.bench.machine import cpu_seconds
from tests.bench.node import BINDING_MS, LOOPBACK, USER, Node, api, recorder, switch

__all__ = ["measure_api"]

RATE = 200
HOLD_MS = 1000
BATCH = 100
BATCH_CLIENTS, SINGLE_CLIENTS = 2, 8
BAR_BATCHED, BAR_SINGLE = 1500.0, 300.0
# Enough numbers for whatever is written: ten thousand each.
BLOCKS = 20
FIRST_BLOCK = 70_020_000_000
SETTLE_SECONDS = 2.0
PATIENCE_SECONDS = 30.0


class Written(NamedTuple):
    """What some clients wrote within some seconds, and the CPU of the API for each binding in milliseconds."""

    made: int
    seconds: float
    refused: int
    slowest: float
    cpu_ms: float
    span: Span


def measure_api(bench: Bench) -> None:
    """Both ways of writing, under one load of calls."""
    plan, machine, node = bench.plan, bench.machine, bench.node
    secret = asyncio.run(_provide(node))
    bench.calm()
    seconds = plan.warm + 2 * (plan.writing + SETTLE_SECONDS) + SETTLE_SECONDS
    say(f"{RATE} calls/s, and beside them {plan.writing:g} s of batches and {plan.writing:g} s of single bindings")
    with (
        recorder(machine, node),
        switch(machine, node),
        api(machine, node) as pid,
        Load(machine, node, RATE, int(RATE * seconds), HOLD_MS) as load,
    ):
        load.wait_until(plan.warm)
        batched = _write(bench, pid, secret, BATCH_CLIENTS, BATCH)
        time.sleep(SETTLE_SECONDS)
        single = _write(bench, pid, secret, SINGLE_CLIENTS, 1)
        outcome = load.finish(plan.patience + PATIENCE_SECONDS)
    for what, bar, written in (
        (f"bindings made through the API in batches of {BATCH}", BAR_BATCHED, batched),
        ("bindings made through the API one by one", BAR_SINGLE, single),
    ):
        failure = f"{written.refused} requests failed" if written.refused else ""
        if outcome.failed:
            failure = f"{outcome.failed} of {outcome.planned} calls failed meanwhile"
        bench.rows.append(
            Row(
                f"{what}, {RATE} calls/s beside them",
                written.made / written.seconds,
                "/s",
                f"slowest request {written.slowest * 1000:.0f} ms, CPU of the API {written.cpu_ms:.2f} ms a binding",
                bar,
                written.span,
                failure,
                at_least=True,
            )
        )
    bench.details["api"] = {
        "outcome": outcome._asdict(),
        "batched": {**batched._asdict(), "span": rounded(batched.span)},
        "single": {**single._asdict(), "span": rounded(single.span)},
    }


async def _provide(node: Node) -> str:
    now_ms = time.time_ns() // 1_000_000
    async with binding_store(node.settings) as store:
        for block in range(BLOCKS):
            prefix = str(FIRST_BLOCK + block)
            await store.blocks.add(Block(prefix, "provider-1", USER, BlockState.ACTIVE), now_ms, by="bench")
        _, secret = await store.keys.add("bench", Role.PROVIDER, "provider-1", now_ms=now_ms, by="bench")
        return secret


def _write(bench: Bench, pid: int, secret: str, clients: int, batch: int) -> Written:
    """Some clients, each with a connection that it keeps, write as fast as they are answered."""
    serial = itertools.count()
    before, spent = bench.machine.read(), cpu_seconds(pid)
    began = time.monotonic()
    end = began + bench.plan.writing
    found: list[tuple[int, int, float]] = []
    path = "/v1/bindings/batch" if batch > 1 else "/v1/bindings"
    work = lambda: found.append(_client(bench.node, secret, path, lambda: _body(serial, batch), end))  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made, refused = sum(each[0] for each in found), sum(each[1] for each in found)
    cpu_ms = (cpu_seconds(pid) - spent) * 1000 / made if made else 0.0
    span = bench.machine.span(before, bench.machine.read())
    slowest = max(each[2] for each in found)
    return Written(made, time.monotonic() - began, refused, slowest, cpu_ms, span)


def _client(node: Node, secret: str, path: str, body: Callable[[], bytes], end: float) -> tuple[int, int, float]:
    """(bindings made, requests or items that failed, seconds of the slowest request)."""
    listen = node.settings.api.listen
    assert listen is not None
    connection = http.client.HTTPConnection(LOOPBACK, listen.port, timeout=PATIENCE_SECONDS)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    made, failed, slowest = 0, 0, 0.0
    while (began := time.monotonic()) < end:
        connection.request("POST", path, body(), headers)
        answer = connection.getresponse()
        said = answer.read()
        slowest = max(slowest, time.monotonic() - began)
        if answer.status == 201:
            made += 1
        elif answer.status == 200:
            told: dict[str, Any] = json.loads(said)
            made += told["made"]
            failed += told["refused"]
        else:
            failed += 1
    connection.close()
    return made, failed, slowest


def _body(serial: Iterator[int], batch: int) -> bytes:
    expires_ms = time.time_ns() // 1_000_000 + BINDING_MS
    items = [
        {
            "a": f"136{number:08d}",
            "b": f"137{number:08d}",
            "business_user": USER,
            "scenario": "delivery",
            "order_id": f"order-{number}",
            "real_name": f"verified-{number}",
            "consent": f"consent-{number}",
            "expires_ms": expires_ms,
        }
        for number in itertools.islice(serial, batch)
    ]
    return json.dumps({"items": items} if batch > 1 else items[0]).encode()
