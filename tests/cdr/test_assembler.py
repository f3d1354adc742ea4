"""Events folded into records: one for each attempt."""

import msgspec
import pytest

from cdr.journal import decode_event, encode_event
from cdr.record import Boot, Entry, Event, Kept, Record
from cdr.recorder import (
    DEFAULT_LONGEST_OPEN_MS,
    LONGEST_MESSAGE_OPEN_MS,
    Assembler,
    AttemptError,
    OpenAttempt,
    decode_attempt,
    encode_attempt,
)
from tests.cdr.story import CALLEE, CALLER, MIDDLE, NOVEMBER, answered, attempted, boot, ended, new_seal

SEAL = new_seal()


def entry(event: Event) -> Entry:
    return decode_event(encode_event(event, SEAL))


def feed(assembler: Assembler, *events: Event) -> list[Record]:
    return [record for event in events for record in assembler.feed(entry(event))]


def reborn(assembler: Assembler, saved: dict[str, OpenAttempt]) -> Assembler:
    """A new assembler from what the old one says has changed since `saved`, as the state stores it."""
    changes = assembler.changes()
    for attempt in changes.saved:
        saved[attempt.record_id] = decode_attempt(encode_attempt(attempt))
    for record_id in changes.dropped:
        del saved[record_id]
    return Assembler(saved.values(), changes.instance)


def test_an_answered_call_gives_one_record_with_every_field() -> None:
    [record] = feed(Assembler(), boot(), attempted(), answered(), ended())
    assert record == Record(
        record_id="r-1",
        node="node1",
        sequence=17,
        kind="call",
        provider="provider-1",
        business_user="business-7",
        scenario="delivery",
        binding_id="b-0123456789abcdef",
        order_id="order-20261118-00012345",
        industrial_id="700.100.1/12345678",
        mode="AXB",
        x=MIDDLE,
        y="",
        calling="a",
        a_hash=SEAL.hash(CALLER)[:8],
        b_hash=SEAL.hash(CALLEE)[:8],
        sealed=record.sealed,
        ingress="carrier-a",
        egress="carrier-b",
        egress_call_id="9f8e7d6c5b4a3928@switch",
        routes=("carrier-c:503", "carrier-b:200"),
        arrived_ms=NOVEMBER,
        ringing_ms=NOVEMBER + 2000,
        answered_ms=NOVEMBER + 5000,
        ended_ms=NOVEMBER + 42_000,
        setup_ms=5000,
        talk_ms=37_000,
        total_ms=42_000,
        status=200,
        q850=16,
        outcome="answered",
        ended_by="caller",
        reason="",
        verification="",
        media="PCMA/8000",
        partial=False,
    )
    assert record.sealed


def test_a_refused_attempt_gives_one_record() -> None:
    [record] = feed(
        Assembler(),
        attempted(calling="", callee="", binding_id=""),
        ended(outcome="refused", reason="caller_unbound", status=403, ended_by="switch", talk_ms=0),
    )
    assert (record.outcome, record.reason, record.answered_ms, record.setup_ms) == ("refused", "caller_unbound", 0, 0)


def test_attempts_may_interleave() -> None:
    assembler = Assembler()
    records = feed(
        assembler, attempted("r-1"), attempted("r-2"), answered("r-2"), ended("r-1"), attempted("r-3"), ended("r-2")
    )
    assert [record.record_id for record in records] == ["r-1", "r-2"]
    assert [bool(record.answered_ms) for record in records] == [False, True]
    assert len(assembler) == 1


def test_a_new_switch_process_interrupts_what_the_old_one_left_open() -> None:
    assembler = Assembler()
    assert feed(assembler, boot("first"), attempted("r-1"), attempted("r-2"), answered("r-2")) == []
    waiting, talking = feed(assembler, boot("second", NOVEMBER + 60_000))
    for record in (waiting, talking):
        assert (record.outcome, record.ended_by, record.reason) == ("interrupted", "switch", "")
        assert (record.ended_ms, record.total_ms, record.talk_ms) == (NOVEMBER + 60_000, 0, 0)
    assert (waiting.status, waiting.answered_ms, waiting.routes) == (0, 0, ())
    assert (talking.status, talking.answered_ms, talking.routes) == (200, NOVEMBER + 5000, ("carrier-b:200",))
    assert talking.egress_call_id == "9f8e7d6c5b4a3928@switch"
    assert assembler.interrupted == 2
    assert feed(assembler, boot("third")) == []


def test_what_the_new_process_takes_up_is_not_interrupted() -> None:
    """Short messages that wait on disk; those that the process had not stored yet are gone with it."""
    saved: dict[str, OpenAttempt] = {}
    assembler = Assembler()
    feed(assembler, boot("first"), *(attempted(f"r-{number}", kind="message") for number in range(4)))
    feed(assembler, answered("r-3"))
    feed(assembler, Kept("second", ("r-0", "unheard-of")), Kept("second", ("r-1",)))
    assembler = reborn(assembler, saved)  # the recorder may end between the two, too
    gone = feed(assembler, boot("second"))
    assert [(record.record_id, record.outcome, record.status, record.routes) for record in gone] == [
        ("r-2", "interrupted", 0, ()),
        ("r-3", "interrupted", 0, ()),
    ]
    [record] = feed(assembler, ended("r-0", outcome="delivered"))
    assert (record.outcome, record.partial) == ("delivered", False)
    [record] = feed(assembler, boot("third"))  # which takes up nothing
    assert (record.record_id, record.outcome) == ("r-1", "interrupted")


