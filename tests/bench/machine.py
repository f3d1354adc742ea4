"""The machine under a benchmark: two cores, the processes put on them, their CPU, and what everybody else uses."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.bench.figures import Span, parse_pace, slowdown
from tests.bench.pace import REFERENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
POLL_SECONDS = 0.02
LOOK_SECONDS = 1.5


class BenchError(Exception):
    """The benchmark cannot go on; the text says why."""


def cpu_seconds(pid: int) -> float:
    """CPU of a process since it began, all its threads, the ended ones too, to the nanosecond; 0.0 when it has gone."""
    # clock_getcpuclockid(3): the complement of the process id above three bits, 2 for the scheduler's own count
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def resident_bytes(pid: int) -> int:
    """What of a process lies in memory (proc(5), statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


class Reading(NamedTuple):
    """The clocks at one moment: of the wall, and CPU seconds that our processes have had of either core."""

    at: float
    switch: float
    rest: float


class Machine:
    """Starts processes on a core, ends them, and tells how undisturbed they were.

    Core ``switch`` is that of the program under test, core ``rest`` that of all others, the benchmark included.
    """

    def __init__(self, directory: Path) -> None:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise BenchError("the benchmark needs two cores: one for the switch, one for its callers")
        self.switch, self.rest = cores[:2]
        self._before = set(cores)
        self._running: dict[subprocess.Popen[bytes], int] = {}
        self._pace = directory / "pace"

    def __enter__(self) -> Self:
        os.sched_setaffinity(0, {self.rest})
        for core in (self.switch, self.rest):
            self.start(_companion("spin"), core, os.devnull, ROOT)
        self.start(_companion("time"), self.switch, str(self._pace), ROOT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(list(self._running)):
            self.stop(process, 0)
        os.sched_setaffinity(0, self._before)

    def start(
        self,
        command: Sequence[str],
        core: int,
        output: str,
        directory: Path,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process on a core, what it says going to a file."""
        with open(output, "wb") as said, self._on(core):
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C is for the benchmark, which ends them in order
            )
        self._running[process] = core
        return process

    def stop(self, process: subprocess.Popen[bytes], patience: float) -> None:
        """Ask a process to end, and end it after so many seconds; 0: at once."""
        if patience:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        process.kill()  # does nothing to one that has been waited for
        process.wait()
        self._running.pop(process, None)

    def read(self) -> Reading:
        """The clocks now."""
        had = {self.switch: 0.0, self.rest: time.process_time()}
        for process, core in self._running.items():
            had[core] += cpu_seconds(process.pid)
        return Reading(time.time(), had[self.switch], had[self.rest])

    def span(self, start: Reading, end: Reading) -> Span:
        """What the machine was like between two readings; none of our processes may have ended between them."""
        elapsed = end.at - start.at
        # the spinners leave nothing unused: what is missing of a whole core went to others, or to the hypervisor
        beside = [max(0.0, 1 - (now - then) / elapsed) for then, now in zip(start[1:], end[1:], strict=True)]
        pace = parse_pace(self._pace.read_text())
        return Span(slowdown(pace, start.at, end.at, REFERENCE_SECONDS), *beside)

    def await_quiet(self, most: float, patience: float) -> Span:
        """Wait until others use no more than such a share of either core; returns what they used last."""
        deadline = time.monotonic() + patience
        while True:
            start = self.read()
            time.sleep(LOOK_SECONDS)
            span = self.span(start, self.read())
            if max(span.beside_switch, span.beside_sipp) <= most or time.monotonic() >= deadline:
                return span

    @contextmanager
    def _on(self, core: int) -> Iterator[None]:
        # a child inherits the affinity of the thread that starts it, from its first instruction on
        os.sched_setaffinity(0, {core})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {self.rest})


def describe(directory: Path) -> dict[str, str]:
    """The machine in words; ``directory`` is where the journal goes."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return {
        "cpu": _cpu_name(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "file_system": _file_system(directory),
        "load": load,
    }


def _companion(what: str) -> list[str]:
    return [sys.executable, "-m", "tests.bench.pace", what]


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if directory.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
