"""What all measurements share: the machine, the node, how long everything may take, and what was found."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.figures import Row, Span
from tests.bench.machine import Machine
from tests.bench.node import Node

# The other work on a core that leaves the figures alone.
QUIET = 0.10


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything takes, in seconds, and how much of it there is."""

    # RFC 3261 timers keep transactions for 32 s (64 T1): only after that as many end as begin
    warm: float = 35.0
    # short ones, so that the best of them may be one in which the machine did nothing else
    windows: int = 10
    window: float = 2.5
    tap: float = 15.0
    held: int = 2000
    held_rate: int = 200
    held_settle: float = 4.0
    steps_below: int = 2
    step: float = 8.0
    confirm: float = 40.0
    patience: float = 12.0
    quiet: float = 20.0
    whole: float = 560.0
    # of the paired run: how many bindings, and a store of `big_store` that holds them already
    bindings: int = 10_000_000
    store: Path | None = None
    # of the API: how long each way of writing is tried
    writing: float = 15.0


QUICK = Plan(
    warm=4.0,
    windows=3,
    window=1.5,
    tap=3.0,
    held_rate=500,
    held_settle=1.0,
    steps_below=1,
    step=3.0,
    confirm=6.0,
    patience=5.0,
    quiet=0.0,
    whole=130.0,
    writing=5.0,
)


@dataclass(slots=True)
class Bench:
    """A benchmark under way. `rows` are for people, `details` for machines."""

    machine: Machine
    node: Node
    plan: Plan
    deadline: float
    rows: list[Row] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)

    def left(self) -> float:
        """Seconds until the whole benchmark must be over."""
        return self.deadline - time.monotonic()

    def calm(self) -> None:
        """Give other work on this machine a moment to end."""
        span = self.machine.await_quiet(QUIET, self.plan.quiet)
        if max(span.beside_switch, span.beside_sipp) > QUIET:
            say(f"not quiet: other work has {format_beside(span)} of the cores of switch and SIPp")


def say(text: str) -> None:
    """Progress, beside the table."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def format_beside(span: Span) -> str:
    """What others had of the core of the switch and of that of SIPp."""
    return f"{span.beside_switch:.0%}, {span.beside_sipp:.0%}"


def rounded(span: Span) -> dict[str, float]:
    """For the details."""
    return {name: round(value, 3) for name, value in span._asdict().items()}
