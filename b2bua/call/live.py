"""A call while it lives, as the operator sees it."""

from typing import NamedTuple

from b2bua.call.call import Call
from routing.numbers import mask, parse_middle

__all__ = ["LiveCall", "live_call"]


class LiveCall(NamedTuple):
    """Real numbers are masked. Times are UTC milliseconds, 0: not yet."""

    id: str
    state: str
    x: str
    ingress: str
    egress: str
    caller: str
    callee: str
    since_ms: int
    answered_ms: int


def live_call(call: Call) -> LiveCall:
    """A call as it stands now."""
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
    )
