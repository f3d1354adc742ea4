"""Policy in the decision (R12-R15, R17): each objection with its own reason, in its order, and what is counted."""

import random
from dataclasses import replace
from typing import Any

import pytest

from routing.binding import Binding
from routing.blocklist import FOR_EVER_MS, BlockEntry, BlockKind
from routing.caps import Caps, CapSet
from routing.counters import Counters
from routing.decide import Query, Reason, Refusal, Route, decide
from routing.plan import Block, BlockState, Plan
from routing.policy import NO_POLICY, Cut, Policy, PolicySettings, Rule
from routing.terms import Direction
from routing.trunks import Trunk
from routing.windows import parse_windows
from tests.routing.samples import BINDING, BLOCK, HOUR, NOW, A, B, X, binding

PLAN = Plan([BLOCK, Block("70012345679", "provider", "shop", BlockState.ACTIVE)])
Y = "700123456790001"


def hash_of(text: str) -> bytes:
    return f"{text[::-1]}, hashed".encode()


def ask(
    policy: Policy,
    caller: str = A,
    *,
    kind: str = "call",
    held: Binding = BINDING,
    now_ms: int = NOW,
    counters: Counters | None = None,
    handle: int = 1,
    dialled: str = X,
    trunks: tuple[Trunk, ...] = (Trunk("east", ()),),
) -> Route | Refusal:
    def find(number: str, subscriber: str) -> Binding | None:
        return held

    query = Query(handle, "east", dialled, caller, False, kind)
    pick = random.Random(1).random
    return decide(query, PLAN, find, trunks, (), now_ms, pick, lambda _: "", policy, counters)


def blocked(kind: BlockKind, key: str | bytes, until_ms: int = FOR_EVER_MS) -> Policy:
    return Policy(PolicySettings(), {kind: {key: until_ms}}, hash_of=hash_of)


def ruled(**rule: Any) -> Policy:
    return Policy(PolicySettings(), rules={("shop", "delivery"): Rule(**rule)}, hash_of=hash_of)


def capped(**caps: Caps) -> Policy:
    return Policy(PolicySettings(caps=CapSet(**caps)), hash_of=hash_of)


# the block list

BLOCKED = [
    (BlockKind.CALLER, hash_of(A), Reason.CALLER_BLOCKED, None),
    (BlockKind.CALLEE, hash_of(B), Reason.CALLEE_BLOCKED, None),
    (BlockKind.NUMBER, hash_of(A), Reason.CALLER_BLOCKED, Reason.CALLEE_BLOCKED),
    (BlockKind.X, X, Reason.NUMBER_BLOCKED, Reason.NUMBER_BLOCKED),
    (BlockKind.BLOCK, X[:11], Reason.BLOCK_BLOCKED, Reason.BLOCK_BLOCKED),
    (BlockKind.BINDING, "binding", Reason.BINDING_BLOCKED, Reason.BINDING_BLOCKED),
    (BlockKind.BUSINESS_USER, "shop", Reason.USER_BLOCKED, Reason.USER_BLOCKED),
    (BlockKind.PROVIDER, "provider", Reason.PROVIDER_BLOCKED, Reason.PROVIDER_BLOCKED),
]


@pytest.mark.parametrize("kind", ["call", "message"])
@pytest.mark.parametrize(("entry", "key", "from_a", "from_b"), BLOCKED, ids=[row[0].value for row in BLOCKED])
def test_what_is_blocked_is_refused_with_its_own_reason_from_each_side(
    entry: BlockKind, key: str | bytes, from_a: Reason, from_b: Reason | None, kind: str
) -> None:
    policy = blocked(entry, key)
    assert ask(policy, A, kind=kind) == Refusal(from_a, A, X, BINDING)
    answer = ask(policy, B, kind=kind)
    if from_b is None:
        assert isinstance(answer, Route)
    else:
        assert answer == Refusal(from_b, B, X, BINDING)


