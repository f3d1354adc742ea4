"""Which events of the journal are told, under which name, and what stands in them. Pure tables."""

import json

import msgspec
import pytest

from cdr.journal import encode_event, seal_attempt
from cdr.outbox import EVENTS, PHASES, Notice, body_of, ends_of, event_id, notices_of, parties_of
from cdr.record import Answered, Attempted, Boot, Event, Record
from cdr.recorder import Assembler
from cdr.seal import Seal, SealError
from cdr.store.outbox import parse_event_id
from routing import webhooks
from routing.numbers import mask
from tests.cdr.story import CALLEE, CALLER, MIDDLE, NOVEMBER, answered, attempted, boot, ended, new_seal


@pytest.fixture
def seal() -> Seal:
    return new_seal()


def told(seal: Seal, *events: Event) -> list[Notice]:
    """What is told of events, in order, as the recorder goes about it."""
    assembler = Assembler()
    found: list[Notice] = []
    for event in events:
        entry = seal_attempt(event, seal) if isinstance(event, Attempted) else event
        records = assembler.feed(entry)
        attempt = assembler.attempt(entry.record_id) if isinstance(entry, Answered) else None
        found += notices_of(entry, attempt, records)
    return found


def shown(notice: Notice, seal: Seal, reveal: bool = False) -> dict[str, object]:
    body = body_of(notice, parties_of(notice, seal), str if reveal else mask)
    found: dict[str, object] = json.loads(body)
    return found


def message(record_id: str = "m-1", **changes: object) -> Attempted:
    return attempted(record_id, kind="message", **changes)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((attempted(),), ["call.attempted"]),
        ((attempted(), answered()), ["call.attempted", "call.answered"]),
        ((attempted(), answered(), ended()), ["call.attempted", "call.answered", "call.ended"]),
        ((attempted(), ended(outcome="refused")), ["call.attempted", "call.ended"]),
        # a switch that dies cuts its calls off, which is an end like any other
        ((boot("one"), attempted(), boot("two")), ["call.attempted", "call.ended"]),
        ((message(),), ["message.attempted"]),
        ((message(), answered("m-1")), ["message.attempted", "message.accepted"]),
        ((message(), ended("m-1", outcome="delivered")), ["message.attempted", "message.delivered"]),
        ((message(), ended("m-1", outcome="refused")), ["message.attempted", "message.refused"]),
        ((message(), ended("m-1", outcome="dropped")), ["message.attempted", "message.refused"]),
        ((message(), ended("m-1", outcome="failed")), ["message.attempted", "message.failed"]),
        ((message(), ended("m-1", outcome="expired")), ["message.attempted", "message.failed"]),
        # nobody's: no binding was found, or the beginning was lost
        ((attempted(provider="", calling=""), ended(outcome="refused")), []),
        ((answered(), ended()), []),
        ((boot(),), []),
    ],
)
def test_events_of_the_journal_become_events_of_webhooks(
    seal: Seal, events: tuple[Event, ...], expected: list[str]
) -> None:
    notices = told(seal, *events)
    assert [notice.event for notice in notices] == expected
    assert [notice.phase for notice in notices] == sorted(notice.phase for notice in notices)
    assert len({(notice.record_id, notice.phase) for notice in notices}) == len(notices)


def test_an_answered_call_of_nobody_is_told_to_nobody(seal: Seal) -> None:
    assert told(seal, attempted(provider="", calling=""), answered(), ended()) == []


def test_both_lists_of_events_are_one() -> None:
    assert EVENTS == webhooks.EVENTS


def test_an_attempt_that_was_given_up_is_told_as_ended(seal: Seal) -> None:
    assembler = Assembler(longest_open_ms=1000)
    assembler.feed(seal_attempt(attempted(), seal))
    assembler.feed(seal_attempt(attempted("r-2", provider=""), seal))
    (notice,) = ends_of(assembler.expire(NOVEMBER + 5000))
    assert (notice.event, notice.at_ms) == ("call.ended", NOVEMBER + 5000)
    assert shown(notice, seal)["data"]["outcome"] == "interrupted"  # type: ignore[index]


