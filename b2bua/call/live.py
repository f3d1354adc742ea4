"""A call while it lives, as the operator and its provider see it."""

from collections.abc import Iterable
from typing import NamedTuple

from b2bua.call.call import Call
from routing.numbers import mask, parse_middle

__all__ = ["LiveCall", "live_call", "live_calls", "provider_of"]


class LiveCall(NamedTuple):
    """Real numbers are masked. Times are UTC milliseconds, 0: not yet. ``number`` grows from call to call. The last
    four are empty while no binding is known."""

    id: str
    state: str
    x: str
    ingress: str
    egress: str
    caller: str
    callee: str
    since_ms: int
    answered_ms: int
    number: int
    provider: str
    business_user: str
    binding_id: str
    order_id: str


def provider_of(call: Call) -> str:
    """Whose binding the call uses, '' while none is known."""
    return "" if call.binding is None else call.binding.provider


def live_call(call: Call) -> LiveCall:
    """A call as it stands now."""
    binding = call.binding
    return LiveCall(
        call.record_id,
        call.state.name.lower(),
        call.x if parse_middle(call.x) else mask(call.x),
        call.ingress.name,
        call.egress,
        mask(call.caller_number),
        mask(call.callee_number),
        call.since_ms,
        call.answered_ms,
        call.handle,
        "" if binding is None else binding.provider,
        "" if binding is None else binding.business_user,
        "" if binding is None else binding.id,
        "" if binding is None else binding.order_id,
    )


def live_calls(
    calls: Iterable[Call], provider: str = "", after: int = 0, limit: int = 0, record_id: str = ""
) -> list[LiveCall]:
    """Calls in the order they came, at most ``limit`` (0: all) from behind the one whose number is ``after``: all,
    those of a provider, or the one of an id. Only what is returned is built: the switch stands still meanwhile."""
    found: list[LiveCall] = []
    for call in calls:
        if (
            call.handle > after
            and (not provider or provider_of(call) == provider)
            and (not record_id or call.record_id == record_id)
        ):
            found.append(live_call(call))
            if len(found) == limit:
                break
    return found
