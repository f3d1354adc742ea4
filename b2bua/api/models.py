"""What bodies are made of."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from routing.bulk import FileFormat
from routing.terms import LONGEST_CALL_SECONDS, LONGEST_REFERENCE, LONGEST_RING_SECONDS, Direction

__all__ = [
    "MEDIA",
    "Body",
    "CallSeconds",
    "Identifier",
    "Instant",
    "Number",
    "Reason",
    "RingSeconds",
    "Shown",
    "Text",
    "Way",
    "WithReason",
]

MEDIA: Final = {FileFormat.CSV: "text/csv", FileFormat.JSONL: "application/x-ndjson"}
"""Media types of files of bindings."""

# the end of the year 9999: what any calendar can write
LAST_INSTANT = 253_402_300_799_999


class Body(BaseModel):
    """What is sent to us: unknown fields are refused, and no value is bent into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Shown(BaseModel):
    """What we send."""

    model_config = ConfigDict(from_attributes=True)


Instant = Annotated[int, Field(ge=0, le=LAST_INSTANT, description="UTC milliseconds; 0 is none.")]
Text = Annotated[str, Field(max_length=LONGEST_REFERENCE)]
Number = Annotated[str, Field(max_length=64)]
# strict models take an enumeration in no other form than itself, which JSON has not
Way = Annotated[Direction, Field(strict=False)]
RingSeconds = Annotated[
    int, Field(ge=0, le=LONGEST_RING_SECONDS, description="Longest ringing; 0: as the switch has it.")
]
CallSeconds = Annotated[int, Field(ge=0, le=LONGEST_CALL_SECONDS, description="Longest call; 0: as the switch has it.")]
Identifier = Annotated[str, Field(min_length=1, max_length=64)]
Reason = Annotated[str, Field(min_length=1, max_length=LONGEST_REFERENCE, description="Why; it goes into the audit.")]


class WithReason(Body):
    """A change that says why."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "contract ended"}})

    reason: Reason