@pytest.mark.parametrize(("entry", "key", "reason", "_"), BLOCKED, ids=[row[0].value for row in BLOCKED])
def test_a_block_ends_at_its_expiry(entry: BlockKind, key: str | bytes, reason: Reason, _: Reason | None) -> None:
    policy = blocked(entry, key, NOW + 1000)
    assert ask(policy, now_ms=NOW + 999) == Refusal(reason, A, X, BINDING)
    assert isinstance(ask(policy, now_ms=NOW + 1000), Route)


@pytest.mark.parametrize("kind", BlockKind)
def test_other_entries_refuse_nobody(kind: BlockKind) -> None:
    key = hash_of("+8615012345678") if kind in ("caller", "callee", "number") else "70099999999"
    assert isinstance(ask(blocked(kind, key)), Route)


def test_the_second_alias_of_a_binding_and_its_block_count_as_well() -> None:
    two = binding(mode=BINDING.mode, y=Y)
    assert ask(blocked(BlockKind.X, Y), held=two) == Refusal(Reason.NUMBER_BLOCKED, A, X, two)
    assert ask(blocked(BlockKind.BLOCK, Y[:11]), held=two) == Refusal(Reason.BLOCK_BLOCKED, A, X, two)


def test_numbers_are_hashed_only_where_an_entry_or_a_count_needs_it() -> None:
    asked: list[str] = []

    def listening(text: str) -> bytes:
        asked.append(text)
        return hash_of(text)

    entries = {BlockKind.PROVIDER: {"other": FOR_EVER_MS}, BlockKind.CALLER: {}}
    policy = Policy(PolicySettings(caps=CapSet(binding=Caps(per_day=5))), entries, hash_of=listening)
    assert isinstance(ask(policy, counters=Counters()), Route)
    assert asked == []


# caller ranges (R13)


@pytest.mark.parametrize(
    ("settings", "ranges", "allowed"),
    [
        (PolicySettings(deny=("138",)), {}, {A: False, B: True}),
        (PolicySettings(allow=("138",)), {}, {A: True, B: False}),
        (PolicySettings(deny=("13",), allow=("1380",)), {}, {A: True, B: False}),
        (PolicySettings(), {"010": False}, {A: True, B: False}),
        (PolicySettings(deny=("138",)), {"138": True}, {A: True, B: False}),
        (PolicySettings(), {"13800138000": False}, {A: False, B: True}),
        (PolicySettings(), {"139": False}, {A: True, B: True}),
    ],
)
def test_the_longest_range_decides_who_may_call(
    settings: PolicySettings, ranges: dict[str, bool], allowed: dict[str, bool]
) -> None:
    policy = Policy(settings, ranges=ranges)
    for caller, may in allowed.items():
        answer = ask(policy, caller)
        assert isinstance(answer, Route) if may else answer == Refusal(Reason.CALLER_BARRED, caller, X, BINDING)


# scenarios (R17)


def test_a_scenario_narrows_the_direction_of_its_bindings() -> None:
    assert ask(ruled(direction=Direction.B_TO_A)) == Refusal(Reason.DIRECTION_BARRED, A, X, BINDING)
    assert isinstance(ask(ruled(direction=Direction.B_TO_A), B), Route)
    assert ask(ruled(direction=Direction.A_TO_B), B) == Refusal(Reason.DIRECTION_BARRED, B, X, BINDING)
    assert isinstance(ask(ruled(direction=Direction.A_TO_B)), Route)


def test_a_scenario_without_messages_takes_calls_alone() -> None:
    assert ask(ruled(messages=False), kind="message") == Refusal(Reason.MESSAGES_BARRED, A, X, BINDING)
    assert isinstance(ask(ruled(messages=False)), Route)


def test_outside_its_hours_a_scenario_is_closed() -> None:
    # NOW is a Friday, 16:00 in China
    assert isinstance(ask(ruled(windows=parse_windows(["fri 15:00-17:00"]))), Route)
    closed = ruled(windows=parse_windows(["mon-thu 00:00-24:00", "fri 00:00-16:00"]))
    assert ask(closed) == Refusal(Reason.OUTSIDE_HOURS, A, X, BINDING)


