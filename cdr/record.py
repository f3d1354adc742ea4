"""What happens to a call, as events, and the one record that is made of them (rules R9 and R11).

A switch tells its story in four events: `Boot` once per process, then for every attempt `Attempted`, perhaps
`Answered`, and `Ended`. The journal keeps them, the recorder folds them into one `Record` per attempt.

Instants are UTC milliseconds, 0 when the thing did not happen. Durations are milliseconds of the monotonic clock, so a
step of the wall clock never shows in a bill.

Real numbers stand in clear in `Attempted` only, and that object stays in memory: what goes to disk is
`SealedAttempted`, which cdr.journal makes of it.
"""

from typing import Annotated, NamedTuple, Protocol

import msgspec

# Of the keyed hash of a number, so much is kept to search by: wrong once in some 10^9 questions over 10^10 records.
NUMBER_HASH_BYTES = 8

# What SQLite can store; a longer number in the journal is damage.
Integer = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Boot(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="boot"):
    """A switch process has started: attempts left open by the process before it have been cut off.

    `instance` is unique to the process: a boot that is said twice is known by it.
    """

    node: str
    instance: str
    at_ms: Integer


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="kept"):
    """Attempts that a process which starts takes up from the one before it: short messages that wait on disk. Its
    `Boot`, which follows with the same `instance`, does not cut them off. There may be several."""

    instance: str
    record_ids: tuple[str, ...]


class Attempted(msgspec.Struct, frozen=True, gc=False):
    """A call attempt was taken in. Holds real numbers, so it has no tag for the journal and hides them from `repr`.

    `calling` says which party of the binding dialled, "a" or "b", or "" when no binding was found; then `caller` is
    whatever the trunk claimed and `callee` is empty. `x` is the X of the binding, or without one the number dialled: a
    middle number in its 15-digit form, or what was received, which may be anything, a real subscriber's number too.

    `record_id` is unique for ever; ids that begin alike when made at about the same time keep the store's index quick.
    """

    record_id: str
    node: str
    sequence: Integer
    kind: str
    arrived_ms: Integer
    caller: str
    callee: str
    calling: str
    x: str
    y: str
    provider: str
    business_user: str
    scenario: str
    binding_id: str
    order_id: str
    industrial_id: str
    mode: str
    ingress: str
    ingress_call_id: str

    def __repr__(self) -> str:
        return f"Attempted(record_id={self.record_id!r}, sequence={self.sequence})"


class SealedAttempted(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="attempted"):
    """An `Attempted` as it stands on disk: the personal parts in one sealed blob, beside it keyed hashes to search by.

    Fields are only ever added at the end, with a default, so that an old journal still reads.
    """

    record_id: str
    node: str
    sequence: Integer
    kind: str
    arrived_ms: Integer
    calling: str
    x: str
    y: str
    provider: str
    business_user: str
    scenario: str
    binding_id: str
    order_id: str
    industrial_id: str
    mode: str
    ingress: str
    a_hash: bytes
    b_hash: bytes
    sealed: bytes


class Answered(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="answered"):
    """The callee answered. `setup_ms` is the time from arrival to answer. Of a short message: it was accepted."""

    record_id: str
    answered_ms: Integer
    ringing_ms: Integer
    egress: str
    egress_call_id: str
    setup_ms: Integer


class Ended(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="ended"):
    """The attempt is over, however it went.

    `routes` lists every route tried as "trunk:status" in order. `status` and `q850` are the final SIP status and the
    Q.850 cause (0 when there was none). `outcome` is our own word; `reason` the refusal reason or ""; `ended_by`
    "caller", "callee" or "switch". `total_ms` runs from arrival, `talk_ms` from the answer, to the end.
    """

    record_id: str
    ended_ms: Integer
    ringing_ms: Integer
    egress: str
    egress_call_id: str
    routes: tuple[str, ...]
    status: Integer
    q850: Integer
    outcome: str
    ended_by: str
    reason: str
    verification: str
    media: str
    total_ms: Integer
    talk_ms: Integer


Event = Boot | Kept | Attempted | Answered | Ended
"""What the switch says."""

Entry = Boot | Kept | SealedAttempted | Answered | Ended
"""What the journal holds."""


class Record(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One finished attempt: the row that is kept for at least 731 days (R10).

    `sealed` opens with `reveal`. `a_hash` and `b_hash` begin the keyed hashes of the two real numbers, empty when
    the number is not known. `partial` marks an attempt whose first event was lost: only what its later events said is
    known.
    """

    record_id: str
    node: str = ""
    sequence: int = 0
    kind: str = ""
    provider: str = ""
    business_user: str = ""
    scenario: str = ""
    binding_id: str = ""
    order_id: str = ""
    industrial_id: str = ""
    mode: str = ""
    x: str = ""
    y: str = ""
    calling: str = ""
    a_hash: bytes = b""
    b_hash: bytes = b""
    sealed: bytes = b""
    ingress: str = ""
    egress: str = ""
    egress_call_id: str = ""
    routes: tuple[str, ...] = ()
    arrived_ms: int
    ringing_ms: int = 0
    answered_ms: int = 0
    ended_ms: int = 0
    setup_ms: int = 0
    talk_ms: int = 0
    total_ms: int = 0
    status: int = 0
    q850: int = 0
    outcome: str = ""
    ended_by: str = ""
    reason: str = ""
    verification: str = ""
    media: str = ""
    partial: bool = False


class Parties(NamedTuple):
    """The personal parts of a record. `dialled` is set only when the number dialled was no middle number."""

    a: str
    b: str
    dialled: str
    ingress_call_id: str


class Opener(Protocol):
    """What can open a sealed blob: cdr.seal.Seal."""

    def open(self, blob: bytes, context: str = "") -> str: ...


# No SIP header value and no number holds a NUL, and the field that a peer words most freely comes last.
_SEPARATOR = "\x00"


def format_parties(parties: Parties) -> str:
    """The text that is sealed; the pair of `parse_parties`."""
    return _SEPARATOR.join(parties)


def parse_parties(text: str) -> Parties:
    """The parts of a sealed text. Raises ValueError when there are too few."""
    parts = text.split(_SEPARATOR, 3)
    if len(parts) != 4:
        raise ValueError("a sealed text holds four parts")
    return Parties(*parts)


def reveal(record: Record, seal: Opener) -> Parties:
    """Open the personal parts of a record; all empty when its head was lost.

    Raises cdr.seal.SealError when the key is missing, or the blob was changed or belongs to another record.
    """
    if not record.sealed:
        return Parties("", "", "", "")
    return parse_parties(seal.open(record.sealed, record.record_id))
