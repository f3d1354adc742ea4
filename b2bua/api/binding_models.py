"""Bindings in bodies and answers."""

from collections.abc import Callable
from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from b2bua.api.models import Body, CallSeconds, Identifier, Instant, Number, RingSeconds, Shown, Text, Way
from b2bua.api.problem import Fault, faults_of
from routing.admission import MOST_CALLS
from routing.binding import Binding, BindingDetail, BindingRequest, BindingState, Mode
from routing.errors import BindingError
from routing.store.bindings import MOST_AT_ONCE
from routing.terms import Direction

__all__ = [
    "BatchAnswer",
    "BatchItem",
    "BindingChange",
    "BindingDetailShown",
    "BindingEnd",
    "BindingExtension",
    "BindingShown",
    "NewBinding",
    "NewBindings",
    "PartyChange",
    "Wrong",
    "row_of",
    "shown_of",
    "told_of",
]

EXAMPLE: dict[str, JsonValue] = {
    "a": "13800138000",
    "b": "13900139000",
    "business_user": "shop-1",
    "scenario": "delivery",
    "order_id": "20261122-1",
    "real_name": "rn-1",
    "consent": "c-1",
    "expires_ms": 1795100000000,
}


class NewBinding(Body):
    """A binding to be made. Without `x` (and `y`, where the mode has one) a free number is drawn."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    a: Number = Field(description="Real number of party A; in a group's mode the member whom B reaches at first.")
    b: Number = Field(description="Real number of party B.")
    business_user: Identifier
    scenario: Identifier
    order_id: Text
    real_name: Text = Field(description="Reference of the proof that both are real-name users (R16).")
    consent: Text = Field(description="Reference of their consent (R16).")
    expires_ms: Instant
    x: Number = ""
    y: Number = ""
    starts_ms: Instant = 0
    provider: Text = ""
    industrial_id: Text = ""
    direction: Way = Direction.BOTH
    mode: Annotated[Mode, Field(strict=False)] = Mode.AXB
    ring_seconds: RingSeconds = 0
    longest_seconds: CallSeconds = 0
    group: Text = Field(default="", description="Id of the group that takes the part of A, in GXB and GXYB.")
    most_calls: Annotated[int, Field(ge=0, le=MOST_CALLS)] = Field(
        default=0, description="Calls it admits in its life; 0: any number."
    )
    client_token: Text = Field(default="", description="The same token means the same binding; '' is a new one.")

    def request(self, provider: str, token: str = "") -> BindingRequest:
        """What the store is asked for. `provider`, '' for any, and `token` stand where they are left out; BindingError
        where another provider is named."""
        if self.provider and provider not in ("", self.provider):
            raise BindingError("provider", "R6", "is another than yours")
        fields = dict(self.__dict__)
        fields["provider"] = self.provider or provider
        fields["client_token"] = self.client_token or token
        return BindingRequest(**fields)


class Wrong:
    """What is wrong with one item of a batch."""

    __slots__ = ("faults",)

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults


def _one_by_one(value: object, handler: ValidatorFunctionWrapHandler) -> "NewBinding | Wrong":
    try:
        item = handler(value)
        assert isinstance(item, NewBinding)
        return item
    except ValidationError as error:
        return Wrong(faults_of([dict(fault) for fault in error.errors(include_url=False, include_input=False)]))


class NewBindings(Body):
    """Bindings to be made together. One that is refused does not keep the others from being made."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [EXAMPLE]}})

    items: Annotated[
        list[Annotated[NewBinding, WrapValidator(_one_by_one)]], Field(min_length=1, max_length=MOST_AT_ONCE)
    ]


class BindingShown(Shown):
    """A binding. `a` and `b` are masked."""

    id: str
    state: BindingState
    mode: Mode
    x: str
    y: str
    a: str
    b: str
    group: str
    direction: Direction
    provider: str
    business_user: str
    scenario: str
    order_id: str
    industrial_id: str
    starts_ms: int
    expires_ms: int
    ended_ms: int = Field(description="When it was ended early; 0: it was not.")
    ring_seconds: int
    longest_seconds: int
    most_calls: int


class BindingDetailShown(BindingShown):
    """A binding with everything that is kept of it."""

    real_name: str
    consent: str
    client_token: str
    created_ms: int
    ended_reason: str
    revision: int


class BatchItem(Shown):
    """What became of one item: its status, and the binding or what is wrong."""

    status: int = Field(description="201 made, 409 or 422 refused.")
    binding: BindingShown | None
    errors: list[Fault]


class BatchAnswer(Shown):
    """What became of a batch, in the order of its items."""

    made: int
    refused: int
    items: list[BatchItem]


class BindingExtension(Body):
    """Until when a binding is to last instead."""

    model_config = ConfigDict(json_schema_extra={"example": {"expires_ms": 1795200000000}})

    expires_ms: Instant


class BindingEnd(Body):
    """Why a binding is ended."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "order delivered"}})

    reason: Text = ""


class PartyChange(Body):
    """Who takes the place of a party, with new references (R16)."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"b": "13700137000", "real_name": "rn-2", "consent": "c-2"}}
    )

    a: Number = ""
    b: Number = ""
    real_name: Text
    consent: Text


class BindingChange(Body):
    """What is to be changed of a binding."""

    model_config = ConfigDict(json_schema_extra={"example": {"most_calls": 20}})

    direction: Way | None = None
    ring_seconds: RingSeconds | None = None
    longest_seconds: CallSeconds | None = None
    most_calls: Annotated[int, Field(ge=0, le=MOST_CALLS)] | None = None


def row_of(binding: Binding, now_ms: int, shown: Callable[[str], str]) -> dict[str, object]:
    """A binding as JSON has it; numbers as `shown` makes them."""
    return {
        "id": binding.id,
        "state": binding.state(now_ms),
        "mode": binding.mode,
        "x": binding.x,
        "y": binding.y,
        "a": shown(binding.a),
        "b": shown(binding.b),
        "group": binding.group,
        "direction": binding.direction,
        "provider": binding.provider,
        "business_user": binding.business_user,
        "scenario": binding.scenario,
        "order_id": binding.order_id,
        "industrial_id": binding.industrial_id,
        "starts_ms": binding.starts_ms,
        "expires_ms": binding.expires_ms,
        "ended_ms": binding.ended_ms,
        "ring_seconds": binding.ring_seconds,
        "longest_seconds": binding.longest_seconds,
        "most_calls": binding.most_calls,
    }


def told_of(detail: BindingDetail, now_ms: int, shown: Callable[[str], str]) -> BindingDetailShown:
    """A binding with all that is kept of it."""
    return BindingDetailShown.model_construct(
        None,
        **row_of(detail.binding, now_ms, shown),
        real_name=detail.real_name,
        consent=detail.consent,
        client_token=detail.client_token,
        created_ms=detail.created_ms,
        ended_reason=detail.ended_reason,
        revision=detail.revision,
    )


def shown_of(binding: Binding, now_ms: int, shown: Callable[[str], str]) -> BindingShown:
    """A binding."""
    return BindingShown.model_construct(None, **row_of(binding, now_ms, shown))
