"""The highest rate that one core holds with fewer than one failed call in a thousand."""

from contextlib import ExitStack
from typing import NamedTuple

from tests.bench.bench import Bench, format_beside, rounded, say
from tests.bench.figures import Found, Row, Span, find_highest
from tests.bench.load import Load, Outcome
from tests.bench.machine import cpu_seconds
from tests.bench.node import switch

BAR_RATE = 1500
FACTOR = 1.25
# What a run takes beside its calls: a switch stopped and started, the last calls ended.
OVERHEAD_SECONDS = 5.0
# SIPp cannot drive more from one core, by far.
TOP_RATE = 8000
HOLD_MS = 1000
# SIPp paces itself by a clock of milliseconds: a rate is reached when this much of it is.
REACHED = 0.97
# A core with no more than this left has nothing left.
SATURATED = 0.95
# A run that failed beside more work than this, or on a core slower than this, says little about the switch.
NOISY, SLOW = 0.15, 1.2
# The figures of a run are read between these shares of it.
FIRST_LOOK, LAST_LOOK = 0.3, 0.9


class Step(NamedTuple):
    """One run. `switch` and `sipp`: what they used of their cores. `limit`: who failed, when it was not the switch."""

    rate: float
    seconds: float
    passed: bool
    limit: str
    switch: float
    sipp: float
    span: Span
    outcome: Outcome


class Ramp:
    """Runs at one rate after another. One that failed leaves a switch with a backlog, so the next gets a fresh one."""

    def __init__(self, bench: Bench, stack: ExitStack) -> None:
        self.steps: list[Step] = []
        self._bench = bench
        self._stack = stack
        self._pid: int | None = None

    def short(self, rate: float) -> bool:
        """Whether a short run holds."""
        return self._holds(rate, self._bench.plan.step)

    def long(self, rate: float) -> bool:
        """Whether a fresh switch holds it long enough for timers and garbage to count."""
        self._renew()
        return self._holds(rate, self._bench.plan.confirm)

    def affordable(self, is_long: bool) -> bool:
        """Whether there is time for one more run, and after a short one for a long one."""
        plan = self._bench.plan
        needed = plan.confirm + OVERHEAD_SECONDS
        return self._bench.left() > (needed if is_long else needed + plan.step + OVERHEAD_SECONDS)

    def _holds(self, rate: float, seconds: float) -> bool:
        step = self._run(rate, seconds)
        if step.passed:
            return True
        self._renew()
        noisy = max(step.span.beside_switch, step.span.beside_sipp) > NOISY or step.span.slowdown > SLOW
        if step.limit or not noisy or not self.affordable(seconds > self._bench.plan.step):
            return False
        say("     beside other work: once more")
        if self._run(rate, seconds).passed:
            return True
        self._renew()
        return False

    def _renew(self) -> None:
        self._stack.close()
        self._pid = None

    def _run(self, rate: float, seconds: float) -> Step:
        machine, node = self._bench.machine, self._bench.node
        if self._pid is None:
            self._pid = self._stack.enter_context(switch(machine, node))
        with Load(machine, node, rate, int(rate * seconds), HOLD_MS) as load:
            looks = []
            for share in (FIRST_LOOK, LAST_LOOK):
                load.wait_until(seconds * share)
                looks.append((machine.read(), cpu_seconds(self._pid), load.cpu_seconds()))
            outcome = load.finish(seconds * (1 - LAST_LOOK) + self._bench.plan.patience)
        (start, *cpu_start), (end, *cpu_end) = looks
        by_switch, by_sipp = ((b - a) / (end.at - start.at) for a, b in zip(cpu_start, cpu_end, strict=True))
        span = machine.span(start, end)
        passed = not outcome.complaint() and outcome.rate >= REACHED * rate
        # where SIPp has nothing left of its core and the switch has, it is SIPp that failed
        exhausted = by_sipp + span.beside_sipp > SATURATED and by_switch + span.beside_switch < SATURATED
        limit = "SIPp's limit" if exhausted and not passed else ""
        step = Step(rate, seconds, passed, limit, by_switch, by_sipp, span, outcome)
        self.steps.append(step)
        say(_line(step))
        return step


def measure_ramp(bench: Bench) -> None:
    """Climb, halve the last gap, confirm."""
    bench.calm()
    say("rising rates; no recorder here, since SIPp needs the whole of the core it would share")
    with ExitStack() as stack:
        ramp = Ramp(bench, stack)
        # the bar itself is one of the rates tried
        start = BAR_RATE / FACTOR**bench.plan.steps_below
        found = find_highest(ramp.short, ramp.long, ramp.affordable, start, FACTOR, TOP_RATE)
    bench.details["ramp"] = {
        "found": found._asdict(),
        "steps": [
            {**step._asdict(), "span": rounded(step.span), "outcome": step.outcome._asdict()} for step in ramp.steps
        ],
    }
    last = next((step for step in reversed(ramp.steps) if step.passed and step.rate == found.rate), None)
    spread = f"{last.seconds:.0f} s long, switch at {last.switch:.0%} of its core" if last else ""
    if any(step.limit for step in ramp.steps):
        spread += "; above, SIPp's limit"
    bench.rows.append(
        Row(
            "highest rate, fewer than 0.1 % of calls failed",
            found.rate,
            "calls/s",
            spread,
            BAR_RATE,
            (last or ramp.steps[-1]).span if ramp.steps else Span(0.0, 0.0, 0.0),
            _failure(found, ramp.steps),
            at_least=True,
        )
    )


def _failure(found: Found, steps: list[Step]) -> str:
    if found.confirmed:
        return ""
    if found.rate:
        return "no time to confirm it"
    return f"not even {min(step.rate for step in steps):.0f} calls/s held" if steps else "no time was left"


def _line(step: Step) -> str:
    outcome = step.outcome
    return (
        f"  {step.rate:5.0f} calls/s, {step.seconds:2.0f} s: {'held' if step.passed else step.limit or 'not held'};"
        f" {outcome.rate:.0f} reached, {outcome.failed_share:.3%} failed, {outcome.retransmissions} sent again,"
        f" switch {step.switch:.0%} and SIPp {step.sipp:.0%} of their cores, others {format_beside(step.span)},"
        f" slowdown {step.span.slowdown:.2f}"
    )
