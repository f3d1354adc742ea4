"""The arithmetic of the benchmark on fixed data: what SIPp, the clocks and the tap would have left."""

import math
import socket
import statistics

import pytest

from tests.bench.figures import (
    LONGEST_DELAY,
    Found,
    Row,
    Sample,
    Span,
    Stamp,
    creation_rate,
    find_highest,
    pair_stamps,
    parse_pace,
    parse_response_times,
    parse_statistics,
    percentile,
    slowdown,
    succeeded_at,
)
from tests.bench.load import Outcome
from tests.bench.pace import work
from tests.bench.steady import JUDGED_RATE
from tests.bench.tap import classic_filter

HEAD = (
    "StartTime;LastResetTime;CurrentTime;ElapsedTime(P);TargetRate;IncomingCall(P);IncomingCall(C);OutgoingCall(P);"
    "OutgoingCall(C);TotalCallCreated;CurrentCall;SuccessfulCall(P);SuccessfulCall(C);FailedCall(P);FailedCall(C);"
    "Retransmissions(P);Retransmissions(C);\n"
)
QUIET_MACHINE = Span(1.0, 0.0, 0.0)


def statistics_row(
    at: float, incoming: int, outgoing: int, current: int, succeeded: int, failed: int, again: int
) -> str:
    moment = f"2026-11-21\t20:30:15.245935\t{at:.6f}"
    return (
        f"2026-11-21\t20:30:15.245573\t1000.245573;{moment};{moment};00:00:01:000000;200;7;{incoming};7;{outgoing};"
        f"{incoming + outgoing};{current};7;{succeeded};7;{failed};7;{again};\n"
    )


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([5.0], 50, 5.0),
        ([5.0], 99, 5.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 51, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0, 1.0),
        ([4.0, 1.0, 3.0, 2.0], 100, 4.0),
        ([float(value) for value in range(1, 101)], 99, 99.0),
        ([float(value) for value in range(1, 1001)], 99, 990.0),
    ],
)
def test_percentile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 99)


def test_statistics_of_either_side_are_read_by_the_names_of_their_columns() -> None:
    text = HEAD + statistics_row(1000.5, 0, 200, 30, 168, 2, 5) + statistics_row(1001.5, 400, 0, 0, 399, 1, 9)
    assert parse_statistics(text) == (Sample(1000.5, 200, 168, 2, 30, 5), Sample(1001.5, 400, 399, 1, 0, 9))


def test_a_row_that_is_still_being_written_is_left_out() -> None:
    whole = HEAD + statistics_row(1000.5, 0, 200, 30, 168, 2, 5)
    following = statistics_row(1001.5, 0, 400, 30, 368, 2, 5)
    for cut in range(len(following)):
        assert parse_statistics(whole + following[:cut]) == (Sample(1000.5, 200, 168, 2, 30, 5),), cut


@pytest.mark.parametrize("text", ["", HEAD[:20], HEAD])
def test_statistics_that_have_not_begun_are_empty(text: str) -> None:
    assert parse_statistics(text) == ()


CLIMB = tuple(Sample(1000.0 + second, 200 * second, 100 * second, 0, 0, 0) for second in range(5))


@pytest.mark.parametrize(
    ("moment", "calls"),
    [(999.0, 0.0), (1000.0, 0.0), (1001.0, 100.0), (1001.25, 125.0), (1004.0, 400.0), (1009.0, 400.0)],
)
def test_completed_calls_lie_on_a_line_between_the_rows(moment: float, calls: float) -> None:
    assert succeeded_at(CLIMB, moment) == pytest.approx(calls)


def test_no_rows_no_calls() -> None:
    assert succeeded_at((), 1000.0) == 0.0


def test_creation_rate_leaves_out_the_time_before_the_first_and_after_the_last_call() -> None:
    idle = Sample(998.0, 0, 0, 0, 0, 0)
    done = [Sample(1005.0 + second, 800, 0, 0, 0, 0) for second in range(5)]
    assert creation_rate((idle, *CLIMB, *done)) == pytest.approx(200.0)


@pytest.mark.parametrize("samples", [(), CLIMB[:1], CLIMB[:2]])
def test_creation_rate_of_too_few_rows_is_none(samples: tuple[Sample, ...]) -> None:
    assert creation_rate(samples) == 0.0


