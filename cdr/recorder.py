"""Folds events into records: one for each attempt, whatever was lost, cut off or said twice. Pure; see Assembler."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from cdr.record import Answered, Boot, Ended, Entry, Kept, Record, SealedAttempted

# What a writer says a second time after a disk error is at most some seconds old.
_REMEMBERED = 20_000
DEFAULT_LONGEST_OPEN_MS = 48 * 3600 * 1000
# A short message may wait for seven days, and its switch be away for one.
LONGEST_MESSAGE_OPEN_MS = 8 * 24 * 3600 * 1000


class OpenAttempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An attempt that has not ended. `attempted` is None when it was lost; `since_ms` is its first known instant.
    `kept_by` is the switch instance that has taken it up last."""

    record_id: str
    since_ms: int
    attempted: SealedAttempted | None = None
    answered: Answered | None = None
    kept_by: str = ""

    @property
    def message(self) -> bool:
        """Whether it is a short message, as far as is known."""
        return self.attempted is not None and self.attempted.kind == "message"


class AttemptError(ValueError):
    """A stored open attempt that cannot be read."""


class Changes(NamedTuple):
    """How the open attempts changed since the last time: save and drop these, and remember the switch's instance."""

    saved: list[OpenAttempt]
    dropped: list[str]
    instance: str


_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], OpenAttempt] = msgspec.json.Decoder(OpenAttempt).decode


def encode_attempt(attempt: OpenAttempt) -> bytes:
    """An open attempt as bytes for the recorder's state."""
    return _encode(attempt)


def decode_attempt(data: bytes) -> OpenAttempt:
    """The pair of `encode_attempt`. Raises AttemptError."""
    try:
        return _decode(data)
    except msgspec.DecodeError as error:
        raise AttemptError(str(error)) from error


