import random
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.binding import Binding, Direction
from routing.decide import Query, Reason, Refusal, Route, decide
from routing.errors import StoreError
from routing.plan import Block, BlockState, Plan
from routing.trunks import Trunk
from tests.routing.samples import BINDING, BLOCK, HOUR, NOW, PREFIX, STRANGER, A, B, X, binding

PLAN = Plan([BLOCK])
TRUNKS = (Trunk("east", (), priority=1), Trunk("west", (), priority=2))


def ask(
    dialled: str = X,
    caller: str = A,
    *,
    accept_zero: bool = False,
    held: Binding | None = BINDING,
    plan: Plan = PLAN,
    trunks: tuple[Trunk, ...] = TRUNKS,
    down: tuple[str, ...] = (),
    now_ms: int = NOW,
) -> Route | Refusal:
    """Decide in the small world, whose store holds `held` on the keys of its parties."""

    def find(number: str, subscriber: str) -> Binding | None:
        if held is not None and number == held.x and subscriber in (held.a, held.b):
            return held
        return None

    query = Query(1, "east", dialled, caller, accept_zero)
    return decide(query, plan, find, trunks, down, now_ms, random.Random(1).random)


def test_a_reaches_b_who_sees_the_middle_number() -> None:
    assert ask() == Route(BINDING, "a", A, B, X, X, ("east", "west"))


def test_b_reaches_a_who_sees_the_middle_number() -> None:
    assert ask(caller=B) == Route(BINDING, "b", B, A, X, X, ("east", "west"))


@pytest.mark.parametrize("dialled", [f"+86{X}", f"86{X}", f"0086{X}", "700-1234-5678-0001", f"{X};npdi"])
@pytest.mark.parametrize("caller", ["13800138000", "8613800138000", "008613800138000", "%2B86138-0013-8000;noa=nat"])
def test_every_spelling_of_both_numbers_finds_the_binding(dialled: str, caller: str) -> None:
    assert ask(dialled, caller) == ask()


def test_a_zero_before_the_middle_number_is_the_trunks_setting() -> None:
    assert ask(f"0{X}", accept_zero=True) == ask()
    assert ask(f"0{X}") == Refusal(Reason.NUMBER_MALFORMED, A, f"0{X}")


def block_in(state: BlockState) -> Plan:
    return Plan([replace(BLOCK, state=state)])


