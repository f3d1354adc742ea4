"""What must hold after every call whatever became of it: the end of each test.

Tables are empty, each attempt has its story in the records and nothing twice, the parties agree that it is over, and
nothing on either side tells of the other.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from b2bua.call.refusals import Outcome
from b2bua.sip.headers import parse_q850
from b2bua.sip.message import Request, Response
from cdr import record
from routing.numbers import bare_digits
from tests.wire import SWITCH, Datagram

__all__ = ["Story", "check_answers", "check_privacy", "check_records", "check_wire", "reveals", "stories", "told"]

_SEPARATORS = str.maketrans("", "", " \t-.()/_~")


class Story(NamedTuple):
    """The events of one attempt."""

    attempted: record.Attempted
    answered: record.Answered | None
    ended: record.Ended


# records


def stories(events: Sequence[record.Event]) -> list[Story]:
    """The records, folded by attempt; AssertionError when one is not Attempted, perhaps Answered, Ended."""
    by_attempt: dict[str, list[record.Event]] = {}
    for event in events:
        assert not isinstance(event, record.Boot)
        by_attempt.setdefault(event.record_id, []).append(event)
    told = []
    for record_id, happened in by_attempt.items():
        kinds = [type(event).__name__ for event in happened]
        assert kinds in (["Attempted", "Ended"], ["Attempted", "Answered", "Ended"]), f"{record_id}: {kinds}"
        first, last = happened[0], happened[-1]
        assert isinstance(first, record.Attempted)
        assert isinstance(last, record.Ended)
        answered = happened[1] if isinstance(happened[1], record.Answered) else None
        told.append(Story(first, answered, last))
    return told


def check_records(told: Sequence[Story]) -> None:
    """Each story agrees with itself."""
    assert len({story.attempted.sequence for story in told}) == len(told)
    for attempted, answered, ended in told:
        assert attempted.kind == "call"
        assert attempted.arrived_ms <= ended.ended_ms
        assert 0 <= ended.talk_ms <= ended.total_ms
        assert 200 <= ended.status <= 699
        assert 1 <= ended.q850 <= 127
        assert ended.ended_by in ("caller", "callee", "switch")
        assert (ended.outcome == Outcome.ANSWERED) == (answered is not None)
        assert (ended.status == 200) == (answered is not None)
        assert all(re.fullmatch(r"[a-z0-9-]+:[a-z0-9_]+", route) for route in ended.routes), ended.routes
        if answered is not None:
            assert attempted.arrived_ms <= (answered.ringing_ms or answered.answered_ms) <= answered.answered_ms
            assert answered.answered_ms <= ended.ended_ms
            assert answered.ringing_ms == ended.ringing_ms
            assert (answered.egress, answered.egress_call_id) == (ended.egress, ended.egress_call_id)
            assert [route for route in ended.routes if route.endswith(":200")] == [ended.routes[-1]]
            assert ended.routes[-1].partition(":")[0] == ended.egress
        else:
            assert ended.talk_ms == 0
            assert not any(route.endswith(":200") for route in ended.routes)


def _by_call_id(events: Iterable[record.Event]) -> dict[str, record.Attempted]:
    """Attempts by the caller's Call-ID, those that share one (merged requests) left out."""
    found: dict[str, list[record.Attempted]] = {}
    for event in events:
        if isinstance(event, record.Attempted):
            found.setdefault(event.ingress_call_id, []).append(event)
    return {call_id: attempts[0] for call_id, attempts in found.items() if len(attempts) == 1}


def _initial(log: Sequence[Datagram]) -> dict[str, int]:
    """The CSeq of the INVITE that began each call, by Call-ID."""
    return {
        datagram.message.call_id: datagram.message.cseq
        for datagram in log
        if datagram.target == SWITCH and datagram.word == "INVITE" and datagram.readable and not datagram.message.to_tag
    }