def test_what_stands_in_each_event(seal: Seal) -> None:
    first, second, third = (shown(notice, seal) for notice in told(seal, attempted(), answered(), ended()))
    head = {
        "record_id": "r-1",
        "kind": "call",
        "provider": "provider-1",
        "business_user": "business-7",
        "scenario": "delivery",
        "binding_id": "b-0123456789abcdef",
        "order_id": "order-20261118-00012345",
        "industrial_id": "700.100.1/12345678",
        "mode": "AXB",
        "x": MIDDLE,
        "y": "",
        "calling": "a",
        "a": "138****8000",
        "b": "139****9000",
        "arrived_ms": NOVEMBER,
    }
    assert first == {"id": "r-1-attempted", "type": "call.attempted", "at_ms": NOVEMBER, "data": head}
    answer = {"ringing_ms": NOVEMBER + 2000, "answered_ms": NOVEMBER + 5000, "setup_ms": 5000}
    assert second["data"] == head | answer
    assert (second["id"], second["type"], second["at_ms"]) == ("r-1-answered", "call.answered", NOVEMBER + 5000)
    assert third["data"] == head | answer | {
        "ended_ms": NOVEMBER + 42_000,
        "talk_ms": 37_000,
        "total_ms": 42_000,
        "outcome": "answered",
        "status": 200,
        "q850": 16,
        "reason": "",
        "ended_by": "caller",
        "verification": "",
    }
    assert third["at_ms"] == NOVEMBER + 42_000


def test_numbers_are_masked_unless_they_may_be_seen(seal: Seal) -> None:
    (notice,) = told(seal, attempted(calling="b"))
    assert shown(notice, seal)["data"]["a"] == "139****9000"  # type: ignore[index]
    revealed = shown(notice, seal, reveal=True)["data"]
    assert (revealed["a"], revealed["b"]) == (CALLEE, CALLER)  # type: ignore[index]


def test_a_number_that_was_dialled_by_mistake_is_masked_like_a_party(seal: Seal) -> None:
    (notice,) = told(seal, attempted(x="13700137000"))
    assert shown(notice, seal)["data"]["x"] == "137****7000"  # type: ignore[index]
    assert shown(notice, seal, reveal=True)["data"]["x"] == "13700137000"  # type: ignore[index]


def test_what_is_kept_names_no_number(seal: Seal) -> None:
    for notice in told(seal, attempted(x="13700137000"), answered(), ended()):
        kept = msgspec.json.encode(msgspec.structs.replace(notice, sealed=b""))
        assert not [digits for digits in (CALLER[3:], CALLEE[3:], "13700137000") if digits.encode() in kept]


def test_the_parts_of_another_attempt_do_not_open(seal: Seal) -> None:
    (notice,) = told(seal, attempted())
    with pytest.raises(SealError):
        parties_of(msgspec.structs.replace(notice, record_id="r-2"), seal)


@pytest.mark.parametrize("phase", range(len(PHASES)))
@pytest.mark.parametrize("record_id", ["r-1", "0199aabbccdd0011", "a-b-c"])
def test_the_id_of_an_event_says_which_it_is(record_id: str, phase: int) -> None:
    assert parse_event_id(event_id(record_id, phase)) == (record_id, phase)


@pytest.mark.parametrize("text", ["", "r-1", "attempted", "-ended", "r-1-Ended", "r-1-ended "])
def test_a_text_that_is_no_id_of_an_event_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an event's id"):
        parse_event_id(text)


def test_text_that_is_no_unicode_is_told_as_it_stands_in_the_journal(seal: Seal) -> None:
    entry = msgspec.json.decode(encode_event(attempted(order_id="\udcff"), seal))
    assert "udcff" in str(entry)
    record = Record(record_id="r-1", arrived_ms=1, provider="p", order_id="\\udcff", sealed=b"x", ended_ms=2)
    (notice,) = ends_of([record])
    assert json.loads(notice.facts)["order_id"] == "\\udcff"


def test_boots_and_ends_alone_tell_nothing(seal: Seal) -> None:
    assert notices_of(Boot("node1", "x", 1), None, []) == []
    assert notices_of(ended(), None, []) == []