REFUSALS: list[tuple[str, dict[str, Any], Refusal]] = [
    ("no number", {"dialled": ""}, Refusal(Reason.NUMBER_MALFORMED, A, "")),
    ("a subscriber dialled", {"dialled": "13800138000"}, Refusal(Reason.NUMBER_MALFORMED, A, "13800138000")),
    ("a digit short", {"dialled": X[:-1]}, Refusal(Reason.NUMBER_MALFORMED, A, X[:-1])),
    (
        "full-width digits",
        {"dialled": f"７{X[1:]}", "caller": "13800138000"},
        Refusal(Reason.NUMBER_MALFORMED, A, f"７{X[1:]}"),
    ),
    ("a foreign block", {"dialled": "700999999990001"}, Refusal(Reason.BLOCK_UNKNOWN, A, "700999999990001")),
    ("no block at all", {"plan": Plan([])}, Refusal(Reason.BLOCK_UNKNOWN, A, X)),
    ("allocated only", {"plan": block_in(BlockState.ALLOCATED)}, Refusal(Reason.BLOCK_INACTIVE, A, X)),
    ("frozen", {"plan": block_in(BlockState.FROZEN)}, Refusal(Reason.BLOCK_INACTIVE, A, X)),
    (
        "returned",
        {"plan": block_in(BlockState.RETURNED), "caller": "86 138 0013 8000"},
        Refusal(Reason.BLOCK_INACTIVE, A, X),
    ),
    ("no caller", {"caller": ""}, Refusal(Reason.CALLER_ANONYMOUS, "", X)),
    ("anonymous", {"caller": "anonymous"}, Refusal(Reason.CALLER_ANONYMOUS, "anonymous", X)),
    ("withheld", {"caller": " Unavailable"}, Refusal(Reason.CALLER_ANONYMOUS, " Unavailable", X)),
    ("foreign", {"caller": "+14155550123"}, Refusal(Reason.CALLER_FOREIGN, "+14155550123", X)),
    ("service number", {"caller": "95588"}, Refusal(Reason.CALLER_FOREIGN, "95588", X)),
    ("malformed", {"caller": "1380013800O"}, Refusal(Reason.CALLER_FOREIGN, "1380013800O", X)),
    ("caller is a middle number", {"caller": f"+86{X}"}, Refusal(Reason.LOOP, X, X)),
    ("caller is a middle number with 0", {"caller": f"0{X}"}, Refusal(Reason.LOOP, X, X)),
    ("stranger", {"caller": STRANGER}, Refusal(Reason.CALLER_UNBOUND, STRANGER, X)),
    ("another number of the block", {"dialled": f"{PREFIX}0002"}, Refusal(Reason.CALLER_UNBOUND, A, f"{PREFIX}0002")),
    ("before its time", {"now_ms": NOW - 1}, Refusal(Reason.BINDING_NOT_STARTED, A, X, BINDING)),
    ("expired", {"now_ms": NOW + HOUR}, Refusal(Reason.BINDING_EXPIRED, A, X, BINDING)),
    (
        "ended",
        {"held": binding(ended_ms=NOW - 1)},
        Refusal(Reason.BINDING_ENDED, A, X, binding(ended_ms=NOW - 1)),
    ),
    (
        "ended by a clock ahead of ours",
        {"held": binding(ended_ms=NOW + 5)},
        Refusal(Reason.BINDING_ENDED, A, X, binding(ended_ms=NOW + 5)),
    ),
    (
        "a may not call",
        {"held": binding(direction=Direction.B_TO_A)},
        Refusal(Reason.DIRECTION_BARRED, A, X, binding(direction=Direction.B_TO_A)),
    ),
    (
        "b may not call",
        {"held": binding(direction=Direction.A_TO_B), "caller": B},
        Refusal(Reason.DIRECTION_BARRED, B, X, binding(direction=Direction.A_TO_B)),
    ),
    ("callee is a middle number", {"held": binding(b=f"+86{X}")}, Refusal(Reason.LOOP, A, X, binding(b=f"+86{X}"))),
    ("callee is a bare middle number", {"held": binding(b=X)}, Refusal(Reason.LOOP, A, X, binding(b=X))),
    ("no trunk serves", {"trunks": (Trunk("east", (), prefixes=()),)}, Refusal(Reason.NO_ROUTE, A, X, BINDING)),
    ("callee abroad", {"held": binding(b="+14155550123")}, Refusal(Reason.NO_ROUTE, A, X, binding(b="+14155550123"))),
]


