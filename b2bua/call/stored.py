"""A short message as it is kept on disk, and what the switch asks of that disk. Values only; see Messages."""

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Kept", "Mark", "Stored", "StoredMessage", "Write"]


class Stored(StrEnum):
    """How far a message on disk is.

    WAITING: nobody is being told it. SENDING: it may have been sent, or be on its way. TAKEN: the callee's network has
    it, its phone has not confirmed it yet. DONE: the record has its end; only that it was here is remembered for a
    while. REFUSED: its sender was told that it is not taken, and nothing is remembered.
    """

    WAITING = "waiting"
    SENDING = "sending"
    TAKEN = "taken"
    DONE = "done"
    REFUSED = "refused"


class StoredMessage(NamedTuple):
    """All that a message needs to be delivered by another process. Real numbers and text stand in it in clear: it is
    sealed as a whole. Times are UTC milliseconds. ``key`` is how its sender's MESSAGE is known again, ``binding``
    what ShortMessage keeps of the binding. From ``kind`` on see Payload.
    """

    record_id: str
    handle: int
    key: str
    caller: str
    callee: str
    x: str
    shown: str
    ingress: str
    ingress_call_id: str
    max_forwards: int
    arrived_ms: int
    expires_ms: int
    binding: tuple[str, ...]
    facts: str
    kind: str
    text: str
    sent: str
    coding: int
    concat: tuple[int, int, int, bool] | None
    reference: int
    to_phone: bool

    def __repr__(self) -> str:
        return f"StoredMessage(record_id={self.record_id!r})"


class Kept(NamedTuple):
    """What a disk gives back at the start."""

    message: StoredMessage
    state: Stored
    tries: int
    due_ms: int


class Write(NamedTuple):
    """Put a message on disk. The switch has to be told once that is done."""

    message: StoredMessage
    due_ms: int


class Mark(NamedTuple):
    """A message on disk is further, or back at waiting. ``told``: the switch waits for it to be done."""

    record_id: str
    state: Stored
    tries: int
    due_ms: int
    told: bool