def test_a_rule_is_of_one_scenario_of_one_business_user() -> None:
    rule = Rule(direction=Direction.B_TO_A, verify=True)
    policy = Policy(PolicySettings(), rules={("shop", "rides"): rule, ("other", "delivery"): rule})
    assert isinstance(ask(policy), Route)
    assert policy.verifies("shop", "rides")
    assert not policy.verifies("shop", "delivery")
    assert not Policy(PolicySettings(), rules={("shop", "delivery"): Rule()}).verifies("shop", "delivery")


# caps (R14)

ONE = Caps(per_day=1)
# reason, policy, who calls the second time, a binding that is not concerned
CAPPED = [
    (Reason.CALLER_CAP, capped(caller=ONE), A, None),
    (Reason.BINDING_CAP, capped(binding=ONE), B, replace(BINDING, id="another")),
    (Reason.NUMBER_CAP, capped(number=ONE), B, None),
    (Reason.SCENARIO_CAP, ruled(caps=CapSet(total=ONE)), B, replace(BINDING, scenario="rides")),
    (Reason.USER_CAP, Policy(PolicySettings(user_caps=ONE)), B, replace(BINDING, business_user="other")),
    (
        Reason.USER_CAP,
        Policy(PolicySettings(user_caps=Caps(per_day=9)), users={"shop": ONE}),
        B,
        replace(BINDING, business_user="other"),
    ),
]


@pytest.mark.parametrize(("reason", "policy", "caller", "elsewhere"), CAPPED)
def test_a_cap_that_is_reached_refuses_until_its_window_is_over(
    reason: Reason, policy: Policy, caller: str, elsewhere: Binding | None
) -> None:
    counters = Counters()
    assert isinstance(ask(policy, counters=counters), Route)
    assert ask(policy, caller, counters=counters) == Refusal(reason, caller, X, BINDING)
    assert isinstance(ask(policy, kind="message", counters=counters), Route)
    assert isinstance(ask(policy, counters=None), Route)  # asked again after the hook
    if elsewhere is not None:
        assert isinstance(ask(policy, counters=counters, held=elsewhere), Route)
    longer = replace(BINDING, expires_ms=NOW + 48 * HOUR)
    assert isinstance(ask(policy, counters=counters, held=longer, now_ms=NOW + 24 * HOUR), Route)


def test_a_callers_cap_counts_over_all_its_bindings() -> None:
    counters = Counters()
    policy = capped(caller=ONE)
    other = replace(BINDING, id="another", business_user="other")
    assert isinstance(ask(policy, counters=counters), Route)
    assert ask(policy, counters=counters, held=other) == Refusal(Reason.CALLER_CAP, A, X, other)
    assert isinstance(ask(policy, B, counters=counters), Route)


def test_caps_of_the_scenario_go_before_those_of_the_settings() -> None:
    policy = Policy(
        PolicySettings(caps=CapSet(caller=ONE, binding=Caps(per_day=3))),
        rules={("shop", "delivery"): Rule(caps=CapSet(caller=Caps(per_day=2)))},
        hash_of=hash_of,
    )
    counters = Counters()
    told = [ask(policy, counters=counters) for _ in range(3)]
    assert [isinstance(answer, Route) for answer in told] == [True, True, False]
    back = [ask(policy, B, counters=counters) for _ in range(2)]
    assert isinstance(back[0], Route)
    assert back[1] == Refusal(Reason.BINDING_CAP, B, X, BINDING)


def test_the_calls_of_a_binding_are_used_up_without_any_policy() -> None:
    counters = Counters()
    two = replace(BINDING, most_calls=2)
    told = [ask(NO_POLICY, caller, held=two, counters=counters) for caller in (A, B, A)]
    assert told[2] == Refusal(Reason.CALLS_USED_UP, A, X, two)
    assert isinstance(told[1], Route)
    assert isinstance(ask(NO_POLICY, held=two, counters=counters, kind="message"), Route)


