"""A binding: until it expires, for one order, two parties reach each other through a middle number.

`admit` is the gate: it turns a request into a binding or says which field breaks which rule.
"""

from dataclasses import dataclass
from enum import StrEnum

from routing.errors import BindingError
from routing.numbers import parse_middle, parse_subscriber
from routing.plan import BINDABLE, Block

LONGEST_DAYS = 90
DAY_MS = 86_400_000

# References end up in records, tables and exports: long enough for any order number, short enough to bound a row.
LONGEST_REFERENCE = 128

# RFC 3261 section 16.6 item 11: timer C ends ringing after three minutes in any proxy on the way.
LONGEST_RING_SECONDS = 180
# The hard limit of a call, whatever a binding asks for.
LONGEST_CALL_SECONDS = 43_200


class Mode(StrEnum):
    """How a binding joins its parties. AXB: A and B both dial X and reach each other."""

    AXB = "AXB"


class Direction(StrEnum):
    """Who may call whom on a binding."""

    BOTH = "both"
    A_TO_B = "a_to_b"
    B_TO_A = "b_to_a"


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding as stored. `a` and `b` are E.164, `x` is 15 digits, `y` is '' where the mode has one alias.

    Times are UTC milliseconds; it is live from `starts_ms` on, before `expires_ms`, and while `ended_ms` is 0 (not
    ended). `ring_seconds` and `longest_seconds`: 0 is the switch's default.
    """

    id: str
    mode: Mode
    x: str
    y: str
    a: str
    b: str
    direction: Direction
    provider: str
    business_user: str
    scenario: str
    order_id: str
    industrial_id: str
    starts_ms: int
    expires_ms: int
    ended_ms: int
    ring_seconds: int = 0
    longest_seconds: int = 0

    def live(self, now_ms: int) -> bool:
        """Say whether the binding admits calls at this instant."""
        return self.ended_ms == 0 and self.starts_ms <= now_ms < self.expires_ms


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """What a provider asks for. Numbers may come in any spelling that `routing.numbers` reads.

    `starts_ms` 0 is now; `provider` '' is the one that holds the block. `real_name` and `consent` are references to
    the proofs kept by the provider (R16), not the proofs.
    """

    x: str
    a: str
    b: str
    business_user: str
    scenario: str
    order_id: str
    real_name: str
    consent: str
    expires_ms: int
    starts_ms: int = 0
    provider: str = ""
    industrial_id: str = ""
    direction: Direction = Direction.BOTH
    mode: Mode = Mode.AXB
    ring_seconds: int = 0
    longest_seconds: int = 0


def requested_number(request: BindingRequest) -> str:
    """Return the middle number a request names; BindingError when it is none (R3)."""
    x = parse_middle(request.x)
    if x is None:
        raise BindingError("x", "R3", "a middle number is 700 and 12 digits")
    return x


def admit(
    request: BindingRequest, block: Block | None, identifier: str, now_ms: int, longest_days: int = LONGEST_DAYS
) -> Binding:
    """Return the binding that a request describes, or raise BindingError for the first rule it breaks.

    `block` is the block its number lies in. Uniqueness of its keys is the store's to check.
    """
    x = requested_number(request)
    provider = _holder(request, block)
    a, b = _parties(request)
    _references(request)
    starts_ms = request.starts_ms or now_ms
    _times(request, starts_ms, now_ms, longest_days)
    return Binding(
        id=identifier,
        mode=request.mode,
        x=x,
        y="",
        a=a,
        b=b,
        direction=request.direction,
        provider=provider,
        business_user=request.business_user,
        scenario=request.scenario,
        order_id=request.order_id,
        industrial_id=request.industrial_id,
        starts_ms=starts_ms,
        expires_ms=request.expires_ms,
        ended_ms=0,
        ring_seconds=request.ring_seconds,
        longest_seconds=request.longest_seconds,
    )


def keys(binding: Binding) -> tuple[tuple[str, str], ...]:
    """Return the (number dialled, caller) pairs a binding occupies.

    A barred direction occupies its key too: its caller is then told of the direction, not of a missing binding.
    """
    return (binding.x, binding.a), (binding.x, binding.b)


def _holder(request: BindingRequest, block: Block | None) -> str:
    if block is None:
        raise BindingError("x", "R3", "the number lies in no assigned block")
    if block.state not in BINDABLE:
        raise BindingError("x", "R18", f"block {block.prefix} is {block.state}")
    if block.business_user != request.business_user:
        raise BindingError("business_user", "R5", f"block {block.prefix} belongs to another business user")
    if request.provider not in ("", block.provider):
        raise BindingError("provider", "R6", f"block {block.prefix} belongs to another provider")
    return block.provider


def _parties(request: BindingRequest) -> tuple[str, str]:
    numbers = []
    for field, text in (("a", request.a), ("b", request.b)):
        number = parse_subscriber(text)
        if number is None:
            if parse_middle(text, accept_zero=True) is not None:
                raise BindingError(field, "R3", "a middle number cannot be a party")
            raise BindingError(field, "R13", "not a mobile or fixed-line number of China")
        numbers.append(number)
    a, b = numbers
    if a == b:
        raise BindingError("b", "key", "the two parties are the same number")
    return a, b


def _references(request: BindingRequest) -> None:
    for field, rule, required, text in (
        ("business_user", "R6", True, request.business_user),
        ("scenario", "R17", True, request.scenario),
        ("order_id", "R5", True, request.order_id),
        ("real_name", "R16", True, request.real_name),
        ("consent", "R16", True, request.consent),
        ("industrial_id", "R20", False, request.industrial_id),
    ):
        if required and not text.strip():
            raise BindingError(field, rule, "must be given")
        check_reference(field, text)


def check_reference(field: str, text: str) -> None:
    """Refuse text that would not fit or would break a table or an export: BindingError of rule "form"."""
    if len(text) > LONGEST_REFERENCE:
        raise BindingError(field, "form", f"is longer than {LONGEST_REFERENCE} characters")
    if not text.isprintable():
        raise BindingError(field, "form", "holds a control character")


def _times(request: BindingRequest, starts_ms: int, now_ms: int, longest_days: int) -> None:
    if request.starts_ms < 0:
        raise BindingError("starts_ms", "form", "is before 1970")
    if request.expires_ms <= max(starts_ms, now_ms):
        raise BindingError("expires_ms", "form", "must be after the start and in the future")
    if request.expires_ms - min(starts_ms, now_ms) > longest_days * DAY_MS:
        raise BindingError("expires_ms", "R17", f"a binding lasts at most {longest_days} days")
    if not 0 <= request.ring_seconds <= LONGEST_RING_SECONDS:
        raise BindingError("ring_seconds", "form", f"must be from 0 to {LONGEST_RING_SECONDS}")
    if not 0 <= request.longest_seconds <= LONGEST_CALL_SECONDS:
        raise BindingError("longest_seconds", "form", f"must be from 0 to {LONGEST_CALL_SECONDS}")
