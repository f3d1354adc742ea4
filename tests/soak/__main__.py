"""`make soak`: ``python -m tests.soak`` holds calls under churn and loss for a long time, and looks for what stays.

Callers and callees are at random moments busy, impatient and through with talking; on both sides every hundredth
message is lost. The exit code is 0 when the switch has passed, 1 when it has not, 2 when nothing can be said.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import Plan, SoakError, run

# A run that is shorter carries fewer calls, so that there is a time after its warm-up.
SHORT_SECONDS = 300.0


def main() -> int:
    """Run, and print figures and verdict."""
    plan = _plan()
    with tempfile.TemporaryDirectory(prefix="x700-soak-") as name:
        try:
            report = run(plan, Path(name))
        except SoakError as error:
            sys.stdout.write(f"soak not finished: {error}\n")
            return 2
    sys.stdout.write(report.text())
    return 1 if report.complaints else 0


def _plan() -> Plan:
    usual, short = Plan(), Plan(held=300, rate=100.0)
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="how long calls are placed")
    parser.add_argument("--held", type=int, help=f"calls up at one time: {usual.held}, or {short.held}")
    parser.add_argument("--rate", type=float, help=f"calls begun a second: {usual.rate:g}, or {short.rate:g}")
    parser.add_argument("--loss", type=float, default=usual.loss, help="share of messages lost, on each side, each way")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of all chance in it")
    options = parser.parse_args()
    usual = usual if options.seconds >= SHORT_SECONDS else short
    options.held = options.held or usual.held
    options.rate = options.rate or usual.rate
    return Plan(**vars(options))


if __name__ == "__main__":
    sys.exit(main())
