"""Memory of calls that are up: what the switch has resident with them, less what it had before."""

import time

from tests.bench.bench import Bench, rounded, say
from tests.bench.figures import Row
from tests.bench.load import Load
from tests.bench.machine import resident_bytes
from tests.bench.node import recorder, switch

BAR_KIB = 12.0
# Calls before the first look, so that what every switch needs once does not count.
WARM_CALLS, WARM_RATE, WARM_HOLD_MS = 100, 50, 200
# The calls stay up so much longer than the measuring takes, in seconds.
SPARE_SECONDS = 2.0
# Fewer than this share of the calls up, and the figure means nothing.
ENOUGH = 0.98


def measure_memory(bench: Bench) -> None:
    """One climb to the planned number of calls, on a fresh switch. Transactions of setting up still count (32 s)."""
    plan, machine, node = bench.plan, bench.machine, bench.node
    climb = plan.held / plan.held_rate
    say(f"{plan.held} calls held: {climb:.0f} s to bring them up")
    with recorder(machine, node), switch(machine, node) as pid:
        with Load(machine, node, WARM_RATE, WARM_CALLS, WARM_HOLD_MS) as warm:
            warm.finish(WARM_CALLS / WARM_RATE + plan.patience)
        empty = resident_bytes(pid)
        start = machine.read()
        hold = climb + plan.held_settle + SPARE_SECONDS
        with Load(machine, node, plan.held_rate, plan.held, int(hold * 1000)) as load:
            load.await_created(plan.held, climb + plan.patience)
            time.sleep(plan.held_settle)
            full = resident_bytes(pid)
            samples = load.samples()
            span = machine.span(start, machine.read())
            outcome = load.finish(hold + climb + plan.patience)
        after = resident_bytes(pid)
    held = samples[-1].current if samples else 0
    bench.details["memory"] = {
        "held": held,
        "bytes": {"empty": empty, "full": full, "after": after},
        "outcome": outcome._asdict(),
        **rounded(span),
    }
    bench.rows.append(
        Row(
            "memory of a call that is held",
            (full - empty) / held / 1024 if held else None,
            "KiB",
            f"{held} calls, from {empty / 2**20:.1f} to {full / 2**20:.1f} MiB",
            BAR_KIB,
            span,
            outcome.complaint() or (f"only {held} calls were up" if held < plan.held * ENOUGH else ""),
        )
    )
