"""The registry: which application platforms serve which business users, under which contracts, for what (R6, R17).

Pure values, their states and what is wrong with them. The states of all four are the same: one may be suspended and
resumed, and terminated for good. Neither touches a live binding (R7).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from routing.caps import (
    NO_CAP_SET,
    NO_CAPS,
    Caps,
    CapSet,
    format_cap_set,
    format_caps,
    parse_cap_set,
    parse_caps,
)
from routing.errors import BindingError
from routing.terms import DAY_MS, LONGEST_DAYS, Direction, check_reference, check_seconds
from routing.windows import Window, format_window, parse_windows

__all__ = [
    "MOVES",
    "BusinessUser",
    "Contract",
    "Provider",
    "Resource",
    "Scenario",
    "State",
    "check",
    "check_identifier",
    "check_terms",
    "scenario_key",
]

LONGEST_IDENTIFIER: Final = 64

_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9._-]*")

# GB 32100-2015: 17 characters and a check character; weights are powers of 3 modulo 31.
_CREDIT_CODE = re.compile(r"[0-9A-HJ-NP-RT-UW-Y]{2}[0-9]{6}[0-9A-HJ-NP-RT-UW-Y]{10}")
_CREDIT_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"


class State(StrEnum):
    """State of something registered."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


# Where each state may go. Terminated is the end: the same company comes back under another id.
MOVES: Final[dict[State, frozenset[State]]] = {
    State.ACTIVE: frozenset({State.SUSPENDED, State.TERMINATED}),
    State.SUSPENDED: frozenset({State.ACTIVE, State.TERMINATED}),
    State.TERMINATED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Provider:
    """An application platform. `licence` is the number of its licence, '' while unknown.

    Here and below: `reason` is why it is in its `state`, `since_ms` (UTC) since when; `revision` counts its changes
    from 1 on, 0 is not stored yet.
    """

    id: str
    name: str
    licence: str = ""
    state: State = State.ACTIVE
    reason: str = ""
    since_ms: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class BusinessUser:
    """An enterprise whose orders need the calls; it has one provider, for good (R5).

    `credit_code` is its unified social credit code, '' while unknown. `caps` bound all its attempts together (R14).
    """

    id: str
    provider: str
    name: str
    credit_code: str = ""
    caps: Caps = NO_CAPS
    state: State = State.ACTIVE
    reason: str = ""
    since_ms: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Contract:
    """What a provider and a business user have agreed: from `starts_ms` on and before `ends_ms` (UTC; 0: open)."""

    id: str
    provider: str
    business_user: str
    reference: str
    starts_ms: int = 0
    ends_ms: int = 0
    state: State = State.ACTIVE
    reason: str = ""
    since_ms: int = 0
    revision: int = 0

    def covers(self, now_ms: int) -> bool:
        """Say whether bindings may be made under it at this instant."""
        return self.state is State.ACTIVE and self.starts_ms <= now_ms and (self.ends_ms == 0 or now_ms < self.ends_ms)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One use that a business user has registered, and its limits (R17).

    Bindings last at most `longest_days` and go no further than `direction`; calls and messages pass within `windows`
    only (none: always), messages if `messages`, calls after the verification hook agreed if `verify`. `ring_seconds`
    and `longest_seconds` bound each call (0: as the switch is set), `caps` the attempts (R14).
    """

    business_user: str
    name: str
    title: str = ""
    longest_days: int = LONGEST_DAYS
    direction: Direction = Direction.BOTH
    windows: tuple[Window, ...] = ()
    messages: bool = True
    verify: bool = False
    ring_seconds: int = 0
    longest_seconds: int = 0
    caps: CapSet = NO_CAP_SET
    state: State = State.ACTIVE
    reason: str = ""
    since_ms: int = 0
    revision: int = 0

    @property
    def id(self) -> str:
        """`business_user/name`."""
        return f"{self.business_user}/{self.name}"


Resource = Provider | BusinessUser | Contract | Scenario


def scenario_key(identifier: str) -> tuple[str, str]:
    """Return the business user and the name in a scenario's id."""
    business_user, _, name = identifier.partition("/")
    return business_user, name


def check_identifier(field: str, text: str) -> None:
    """Refuse what is no id: BindingError of rule "form"."""
    if len(text) > LONGEST_IDENTIFIER or not _IDENTIFIER.fullmatch(text):
        raise BindingError(
            field,
            "form",
            f"must be 1 to {LONGEST_IDENTIFIER} of a-z, 0-9, dot, hyphen and underscore, the first a letter or digit",
        )


def check(value: Resource) -> None:
    """Refuse a value that cannot be registered: BindingError names the field and the rule.

    That what it refers to is registered is the store's to check.
    """
    if isinstance(value, Provider):
        check_identifier("id", value.id)
        _text(("name", value.name, "R6", True), ("licence", value.licence, "R6", False))
    elif isinstance(value, BusinessUser):
        check_identifier("id", value.id)
        check_identifier("provider", value.provider)
        _text(("name", value.name, "R6", True))
        if value.credit_code and not _is_credit_code(value.credit_code):
            raise BindingError("credit_code", "R6", "is not a unified social credit code of 18 characters")
        parse_caps(format_caps(value.caps))
    elif isinstance(value, Contract):
        check_identifier("id", value.id)
        check_identifier("provider", value.provider)
        check_identifier("business_user", value.business_user)
        _text(("reference", value.reference, "R6", True))
        if value.starts_ms < 0:
            raise BindingError("starts_ms", "form", "is before 1970")
        if value.ends_ms != 0 and value.ends_ms <= value.starts_ms:
            raise BindingError("ends_ms", "form", "must be after the start, or 0 for an open end")
    else:
        _scenario(value)


def check_terms(
    scenario: Scenario,
    direction: Direction,
    starts_ms: int,
    expires_ms: int,
    ring_seconds: int,
    longest_seconds: int,
) -> None:
    """Refuse terms of a binding that its scenario does not allow (R17): BindingError names the field.

    Times are UTC milliseconds: the whole life of the binding, from its first start to its expiry, counts.
    """
    if expires_ms - starts_ms > scenario.longest_days * DAY_MS:
        raise BindingError("expires_ms", "R17", f"this scenario allows at most {scenario.longest_days} days")
    if scenario.direction not in (Direction.BOTH, direction):
        raise BindingError("direction", "R17", f"this scenario allows {scenario.direction} only")
    for field, asked, most in (
        ("ring_seconds", ring_seconds, scenario.ring_seconds),
        ("longest_seconds", longest_seconds, scenario.longest_seconds),
    ):
        if most and asked > most:
            raise BindingError(field, "R17", f"this scenario allows at most {most}")


def _scenario(value: Scenario) -> None:
    check_identifier("business_user", value.business_user)
    check_identifier("name", value.name)
    _text(("title", value.title, "R17", False))
    if not 1 <= value.longest_days <= LONGEST_DAYS:
        raise BindingError("longest_days", "R17", f"must be from 1 to {LONGEST_DAYS}")
    parse_windows(map(format_window, value.windows))
    parse_cap_set(format_cap_set(value.caps))
    check_seconds(value.ring_seconds, value.longest_seconds)


def _text(*rows: tuple[str, str, str, bool]) -> None:
    for field, text, rule, required in rows:
        if required and not text.strip():
            raise BindingError(field, rule, "must be given")
        check_reference(field, text)


def _is_credit_code(text: str) -> bool:
    if not _CREDIT_CODE.fullmatch(text):
        return False
    total, weight = 0, 1
    for character in text[:17]:
        total += _CREDIT_ALPHABET.index(character) * weight
        weight = weight * 3 % 31
    return _CREDIT_ALPHABET[-total % 31] == text[17]
