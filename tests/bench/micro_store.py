"""CPU time of one lookup and decision with ten million bindings against ten thousand, in turns:
`python -m tests.bench.micro_store LARGE SMALL`, two files of `tests.bench.big_store`.

Both are asked about bindings drawn over the whole store, after a warm-up that brings what is read into the page cache
of the machine: what is compared is the CPU, not the disk. Turns alternate, so that whatever else the machine does
falls on both. The figure is the median of the differences of neighbouring turns.
"""

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

from cdr.seal import Seal, parse_keyring
from routing.decide import Query, Route, decide
from routing.store.reader import Reader
from routing.trunks import Peer, Trunk
from tests.bench.big_store import line

ROUNDS = 10_000
TURNS = 21
TRUNKS = (
    Trunk("east", (Peer("192.0.2.1", 5060),), prefixes=("", "13"), priority=10),
    Trunk("west", (Peer("192.0.2.2", 5060),), prefixes=("", "13"), priority=10),
)


class Side:
    """One store, and what is asked of it."""

    def __init__(self, path: Path, seed: int) -> None:
        keyring = path.with_name(f"{path.name}.keyring")
        self.reader = Reader(path, Seal(parse_keyring(keyring.read_text(encoding="ascii"))))
        self.plan = self.reader.plan()
        self.bindings = len(self.plan) * 10_000
        draw = random.Random(seed)
        lines = [line(draw.randrange(self.bindings)) for _ in range(ROUNDS)]
        self.queries = [Query(number, "east", one.x, one.a, False) for number, one in enumerate(lines)]

    def turn(self) -> float:
        """Microseconds of CPU for one decision. ValueError when one is not a route."""
        now_ms = time.time_ns() // 1_000_000
        plan, find, routes = self.plan, self.reader.find, 0
        began = time.thread_time()
        for query in self.queries:
            routes += isinstance(decide(query, plan, find, TRUNKS, (), now_ms, random.random), Route)
        spent = time.thread_time() - began
        if routes != len(self.queries):
            raise ValueError(f"{len(self.queries) - routes} of {len(self.queries)} decisions are refusals")
        return spent / len(self.queries) * 1e6


def main() -> int:
    """Measure and print; 1 when a decision is refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("large", type=Path)
    parser.add_argument("small", type=Path)
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    sides = (Side(options.large, 1), Side(options.small, 1))
    try:
        for side in sides:
            side.turn()
        pairs = [(sides[0].turn(), sides[1].turn()) for _ in range(options.turns)]
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for index, side in enumerate(sides):
        figures = [pair[index] for pair in pairs]
        show(f"{side.bindings} bindings", f"{min(figures):6.2f} µs best {statistics.median(figures):6.2f} µs median")
    show("difference", f"{statistics.median(large - small for large, small in pairs):6.2f} µs median")
    return 0


def show(what: str, figure: str) -> None:
    print(f"{what:<24} {figure}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