class Assembler:
    """Turns events into records, one per record id.

    An attempt ends by its `Ended`; by the next `Boot`, as "interrupted", since its process is gone and the new one does
    not name it in a `Kept`; or, when it stays open longer than any call may last, or any message may wait, because its
    end must have been lost. An end whose beginning was lost still gives a record, marked partial. An event that comes
    twice changes nothing.
    """

    def __init__(
        self,
        attempts: Iterable[OpenAttempt] = (),
        instance: str = "",
        longest_open_ms: int = DEFAULT_LONGEST_OPEN_MS,
    ) -> None:
        """Begin with the open attempts and the instance that were saved with the position to go on from."""
        self.partial = 0
        self.interrupted = 0
        self.repeated = 0
        self._longest_open_ms = longest_open_ms
        self._instance = instance
        self._open = {attempt.record_id: attempt for attempt in sorted(attempts, key=lambda each: each.since_ms)}
        self._saved = set(self._open)
        self._touched: dict[str, None] = {}
        self._closed: dict[str, None] = {}

    def __len__(self) -> int:
        """How many attempts are open."""
        return len(self._open)

    def attempt(self, record_id: str) -> OpenAttempt | None:
        """What is known of an attempt that is open, None when none of that id is."""
        return self._open.get(record_id)

    def feed(self, entry: Entry) -> list[Record]:
        """Take one event, in the journal's order; the records that it completes."""
        if isinstance(entry, SealedAttempted):
            if entry.record_id in self._open or entry.record_id in self._closed:
                self.repeated += 1
            else:
                self._put(OpenAttempt(entry.record_id, entry.arrived_ms, entry))
            return []
        if isinstance(entry, Answered):
            self._answer(entry)
            return []
        if isinstance(entry, Ended):
            return self._end(entry)
        if isinstance(entry, Kept):
            for attempt in [self._open[each] for each in entry.record_ids if each in self._open]:
                self._put(msgspec.structs.replace(attempt, kept_by=entry.instance))
            return []
        return self._boot(entry)

    def expire(self, now_ms: int) -> list[Record]:
        """Give up attempts that have been open too long, with reason "end_missing"."""
        records = []
        for attempt in list(self._open.values()):
            if now_ms - attempt.since_ms <= self._longest_open_ms:
                break
            if attempt.message and now_ms - attempt.since_ms <= LONGEST_MESSAGE_OPEN_MS:
                continue
            records.append(self._interrupt(attempt, now_ms, "end_missing"))
        return records

    def changes(self) -> Changes:
        """What to save along with the position after the events fed so far."""
        saved = [self._open[record_id] for record_id in self._touched if record_id in self._open]
        dropped = [each for each in self._touched if each not in self._open and each in self._saved]
        self._saved.update(attempt.record_id for attempt in saved)
        self._saved.difference_update(dropped)
        self._touched.clear()
        return Changes(saved, dropped, self._instance)

    def _put(self, attempt: OpenAttempt) -> None:
        self._open[attempt.record_id] = attempt
        self._touched[attempt.record_id] = None

    def _answer(self, entry: Answered) -> None:
        if entry.record_id in self._closed:
            self.repeated += 1
            return
        attempt = self._open.get(entry.record_id)
        if attempt is None:
            attempt = OpenAttempt(entry.record_id, max(0, entry.answered_ms - entry.setup_ms))
        self._put(msgspec.structs.replace(attempt, answered=entry))

    def _end(self, entry: Ended) -> list[Record]:
        if entry.record_id in self._closed:
            self.repeated += 1
            return []
        attempt = self._open.get(entry.record_id)
        if attempt is None:
            attempt = OpenAttempt(entry.record_id, max(0, entry.ended_ms - entry.total_ms))
        return [self._close(attempt, entry)]

    def _boot(self, entry: Boot) -> list[Record]:
        if entry.instance == self._instance:
            self.repeated += 1
            return []
        self._instance = entry.instance
        cut = [attempt for attempt in self._open.values() if attempt.kept_by != entry.instance]
        return [self._interrupt(attempt, entry.at_ms, "") for attempt in cut]

    def _interrupt(self, attempt: OpenAttempt, now_ms: int, reason: str) -> Record:
        """Close an attempt whose end nobody saw: no clock ran on, so the durations stay 0."""
        self.interrupted += 1
        answered = None if attempt.message else attempt.answered
        ended = Ended(
            attempt.record_id,
            now_ms,
            answered.ringing_ms if answered else 0,
            answered.egress if answered else "",
            answered.egress_call_id if answered else "",
            (f"{answered.egress}:200",) if answered else (),
            200 if answered else 0,
            0,
            "interrupted",
            "switch",
            reason,
            "",
            "",
            0,
            0,
        )
        return self._close(attempt, ended)

    def _close(self, attempt: OpenAttempt, ended: Ended) -> Record:
        self._open.pop(attempt.record_id, None)
        self._touched[attempt.record_id] = None
        self._closed[attempt.record_id] = None
        if len(self._closed) > _REMEMBERED:
            del self._closed[next(iter(self._closed))]
        self.partial += attempt.attempted is None
        return join(attempt, ended)


def join(attempt: OpenAttempt, ended: Ended) -> Record:
    """The record of an attempt and its end. Pure in the strict sense: the same events give the same record."""
    head = attempt.attempted
    answered = attempt.answered
    record = Record(
        record_id=attempt.record_id,
        arrived_ms=attempt.since_ms,
        egress=ended.egress,
        egress_call_id=ended.egress_call_id,
        routes=ended.routes,
        ringing_ms=ended.ringing_ms,
        answered_ms=answered.answered_ms if answered else 0,
        ended_ms=ended.ended_ms,
        setup_ms=answered.setup_ms if answered else 0,
        talk_ms=ended.talk_ms,
        total_ms=ended.total_ms,
        status=ended.status,
        q850=ended.q850,
        outcome=ended.outcome,
        ended_by=ended.ended_by,
        reason=ended.reason,
        verification=ended.verification,
        media=ended.media,
        partial=head is None,
    )
    if head is None:
        return record
    return msgspec.structs.replace(
        record,
        node=head.node,
        sequence=head.sequence,
        kind=head.kind,
        provider=head.provider,
        business_user=head.business_user,
        scenario=head.scenario,
        binding_id=head.binding_id,
        order_id=head.order_id,
        industrial_id=head.industrial_id,
        mode=head.mode,
        x=head.x,
        y=head.y,
        calling=head.calling,
        a_hash=head.a_hash,
        b_hash=head.b_hash,
        sealed=head.sealed,
        ingress=head.ingress,
    )
