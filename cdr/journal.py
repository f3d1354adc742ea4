r"""The journal's lines: one event each, sealed where it is personal, with a checksum in front.

    9f3c01aa ["attempted","…",…]\n

A line is eight hexadecimal digits of CRC-32, a space, a JSON array, a line feed. JSON holds no raw line feed, so a line
feed always ends a line, and a reader that meets damage finds its feet again at the next one.

What the format survives: a file cut at any byte loses at most its last line; NULs after the end (space allocated ahead)
are no data; a line whose bits changed is recognised, and costs itself only.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple
from zlib import crc32

import msgspec

from cdr.record import NUMBER_HASH_BYTES, Attempted, Ended, Entry, Event, Parties, SealedAttempted, format_parties
from cdr.seal import Seal

_CHECKSUM_BYTES = 8
_HEAD_BYTES = _CHECKSUM_BYTES + 1
# Where a line may start inside a damaged one: its line feed was what changed.
_LINE_START = re.compile(rb"[0-9a-f]{8} \[")


class EntryError(ValueError):
    """A payload whose checksum is right but which is no event that this version knows."""


class PositionError(ValueError):
    """A text that is not "segment:offset"."""


class Position(NamedTuple):
    """A place in the journal: byte `offset` of segment number `segment`. (0, 0) is before everything."""

    segment: int = 0
    offset: int = 0


def parse_position(text: str) -> Position:
    """Read "segment:offset". Raises PositionError."""
    segment, colon, offset = text.partition(":")
    if not (colon and text.isascii() and segment.isdigit() and offset.isdigit()):
        raise PositionError('a position is "segment:offset"')
    return Position(int(segment), int(offset))


def format_position(position: Position) -> str:
    """The text of a position; the pair of `parse_position`."""
    return f"{position.segment}:{position.offset}"


class Verdict(StrEnum):
    """Why a scan went no further."""

    END = "end"  # every byte was read
    PARTIAL = "partial"  # what follows has no line feed: torn, or still being written
    PADDING = "padding"  # only NULs follow
    DAMAGED = "damaged"  # a line follows that is not what was written; `salvage` steps over it


class Scan(NamedTuple):
    """The good lines at the start of some bytes: their payloads, how many bytes they take, why it went no further."""

    payloads: list[bytes]
    consumed: int
    verdict: Verdict


class Salvage(NamedTuple):
    """A damaged line: what could still be read from it, how many bytes to step over, whether anything was lost."""

    payloads: list[bytes]
    consumed: int
    lost: bool


_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Entry] = msgspec.json.Decoder(Entry).decode


def encode_event(event: Event, seal: Seal) -> bytes:
    """The payload of one event, nothing personal in clear. Text that is no Unicode is escaped, never refused."""
    entry = seal_attempt(event, seal) if isinstance(event, Attempted) else event
    try:
        return _encode(entry)
    except UnicodeEncodeError:
        return _encode(_escape_surrogates(entry))


def decode_event(payload: bytes) -> Entry:
    """The event of a payload, its personal parts still sealed. Raises EntryError."""
    try:
        return _decode(payload)
    except msgspec.DecodeError as error:
        raise EntryError(str(error)) from error


def seal_attempt(attempt: Attempted, seal: Seal) -> SealedAttempted:
    """What may be written of an attempt.

    Parties A and B are told apart by who called; a caller without a binding counts as A. A dialled number that is no
    middle number goes into the sealed part, since people dial real numbers by mistake.
    """
    a, b = (attempt.callee, attempt.caller) if attempt.calling == "b" else (attempt.caller, attempt.callee)
    x, dialled = attempt.x, ""
    if not (len(x) == 15 and x.startswith("700") and x.isdigit() and x.isascii()):
        x, dialled = "", x
    parties = format_parties(Parties(a, b, dialled, attempt.ingress_call_id))
    return SealedAttempted(
        attempt.record_id,
        attempt.node,
        attempt.sequence,
        attempt.kind,
        attempt.arrived_ms,
        attempt.calling,
        x,
        attempt.y,
        attempt.provider,
        attempt.business_user,
        attempt.scenario,
        attempt.binding_id,
        attempt.order_id,
        attempt.industrial_id,
        attempt.mode,
        attempt.ingress,
        seal.hash(a)[:NUMBER_HASH_BYTES] if a else b"",
        seal.hash(b)[:NUMBER_HASH_BYTES] if b else b"",
        seal.seal(parties, attempt.record_id),
    )


def _escape_surrogates(entry: Entry) -> Entry:
    """The entry with every text made Unicode: peers send any bytes, and a record must not fail for that."""
    texts = {name: _escape(value) for name in entry.__struct_fields__ if isinstance(value := getattr(entry, name), str)}
    if isinstance(entry, Ended):
        return msgspec.structs.replace(entry, **texts, routes=tuple(map(_escape, entry.routes)))
    return msgspec.structs.replace(entry, **texts)


def _escape(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def frame(payload: bytes) -> bytes:
    """The line that carries a payload. The payload is `encode_event`'s: JSON, so without a line feed."""
    return b"%08x %b\n" % (crc32(payload), payload)


def _payload_of(line: bytes) -> bytes | None:
    """The payload of a line without its line feed, or None when the line is not what was written."""
    payload = line[_HEAD_BYTES:]
    return payload if line[:_HEAD_BYTES] == b"%08x " % crc32(payload) else None


def scan(data: bytes, start: int = 0) -> Scan:
    """Read lines from `data[start:]` up to the first trouble, which the verdict names."""
    payloads: list[bytes] = []
    at = start
    while (end := data.find(b"\n", at)) >= 0:
        payload = _payload_of(data[at:end])
        if payload is None:
            return Scan(payloads, at - start, Verdict.DAMAGED)
        payloads.append(payload)
        at = end + 1
    if at == len(data):
        return Scan(payloads, at - start, Verdict.END)
    # Compared, not stripped: a reader that waits looks at a window of NULs several times a second.
    padding = data[at:] == bytes(len(data) - at)
    return Scan(payloads, at - start, Verdict.PADDING if padding else Verdict.PARTIAL)


def salvage(data: bytes, start: int = 0) -> Salvage:
    """Step over the damaged line at `data[start:]`, which ends at its first line feed.

    A line feed that was damaged itself makes one bad line of two good ones, and a hole of NULs may end where a good
    line starts: whatever in there still carries its own right checksum is kept.
    """
    end = data.index(b"\n", start)
    line = data[start:end]
    starts = [0, *(match.start() for match in _LINE_START.finditer(line, 1))]
    payloads: list[bytes] = []
    for begin, following in zip(starts, [*starts[1:], len(line) + 1], strict=True):
        # Between two joined lines stands the byte that was a line feed.
        payload = _payload_of(line[begin : following - 1])
        if payload is not None:
            payloads.append(payload)
    return Salvage(payloads, len(line) + 1, len(payloads) < len(starts))
