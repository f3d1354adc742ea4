"""`make bench`: what a call costs the switch, each figure beside its bar: ``python -m tests.bench [cpu|delay|...]``.

SIPp plays callers and callees on one core, the switch runs on another, with journal and binding store as in service.
Loopback only. The exit code is 0 when every bar is met, 1 when one is not, 2 when nothing could be measured.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.api import measure_api
from tests.bench.bench import QUICK, Bench, Plan, format_beside, rounded, say
from tests.bench.bindings import measure_bindings
from tests.bench.figures import Row
from tests.bench.load import HERE
from tests.bench.machine import ROOT, BenchError, Machine, describe
from tests.bench.memory import measure_memory
from tests.bench.node import make_node
from tests.bench.ramp import measure_ramp
from tests.bench.steady import JUDGED_RATE, RATES, measure_steady

EXIT_MET, EXIT_MISSED, EXIT_FAILED = 0, 1, 2
WIDTH = 170


def measure_cpu(bench: Bench) -> None:
    """CPU at both rates."""
    for rate in RATES:
        measure_steady(bench, rate, cpu=True, delay=False)


def measure_delay(bench: Bench) -> None:
    """Delay at the rate it is judged at."""
    measure_steady(bench, JUDGED_RATE, cpu=False, delay=True)


def measure_tcp(bench: Bench) -> None:
    """CPU over TCP, both legs, on a node of its own."""
    directory = bench.node.directory / "tcp"
    directory.mkdir()
    measure_steady(replace(bench, node=make_node(directory, "tcp")), JUDGED_RATE, cpu=True, delay=False)


def measure_all(bench: Bench) -> None:
    """Everything; the delay in the warm-up of the CPU windows."""
    for rate in RATES:
        measure_steady(bench, rate, cpu=True, delay=rate == JUDGED_RATE)
    measure_tcp(bench)
    measure_memory(bench)
    measure_ramp(bench)


MEASUREMENTS: dict[str, Callable[[Bench], None]] = {
    "cpu": measure_cpu,
    "delay": measure_delay,
    "tcp": measure_tcp,
    "memory": measure_memory,
    "ramp": measure_ramp,
    "bindings": measure_bindings,
    "api": measure_api,
    "all": measure_all,
}


def main() -> int:
    """Measure, print the table, write the details; the exit code."""
    options = _options()
    if options.what == "micro":
        return _micro()
    if shutil.which("sipp") is None:
        say("the benchmark calls with SIPp, which is not installed; on Debian: apt-get install sip-tester")
        return EXIT_FAILED
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILED))
    plan = replace(QUICK if options.quick else Plan(), bindings=options.bindings, store=options.store)
    deadline = time.monotonic() + plan.whole
    with tempfile.TemporaryDirectory(prefix="x700-bench-", dir=options.directory) as name:
        directory = Path(name)
        machine = describe(directory)
        rows: list[Row] = []
        details: dict[str, object] = {}
        try:
            with Machine(directory) as running:
                MEASUREMENTS[options.what](Bench(running, make_node(directory), plan, deadline, rows, details))
        except (BenchError, KeyboardInterrupt) as error:
            say(f"benchmark not finished: {error or 'interrupted'}")
            return EXIT_FAILED
        finally:
            # what was measured before a failure is shown all the same
            _show(rows, machine)
            if options.json:
                options.json.write_text(json.dumps(_report(rows, machine, details, options.quick), indent=1) + "\n")
    return EXIT_MISSED if any(row.passed is False for row in rows) else EXIT_MET


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=[*MEASUREMENTS, "micro"], default="all")
    parser.add_argument("--quick", action="store_true", help="within 2 minutes instead of 10; rougher, the bars stay")
    parser.add_argument(
        "--bindings", type=int, default=Plan().bindings, help="bindings of the large store of `bindings`"
    )
    parser.add_argument(
        "--store", type=Path, help="a store of tests.bench.big_store with so many, its keyring beside it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--directory", type=Path, help="where journal and stores go for the time, as a directory of it")
    return parser.parse_args()


def _micro() -> int:
    code = EXIT_MET
    for path in sorted(HERE.glob("micro_*.py")):
        sys.stdout.write(f"— {path.stem}\n")
        sys.stdout.flush()
        if subprocess.run([sys.executable, "-m", f"tests.bench.{path.stem}"], cwd=ROOT, check=False).returncode:
            code = EXIT_FAILED
    return code


def _show(rows: list[Row], machine: dict[str, str]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    table = Table("measure", "figure", "", "bar", "verdict", "slowdown", "others", highlight=False)
    for row in rows:
        figure = "—" if row.figure is None else f"{row.figure:.0f}" if row.at_least else f"{row.figure:.3f}"
        bar = "—" if row.bar is None else f"{'≥' if row.at_least else '≤'} {row.bar:g} {row.unit}"
        table.add_row(
            row.measure,
            f"{figure} {row.unit}",
            "; ".join(filter(None, (row.spread, row.failure))),
            bar,
            {True: "[green]pass", False: "[red]FAIL", None: "—"}[row.passed],
            f"{row.span.slowdown:.2f}",
            format_beside(row.span),
        )
    if rows:
        console.print(table)
    console.print(
        "{cpu}, {cores} cores, Python {python}, Linux {kernel}, journal on {file_system}, load before {load}".format(
            **machine
        ),
        "slowdown: CPU of a fixed loop on the switch's core, 1 on the machine of the bars when quiet;"
        " others: shares of the cores of switch and SIPp that went elsewhere",
        sep="\n",
        highlight=False,
    )


def _report(rows: list[Row], machine: dict[str, str], details: dict[str, object], quick: bool) -> dict[str, object]:
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": quick,
        "machine": machine,
        "rows": [{**row._asdict(), "span": rounded(row.span), "passed": row.passed} for row in rows],
        "details": details,
    }


if __name__ == "__main__":
    sys.exit(main())