@pytest.mark.parametrize(("world", "refusal"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_what_is_not_allowed_is_refused_with_its_own_reason(world: dict[str, Any], refusal: Refusal) -> None:
    assert ask(**world) == refusal


# said by the shell, or by the policy, which has tests of its own
ELSEWHERE = {
    Reason.STORE_UNAVAILABLE,
    Reason.VERIFICATION_REFUSED,
    Reason.VERIFICATION_FAILED,
    Reason.CALLER_BARRED,
    Reason.MESSAGES_BARRED,
    Reason.OUTSIDE_HOURS,
    Reason.CALLS_USED_UP,
    Reason.FAN_OUT,
    *(reason for reason in Reason if reason.endswith(("_blocked", "_cap"))),
}


def test_every_reason_has_a_case() -> None:
    assert {row[2].reason for row in REFUSALS} == set(Reason) - ELSEWHERE


def test_a_store_that_cannot_answer_refuses_the_call() -> None:
    def find(dialled: str, caller: str) -> Binding | None:
        raise StoreError("binding store: disk I/O error")

    query = Query(1, "east", X, "13800138000", False)
    assert decide(query, PLAN, find, TRUNKS, (), NOW, random.random) == Refusal(Reason.STORE_UNAVAILABLE, A, X)


@pytest.mark.parametrize("held", [binding(x=f"{PREFIX}0002"), binding(a="+8613900139000")])
def test_a_store_that_answers_with_anothers_binding_connects_nobody(held: Binding) -> None:
    answer = decide(Query(1, "east", X, A, False), PLAN, lambda *_: held, TRUNKS, (), NOW, random.random)
    assert answer == Refusal(Reason.CALLER_UNBOUND, A, X)


def test_the_trunks_of_a_route_serve_the_callee_not_the_caller() -> None:
    trunks = (Trunk("mobile", (), prefixes=("13",)), Trunk("beijing", (), prefixes=("010",)))
    to_b, to_a = ask(trunks=trunks), ask(trunks=trunks, caller=B)
    assert isinstance(to_b, Route)
    assert isinstance(to_a, Route)
    assert (to_b.trunks, to_a.trunks) == (("beijing",), ("mobile",))


# The checks in their order; each row sets a part of the world and names the reason it gives, None when it stands open.
CHECKS: list[list[tuple[dict[str, Any], Reason | None]]] = [
    [
        ({"dialled": X}, None),
        ({"dialled": "70012"}, Reason.NUMBER_MALFORMED),
        ({"dialled": "700999999990001"}, Reason.BLOCK_UNKNOWN),
    ],
    [({"state": BlockState.ACTIVE}, None), ({"state": BlockState.FROZEN}, Reason.BLOCK_INACTIVE)],
    [
        ({"caller": A}, None),
        ({"caller": "anonymous"}, Reason.CALLER_ANONYMOUS),
        ({"caller": "+14155550123"}, Reason.CALLER_FOREIGN),
        ({"caller": X}, Reason.LOOP),
        ({"caller": STRANGER}, Reason.CALLER_UNBOUND),
    ],
    [({"ended_ms": 0}, None), ({"ended_ms": NOW}, Reason.BINDING_ENDED)],
    [
        ({"now_ms": NOW}, None),
        ({"now_ms": NOW - 1}, Reason.BINDING_NOT_STARTED),
        ({"now_ms": NOW + HOUR}, Reason.BINDING_EXPIRED),
    ],
    [({"direction": Direction.BOTH}, None), ({"direction": Direction.B_TO_A}, Reason.DIRECTION_BARRED)],
    [({"trunks": TRUNKS}, None), ({"trunks": ()}, Reason.NO_ROUTE)],
]


def test_trunks_that_are_down_are_left_out_but_better_than_none() -> None:
    one, none = ask(down=("east",)), ask(down=("east", "west"))
    assert isinstance(one, Route)
    assert isinstance(none, Route)
    assert one.trunks == ("west",)
    assert none.trunks == ("east", "west")


def test_the_first_failing_check_decides_and_only_none_failing_makes_a_route() -> None:
    for rows in product(*CHECKS):
        world: dict[str, Any] = {name: value for settings, _ in rows for name, value in settings.items()}
        held = binding(ended_ms=world.pop("ended_ms"), direction=world.pop("direction"))
        answer = ask(held=held, plan=block_in(world.pop("state")), **world)
        expected = next((reason for _, reason in rows if reason is not None), None)
        assert (answer.reason if isinstance(answer, Refusal) else None) is expected, rows


numbers = st.one_of(
    st.sampled_from([A, B, STRANGER, "13800138000", X, f"+86{X}", "", "anonymous", "700", f"{PREFIX}0002"]),
    st.text(max_size=20),
)


@given(
    dialled=numbers,
    caller=numbers,
    accept_zero=st.booleans(),
    state=st.sampled_from(BlockState),
    direction=st.sampled_from(Direction),
    now_ms=st.integers(NOW - 2, NOW + 2) | st.integers(NOW + HOUR - 2, NOW + HOUR + 2),
    ended_ms=st.sampled_from([0, 0, 0, NOW]),
    down=st.sets(st.sampled_from(["east", "west"])),
)
def test_no_input_makes_a_route_but_a_party_of_a_live_binding_in_an_active_block(
    dialled: str,
    caller: str,
    accept_zero: bool,
    state: BlockState,
    direction: Direction,
    now_ms: int,
    ended_ms: int,
    down: set[str],
) -> None:
    held = binding(direction=direction, ended_ms=ended_ms)
    answer = ask(
        dialled,
        caller,
        accept_zero=accept_zero,
        held=held,
        plan=Plan([Block(PREFIX, "provider", "shop", state)]),
        down=tuple(down),
        now_ms=now_ms,
    )
    if isinstance(answer, Route):
        assert state is BlockState.ACTIVE
        assert held.live(now_ms)
        assert {answer.caller, answer.callee} == {A, B}
        assert direction is not (Direction.B_TO_A if answer.caller == A else Direction.A_TO_B)
        assert answer.shown == answer.dialled == X
        assert answer.trunks
        assert not set(answer.trunks) & down or down == {"east", "west"}
    else:
        assert answer.reason in Reason
