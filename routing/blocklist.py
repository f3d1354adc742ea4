"""The block list: who or what may not call or be called at the moment, by whose order, why and how long (R12)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from routing.errors import BindingError
from routing.numbers import parse_middle, parse_subscriber
from routing.plan import parse_prefix
from routing.terms import check_reference

__all__ = [
    "FOR_EVER_MS",
    "PERSONAL",
    "BlockEntry",
    "BlockKind",
    "BlockRequest",
    "Blocked",
    "admit_block",
    "parse_range",
]

# What the snapshot of the switch has in place of "no expiry".
FOR_EVER_MS: Final = 1 << 62
LONGEST_REASON: Final = 500
# Ranges stand in clear, so one may not be long enough to be somebody's number: single ones go onto the block list.
LONGEST_RANGE: Final = 8


class BlockKind(StrEnum):
    """What an entry speaks of: a real number that calls, that is called, or that does either; a middle number, a block
    of them, a binding, a business user, a provider."""

    CALLER = "caller"
    CALLEE = "callee"
    NUMBER = "number"
    X = "x"
    BLOCK = "block"
    BINDING = "binding"
    BUSINESS_USER = "business_user"
    PROVIDER = "provider"


# The value is a real number: sealed at rest, found by its keyed hash.
PERSONAL: Final = frozenset({BlockKind.CALLER, BlockKind.CALLEE, BlockKind.NUMBER})


class BlockEntry(NamedTuple):
    """A live entry as the switch needs it: ``key`` is the keyed hash of a real number, else the value itself."""

    kind: BlockKind
    key: str | bytes
    expires_ms: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Blocked:
    """One entry as stored. ``value`` is E.164 for real numbers. ``expires_ms`` 0 is never, ``lifted_ms`` 0 not lifted.
    ``cut``: calls that were up when it was made were ended. ``business_user`` is whose business gave cause, '' when
    that is not known: it goes into that one's credit file (R19)."""

    id: int
    kind: BlockKind
    value: str
    reason: str
    by: str
    cut: bool
    business_user: str
    created_ms: int
    expires_ms: int
    lifted_ms: int = 0
    lifted_by: str = ""
    lifted_reason: str = ""

    def live(self, now_ms: int) -> bool:
        """Whether it blocks at this instant."""
        return not self.lifted_ms and (not self.expires_ms or now_ms < self.expires_ms)


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """What is to be blocked; a number in any spelling that `routing.numbers` reads. ``expires_ms`` 0 is never."""

    kind: BlockKind
    value: str
    reason: str
    expires_ms: int = 0
    cut: bool = False
    business_user: str = ""


def admit_block(request: BlockRequest, now_ms: int) -> str:
    """Return the value as it is kept; BindingError names the field at fault, never the number."""
    value: str | None = request.value.strip()
    if request.kind in PERSONAL:
        value = parse_subscriber(request.value)
        if value is None:
            raise BindingError("value", "R13", "not a mobile or fixed-line number of China")
    elif request.kind is BlockKind.X:
        value = parse_middle(request.value)
        if value is None:
            raise BindingError("value", "R3", "a middle number is 700 and 12 digits")
    elif request.kind is BlockKind.BLOCK:
        value = parse_prefix(request.value)
        if value is None:
            raise BindingError("value", "R3", "a block is 700 and 8 digits")
    elif not value:
        raise BindingError("value", "R12", "must be given")
    else:
        check_reference("value", value)
    check_why(request.reason)
    check_reference("business_user", request.business_user)
    if request.expires_ms and request.expires_ms <= now_ms:
        raise BindingError("expires_ms", "R12", "must be in the future, or 0 for no end")
    return value


def check_why(reason: str) -> None:
    """Refuse a reason that says nothing or does not fit."""
    if not reason.strip():
        raise BindingError("reason", "R12", "must be given")
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise BindingError("reason", "form", f"must be plain text of at most {LONGEST_REASON} characters")


def parse_range(text: str) -> str | None:
    """Return a caller range as national digits (`138`, `010`), or None when it cannot begin a number of China's."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_RANGE):
        return None
    return digits if digits[0] in "01" else None
