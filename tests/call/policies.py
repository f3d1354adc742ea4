"""A policy for each reason of policy to refuse a call, and the call that it refuses."""

from collections.abc import Callable
from dataclasses import replace

from routing.blocklist import FOR_EVER_MS, BlockEntry, BlockKind
from routing.caps import Caps, CapSet
from routing.policy import Policy, PolicySettings, Rule
from routing.reason import Reason
from routing.terms import Direction
from routing.windows import parse_windows
from tests.call.phone import PhoneCall
from tests.call.world import BINDING, NUMBER_A, NUMBER_B, World, X

OTHER_X = "700123456789013"


def hash_of(number: str) -> bytes:
    """Stands for the keyed hash of a number."""
    return f"#{number[::-1]}".encode()


def blocks(kind: BlockKind, key: str | bytes, until_ms: int = FOR_EVER_MS, *, cut: bool = False) -> Policy:
    """A policy of one entry of the block list."""
    fresh = (BlockEntry(kind, key, until_ms, True),) if cut else ()
    return Policy(PolicySettings(), {kind: {key: until_ms}}, hash_of=hash_of, fresh_cuts=fresh)


def caps(**sets: Caps) -> Policy:
    """A policy of caps by default."""
    return Policy(PolicySettings(caps=CapSet(**sets)), hash_of=hash_of)


def rules(rule: Rule) -> Policy:
    """A policy of one rule, for the scenario of the usual binding."""
    return Policy(PolicySettings(), rules={("shop", "delivery"): rule}, hash_of=hash_of)


ONE_A_DAY = Caps(per_day=1)

AT_ONCE: dict[Reason, Policy] = {
    Reason.CALLER_BARRED: Policy(PolicySettings(deny=("138",))),
    Reason.CALLER_BLOCKED: blocks(BlockKind.CALLER, hash_of(NUMBER_A)),
    Reason.CALLEE_BLOCKED: blocks(BlockKind.NUMBER, hash_of(NUMBER_B)),
    Reason.NUMBER_BLOCKED: blocks(BlockKind.X, X),
    Reason.BLOCK_BLOCKED: blocks(BlockKind.BLOCK, X[:11]),
    Reason.BINDING_BLOCKED: blocks(BlockKind.BINDING, "binding-1"),
    Reason.USER_BLOCKED: blocks(BlockKind.BUSINESS_USER, "shop"),
    Reason.PROVIDER_BLOCKED: blocks(BlockKind.PROVIDER, "provider"),
    Reason.DIRECTION_BARRED: rules(Rule(direction=Direction.B_TO_A)),
    # the clock of the wire begins on a Friday afternoon in China
    Reason.OUTSIDE_HOURS: rules(Rule(windows=parse_windows(["sat-sun 00:00-24:00"]))),
}
AFTER_ONE: dict[Reason, Policy] = {
    Reason.CALLER_CAP: caps(caller=ONE_A_DAY),
    Reason.BINDING_CAP: caps(binding=ONE_A_DAY),
    Reason.NUMBER_CAP: caps(number=ONE_A_DAY),
    Reason.SCENARIO_CAP: rules(Rule(caps=CapSet(total=ONE_A_DAY))),
    Reason.USER_CAP: Policy(PolicySettings(), users={"shop": ONE_A_DAY}, hash_of=hash_of),
    Reason.FAN_OUT: caps(caller=Caps(distinct_x=1)),
}


def under(reason: Reason) -> Callable[[World], PhoneCall]:
    """A call that is refused at once for this reason."""

    def dial(world: World) -> PhoneCall:
        world.policy = AT_ONCE[reason]
        return world.caller.dial(X)

    return dial


def second_under(reason: Reason) -> Callable[[World], PhoneCall]:
    """A call that is refused for this reason while a first one is up."""

    def dial(world: World) -> PhoneCall:
        world.policy = AFTER_ONE.get(reason, world.policy)
        world.bindings.append(replace(BINDING, id="binding-2", x=OTHER_X))
        world.callee.on_call = lambda call: call.accept()
        first = world.caller.dial(X)
        world.run(0.5)
        world.network.later(1.0, first.hang_up)
        return world.caller.dial(OTHER_X if reason is Reason.FAN_OUT else X)

    return dial
