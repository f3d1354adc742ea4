"""Does a call cost the switch more when there are millions of live bindings? ``python -m tests.bench bindings``.

Two switches, one with a large store and one with a small, take calls at the same time, at the same rate, on the same
core: whatever the machine does, it does to both, and the windows of one are compared with those of the other. Callers
dial numbers drawn from the whole of each store.
"""

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cdr.seal import Seal, format_keyring, new_keyring
from tests.bench.bench import Bench, rounded, say
from tests.bench.big_store import fill, line
from tests.bench.figures import Row, succeeded_at
from tests.bench.load import Load, Outcome
from tests.bench.machine import BenchError, Reading, cpu_seconds
from tests.bench.node import Node, count_answered, make_node, recorder, switch

__all__ = ["measure_bindings"]

SMALL = 10_000
RATE = 100  # calls a second of each
HOLD_MS = 1000
SETTLE_SECONDS = 1.0
# Orders that callers take in turn: enough that no page of the store is met twice within the caches.
ORDERS = 20_000
# More than this and the number of bindings is felt, whatever the windows say by chance.
BAR_PERCENT = 5.0
READ_BYTES = 1 << 24


def measure_bindings(bench: Bench) -> None:
    """CPU of an answered call with a large store beside a small one, and the difference."""
    plan, machine = bench.plan, bench.machine
    nodes = [_node(bench, "large", plan.bindings, plan.store), _node(bench, "small", SMALL, None)]
    bench.calm()
    seconds = plan.warm + SETTLE_SECONDS + plan.windows * plan.window + SETTLE_SECONDS
    say(f"2 × {RATE} calls/s: {plan.warm:.0f} s to warm up, {plan.windows} windows of {plan.window:g} s")
    before = [asyncio.run(count_answered(node)) for node in nodes]
    with ExitStack() as stack:
        pids, loads = list[int](), list[Load]()
        for node in nodes:
            stack.enter_context(recorder(machine, node))
            pids.append(stack.enter_context(switch(machine, node)))
        for node in nodes:
            loads.append(stack.enter_context(Load(machine, node, RATE, int(RATE * seconds), HOLD_MS)))
        loads[-1].wait_until(plan.warm + SETTLE_SECONDS)
        marks = _windows(bench, pids)
        outcomes = [load.finish(plan.patience) for load in loads]
    failure = "; ".join(filter(None, (outcome.complaint() for outcome in outcomes))) or _records(
        nodes, before, outcomes
    )
    figures = [_per_call(load, [(mark[0].at, mark[1][place]) for mark in marks]) for place, load in enumerate(loads)]
    bench.details["bindings"] = {
        "large": plan.bindings,
        "small": SMALL,
        "windows_ms": [[round(ms, 4) for ms in side] for side in figures],
        **rounded(machine.span(marks[0][0], marks[-1][0])),
    }
    _rows(bench, figures, marks, failure)


def _rows(
    bench: Bench, figures: Sequence[list[float]], marks: Sequence[tuple[Reading, list[float]]], fail: str
) -> None:
    span = bench.machine.span(marks[0][0], marks[-1][0])
    large, small = figures
    for count, side in ((bench.plan.bindings, large), (SMALL, small)):
        spread = f"best {min(side):.3f} of {len(side)} windows"
        what = f"CPU of an answered call with {count:,} bindings, 2 × {RATE} calls/s"
        bench.rows.append(Row(what, statistics.median(side), "ms", spread, None, span, fail))
    differences = [(more / less - 1) * 100 for more, less in zip(large, small, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("inf")
    bench.rows.append(
        Row(
            f"difference, {bench.plan.bindings:,} against {SMALL:,} bindings",
            statistics.mean(differences),
            "%",
            f"± {error:.1f} (standard error of {len(differences)} paired windows)",
            BAR_PERCENT,
            span,
            fail,
        )
    )


def _windows(bench: Bench, pids: Sequence[int]) -> list[tuple[Reading, list[float]]]:
    """The edges of the windows: the clocks, and CPU seconds of each switch."""
    marks = [(bench.machine.read(), [cpu_seconds(pid) for pid in pids])]
    for number in range(1, bench.plan.windows + 1):
        time.sleep(max(0.0, marks[0][0].at + number * bench.plan.window - time.time()))
        marks.append((bench.machine.read(), [cpu_seconds(pid) for pid in pids]))
    return marks


def _per_call(load: Load, marks: Sequence[tuple[float, float]]) -> list[float]:
    """Milliseconds of CPU for each call, window by window."""
    samples = load.samples()
    found = []
    for (start, spent), (end, more) in itertools.pairwise(marks):
        calls = succeeded_at(samples, end) - succeeded_at(samples, start)
        if not calls:
            raise BenchError("no call came to its end in a window")
        found.append((more - spent) * 1000 / calls)
    return found


def _records(nodes: Sequence[Node], before: Sequence[int], outcomes: Sequence[Outcome]) -> str:
    for node, there, outcome in zip(nodes, before, outcomes, strict=True):
        stored = asyncio.run(count_answered(node)) - there
        if stored != outcome.completed:
            return f"{stored} records of {outcome.completed} calls"
    return ""


def _node(bench: Bench, name: str, bindings: int, store: Path | None) -> Node:
    """A node with a store of so many bindings: one that is there, or a new one."""
    directory = bench.node.directory / name
    directory.mkdir()
    if store is None:
        store = directory / "bindings.db"
        keyring = new_keyring()
        store.with_name(f"{store.name}.keyring").write_text(format_keyring(keyring), encoding="ascii")
        say(f"a store of {bindings:,} bindings, about {bindings / 10_000 * 0.8:.0f} s")
        fill(store, Seal(keyring), bindings, time.time_ns() // 1_000_000)
    _read(store)
    draw = random.Random(bindings)
    chosen = [line(draw.randrange(bindings)) for _ in range(ORDERS)]
    return make_node(directory, store=store.absolute(), orders=[(one.x, one.a.removeprefix("+86")) for one in chosen])


def _read(store: Path) -> None:
    """Bring a store into the page cache of the machine: what is compared is the CPU, not the disk."""
    with store.open("rb", buffering=0) as file:
        while file.read(READ_BYTES):
            pass
