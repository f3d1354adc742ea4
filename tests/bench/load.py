"""Calls through the switch: SIPp as callers and as callees, both on the core the switch is not on."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple, Self

from tests.bench.figures import Sample, creation_rate, parse_response_times, parse_statistics
from tests.bench.machine import POLL_SECONDS, BenchError, Machine, cpu_seconds
from tests.bench.node import LOOPBACK, Node

HERE = Path(__file__).resolve().parent
RINGING_MS = 100
# SIPp's tables must not be what limits: more calls than are ever up, more messages a turn than ever wait.
MOST_CALLS = 60_000
TURN = 5000
BUFFER_BYTES = 4 << 20
# A response that is so late has failed, whatever its fate; RFC 3261 would wait 32 s.
PATIENCE_MS = 10_000
# SIPp writes its figures once a second.
ROW_SECONDS = 1.0
START_SECONDS = 5.0
# Nobody is left behind should the benchmark itself be killed.
LONGEST_SECONDS = 600
RTT_ROWS = 20
# SIPp's words: one socket for all calls.
SIPP_TRANSPORT = {"udp": "u1", "tcp": "t1"}
# From this share of failed calls on, a run counts as failed.
MOST_FAILED = 0.001


class Outcome(NamedTuple):
    """What came of a load. A call failed when either side says so, or when it was not over in time."""

    planned: int
    completed: int
    failed: int
    rate: float
    retransmissions: int
    unfinished: bool

    @property
    def failed_share(self) -> float:
        return self.failed / self.planned

    def complaint(self) -> str:
        """What is wrong with it, '' when nothing that matters is."""
        return f"{self.failed} of {self.planned} calls failed" if self.failed_share >= MOST_FAILED else ""


class Load:
    """A number of calls at a rate, from the moment it is made. `finish` in every case, or leave the ``with``."""

    count = 0

    def __init__(self, machine: Machine, node: Node, rate: float, calls: int, hold_ms: int) -> None:
        Load.count += 1
        self._machine = machine
        self._planned = calls
        self._directory = node.directory / f"load-{Load.count}"
        self._directory.mkdir()
        self._transport = node.transport
        self._callee = self._start("uas", node.callee_port, calls, ["-d", str(RINGING_MS), f"{LOOPBACK}:{node.port}"])
        self._await_socket(node.callee_port)
        self._caller = self._start(
            "uac",
            node.caller_port,
            calls,
            [
                *("-d", str(hold_ms), "-r", f"{rate:g}", "-l", str(MOST_CALLS), "-inf", str(node.orders)),
                *("-recv_timeout", str(PATIENCE_MS), "-trace_rtt", "-rtt_freq", str(RTT_ROWS)),
                f"{LOOPBACK}:{node.port}",
            ],
        )
        self.began = time.time()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._caller, self._callee):
            self._machine.stop(process, 0)

    def samples(self, side: str = "uac") -> tuple[Sample, ...]:
        """SIPp's figures so far, a row for each second."""
        path = self._directory / f"{side}.csv"
        return parse_statistics(path.read_text()) if path.exists() else ()

    def response_times(self) -> list[float]:
        """Milliseconds from INVITE to 180 as the caller saw them, by SIPp's own clock."""
        return [took for path in self._directory.glob("*_rtt.csv") for took in parse_response_times(path.read_text())]

    def wait_until(self, seconds: float) -> None:
        """Sleep until so many seconds after the beginning."""
        time.sleep(max(0.0, self.began + seconds - time.time()))

    def await_created(self, calls: int, patience: float) -> None:
        """Wait until so many calls have been begun."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            samples = self.samples()
            if samples and samples[-1].created >= calls:
                return
            time.sleep(POLL_SECONDS * 5)

    def cpu_seconds(self) -> float:
        """CPU of both SIPps so far."""
        return cpu_seconds(self._caller.pid) + cpu_seconds(self._callee.pid)

    def finish(self, patience: float) -> Outcome:
        """Wait for the last call, at most so many seconds, and add up."""
        deadline = time.monotonic() + patience
        both = self._caller, self._callee
        while any(process.poll() is None for process in both) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        unfinished = any(process.poll() is None for process in both)
        if unfinished:
            time.sleep(ROW_SECONDS + 0.2)  # for a last row
        for process in both:
            self._machine.stop(process, 0)
        calling, answering = self.samples(), self.samples("uas")
        if not calling or not answering:
            raise BenchError(f"SIPp did not work:\n{self._said()}")
        completed = min(calling[-1].succeeded, answering[-1].succeeded)
        return Outcome(
            self._planned,
            completed,
            self._planned - completed,
            creation_rate(calling),
            calling[-1].retransmissions + answering[-1].retransmissions,
            unfinished,
        )

    def _start(self, side: str, port: int, calls: int, options: list[str]) -> subprocess.Popen[bytes]:
        # SIPp puts the file of response times beside the scenario
        scenario = shutil.copy(HERE / f"{side}.xml", self._directory)
        command = [
            *(
                "sipp",
                "-sf",
                str(scenario),
                "-t",
                SIPP_TRANSPORT[self._transport],
                "-i",
                LOOPBACK,
                "-mi",
                LOOPBACK,
                "-p",
                str(port),
                "-m",
                str(calls),
            ),
            *("-nostdin", "-timer_resol", "1", "-buff_size", str(BUFFER_BYTES), "-deadcall_wait", "0"),
            *("-max_recv_loops", str(TURN), "-max_sched_loops", str(TURN), "-timeout", f"{LONGEST_SECONDS}s"),
            *("-trace_stat", "-fd", str(int(ROW_SECONDS)), "-stf", str(self._directory / f"{side}.csv")),
            *("-trace_err", "-error_file", str(self._directory / f"{side}.errors")),
            *options,
        ]
        return self._machine.start(command, self._machine.rest, str(self._directory / f"{side}.out"), self._directory)

    def _await_socket(self, port: int) -> None:
        row = f":{port:04X} "
        deadline = time.monotonic() + START_SECONDS
        while row not in Path(f"/proc/net/{self._transport}").read_text():
            if self._callee.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"SIPp did not start:\n{self._said()}")
            time.sleep(POLL_SECONDS)

    def _said(self) -> str:
        files = sorted(self._directory.glob("*.out")) + sorted(self._directory.glob("*.errors"))
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in files)
