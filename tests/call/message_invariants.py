"""What must hold after every short message whatever became of it."""

import re
from collections.abc import Sequence

from b2bua.call.refusals import Outcome
from b2bua.sip.gsm import spellings
from b2bua.sip.headers import parse_q850
from b2bua.sip.message import Request, Response
from cdr import record
from routing.numbers import bare_digits
from tests.call.invariants import Story
from tests.wire import SWITCH, Datagram

__all__ = ["check_messages"]

ACCEPTED = (Outcome.DELIVERED, Outcome.EXPIRED, Outcome.REJECTED, Outcome.UNKNOWN, Outcome.FAILED)


def check_messages(log: Sequence[Datagram], events: Sequence[record.Event], told: Sequence[Story]) -> None:
    """Each story agrees with itself and with what the sender saw, was written before that, and tells nobody's number in
    any spelling that a short message has."""
    for attempted, answered, ended in told:
        assert attempted.arrived_ms <= ended.ended_ms
        assert ended.talk_ms == 0
        assert ended.total_ms >= 0
        assert 200 <= ended.status <= 699
        assert 1 <= ended.q850 <= 127
        assert ended.ended_by in ("callee", "switch")
        if answered is not None:
            assert ended.outcome in ACCEPTED
        else:
            assert ended.outcome in (Outcome.REFUSED, Outcome.DROPPED)
            assert ended.routes == ()
        assert (ended.outcome == Outcome.DELIVERED) == (ended.status == 200)
        assert all(re.fullmatch(r"[a-z0-9-]+:[a-z0-9_]+", route) for route in ended.routes), ended.routes
    _check_answers(log, events, told)
    for story in told:
        if story.attempted.callee:
            _check_spellings(log, story)


def _check_answers(log: Sequence[Datagram], events: Sequence[record.Event], told: Sequence[Story]) -> None:
    position = {
        (type(event).__name__, event.record_id): index
        for index, event in enumerate(events)
        if isinstance(event, record.Answered | record.Ended)
    }
    by_call: dict[str, list[Story]] = {}
    for story in told:
        by_call.setdefault(story.attempted.ingress_call_id, []).append(story)
    for datagram in log:
        message = datagram.message if datagram.source == SWITCH else None
        if isinstance(message, Request) and message.method == "MESSAGE":
            assert len(datagram.data) <= 1300 or b"\r\nVia: SIP/2.0/TCP " in datagram.data, "RFC 3428 §8"
            assert any(isinstance(event, record.Attempted) for event in events[: datagram.written])
        if not isinstance(message, Response) or message.cseq_method != "MESSAGE":
            continue
        stories = by_call.get(message.call_id, [])
        if len(stories) != 1:
            continue
        ((attempted, _, ended),) = stories
        if message.status < 300:
            assert position["Answered", attempted.record_id] < datagram.written, "202 before its record"
        elif message.status not in (401, 407):
            assert position["Ended", attempted.record_id] < datagram.written, f"{datagram.word} before its record"
            assert message.status == ended.status
            assert parse_q850(message.get("reason") or "") == ended.q850


def _check_spellings(log: Sequence[Datagram], story: Story) -> None:
    """Neither party is told the other's number in semi-octets, UCS-2 or packed septets."""
    a, b = story.attempted.caller, story.attempted.callee
    if story.attempted.calling == "b":
        a, b = b, a
    for side, other in (("a", b), ("b", a)):
        hidden = spellings(bare_digits(other))
        for datagram in log:
            if datagram.way == f">{side}":
                assert not any(spelling in datagram.data for spelling in hidden), (
                    f"{datagram.word} tells {side} a number"
                )
