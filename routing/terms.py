"""The terms of a binding: what a request asks for and what its scenario may bound."""

from enum import StrEnum
from typing import Final

from routing.errors import BindingError

DAY_MS: Final = 86_400_000
LONGEST_DAYS: Final = 90

# References end up in records, tables and exports: long enough for any order number, short enough to bound a row.
LONGEST_REFERENCE: Final = 128

# RFC 3261 section 16.6 item 11: timer C ends ringing after three minutes in any proxy on the way.
LONGEST_RING_SECONDS: Final = 180
# The hard limit of a call, whatever a binding asks for.
LONGEST_CALL_SECONDS: Final = 43_200


class Direction(StrEnum):
    """Who may call whom on a binding."""

    BOTH = "both"
    A_TO_B = "a_to_b"
    B_TO_A = "b_to_a"


def check_reference(field: str, text: str) -> None:
    """Refuse text that would not fit or would break a table or an export: BindingError of rule "form"."""
    if len(text) > LONGEST_REFERENCE:
        raise BindingError(field, "form", f"is longer than {LONGEST_REFERENCE} characters")
    if not text.isprintable():
        raise BindingError(field, "form", "holds a control character")


def check_seconds(ring_seconds: int, longest_seconds: int) -> None:
    """Refuse limits of a call that no switch keeps: BindingError of rule "form". 0 leaves a limit to the switch."""
    if not 0 <= ring_seconds <= LONGEST_RING_SECONDS:
        raise BindingError("ring_seconds", "form", f"must be from 0 to {LONGEST_RING_SECONDS}")
    if not 0 <= longest_seconds <= LONGEST_CALL_SECONDS:
        raise BindingError("longest_seconds", "form", f"must be from 0 to {LONGEST_CALL_SECONDS}")