def test_response_times_are_the_second_column() -> None:
    text = "Date_ms;response_time_ms;rtd_no\n1795292440154.2;12.000;1\n1795292440155.1;0.517;1\n17952924"
    assert parse_response_times(text) == [12.0, 0.517]


@pytest.mark.parametrize(
    ("stamps", "delays", "lost"),
    [
        ([], [], 0),
        ([(1.0, True, b"a"), (1.002, False, b"a")], [2.0], 0),
        # crossing calls, and looks that come in any order
        ([(1.005, False, b"a"), (1.001, True, b"b"), (1.0, True, b"a"), (1.002, False, b"b")], [1.0, 5.0], 0),
        # retransmitted before and after it went out
        ([(1.0, True, b"a"), (1.5, True, b"a"), (1.6, False, b"a"), (2.1, False, b"a")], [600.0], 0),
        # never out; out of a call that came in before the tap was open
        ([(1.0, True, b"a"), (1.001, False, b"b")], [], 1),
        # lost, then the mark again for another call
        ([(1.0, True, b"a"), (13.5, True, b"a"), (13.501, False, b"a")], [1.0], 1),
    ],
)
def test_an_invite_in_belongs_to_the_next_one_out_with_its_mark(
    stamps: list[tuple[float, bool, bytes]], delays: list[float], lost: int
) -> None:
    found, unpaired = pair_stamps(Stamp(*stamp) for stamp in stamps)
    assert found == pytest.approx(delays)
    assert unpaired == lost


def test_marks_come_again_later_than_any_delay_that_counts() -> None:
    different = 10_000 / 4  # [auto_media_port] of SIPp: steps of four, modulo 10,000
    assert different / JUDGED_RATE > 2 * LONGEST_DELAY


def keeps(program: bytes, packet: bytes, outgoing: bool) -> bool:
    """A classic BPF machine, as far as the tap's filter goes."""
    accumulator = index = at = 0
    while True:
        code, yes, no, operand = instruction(program, at)
        at += 1
        if code == 0x06:
            return operand > 0
        if code == 0x15:
            at += yes if accumulator == operand else no
        elif code == 0xB1:
            index = (packet[operand] & 0xF) * 4
        elif code == 0x30 and operand >= 0xFFFFF000:
            assert operand - 0xFFFFF000 == 4
            accumulator = 4 if outgoing else 0
        else:
            start = operand + (index if code in (0x40, 0x48) else 0)
            size = {0x30: 1, 0x48: 2, 0x40: 4}[code]
            if start + size > len(packet):
                return False
            accumulator = int.from_bytes(packet[start : start + size], "big")


def instruction(program: bytes, number: int) -> tuple[int, int, int, int]:
    code, yes, no = (
        int.from_bytes(program[number * 8 : number * 8 + 2], "little"),
        *program[number * 8 + 2 : number * 8 + 4],
    )
    return code, yes, no, int.from_bytes(program[number * 8 + 4 : number * 8 + 8], "little")


def packet(port: int, payload: bytes, protocol: int = socket.IPPROTO_UDP, options: int = 0) -> bytes:
    """An IPv4 packet, with so many words of options."""
    header = bytes([0x45 + options, *[0] * 8, protocol, *[0] * 10, *[0] * 4 * options])
    return header + (40000).to_bytes(2, "big") + port.to_bytes(2, "big") + bytes(4) + payload


@pytest.mark.parametrize(
    ("seen", "outgoing", "kept"),
    [
        (packet(5060, b"INVITE sip:"), False, True),
        (packet(5090, b"INVITE sip:"), False, True),
        (packet(5060, b"INVITE sip:", options=2), False, True),
        (packet(5060, b"INVITE sip:"), True, False),
        (packet(5080, b"INVITE sip:"), False, False),
        (packet(5060, b"ACK sip:"), False, False),
        (packet(5060, b"SIP/2.0 200"), False, False),
        (packet(5060, b"INVITE sip:", protocol=socket.IPPROTO_TCP), False, False),
        (packet(5060, b"INV"), False, False),
    ],
)
def test_the_tap_takes_invites_to_the_two_ports_once(seen: bytes, outgoing: bool, kept: bool) -> None:
    assert keeps(classic_filter(5060, 5090), seen, outgoing) is kept


