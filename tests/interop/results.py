"""What the far ends have shown, kept as JSON, and the table of the README that is made of it.

``python -m tests.interop.results`` writes that table between its two marks.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["BEHAVIOURS", "README", "RESULTS", "Result", "embed", "load", "render", "save"]

README = Path(__file__).resolve().parents[2] / "README.md"
RESULTS = Path(__file__).with_name("results.json")
BEGIN, END = "<!-- interop -->", "<!-- /interop -->"
# column of the table: the tests that speak for it
BEHAVIOURS: Mapping[str, tuple[str, ...]] = {
    "speech both ways": ("test_both_parties_hear_each_other",),
    "hang-up by callee": ("test_the_callee_hangs_up",),
    "CANCEL": ("test_the_caller_gives_up_while_it_rings",),
    "busy": ("test_the_callee_is_busy",),
    "digits RFC 4733": ("test_digits_in_the_stream_of_speech_arrive_both_ways",),
    "digits INFO": ("test_digits_by_info_arrive",),
    "hold, resume": ("test_the_caller_holds_and_resumes", "test_the_callee_holds_and_resumes"),
}


class Result(NamedTuple):
    """One test: who called whom by which transport, what was tried, and whether it went well."""

    setting: str
    transport: str
    test: str
    passed: bool


def save(path: Path, results: Sequence[Result], versions: Mapping[str, str]) -> None:
    """Write what was found, with the day and the versions of the far ends."""
    document = {
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": dict(sorted(versions.items())),
        "results": [result._asdict() for result in results],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def load(path: Path) -> tuple[str, dict[str, str], list[Result]]:
    """Day, versions and results of a file that `save` wrote."""
    document = json.loads(path.read_text())
    return document["day"], document["versions"], [Result(**entry) for entry in document["results"]]


def render(day: str, versions: Mapping[str, str], results: Sequence[Result]) -> str:
    """The table: a row for each setting; a cell names the transports over which everything in it went well.

    A transport over which something went wrong is struck through, what was not tried is a dash.
    """
    settings = list(dict.fromkeys(result.setting for result in results))
    transports = list(dict.fromkeys(result.transport for result in results))
    lines = [
        f"Played on {day} with {', '.join(f'{name} {version}' for name, version in versions.items())}.",
        "",
        f"| Caller to callee | {' | '.join(BEHAVIOURS)} |",
        f"| --- | {' | '.join('---' for _ in BEHAVIOURS)} |",
    ]
    for setting in settings:
        cells = [
            _cell([result for result in results if result.setting == setting and result.test in tests], transports)
            for tests in BEHAVIOURS.values()
        ]
        lines.append(f"| {setting} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(results: Sequence[Result], transports: Sequence[str]) -> str:
    words = []
    for transport in transports:
        verdicts = [result.passed for result in results if result.transport == transport]
        if verdicts:
            words.append(transport.upper() if all(verdicts) else f"~~{transport.upper()}~~")
    return ", ".join(words) or "–"


def embed(text: str, table: str) -> str:
    """A README with the table between its marks; ValueError when it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no place for the table: {BEGIN} … {END}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def main() -> int:
    """Refresh the README."""
    README.write_text(embed(README.read_text(encoding="utf-8"), render(*load(RESULTS))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
