"""Fuzz for a while: ``python -m tests.fuzz --seconds 60 [target]``.

Hypothesis draws where to begin and how to mutate; each of its examples is a burst of mutants of one seed. A crash is
any exception that a target lets out, and any input that costs more CPU than a datagram may. Exit code 1 when there was
one.
"""

import argparse
import random
import secrets
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS, Target

BURST = 32  # mutants for each drawn example: drawing costs more than feeding
SLOW_SECONDS = 0.1  # CPU; a datagram of 64 KiB takes less than a tenth of it


class Crash(Exception):  # it is raised through Hypothesis, which reports by raising
    """One input that must not happen, and what it did."""

    def __init__(self, data: bytes, cause: str) -> None:
        super().__init__(cause)
        self.data = data
        self.cause = cause


class Run:
    """One target until the clock says stop."""

    def __init__(self, target: Target, seconds: float, number: int) -> None:
        self.target = target
        self.number = number
        self.stop = time.monotonic() + seconds
        self.fed = 0

    def feed(self, data: bytes) -> None:
        """One input; raises Crash."""
        started = time.process_time()
        try:
            self.target.feed(data)
        except Exception as error:  # noqa: BLE001 -- a fuzzer is there for what nobody thought of
            raise Crash(data, "".join(traceback.format_exception(error))) from None
        spent = time.process_time() - started
        if spent > SLOW_SECONDS:
            raise Crash(data, f"{spent:.3f} s of CPU for {len(data)} bytes")
        self.fed += 1

    def go(self) -> Crash | None:
        """Feed until time is up or something breaks."""
        rounds = 0
        try:
            for data in self.target.seeds:
                self.feed(data)
            while time.monotonic() < self.stop:
                self._round(self.number + rounds)
                rounds += 1
        except Crash as crash:
            return crash
        return None

    def _round(self, number: int) -> None:
        target = self.target

        @seed(number)
        @settings(
            max_examples=500,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.sampled_from(target.seeds) | st.binary(max_size=64), st.integers(0, 2**32))
        def burst(data: bytes, dice: int) -> None:
            if time.monotonic() > self.stop:
                return
            chance = random.Random(dice)
            for _ in range(BURST):
                self.feed(mutate(data, target, chance))

        burst()


def work(name: str, seconds: float, number: int) -> tuple[bool, str]:
    """One target, in a process of its own: whether it crashed, and what to print."""
    run = Run(TARGETS[name], seconds, number)
    started = time.process_time()
    crash = run.go()
    rate = run.fed / max(time.process_time() - started, 1e-9)
    text = f"{name:10} {run.fed:9} inputs {rate:9.0f}/s {'CRASH' if crash else 'ok'}\n"
    if crash is not None:
        text += f'  ("{name}", {crash.data!r}),\n{crash.cause}\n'
    return crash is not None, text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each target (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="start number, to run the same inputs again")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="what to fuzz; everything when left out")
    options = parser.parse_args()
    number = secrets.randbits(31) if options.seed is None else options.seed
    sys.stdout.write(f"seed {number}\n")
    crashes = 0
    with ProcessPoolExecutor() as pool:  # one a core
        runs = [pool.submit(work, name, options.seconds, number) for name in options.target or TARGETS]
        for run in as_completed(runs):
            crashed, text = run.result()
            crashes += crashed
            sys.stdout.write(text)
            sys.stdout.flush()
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
