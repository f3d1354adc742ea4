"""Which events of a call or message are told to webhooks, and how one reads. Pure.

A `Notice` is what is kept until it is delivered: facts without a real number, and beside them the sealed parts of the
attempt as they stand on disk everywhere. Numbers come into the text only when it is sent, masked or not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from cdr.record import Answered, Entry, Opener, Parties, Record, SealedAttempted, parse_parties
from cdr.recorder import OpenAttempt

__all__ = ["EVENTS", "PHASES", "Notice", "body_of", "event_id", "notices_of"]

# An attempt has each phase at most once, in this order: what makes an event told once and in order.
PHASES: Final = ("attempted", "answered", "ended")
_ATTEMPTED: Final = 0
_ANSWERED: Final = 1
_ENDED: Final = 2

# Of a message's outcomes: the callee has it, the switch would not take it; every other is a failure.
_MESSAGE_ENDS: Final = {
    "delivered": "message.delivered",
    "refused": "message.refused",
    "dropped": "message.refused",
}

EVENTS: Final = (
    "call.attempted",
    "call.answered",
    "call.ended",
    "message.attempted",
    "message.accepted",
    "message.delivered",
    "message.refused",
    "message.failed",
)
"""Every event there is."""

_HEAD: Final = (
    "record_id", "kind", "provider", "business_user", "scenario", "binding_id", "order_id", "industrial_id", "mode",
    "x", "y", "calling", "arrived_ms",
)  # fmt: skip
_ANSWER: Final = ("ringing_ms", "answered_ms", "setup_ms")
_END: Final = (
    *_ANSWER, "ended_ms", "talk_ms", "total_ms", "outcome", "status", "q850", "reason", "ended_by", "verification",
)  # fmt: skip

Facts = Mapping[str, str | int]


class Notice(msgspec.Struct, frozen=True):
    """One event. `phase` is its index in PHASES; `facts` is a JSON object that names no real number."""

    event: str
    record_id: str
    phase: int
    at_ms: int
    provider: str
    facts: bytes
    sealed: bytes


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode: Callable[[bytes], dict[str, str | int]] = msgspec.json.Decoder(dict[str, str | int]).decode


def event_id(record_id: str, phase: int) -> str:
    """The id of an event: the same however often it is told, so that a receiver can leave out what it has."""
    return f"{record_id}-{PHASES[phase]}"


def notices_of(entry: Entry, attempt: OpenAttempt | None, records: Sequence[Record]) -> list[Notice]:
    """What is to be told of an entry of the journal, once the assembler has been fed with it.

    `attempt` is the open attempt that the entry belongs to, None when there is none; `records` are what it completed.
    An attempt of which nobody knows the provider is told to nobody. What the journal says twice may come twice here:
    the outbox knows it by attempt and phase.
    """
    found: list[Notice] = []
    if isinstance(entry, SealedAttempted):
        if entry.provider:
            event = "message.attempted" if entry.kind == "message" else "call.attempted"
            found.append(_notice(event, _ATTEMPTED, entry.arrived_ms, entry, _facts(entry, _HEAD)))
    elif isinstance(entry, Answered) and attempt is not None and attempt.attempted is not None:
        head = attempt.attempted
        if head.provider:
            event = "message.accepted" if head.kind == "message" else "call.answered"
            facts = _facts(head, _HEAD) | _facts(entry, _ANSWER)
            found.append(_notice(event, _ANSWERED, entry.answered_ms, head, facts))
    found += [_end_of(record) for record in records if record.provider]
    return found


def ends_of(records: Sequence[Record]) -> list[Notice]:
    """What is to be told of attempts that were given up without an entry of the journal."""
    return [_end_of(record) for record in records if record.provider]


def body_of(notice: Notice, parties: Parties, shown: Callable[[str], str]) -> bytes:
    """The JSON text that is sent. `shown` says how a real number is written: masked, or as it is.

    `a` and `b` are the parties of the binding; `x` is the number dialled, shown like theirs when it was no middle
    number.
    """
    facts = _decode(notice.facts)
    x = facts["x"] or shown(parties.dialled)
    data = facts | {"x": x, "a": shown(parties.a), "b": shown(parties.b)}
    whole = {
        "id": event_id(notice.record_id, notice.phase),
        "type": notice.event,
        "at_ms": notice.at_ms,
        "data": data,
    }
    return msgspec.json.encode(whole)


def parties_of(notice: Notice, seal: Opener) -> Parties:
    """The personal parts of an event. Raises cdr.seal.SealError as `cdr.record.reveal` does."""
    return parse_parties(seal.open(notice.sealed, notice.record_id))


def _end_of(record: Record) -> Notice:
    event = "call.ended"
    if record.kind == "message":
        event = _MESSAGE_ENDS.get(record.outcome, "message.failed")
    facts = _facts(record, _HEAD) | _facts(record, _END)
    return Notice(event, record.record_id, _ENDED, record.ended_ms, record.provider, _encode(facts), record.sealed)


def _notice(event: str, phase: int, at_ms: int, head: SealedAttempted, facts: Facts) -> Notice:
    return Notice(event, head.record_id, phase, at_ms, head.provider, _encode(facts), head.sealed)


def _facts(source: SealedAttempted | Answered | Record, names: Sequence[str]) -> dict[str, str | int]:
    return {name: getattr(source, name) for name in names}
