"""A binding: until it expires, for one order, two parties reach each other through a middle number.

What it is, which keys it occupies, and what is asked for when one is made; `routing.admission` decides about that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from routing.terms import DAY_MS as DAY_MS
from routing.terms import LONGEST_DAYS as LONGEST_DAYS
from routing.terms import Direction as Direction
from routing.terms import check_reference as check_reference


class Mode(StrEnum):
    """How a binding joins its parties.

    AXB: A and B both dial X and reach each other. AXYB: A dials X, B dials Y; B sees Y and A sees X. GXB: as AXB, but
    every member of a group may be A. GXYB: as AXYB with a group.
    """

    AXB = "AXB"
    AXYB = "AXYB"
    GXB = "GXB"
    GXYB = "GXYB"


# Modes in which B's number is another than A's, and modes in which a group takes the part of A.
TWO_ALIASES: Final = frozenset({Mode.AXYB, Mode.GXYB})
OF_GROUPS: Final = frozenset({Mode.GXB, Mode.GXYB})


class BindingState(StrEnum):
    """Why a binding admits calls at an instant, or does not."""

    WAITING = "waiting"
    LIVE = "live"
    EXPIRED = "expired"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding as stored. `a` and `b` are E.164, `x` is 15 digits, `y` is '' where the mode has one alias.

    Where a `group` (its id) takes the part of A, `a` is the member who calls or is called: for a lookup the member who
    dials, else the default one.

    Times are UTC milliseconds; it is live from `starts_ms` on, before `expires_ms`, and while `ended_ms` is 0 (not
    ended). `ring_seconds` and `longest_seconds`: 0 is the switch's default. `most_calls` is how many calls it admits
    in its life; 0 is any number.
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
    group: str = ""
    most_calls: int = 0

    def live(self, now_ms: int) -> bool:
        """Say whether the binding admits calls at this instant."""
        return self.ended_ms == 0 and self.starts_ms <= now_ms < self.expires_ms

    def held(self, now_ms: int) -> bool:
        """Say whether it occupies its keys at this instant: live, or yet to start."""
        return self.ended_ms == 0 and now_ms < self.expires_ms

    def state(self, now_ms: int) -> BindingState:
        """Return in one word why it admits calls at this instant or does not."""
        if self.ended_ms:
            return BindingState.ENDED
        if now_ms < self.starts_ms:
            return BindingState.WAITING
        return BindingState.LIVE if now_ms < self.expires_ms else BindingState.EXPIRED


@dataclass(frozen=True, slots=True)
class BindingDetail:
    """A binding with what only provisioning needs of it.

    `real_name` and `consent` are the references of its request (R16). `ended_reason` is given when it was ended early.
    `revision` counts its changes from 1 on.
    """

    binding: Binding
    real_name: str
    consent: str
    client_token: str
    created_ms: int
    ended_reason: str
    revision: int

    @property
    def id(self) -> str:
        """The id of the binding."""
        return self.binding.id


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """What a provider asks for. Numbers may come in any spelling that `routing.numbers` reads.

    `x` '' (and `y` '' in a mode of two aliases) leaves the choice of the number to the store: a free one of the
    business user's own. `starts_ms` 0 is now; `provider` '' is the one of the business user. `real_name` and `consent`
    are references to the proofs kept by the provider (R16), not the proofs. In a mode of groups `group` is an id and
    `a` the member whom B reaches until another member has called. The same `client_token` of a provider means the
    same binding, however often it is asked for; '' is a new one each time.
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
    y: str = ""
    group: str = ""
    most_calls: int = 0
    client_token: str = ""


def keys(binding: Binding, members: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """Return the (number dialled, caller) pairs a binding occupies; `members` are those of its group.

    A barred direction occupies its key too: its caller is then told of the direction, not of a missing binding.
    """
    own = (binding.y or binding.x, binding.b)
    if binding.group:
        return (*((binding.x, member) for member in members), own)
    return (binding.x, binding.a), own


def key_text(dialled: str, caller: str) -> str:
    """Return the text whose keyed hash stands for a key."""
    return f"{dialled}|{caller}"
