"""The soak itself: it can fail, and a short one over a bad network loses nothing."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.clockwork import Clockwork, Repeater
from tests.soak.soak import Plan, Report, Sample, run
from tests.soak.wire import Endpoint, read, request, respond

PLAN = Plan(seconds=200.0, held=100, rate=10.0)


def good() -> Report:
    """What a switch that passes leads to."""
    samples = [Sample(float(second), 50 << 20, 100) for second in range(200)]
    finals = Counter({200: 1840, 486: 80, 487: 80})
    records = {"answered": 1840, "busy": 80, "cancelled": 80}
    return Report(PLAN, attempts=2000, finals=finals, records=records, samples=samples)


def grown(report: Report) -> None:
    report.samples = [Sample(at, size + int(at) * (40 << 10), calls) for at, size, calls in report.samples]


def thin(report: Report) -> None:
    report.samples = [sample._replace(calls=50) for sample in report.samples]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda report: None, ""),
        (grown, "memory grew by"),
        (thin, "only 50 calls were up"),
        (lambda report: report.leftovers.update(calls=1), "left in tables"),
        (lambda report: report.records.update(busy=79), "1999 records of 2000 attempts"),
        (lambda report: report.records.update(busy=81), "2001 records of 2000 attempts"),
        (lambda report: report.finals.update({500: 3}), "3 calls failed"),
        (lambda report: setattr(report, "unfinished", 3), "3 never ended"),
        (lambda report: report.faults.update({"BYE without answer": 3}), "BYE without answer"),
        (lambda report: report.faults.update({"the callee's number": 1}), "a number crossed"),
        (lambda report: report.alarms.append("Traceback"), "Traceback"),
        (lambda report: setattr(report, "attempts", 1000), "only 1000 calls were placed"),
        (lambda report: report.samples.clear(), "no time is left"),
    ],
)
def test_each_fault_is_told(spoil: Callable[[Report], object], complaint: str) -> None:
    report = good()
    spoil(report)
    assert bool(report.complaints) is bool(complaint)
    assert complaint in "; ".join(report.complaints)
    assert report.text().endswith("failed\n" if complaint else "passed\n")


def test_a_short_soak_over_a_bad_network_has_a_record_for_every_attempt_and_empty_tables(tmp_path: Path) -> None:
    plan = Plan(seconds=4.0, held=20, rate=20.0, loss=0.05, t1=0.1)
    report = run(plan, tmp_path)
    assert report.attempts == 80
    assert sum(report.records.values()) == 80
    assert report.leftovers == {}
    assert report.unfinished == 0
    assert report.alarms == []
    assert report.finals.keys() <= {200, 486, 487}
    assert report.faults == {}
    assert report.lost > 0


def test_memory_is_judged_after_the_longest_call_and_its_transactions() -> None:
    assert PLAN.warm_up == pytest.approx(3 * PLAN.manners.talk_seconds + 35.0)
    assert replace(PLAN, t1=1.0).warm_up == pytest.approx(3 * PLAN.manners.talk_seconds + 66.0)


def test_what_is_sent_is_repeated_at_doubling_pauses_until_it_is_answered() -> None:
    clockwork, sent, failed = Clockwork(), list[float](), list[float]()
    clock = 0.0
    repeater = Repeater(clockwork, lambda _: sent.append(clock), b"x", clock, 0.5, 4.0, failed.append)
    while clock < 10.0 and (due := clockwork.next()) is not None:
        clock = due
        clockwork.turn(clock)
    assert sent == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5]
    repeater.stop()
    clockwork.turn(100.0)
    assert len(sent) == 6
    assert failed == []


def test_what_is_never_answered_has_failed_after_64_t1() -> None:
    clockwork, failed = Clockwork(), list[float]()
    Repeater(clockwork, lambda _: None, b"x", 0.0, 0.5, 4.0, failed.append)
    while (due := clockwork.next()) is not None:
        clockwork.turn(due)
    assert len(failed) == 1
    assert 32.0 <= failed[0] <= 36.0


def test_an_answer_goes_back_the_way_of_its_request() -> None:
    here = Endpoint("127.0.0.1", 5060)
    wire = request("INVITE", "sip:x@y", here, "z9hG4bK1", "<sip:a@b>;tag=1", "<sip:x@y>", "id", 1, body=here.session())
    invite = read(wire)
    assert (invite.method, invite.status, invite.branch, invite.contact) == ("INVITE", 0, "z9hG4bK1", f"sip:{here}")
    answer = read(respond(invite, 200, here, "2"))
    assert (answer.status, answer.vias, answer.to_value) == (200, invite.vias, "<sip:x@y>;tag=2")
    assert read(respond(answer, 200, here, "3")).to_value == "<sip:x@y>;tag=2"
