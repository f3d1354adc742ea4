"""At a steady rate: CPU of the switch for an answered call, and the delay it adds to setting a call up."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

from tests.bench.bench import Bench, rounded, say
from tests.bench.figures import Row, Span, pair_stamps, percentile, succeeded_at
from tests.bench.load import Load
from tests.bench.machine import Machine, Reading, cpu_seconds
from tests.bench.node import count_answered, recorder, switch
from tests.bench.tap import Tap

RATES = (100, 200)
JUDGED_RATE = 200
JUDGED = f"{JUDGED_RATE} calls/s"
BAR_MS = 0.7
BAR_DELAY_MS = 3.0
HOLD_MS = 1000
# Between the last look of the tap and the first window.
SETTLE_SECONDS = 1.0
# INVITEs that came in at the very end may go out after the tap is closed.
ON_THE_WAY = 2


class Mark(NamedTuple):
    """The edge of a window: the clocks of the machine, and CPU seconds of the switch."""

    reading: Reading
    cpu: float


class Window(NamedTuple):
    """CPU of the switch over some seconds, shared among the calls completed in them."""

    calls: float
    ms: float
    span: Span


class Delay(NamedTuple):
    """Milliseconds added to each call, how many INVITEs did not come out, and whether a tap saw it or SIPp said it."""

    values: list[float]
    lost: int
    tapped: bool
    span: Span


def measure_steady(bench: Bench, rate: int, cpu: bool, delay: bool) -> None:
    """One rate on a fresh switch, warmed up; the tap is closed before the windows open."""
    plan, machine, node = bench.plan, bench.machine, bench.node
    windows = plan.windows if cpu else 0
    seconds = plan.warm + SETTLE_SECONDS + windows * plan.window + SETTLE_SECONDS
    bench.calm()
    say(f"{rate} calls/s, {node.transport}: {plan.warm:.0f} s to warm up, {windows} windows of {plan.window:g} s")
    before = asyncio.run(count_answered(node))
    with (
        recorder(machine, node),
        switch(machine, node) as pid,
        Load(machine, node, rate, int(rate * seconds), HOLD_MS) as load,
    ):
        load.wait_until(plan.warm - plan.tap)
        delays = _listen(bench) if delay else None
        load.wait_until(plan.warm + SETTLE_SECONDS)
        marks = _windows(machine, pid, windows, plan.window)
        outcome = load.finish(plan.patience)
    stored = asyncio.run(count_answered(node)) - before
    failure = outcome.complaint()
    if not failure and stored != outcome.completed:
        failure = f"{stored} records of {outcome.completed} calls"
    details: dict[str, object] = {"outcome": outcome._asdict(), "records": stored}
    over = "" if node.transport == "udp" else f" over {node.transport.upper()}"
    bench.details[f"at_{rate}{over.lower().replace(' ', '_')}"] = details
    if windows:
        found = [_window(machine, load, start, end) for start, end in itertools.pairwise(marks)]
        details["windows"] = [{"calls": round(w.calls, 1), "ms": round(w.ms, 4), **rounded(w.span)} for w in found]
        whole = machine.span(marks[0].reading, marks[-1].reading)
        bench.rows.append(
            _cpu_row(f"{rate} calls/s{over}", [window.ms for window in found], plan.window, whole, failure)
        )
    if delays is not None:
        if not delays.tapped:
            delays = delays._replace(values=load.response_times())
        details["delay_ms"] = _delay_details(delays)
        bench.rows.append(_delay_row(rate, delays, failure))


def _windows(machine: Machine, pid: int, windows: int, seconds: float) -> list[Mark]:
    marks = [Mark(machine.read(), cpu_seconds(pid))]
    for number in range(1, windows + 1):
        time.sleep(max(0.0, marks[0].reading.at + number * seconds - time.time()))
        marks.append(Mark(machine.read(), cpu_seconds(pid)))
    return marks


def _window(machine: Machine, load: Load, start: Mark, end: Mark) -> Window:
    samples = load.samples()
    calls = succeeded_at(samples, end.reading.at) - succeeded_at(samples, start.reading.at)
    per_call = (end.cpu - start.cpu) * 1000 / calls if calls else float("inf")
    return Window(calls, per_call, machine.span(start.reading, end.reading))


def _listen(bench: Bench) -> Delay:
    start = bench.machine.read()
    try:
        with Tap(bench.node.port, bench.node.callee_port) as tap:
            stamps = tap.listen(bench.plan.tap)
    except PermissionError:
        say("no tap for want of CAP_NET_RAW: set-up delay is SIPp's, INVITE to 180, with the callee's own time in it")
        time.sleep(bench.plan.tap)
        return Delay([], 0, False, bench.machine.span(start, bench.machine.read()))
    values, unpaired = pair_stamps(stamps)
    return Delay(values, max(0, unpaired - ON_THE_WAY), True, bench.machine.span(start, bench.machine.read()))


def _cpu_row(load: str, figures: Sequence[float], seconds: float, span: Span, failure: str) -> Row:
    return Row(
        f"CPU of the switch for an answered call, {load}",
        statistics.median(figures),
        "ms",
        f"best {min(figures):.3f} of {len(figures)} windows of {seconds:g} s",
        BAR_MS if load == JUDGED else None,
        span,
        failure,
    )


def _delay_row(rate: int, delay: Delay, failure: str) -> Row:
    what = "set-up delay added, INVITE to INVITE" if delay.tapped else "INVITE to 180, by SIPp"
    if delay.lost and not failure:
        failure = f"{delay.lost} INVITEs did not come out"
    return Row(
        f"{what}, p99, {rate} calls/s",
        percentile(delay.values, 99) if delay.values else None,
        "ms",
        f"p50 {percentile(delay.values, 50):.3f} of {len(delay.values)} calls" if delay.values else "no call was seen",
        # SIPp's clock goes in steps longer than the bar, and the callee's own time is in it: no verdict
        BAR_DELAY_MS if delay.tapped else None,
        delay.span,
        failure,
    )


def _delay_details(delay: Delay) -> dict[str, object]:
    percents = (50, 90, 99, 100) if delay.values else ()
    return {
        "by": "tap" if delay.tapped else "sipp",
        "calls": len(delay.values),
        "lost": delay.lost,
        **{f"p{percent}": round(percentile(delay.values, percent), 3) for percent in percents},
        **rounded(delay.span),
    }
