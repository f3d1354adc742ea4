"""The arithmetic of the benchmark, without any input or output: what SIPp, the clocks and the tap left is text here."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all values do not exceed (nearest rank). ValueError for none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


class Sample(NamedTuple):
    """A row of SIPp's ``-trace_stat`` file: seconds since 1970, totals since it began; `current` calls are up."""

    at: float
    created: int
    succeeded: int
    failed: int
    current: int
    retransmissions: int


_COLUMNS = ("SuccessfulCall(C)", "FailedCall(C)", "CurrentCall", "Retransmissions(C)")


def parse_statistics(text: str) -> tuple[Sample, ...]:
    """Every whole row of a ``-trace_stat`` file; a last row that is still being written is left out."""
    lines = text.split("\n")[:-1]
    if not lines:
        return ()
    columns = {name: index for index, name in enumerate(lines[0].split(";"))}
    created = columns["OutgoingCall(C)"], columns["IncomingCall(C)"]
    samples = []
    for line in lines[1:]:
        fields = line.split(";")
        if len(fields) < len(columns) - 1:  # the head ends in a semicolon, rows may not
            continue
        # date, time of day and the same as seconds, tabs between
        at = float(fields[columns["CurrentTime"]].split("\t")[-1])
        totals = [int(fields[columns[name]]) for name in _COLUMNS]
        samples.append(Sample(at, sum(int(fields[index]) for index in created), *totals))
    return tuple(samples)


def succeeded_at(samples: Sequence[Sample], moment: float) -> float:
    """Calls completed by a moment, on a straight line between the rows around it."""
    before = Sample(-math.inf, 0, 0, 0, 0, 0)
    for sample in samples:
        if sample.at >= moment:
            if before.at == -math.inf:
                return float(sample.succeeded)
            share = (moment - before.at) / (sample.at - before.at)
            return before.succeeded + share * (sample.succeeded - before.succeeded)
        before = sample
    return float(before.succeeded)


def creation_rate(samples: Sequence[Sample]) -> float:
    """Calls begun per second between the first row that has any and the last before all were; 0.0: too few rows."""
    if not samples:
        return 0.0
    total = samples[-1].created
    steady = [sample for sample in samples if 0 < sample.created < total]
    if len(steady) < 2:
        return 0.0
    first, last = steady[0], steady[-1]
    return (last.created - first.created) / (last.at - first.at)


def parse_response_times(text: str) -> list[float]:
    """Milliseconds of a ``-trace_rtt`` file: rows of a date, the response time and the name of the stop watch."""
    times = []
    for line in text.split("\n")[1:-1]:
        fields = line.split(";")
        if len(fields) >= 3:
            times.append(float(fields[1]))
    return times


class Stamp(NamedTuple):
    """An INVITE that the kernel received: at which second, on its way in or out of the switch, and of which call."""

    at: float
    inward: bool
    call: bytes


# A call marked alike may come again after the marks are used up; an INVITE that waited longer than this was lost.
LONGEST_DELAY = 5.0


def pair_stamps(stamps: Iterable[Stamp]) -> tuple[list[float], int]:
    """Milliseconds from each INVITE in to its INVITE out, and how many never came out.

    Retransmissions count from the first one in, to the first one out.
    """
    waiting: dict[bytes, float] = {}
    delays = []
    lost = 0
    for stamp in sorted(stamps):
        since = waiting.get(stamp.call)
        if stamp.inward:
            if since is not None and stamp.at - since <= LONGEST_DELAY:
                continue
            lost += since is not None
            waiting[stamp.call] = stamp.at
        elif since is not None:
            del waiting[stamp.call]
            delays.append((stamp.at - since) * 1000)
    return delays, lost + len(waiting)


def parse_pace(text: str) -> tuple[tuple[float, float], ...]:
    """Moments and seconds of CPU from the file of the calibration loop; its last line may be torn."""
    pairs = (line.split() for line in text.split("\n")[:-1])
    return tuple((float(at), float(seconds)) for at, seconds in pairs)


def slowdown(pace: Iterable[tuple[float, float]], start: float, end: float, reference: float) -> float:
    """How many times the reference the loop took between two moments, on average; 0.0 when it did not run."""
    taken = [seconds for at, seconds in pace if start <= at <= end]
    return sum(taken) / len(taken) / reference if taken else 0.0


class Span(NamedTuple):
    """What the machine was like for a while.

    ``slowdown`` is how many times the reference the calibration loop took on the core of the switch (0.0: unknown);
    ``beside_switch`` and ``beside_sipp`` are the shares of the two cores that neither of them had.
    """

    slowdown: float
    beside_switch: float
    beside_sipp: float


class Row(NamedTuple):
    """A line of the table. ``figure`` None: could not be measured. ``bar`` None: none set, no verdict.

    ``spread`` is what stands beside the figure, ``failure`` why the figure does not count.
    """

    measure: str
    figure: float | None
    unit: str
    spread: str
    bar: float | None
    span: Span
    failure: str = ""
    at_least: bool = False

    @property
    def passed(self) -> bool | None:
        """The verdict; None where there is neither a bar nor a failure."""
        if self.failure or self.figure is None:
            return False
        if self.bar is None:
            return None
        return self.figure >= self.bar if self.at_least else self.figure <= self.bar


class Found(NamedTuple):
    """The highest rate that held, the last that did not, and whether a long run confirmed the first."""

    rate: float | None
    first_bad: float | None
    confirmed: bool


# A rate that held shortly and not in the long run is lowered by this much and tried again.
STEP_BACK = 0.93


def find_highest(
    short: Callable[[float], bool],
    long: Callable[[float], bool],
    affordable: Callable[[bool], bool],
    start: float,
    factor: float,
    top: float,
) -> Found:
    """Climb from ``start`` by ``factor`` while short runs hold, halve the last gap, confirm with a long run.

    When the start does not hold, go down instead. ``affordable(is_long)`` says whether there is time for one more run.
    """
    good: float | None = None
    bad: float | None = None
    held: list[float] = []
    rate = start
    while 1 <= rate <= top and affordable(False):
        if short(rate):
            good = rate
            held.append(rate)
            if bad is not None:
                break
            rate = rate * factor
        else:
            bad = rate
            if good is not None:
                break
            rate = rate / factor
    if good is not None and bad is not None and affordable(False):
        middle = (good + bad) / 2
        if short(middle):
            good = middle
            held.append(middle)
        else:
            bad = middle
    while good is not None and affordable(True):
        if long(good):
            return Found(good, bad, True)
        good, bad = good * STEP_BACK, good
    return Found(max((rate for rate in held if bad is None or rate < bad), default=None), bad, False)
