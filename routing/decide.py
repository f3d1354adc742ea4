"""May this caller reach this number, and how? Deny by default (R1): every way out but one is a refusal."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from enum import StrEnum

from routing.binding import Binding, Direction
from routing.errors import StoreError
from routing.numbers import is_middle, parse_middle, parse_subscriber
from routing.plan import CALLABLE, Plan
from routing.trunks import Trunk, choose

# RFC 3323 section 4.1.1.3 and 3GPP TS 29.163: user parts that say the caller is withheld or not known.
WITHHELD = frozenset({"", "anonymous", "unavailable", "restricted", "unknown"})


class Reason(StrEnum):
    """Why a call is refused; each has its own SIP status, Q.850 cause and word in the record."""

    NUMBER_MALFORMED = "number_malformed"
    BLOCK_UNKNOWN = "block_unknown"
    BLOCK_INACTIVE = "block_inactive"
    CALLER_ANONYMOUS = "caller_anonymous"
    CALLER_FOREIGN = "caller_foreign"
    CALLER_UNBOUND = "caller_unbound"
    BINDING_NOT_STARTED = "binding_not_started"
    BINDING_EXPIRED = "binding_expired"
    BINDING_ENDED = "binding_ended"
    DIRECTION_BARRED = "direction_barred"
    LOOP = "loop"
    NO_ROUTE = "no_route"
    STORE_UNAVAILABLE = "store_unavailable"


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `call` names the call it is for, `trunk` the trunk it came from.

    `dialled` and `caller` are user parts as received; `caller` comes from the identity the trunk is trusted for, ''
    when there is none. `accept_zero` is the trunk's setting for `0700…`.
    """

    call: int
    trunk: str
    dialled: str
    caller: str
    accept_zero: bool


@dataclass(frozen=True, slots=True)
class Route:
    """Yes: connect `caller` to `callee` (both E.164), who sees `shown`, over `trunks`, best first.

    `calling` says which party of the binding the caller is: 'a' or 'b'. `dialled` is the middle number dialled.
    """

    binding: Binding
    calling: str
    caller: str
    callee: str
    dialled: str
    shown: str
    trunks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """No. Numbers are normalised where they could be, else as received; `binding` is given when one was found."""

    reason: Reason
    caller: str = ""
    dialled: str = ""
    binding: Binding | None = None


def decide(
    query: Query,
    plan: Plan,
    find: Callable[[str, str], Binding | None],
    trunks: Sequence[Trunk],
    down: Container[str],
    now_ms: int,
    pick: Callable[[], float],
) -> Route | Refusal:
    """Answer a query at an instant (UTC ms).

    `find(dialled, caller)` returns the last binding that held this key, live or not, or raises StoreError. `down`
    holds the names of trunks to leave alone while there are others; `pick` draws among equal trunks.
    """
    x = parse_middle(query.dialled, query.accept_zero)
    caller = parse_subscriber(query.caller)
    if x is None:
        return Refusal(Reason.NUMBER_MALFORMED, caller or query.caller, query.dialled)
    block = plan.block_of(x)
    if block is None:
        return Refusal(Reason.BLOCK_UNKNOWN, caller or query.caller, x)
    if block.state not in CALLABLE:
        return Refusal(Reason.BLOCK_INACTIVE, caller or query.caller, x)
    if caller is None:
        return _unidentified(query, x)
    try:
        binding = find(x, caller)
    except StoreError:
        return Refusal(Reason.STORE_UNAVAILABLE, caller, x)
    if binding is None:
        return Refusal(Reason.CALLER_UNBOUND, caller, x)

    # The binding itself must name both numbers: a damaged index may refuse a call, never connect a stranger (R4).
    if binding.x != x:
        return Refusal(Reason.CALLER_UNBOUND, caller, x)
    if caller == binding.a:
        calling, callee, barred = "a", binding.b, Direction.B_TO_A
    elif caller == binding.b:
        calling, callee, barred = "b", binding.a, Direction.A_TO_B
    else:
        return Refusal(Reason.CALLER_UNBOUND, caller, x)

    reason = _dead(binding, now_ms)
    if reason is not None:
        return Refusal(reason, caller, x, binding)
    if binding.direction is barred:
        return Refusal(Reason.DIRECTION_BARRED, caller, x, binding)
    if is_middle(callee):
        return Refusal(Reason.LOOP, caller, x, binding)
    # a trunk that is left alone for a while is still better than none
    names = choose(trunks, callee, down, pick) or choose(trunks, callee, (), pick)
    if not names:
        return Refusal(Reason.NO_ROUTE, caller, x, binding)
    return Route(binding, calling, caller, callee, x, binding.x, names)


def _unidentified(query: Query, x: str) -> Refusal:
    """Refuse a caller who is no subscriber of China's plan (R13)."""
    if query.caller.strip().lower() in WITHHELD:
        return Refusal(Reason.CALLER_ANONYMOUS, query.caller, x)
    middle = parse_middle(query.caller, accept_zero=True)
    if middle is not None:
        return Refusal(Reason.LOOP, middle, x)
    return Refusal(Reason.CALLER_FOREIGN, query.caller, x)


def _dead(binding: Binding, now_ms: int) -> Reason | None:
    if binding.ended_ms:
        return Reason.BINDING_ENDED
    if now_ms < binding.starts_ms:
        return Reason.BINDING_NOT_STARTED
    if now_ms >= binding.expires_ms:
        return Reason.BINDING_EXPIRED
    return None
