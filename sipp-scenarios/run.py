"""Run the SIPp scenarios against a fresh switch: `python sipp-scenarios/run.py [NAME ...] [--list] [--keep]`.

Each scenario must satisfy SIPp on both sides and leave exactly the record it should; afterwards every table of the
switch must be empty and no real number may stand in clear in its files. Exit code 1 when anything failed.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from catalogue import SCENARIOS, Scenario
from phones import tail
from rig import Result, Rig, RigError

# Scenarios at one time: they mostly wait, and two cores carry SIPp's ticks and the switch beside them.
LANES = 8


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for and say what came of it; the exit code."""
    options = _parser().parse_args(arguments)
    if options.list:
        for scenario in SCENARIOS:
            _say(scenario.name)
        return 0
    unknown = set(options.names) - {scenario.name for scenario in SCENARIOS}
    if unknown:
        _say(f"no such scenario: {', '.join(sorted(unknown))}; --list names them all")
        return 2
    if shutil.which("sipp") is None:
        _say("sipp is not installed; on Debian: apt install sip-tester")
        return 2
    chosen = [scenario for scenario in SCENARIOS if not options.names or scenario.name in options.names]
    _say(f"{'NAME':<30}{'VERDICT':<10}{'SECONDS':>7}  RECORD")
    try:
        failed = sum(
            _run_profile(profile, chosen, options.keep) for profile in dict.fromkeys(s.profile for s in chosen)
        )
    except RigError as error:
        _say(str(error))
        return 1
    _say(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _run_profile(profile: str, chosen: Sequence[Scenario], keep: bool) -> int:
    """Run the scenarios of a profile on one switch; how many failed. A leftover of the switch fails one, too."""
    scenarios = [scenario for scenario in chosen if scenario.profile == profile]
    rig = Rig(profile, scenarios)
    try:
        with rig:
            results = list(_run_all(rig, scenarios))
            after = [f"table {name} holds {size}" for name, size in rig.leftovers().items()]
            after += rig.miscounts() + rig.alarms()
        after += rig.clear_numbers()
    finally:
        if keep:
            _say(f"kept: {rig.directory}")
        else:
            rig.remove()
    for line in after:
        _say(f"{profile}: afterwards: {line}")
    failed = sum(bool(result.problems) for result in results)
    return min(len(scenarios), failed + bool(after))


def _run_all(rig: Rig, scenarios: Sequence[Scenario]) -> Iterator[Result]:
    with ThreadPoolExecutor(LANES) as lanes:
        for result in lanes.map(rig.run, scenarios):
            _report(result)
            yield result


def _report(result: Result) -> None:
    records = sorted({f"{r.outcome} {r.status}/{r.q850} by {r.ended_by} {r.reason}".strip() for r in result.records})
    shown = f"{len(result.records)} x " if len(result.records) > 1 else ""
    verdict = "FAILED" if result.problems else "passed"
    _say(f"{result.name:<30}{verdict:<10}{result.seconds:>7.1f}  {shown}{', '.join(records) or 'none'}")
    for problem in result.problems:
        _say(f"    {problem}")
    if result.problems:
        _say(show(result))


def show(result: Result) -> str:
    """The ends of SIPp's error files and message traces."""
    return "".join(f"--- {path.name}\n{tail(path)}\n" for path in result.traces if path.exists())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description="Run the SIPp scenarios against a fresh switch.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios to run; none: all of them")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--keep", action="store_true", help="keep settings, stores, logs and message traces")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