def test_a_caller_that_dials_too_many_numbers_is_a_fan_out() -> None:
    policy = capped(caller=Caps(distinct_x=1))
    counters = Counters()
    other = replace(BINDING, id="another", x=f"{X[:-1]}2")
    assert isinstance(ask(policy, counters=counters), Route)
    assert ask(policy, counters=counters, held=other, dialled=other.x) == Refusal(Reason.FAN_OUT, A, other.x, other)


def test_a_fan_out_is_looked_for_without_any_cap() -> None:
    policy = Policy(PolicySettings(fan_out_numbers=1), hash_of=hash_of)
    counters = Counters()
    for x in (X, f"{X[:-1]}2"):
        assert isinstance(ask(policy, counters=counters, held=replace(BINDING, x=x), dialled=x), Route)
    assert [alert.caller for alert in counters.alerts] == [A]


def test_what_finds_no_trunk_is_not_counted() -> None:
    policy = capped(caller=ONE)
    counters = Counters()
    assert ask(policy, counters=counters, trunks=()) == Refusal(Reason.NO_ROUTE, A, X, BINDING)
    assert isinstance(ask(policy, counters=counters), Route)


def test_a_record_counts_under_the_same_keys_as_its_attempt() -> None:
    caps = Caps(per_day=5, distinct_x=3)
    policy = Policy(PolicySettings(caps=CapSet(caps, ONE, ONE, ONE), user_caps=ONE, fan_out_numbers=7), hash_of=hash_of)
    live = policy.claim("call", BINDING, A, X)
    told = policy.claim_of("call", "shop", "delivery", "binding", 0, "", hash_of(A)[:8], X)
    assert live == told
    assert live is not None
    assert len(live.uses) == 5
    message = policy.claim("message", BINDING, A, X)
    assert message is not None
    assert not {use.key for use in message.uses} & {use.key for use in live.uses}
    assert message.caller == live.caller


def test_an_order_of_objections_blocks_before_hours_before_caps() -> None:
    counters = Counters()
    everything = Policy(
        PolicySettings(deny=("010",), caps=CapSet(binding=ONE)),
        {BlockKind.CALLER: {hash_of(A): NOW + 2}},
        rules={("shop", "delivery"): Rule(windows=parse_windows(["00:00-16:01"]))},
        hash_of=hash_of,
    )
    told = [ask(everything, caller, counters=counters, now_ms=now_ms) for caller, now_ms in (
        (B, NOW), (A, NOW), (A, NOW + 2), (A, NOW + 3), (A, NOW + 60_000)
    )]  # fmt: skip
    assert [getattr(answer, "reason", None) for answer in told] == [
        Reason.CALLER_BARRED,
        Reason.CALLER_BLOCKED,
        None,
        Reason.BINDING_CAP,
        Reason.OUTSIDE_HOURS,
    ]


def test_without_anything_to_look_at_nothing_is_looked_at() -> None:
    assert not NO_POLICY.active
    assert not Policy(PolicySettings(), {BlockKind.X: {}}).active
    assert ask(NO_POLICY, counters=Counters()) == ask(NO_POLICY)
    with pytest.raises(ValueError, match="keyed hash"):
        Policy(PolicySettings(fan_out_numbers=1)).claim("call", BINDING, A, X)


def test_a_cut_speaks_of_its_own_entries_alone() -> None:
    policy = Policy(
        PolicySettings(deny=("138",)),
        {BlockKind.PROVIDER: {"provider": FOR_EVER_MS}},
        rules={("shop", "delivery"): Rule(direction=Direction.B_TO_A)},
        hash_of=hash_of,
    )
    cut = Cut(policy, [BlockEntry(BlockKind.CALLER, hash_of(A), NOW + 1, True)])
    assert cut.ends(BINDING, A, B, NOW)
    assert not cut.ends(BINDING, B, A, NOW)
    assert not cut.ends(BINDING, A, B, NOW + 1)