def test_slowdown_is_the_mean_of_the_loop_between_two_moments() -> None:
    pace = parse_pace("100.000 0.000400\n100.200 0.000600\n100.400 0.000800\n100.6")
    assert slowdown(pace, 100.1, 100.5, 0.0004) == pytest.approx(statistics.mean([1.5, 2.0]))
    assert slowdown(pace, 200.0, 201.0, 0.0004) == 0.0


def test_the_calibration_loop_does_the_same_work_every_time() -> None:
    assert work() == work() > 0


@pytest.mark.parametrize(
    ("figure", "bar", "at_least", "failure", "verdict"),
    [
        (0.7, 0.7, False, "", True),
        (0.701, 0.7, False, "", False),
        (1500.0, 1500, True, "", True),
        (1499.9, 1500, True, "", False),
        (0.1, 0.7, False, "3 of 1000 calls failed", False),
        (None, 0.7, False, "", False),
        (1.2, None, False, "", None),
        (1.2, None, False, "3 of 1000 calls failed", False),
    ],
)
def test_verdict(figure: float | None, bar: float | None, at_least: bool, failure: str, verdict: bool | None) -> None:
    assert Row("CPU", figure, "ms", "", bar, QUIET_MACHINE, failure, at_least).passed is verdict


@pytest.mark.parametrize(("failed", "complains"), [(0, False), (9, False), (10, True), (500, True)])
def test_a_run_fails_from_one_call_in_a_thousand_on(failed: int, complains: bool) -> None:
    outcome = Outcome(10_000, 10_000 - failed, failed, 200.0, 0, False)
    assert bool(outcome.complaint()) is complains


def search(
    capacity: float, lasting: float = math.inf, runs: int = 100, start: float = 960.0
) -> tuple[Found, list[float]]:
    """The search against a switch that holds up to ``capacity`` shortly and to ``lasting`` for long."""
    tried: list[float] = []

    def run(rate: float, most: float) -> bool:
        tried.append(rate)
        return rate <= most

    found = find_highest(
        lambda rate: run(rate, capacity),
        lambda rate: run(rate, min(capacity, lasting)),
        lambda is_long: len(tried) + (not is_long) < runs,
        start,
        1.25,
        8000,
    )
    return found, tried


def test_the_search_climbs_halves_the_last_gap_and_confirms() -> None:
    found, tried = search(1700)
    assert tried == [960.0, 1200.0, 1500.0, 1875.0, 1687.5, 1687.5]
    assert found == Found(1687.5, 1875.0, True)


def test_the_search_keeps_the_lower_rate_when_the_middle_does_not_hold() -> None:
    assert search(1600)[0] == Found(1500.0, 1687.5, True)


def test_the_search_goes_down_from_a_start_too_high() -> None:
    found, tried = search(700)
    assert tried[:3] == [960.0, 768.0, 614.4]
    assert found == Found(691.2, 768.0, True)


def test_the_search_steps_back_when_the_long_run_does_not_hold() -> None:
    found, _ = search(1700, lasting=1500)
    assert found.rate == pytest.approx(1687.5 * 0.93**2)
    assert found.confirmed


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        (0, Found(None, None, False)),
        (1, Found(None, None, False)),
        (2, Found(960.0, None, True)),
        (3, Found(1200.0, None, True)),
    ],
)
def test_the_search_spends_its_last_run_on_the_confirmation(runs: int, found: Found) -> None:
    assert search(5000, runs=runs)[0] == found


@pytest.mark.parametrize(("runs", "rate"), [(6, 1200.0), (10, 960.0), (13, None)])
def test_the_search_does_not_claim_a_rate_that_nothing_held(runs: int, rate: float | None) -> None:
    found, tried = search(1600, lasting=900, runs=runs)
    assert (found.rate, found.confirmed) == (rate, False), tried


def test_the_search_without_any_rate_that_holds_ends() -> None:
    assert search(0.5)[0].rate is None


def test_the_search_that_never_fails_ends_at_the_top() -> None:
    found, tried = search(math.inf)
    assert max(tried) <= 8000
    assert found.confirmed