def test_events_that_come_twice_change_nothing() -> None:
    assembler = Assembler()
    story = [boot(), attempted("r-1"), attempted("r-2"), answered("r-1"), ended("r-1")]
    [record] = feed(assembler, *story)
    assert record.record_id == "r-1"
    assert feed(assembler, *story) == []
    assert assembler.repeated == 5
    assert len(assembler) == 1
    assert assembler.partial == 0
    [second] = feed(assembler, ended("r-2"))
    assert second.record_id == "r-2"


def test_an_attempt_that_is_said_again_keeps_its_answer() -> None:
    [record] = feed(Assembler(), attempted(), answered(), attempted(), ended())
    assert record.answered_ms == NOVEMBER + 5000


@pytest.mark.parametrize(
    ("events", "arrived_ms", "answered_ms"),
    [
        ([ended()], NOVEMBER, 0),
        ([answered(), ended()], NOVEMBER, NOVEMBER + 5000),
        ([ended(ended_ms=5, total_ms=9)], 0, 0),
        ([answered(answered_ms=5, setup_ms=9), ended()], 0, 5),
    ],
)
def test_a_lost_beginning_still_gives_a_record_and_is_counted(
    events: list[Event], arrived_ms: int, answered_ms: int
) -> None:
    assembler = Assembler()
    [record] = feed(assembler, *events)
    assert record.partial
    assert assembler.partial == 1
    assert (record.arrived_ms, record.answered_ms, record.outcome) == (arrived_ms, answered_ms, "answered")
    assert (record.x, record.sealed, record.a_hash) == ("", b"", b"")
    assert record.egress == "carrier-b"


def test_a_lost_beginning_and_a_lost_end_leave_an_interrupted_record() -> None:
    assembler = Assembler()
    [record] = feed(assembler, boot("first"), answered(), boot("second"))
    assert (record.partial, record.outcome) == (True, "interrupted")


def test_an_attempt_whose_end_was_lost_is_given_up_after_the_longest_time() -> None:
    assembler = Assembler()
    feed(assembler, attempted("r-1"), attempted("r-2", arrived_ms=NOVEMBER + 1000))
    assert assembler.expire(NOVEMBER + DEFAULT_LONGEST_OPEN_MS) == []
    [record] = assembler.expire(NOVEMBER + DEFAULT_LONGEST_OPEN_MS + 1)
    assert (record.record_id, record.outcome, record.reason) == ("r-1", "interrupted", "end_missing")
    assert len(assembler) == 1
    assert feed(assembler, ended("r-1")) == []
    assert [each.record_id for each in assembler.expire(NOVEMBER * 2)] == ["r-2"]
    assert assembler.expire(NOVEMBER * 3) == []


def test_a_message_may_wait_longer_than_any_call() -> None:
    assembler = Assembler()
    feed(assembler, attempted("r-1", kind="message"), attempted("r-2"), attempted("r-3", kind="message"))
    assert [each.record_id for each in assembler.expire(NOVEMBER + DEFAULT_LONGEST_OPEN_MS + 1)] == ["r-2"]
    assert assembler.expire(NOVEMBER + LONGEST_MESSAGE_OPEN_MS) == []
    assert [each.record_id for each in assembler.expire(NOVEMBER + LONGEST_MESSAGE_OPEN_MS + 1)] == ["r-1", "r-3"]


def test_what_was_saved_is_enough_to_go_on() -> None:
    saved: dict[str, OpenAttempt] = {}
    assembler = Assembler()
    feed(assembler, boot("first"), attempted("r-1"), attempted("r-2"))
    assembler = reborn(assembler, saved)
    assert set(saved) == {"r-1", "r-2"}
    feed(assembler, answered("r-1"), ended("r-2"))
    assembler = reborn(assembler, saved)
    assert set(saved) == {"r-1"}
    assert feed(assembler, boot("first")) == []
    [record] = feed(assembler, ended("r-1"))
    assert (record.answered_ms, record.node) == (NOVEMBER + 5000, "node1")
    reborn(assembler, saved)
    assert saved == {}


def test_an_attempt_that_begins_and_ends_between_two_saves_is_not_saved() -> None:
    assembler = Assembler()
    feed(assembler, attempted(), ended())
    assert assembler.changes() == ([], [], "")
    assert assembler.changes() == ([], [], "")


def test_what_was_saved_is_given_up_oldest_first() -> None:
    old, young = (OpenAttempt(record_id, since) for record_id, since in (("r-1", 1000), ("r-2", 2000)))
    assembler = Assembler([young, old], longest_open_ms=10)
    assert [record.record_id for record in assembler.expire(1500)] == ["r-1"]


def test_only_recent_ends_are_remembered() -> None:
    assembler = Assembler()
    for number in range(20_001):
        assembler.feed(ended(f"r-{number}"))
    assert assembler.partial == 20_001
    assert assembler.feed(ended("r-20000")) == []
    assert len(assembler.feed(ended("r-0"))) == 1


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'["r"]'])
def test_a_saved_attempt_that_cannot_be_read_is_an_error(data: bytes) -> None:
    with pytest.raises(AttemptError):
        decode_attempt(data)


def test_saved_attempts_hold_nothing_in_clear() -> None:
    assembler = Assembler()
    feed(assembler, attempted())
    [attempt] = assembler.changes().saved
    assert CALLER[3:].encode() not in encode_attempt(attempt)
    assert CALLER[3:] not in repr(attempt)


def test_a_boot_can_be_told_from_its_repeat_only_by_instance() -> None:
    assembler = Assembler(instance="first")
    feed(assembler, attempted())
    assert assembler.feed(Boot("another-node", "first", 0)) == []
    assert len(assembler.feed(msgspec.structs.replace(boot(), instance="second"))) == 1