def check_order(log: Sequence[Datagram], events: Sequence[record.Event]) -> None:
    """Written before sent: what a datagram commits us to was on its way to the journal when it left."""
    attempts = {call_id: event.record_id for call_id, event in _by_call_id(events).items()}
    initial = _initial(log)
    position: dict[tuple[str, str], int] = {}
    for index, event in enumerate(events):
        if not isinstance(event, record.Boot):
            position[type(event).__name__, event.record_id] = index
    for datagram in log:
        if datagram.source != SWITCH:
            continue
        message = datagram.message
        record_id = attempts.get(message.call_id, "")
        if isinstance(message, Response) and record_id and message.cseq_method == "INVITE" and message.status >= 200:
            if message.cseq != initial[message.call_id]:
                continue
            if message.status < 300:
                assert position["Answered", record_id] < datagram.written, f"{datagram.word} before its record"
            elif ("Answered", record_id) not in position:
                assert position["Ended", record_id] < datagram.written, f"{datagram.word} before its record"
        elif isinstance(message, Request) and message.method == "BYE" and record_id:
            assert position["Ended", record_id] < datagram.written, "BYE before its record"
        elif isinstance(message, Request) and message.method == "INVITE" and not message.to_tag:
            assert any(isinstance(event, record.Attempted) for event in events[: datagram.written])


# what went over the wire


def check_wire(log: Sequence[Datagram]) -> None:
    """The switch's own messages: branches are used once, CSeq rises, session descriptions have one origin each leg.

    An ACK confirms a 2xx in a transaction of its own, or a failure in that of the INVITE (§13.2.2.4, §17.1.1.3).
    """
    branches: dict[str, tuple[str, int, str]] = {}
    sequence: dict[tuple[str, str, str], int] = {}
    origins: dict[tuple[str, str], tuple[str, int, bytes]] = {}
    seen: set[tuple[str, bytes]] = set()
    finals: set[tuple[str, int, bool]] = set()
    for datagram in log:
        if datagram.source != SWITCH and datagram.readable and isinstance(datagram.message, Response):
            answer = datagram.message
            if answer.status >= 200 and answer.cseq_method == "INVITE":
                finals.add((answer.call_id, answer.cseq, answer.status < 300))
        if datagram.source != SWITCH or (datagram.way, datagram.data) in seen:
            continue
        seen.add((datagram.way, datagram.data))
        message = datagram.message
        if isinstance(message, Request):
            named = (message.call_id, message.cseq, message.to_tag if message.method == "BYE" else "")
            if message.method not in ("ACK", "CANCEL"):
                assert message.via.branch not in branches, f"branch of {message.method} used before"
                dialog = (message.call_id, message.from_tag, message.to_tag)
                assert message.cseq > sequence.get(dialog, 0), f"CSeq of {message.method} does not rise"
                sequence[dialog] = message.cseq
                branches[message.via.branch] = named
            elif message.method == "ACK":
                assert (message.call_id, message.cseq, message.via.branch not in branches) in finals, "ACK of nothing"
            else:
                assert message.via.branch in branches, "CANCEL with a branch of its own"
                assert branches[message.via.branch][:2] == named[:2]
        if message.body and message.body.startswith(b"v=0"):
            check_origin(datagram.way, message.call_id, message.body, origins)


def check_origin(way: str, call_id: str, body: bytes, origins: dict[tuple[str, str], tuple[str, int, bytes]]) -> None:
    """RFC 3264 §8: on one leg the session id stays, and the version rises by one when the description changes."""
    lines = body.split(b"\r\n")
    _, session, version, *_ = lines[1].split()
    content = b"\r\n".join(lines[2:])
    known = origins.get((way, call_id))
    if known is not None:
        assert session.decode() == known[0], "another session id on the same leg"
        assert int(version) == known[1] + (content != known[2]), "version and content of the description disagree"
    origins[way, call_id] = (session.decode(), int(version), content)


