"""The gate of bindings: turns a request into a binding, or says which field breaks which rule.

It answers for everything but the registry's part (R6, R7, R17) and the uniqueness of keys, which are the store's.
"""

from collections.abc import Callable
from typing import Final

from routing.binding import OF_GROUPS, TWO_ALIASES, Binding, BindingRequest
from routing.errors import BindingError
from routing.groups import Group, party
from routing.numbers import parse_middle, parse_subscriber
from routing.plan import BINDABLE, Block
from routing.terms import DAY_MS, LONGEST_DAYS, check_reference, check_seconds

__all__ = [
    "MOST_CALLS",
    "admit",
    "check_calls",
    "check_duration",
    "check_references",
    "fingerprint_text",
    "holder",
    "numbers_asked",
    "parties_of",
]

# More calls than this on one binding are no limit any more.
MOST_CALLS: Final = 1_000_000


def numbers_asked(request: BindingRequest) -> tuple[str, str]:
    """Return the X and Y a request names, 15 digits each, '' for one that it leaves open or does not have (R3)."""
    x = _middle("x", request.x) if request.x else ""
    if request.mode not in TWO_ALIASES:
        if request.y:
            raise BindingError("y", "form", f"mode {request.mode} has no second middle number")
        return x, ""
    y = _middle("y", request.y) if request.y else ""
    if y and y == x:
        raise BindingError("y", "form", "must be another number than x")
    return x, y


def parties_of(request: BindingRequest, group: Group | None) -> tuple[str, str]:
    """Return A and B of a request as E.164. BindingError when they cannot be the parties (R3, R13)."""
    a, b = party("a", request.a), party("b", request.b)
    if a == b:
        raise BindingError("b", "key", "the two parties are the same number")
    if request.mode not in OF_GROUPS:
        if request.group:
            raise BindingError("group", "form", f"mode {request.mode} has no group")
        return a, b
    if not request.group:
        raise BindingError("group", "form", f"mode {request.mode} needs a group")
    if group is None:
        raise BindingError("group", "form", "no such group")
    if group.business_user != request.business_user:
        raise BindingError("group", "R5", "the group belongs to another business user")
    if a not in group.members:
        raise BindingError("a", "member", "is no member of the group")
    if b in group.members:
        raise BindingError("b", "key", "is a member of the group")
    return a, b


def admit(
    request: BindingRequest,
    blocks: Callable[[str], Block | None],
    identifier: str,
    now_ms: int,
    longest_days: int = LONGEST_DAYS,
    group: Group | None = None,
) -> Binding:
    """Return the binding that a request describes, or raise BindingError for the first rule it breaks.

    `request` names its numbers. `blocks(x)` is the block a middle number lies in; `group` is the one of the request.
    """
    x, y = numbers_asked(request)
    provider = holder("x", request, blocks(x))
    if y and holder("y", request, blocks(y)) != provider:
        raise BindingError("y", "R6", "lies in a block of another provider than x")
    a, b = parties_of(request, group)
    check_references(request)
    starts_ms = request.starts_ms or now_ms
    _times(request, starts_ms, now_ms, longest_days)
    return Binding(
        id=identifier,
        mode=request.mode,
        x=x,
        y=y,
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
        group=request.group,
        most_calls=request.most_calls,
    )


def holder(field: str, request: BindingRequest, block: Block | None) -> str:
    """Return the provider of the block that a number lies in; BindingError unless the request may use it (R3, R5)."""
    if block is None:
        raise BindingError(field, "R3", "the number lies in no assigned block")
    if block.state not in BINDABLE:
        raise BindingError(field, "R18", f"block {block.prefix} is {block.state}")
    if block.business_user != request.business_user:
        raise BindingError("business_user", "R5", f"block {block.prefix} belongs to another business user")
    if request.provider not in ("", block.provider):
        raise BindingError("provider", "R6", f"block {block.prefix} belongs to another provider")
    return block.provider


def check_references(request: BindingRequest) -> None:
    """Refuse a request without the references it needs (R5, R6, R16, R17), or with text that is no reference."""
    for field, rule, text in (
        ("business_user", "R6", request.business_user),
        ("scenario", "R17", request.scenario),
        ("order_id", "R5", request.order_id),
        ("real_name", "R16", request.real_name),
        ("consent", "R16", request.consent),
        ("industrial_id", "", request.industrial_id),
        ("provider", "", request.provider),
        ("group", "", request.group),
        ("client_token", "", request.client_token),
    ):
        if rule and not text.strip():
            raise BindingError(field, rule, "must be given")
        check_reference(field, text)


def check_duration(starts_ms: int, expires_ms: int, now_ms: int, longest_days: int) -> None:
    """Refuse a life that is over, empty or too long (R17)."""
    if expires_ms <= max(starts_ms, now_ms):
        raise BindingError("expires_ms", "form", "must be after the start and in the future")
    if expires_ms - min(starts_ms, now_ms) > longest_days * DAY_MS:
        raise BindingError("expires_ms", "R17", f"a binding lasts at most {longest_days} days")


def check_calls(most_calls: int) -> None:
    """Refuse a number of calls that is no limit."""
    if not 0 <= most_calls <= MOST_CALLS:
        raise BindingError("most_calls", "form", f"must be from 0 (any number) to {MOST_CALLS}")


def fingerprint_text(request: BindingRequest) -> str:
    """Return a text that is equal for two requests when they ask for the same; it holds real numbers."""
    return repr(
        (
            request.mode.value,
            parse_middle(request.x) or request.x,
            parse_middle(request.y) or request.y,
            parse_subscriber(request.a) or request.a,
            parse_subscriber(request.b) or request.b,
            request.group,
            request.direction.value,
            request.business_user,
            request.scenario,
            request.order_id,
            request.industrial_id,
            request.real_name,
            request.consent,
            request.starts_ms,
            request.expires_ms,
            request.ring_seconds,
            request.longest_seconds,
            request.most_calls,
        )
    )


def _middle(field: str, text: str) -> str:
    number = parse_middle(text)
    if number is None:
        raise BindingError(field, "R3", "a middle number is 700 and 12 digits")
    return number


def _times(request: BindingRequest, starts_ms: int, now_ms: int, longest_days: int) -> None:
    if request.starts_ms < 0:
        raise BindingError("starts_ms", "form", "is before 1970")
    check_duration(starts_ms, request.expires_ms, now_ms, longest_days)
    check_seconds(request.ring_seconds, request.longest_seconds)
    check_calls(request.most_calls)
