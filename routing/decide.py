"""May this caller reach this number, and how? Deny by default (R1): every way out but one is a refusal."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from routing.binding import Binding, Direction
from routing.counters import Counters
from routing.errors import StoreError
from routing.numbers import is_middle, parse_middle, parse_subscriber
from routing.plan import CALLABLE, Block, Plan
from routing.policy import NO_POLICY, Claim, Policy
from routing.reason import Reason as Reason
from routing.trunks import Trunk, choose

# RFC 3323 section 4.1.1.3 and 3GPP TS 29.163: user parts that say the caller is withheld or not known.
WITHHELD = frozenset({"", "anonymous", "unavailable", "restricted", "unknown"})


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `call` names the call it is for, `trunk` the trunk it came from.

    `dialled` and `caller` are user parts as received; `caller` comes from the identity the trunk is trusted for, ''
    when there is none. `accept_zero` is the trunk's setting for `0700…`. `kind`: "call" or "message".
    `callee` (E.164): whom an earlier answer has named. It is asked again for him: nothing is counted, and of a group he
    is meant while he is a member, whoever called last.
    """

    call: int
    trunk: str
    dialled: str
    caller: str
    accept_zero: bool
    kind: str = "call"
    callee: str = ""


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


def _nobody(_: str) -> str:
    return ""


def decide(
    query: Query,
    plan: Plan,
    find: Callable[[str, str], Binding | None],
    trunks: Sequence[Trunk],
    down: Container[str],
    now_ms: int,
    pick: Callable[[], float],
    last_caller: Callable[[str], str] = _nobody,
    policy: Policy = NO_POLICY,
    counters: Counters | None = None,
) -> Route | Refusal:
    """Answer a query at an instant (UTC ms).

    `find(dialled, caller)` returns the last binding that held this key, live or not, as this caller sees it, or raises
    StoreError. `down` holds the names of trunks to leave alone while there are others; `pick` draws among equal trunks.
    `last_caller(id)` is the member (E.164) who last called B on a binding of a group, '' where none has.

    `policy` says what is refused besides (R12-R15). With `counters`, caps are looked at too, and an attempt that gets a
    Route is counted; `counters.release` ends it.
    """
    x = parse_middle(query.dialled, query.accept_zero)
    caller = parse_subscriber(query.caller)
    if x is None:
        return Refusal(Reason.NUMBER_MALFORMED, caller or query.caller, query.dialled)
    reason = _unusable(plan.block_of(x))
    if reason is not None:
        return Refusal(reason, caller or query.caller, x)
    if caller is None:
        return _unidentified(query, x)
    try:
        binding = find(x, caller)
    except StoreError:
        return Refusal(Reason.STORE_UNAVAILABLE, caller, x)
    if binding is None:
        return Refusal(Reason.CALLER_UNBOUND, caller, x)

    # The binding itself must name both numbers: a damaged index may refuse a call, never connect a stranger (R4).
    # Whoever is called sees the number that he himself would dial.
    alias = binding.y or binding.x
    if x == binding.x and caller == binding.a:
        calling, callee, barred, shown = "a", binding.b, Direction.B_TO_A, alias
    elif x == alias and caller == binding.b:
        calling, callee, barred, shown = "b", binding.a, Direction.A_TO_B, binding.x
    else:
        return Refusal(Reason.CALLER_UNBOUND, caller, x)

    reason = _dead(binding, now_ms)
    if reason is not None:
        return Refusal(reason, caller, x, binding)
    if binding.direction is barred:
        return Refusal(Reason.DIRECTION_BARRED, caller, x, binding)
    if shown != x:
        reason = _unusable(plan.block_of(shown))
        if reason is not None:
            return Refusal(reason, caller, x, binding)
    if binding.group and calling == "b":
        try:
            binding = _last_called(binding, find, query.callee or last_caller(binding.id))
        except StoreError:
            return Refusal(Reason.STORE_UNAVAILABLE, caller, x, binding)
        callee = binding.a
    if is_middle(callee):
        return Refusal(Reason.LOOP, caller, x, binding)
    claim: Claim | None = None
    if query.callee:
        counters = None
    if policy.active or binding.most_calls:
        reason = policy.objection(query.kind, binding, calling, caller, callee, now_ms)
        if reason is None and counters is not None:
            claim = policy.claim(query.kind, binding, caller, x)
            if claim is not None:
                reason = counters.exceeded(claim, now_ms)
        if reason is not None:
            return Refusal(reason, caller, x, binding)
    # a trunk that is left alone for a while is still better than none
    names = choose(trunks, callee, down, pick) or choose(trunks, callee, (), pick)
    if not names:
        return Refusal(Reason.NO_ROUTE, caller, x, binding)
    if claim is not None and counters is not None:
        counters.count(query.call, claim, caller, binding.business_user, binding.scenario, now_ms)
    return Route(binding, calling, caller, callee, x, shown, names)


def _unidentified(query: Query, x: str) -> Refusal:
    """Refuse a caller who is no subscriber of China's plan (R13)."""
    if query.caller.strip().lower() in WITHHELD:
        return Refusal(Reason.CALLER_ANONYMOUS, query.caller, x)
    middle = parse_middle(query.caller, accept_zero=True)
    if middle is not None:
        return Refusal(Reason.LOOP, middle, x)
    return Refusal(Reason.CALLER_FOREIGN, query.caller, x)


def _unusable(block: Block | None) -> Reason | None:
    """Say why numbers of a block neither may be dialled nor shown (R1, R3)."""
    if block is None:
        return Reason.BLOCK_UNKNOWN
    return None if block.state in CALLABLE else Reason.BLOCK_INACTIVE


def _last_called(binding: Binding, find: Callable[[str, str], Binding | None], recent: str) -> Binding:
    """Return the binding of a group as its last caller sees it, if he still is a member, else with its default A."""
    if not recent or recent == binding.a:
        return binding
    seen = find(binding.x, recent)
    if seen is None or seen.id != binding.id or seen.a != recent:
        return binding
    return seen


def _dead(binding: Binding, now_ms: int) -> Reason | None:
    if binding.ended_ms:
        return Reason.BINDING_ENDED
    if now_ms < binding.starts_ms:
        return Reason.BINDING_NOT_STARTED
    if now_ms >= binding.expires_ms:
        return Reason.BINDING_EXPIRED
    return None