def check_answers(log: Sequence[Datagram]) -> None:
    """Every request that reached the switch got a final answer (profile §4 item 14)."""
    answered = {
        (datagram.way[1:], datagram.message.via.branch, datagram.message.cseq_method)
        for datagram in log
        if datagram.source == SWITCH and isinstance(datagram.message, Response) and datagram.message.status >= 200
    }
    for datagram in log:
        if datagram.target != SWITCH or datagram.lost or not datagram.readable:
            continue
        message = datagram.message
        if isinstance(message, Request) and message.method != "ACK":
            key = (datagram.way[:-1], message.via.branch, message.method)
            assert key in answered, f"{message.method} of {key[0]} never got a final answer"


def check_refusals(log: Sequence[Datagram], told: Sequence[Story]) -> None:
    """What a refused caller sees is what the record says: status, and the cause in the Reason header."""
    stories_of = {story.attempted.record_id: story for story in told}
    attempts = _by_call_id([story.attempted for story in told])
    initial = _initial(log)
    by_call = {call_id: stories_of[attempted.record_id] for call_id, attempted in attempts.items()}
    for datagram in log:
        message = datagram.message if datagram.source == SWITCH else None
        if not isinstance(message, Response) or message.cseq_method != "INVITE" or message.status < 300:
            continue
        story = by_call.get(message.call_id)
        if story is None or story.answered is not None or message.cseq != initial[message.call_id]:
            continue
        assert message.status == story.ended.status
        reason = message.get("reason")
        assert reason is None or parse_q850(reason) == story.ended.q850


# privacy


def check_privacy(log: Sequence[Datagram], numbers: dict[str, str]) -> None:
    """Nothing toward one party holds the other's number in any spelling, nor its host, Call-ID, tags or branches.

    ``numbers`` maps side to its real number in E.164; the media server, m, has none.
    """
    for side, other in (("a", "b"), ("b", "a"), ("a", "m"), ("m", "a"), ("m", "b")):
        hidden = tokens_of(log, other)
        digits = bare_digits(numbers[other]) if other in numbers else ""
        for datagram in log:
            if datagram.way != f">{side}":
                continue
            assert not digits or not reveals(datagram.data, digits), (
                f"{datagram.word} tells {side} the number of {other}"
            )
            text = datagram.data.decode("utf-8", "surrogateescape")
            for kind, token in hidden:
                assert token not in text, f"{datagram.word} tells {side} the {kind} of {other}: {token}"


def tokens_of(log: Sequence[Datagram], side: str) -> list[tuple[str, str]]:
    """What identifies the signalling on one side: hosts, Call-IDs, tags, branches."""
    found: dict[str, str] = {}
    for datagram in log:
        if datagram.way not in (f"{side}>", f">{side}") or not datagram.readable:
            continue
        message = datagram.message
        found[datagram.source[0] if datagram.target == SWITCH else datagram.target[0]] = "host"
        found[message.call_id] = "Call-ID"
        found[message.from_tag] = found[message.to_tag] = "tag"
        found[message.via.branch] = "branch"
    return [(kind, token) for token, kind in found.items() if len(token) >= 8 and token != SWITCH[0]]


@lru_cache(8192)
def _flat(wire: bytes) -> tuple[str, str]:
    """The text as it stands, and with every way of writing digits brought to one."""
    text = wire.decode("utf-8", "surrogateescape")
    flat = unquote(unquote(text, errors="replace"), errors="replace")
    return text.lower(), unicodedata.normalize("NFKC", flat).translate(_SEPARATORS)


def told(wire: bytes, numbers: Iterable[str]) -> list[str]:
    """Those of ``numbers`` (bare digits) that stand in a datagram in whatever spelling."""
    return [number for number in numbers if reveals(wire, number)]


def reveals(wire: bytes, digits: str) -> bool:
    """Whether a datagram holds these digits: plain, escaped, spaced, dashed, in hexadecimal, or in the BCD of ISUP."""
    text, flat = _flat(wire)
    if digits in flat:
        return True
    padded = digits if len(digits) % 2 == 0 else f"{digits}f"
    swapped = "".join(padded[index + 1] + padded[index] for index in range(0, len(padded), 2))
    return digits.encode().hex() in text or swapped in text or bytes.fromhex(swapped) in wire
