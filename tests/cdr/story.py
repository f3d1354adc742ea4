"""What the tests tell: attempts with every field set, seals that anyone can repeat, a disk that can be made small."""

import itertools
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cdr.journal import encode_event, frame
from cdr.record import Answered, Attempted, Boot, Ended, Event
from cdr.seal import Key, Keyring, Seal
from cdr.store.segments import Writer

NOVEMBER = 1_795_000_000_000  # 2026-11-18T11:06:40Z
CALLER = "+8613800138000"
CALLEE = "+8613900139000"
CALL_ID = "3848276298220188511@192.0.2.77"
MIDDLE = "700123456789012"


def new_seal(seed: int = 1) -> Seal:
    """A seal that is the same for the same seed, but for its nonces."""
    return Seal(Keyring((Key(seed, bytes([seed]) * 32),)))


def boot(instance: str = "first", at_ms: int = NOVEMBER) -> Boot:
    return Boot("node1", instance, at_ms)


def attempted(record_id: str = "r-1", **changes: object) -> Attempted:
    base = Attempted(
        record_id=record_id,
        node="node1",
        sequence=17,
        kind="call",
        arrived_ms=NOVEMBER,
        caller=CALLER,
        callee=CALLEE,
        calling="a",
        x=MIDDLE,
        y="",
        provider="provider-1",
        business_user="business-7",
        scenario="delivery",
        binding_id="b-0123456789abcdef",
        order_id="order-20261118-00012345",
        industrial_id="700.100.1/12345678",
        mode="AXB",
        ingress="carrier-a",
        ingress_call_id=CALL_ID,
    )
    return msgspec.structs.replace(base, **changes)


def answered(record_id: str = "r-1", **changes: object) -> Answered:
    base = Answered(record_id, NOVEMBER + 5000, NOVEMBER + 2000, "carrier-b", "9f8e7d6c5b4a3928@switch", 5000)
    return msgspec.structs.replace(base, **changes)


def ended(record_id: str = "r-1", **changes: object) -> Ended:
    base = Ended(
        record_id=record_id,
        ended_ms=NOVEMBER + 42_000,
        ringing_ms=NOVEMBER + 2000,
        egress="carrier-b",
        egress_call_id="9f8e7d6c5b4a3928@switch",
        routes=("carrier-c:503", "carrier-b:200"),
        status=200,
        q850=16,
        outcome="answered",
        ended_by="caller",
        reason="",
        verification="",
        media="PCMA/8000",
        total_ms=42_000,
        talk_ms=37_000,
    )
    return msgspec.structs.replace(base, **changes)


def line(event: Event, seal: Seal) -> bytes:
    return frame(encode_event(event, seal))


def kill(writer: Writer) -> None:
    """Leave everything as a killed process would: nothing synced, cut or removed, the locks gone."""
    for descriptor in (writer._directory_lock, writer._segment, writer._spare, *(old for old, _ in writer._retired)):
        if descriptor >= 0:
            os.close(descriptor)


def segment_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("journal-*.log"))


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ticking(step: float = 100.0) -> Iterator[float]:
    """A clock on which every reading is later than any wait."""
    return itertools.count(0.0, step).__iter__()
