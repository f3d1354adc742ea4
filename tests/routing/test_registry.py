"""What may be registered, in which states it may be, and what a scenario allows (R6, R7, R17)."""

from dataclasses import replace
from itertools import product

import pytest

from routing.caps import Caps, CapSet
from routing.errors import BindingError
from routing.registry import (
    MOVES,
    BusinessUser,
    Contract,
    Provider,
    Resource,
    Scenario,
    State,
    check,
    check_terms,
    scenario_key,
)
from routing.terms import DAY_MS, Direction
from routing.windows import Window, parse_window

PROVIDER = Provider("platform-1", "Platform One", "B2-20260001")
USER = BusinessUser("shop-1", "platform-1", "Shop One", "91350100M000100Y43", Caps(per_minute=600))
CONTRACT = Contract("shop-1.1", "platform-1", "shop-1", "C-1", 1, 2)
SCENARIO = Scenario(
    "shop-1",
    "delivery",
    "Delivery of parcels",
    7,
    Direction.A_TO_B,
    (parse_window("mon-fri 08:00-22:00"),),
    ring_seconds=60,
    longest_seconds=600,
    caps=CapSet(caller=Caps(per_hour=20, distinct_x=5)),
)


def refused(value: Resource) -> tuple[str, str]:
    with pytest.raises(BindingError) as caught:
        check(value)
    assert caught.value.message
    return caught.value.field, caught.value.rule


@pytest.mark.parametrize(("was", "becomes"), list(product(State, State)))
def test_the_states_table_holds_what_may_happen_and_nothing_else(was: State, becomes: State) -> None:
    allowed = {
        (State.ACTIVE, State.SUSPENDED),
        (State.ACTIVE, State.TERMINATED),
        (State.SUSPENDED, State.ACTIVE),
        (State.SUSPENDED, State.TERMINATED),
    }
    assert (becomes in MOVES[was]) is ((was, becomes) in allowed)


@pytest.mark.parametrize("value", [PROVIDER, USER, CONTRACT, SCENARIO, Scenario("a", "0._-")])
def test_what_is_right_is_registered(value: Resource) -> None:
    check(value)


@pytest.mark.parametrize("text", ["", "A", "a b", "-a", ".a", "_a", "a/b", "a" * 65, "ä", "a\n"])
def test_an_id_is_of_few_characters_and_short(text: str) -> None:
    for value, field in (
        (replace(PROVIDER, id=text), "id"),
        (replace(USER, id=text), "id"),
        (replace(USER, provider=text), "provider"),
        (replace(CONTRACT, id=text), "id"),
        (replace(CONTRACT, provider=text), "provider"),
        (replace(CONTRACT, business_user=text), "business_user"),
        (replace(SCENARIO, business_user=text), "business_user"),
        (replace(SCENARIO, name=text), "name"),
    ):
        assert refused(value) == (field, "form")
    check(replace(PROVIDER, id="a" * 64))


@pytest.mark.parametrize(
    ("value", "field", "rule"),
    [
        (replace(PROVIDER, name=" "), "name", "R6"),
        (replace(PROVIDER, name="x" * 129), "name", "form"),
        (replace(PROVIDER, licence="a\tb"), "licence", "form"),
        (replace(USER, name=""), "name", "R6"),
        (replace(USER, credit_code="91350100M000100Y44"), "credit_code", "R6"),
        (replace(USER, credit_code="91350100M000100Y4"), "credit_code", "R6"),
        (replace(USER, credit_code="91350100I000100Y43"), "credit_code", "R6"),
        (replace(USER, caps=Caps(per_day=-1)), "caps.per_day", "form"),
        (replace(CONTRACT, reference=""), "reference", "R6"),
        (replace(CONTRACT, starts_ms=-1), "starts_ms", "form"),
        (replace(CONTRACT, starts_ms=2, ends_ms=2), "ends_ms", "form"),
        (replace(CONTRACT, starts_ms=2, ends_ms=-5), "ends_ms", "form"),
        (replace(SCENARIO, title="\x00"), "title", "form"),
        (replace(SCENARIO, longest_days=0), "longest_days", "R17"),
        (replace(SCENARIO, longest_days=91), "longest_days", "R17"),
        (replace(SCENARIO, windows=(Window(0, 0, 60, 60),)), "windows[0]", "form"),
        (replace(SCENARIO, ring_seconds=181), "ring_seconds", "form"),
        (replace(SCENARIO, longest_seconds=43_201), "longest_seconds", "form"),
        (replace(SCENARIO, caps=CapSet(binding=Caps(per_hour=-1))), "caps.binding.per_hour", "form"),
    ],
)
def test_what_is_wrong_is_told_by_field_and_rule(value: Resource, field: str, rule: str) -> None:
    assert refused(value) == (field, rule)


@pytest.mark.parametrize(
    ("contract", "covered"),
    [
        (replace(CONTRACT, starts_ms=10, ends_ms=20), range(10, 20)),
        (replace(CONTRACT, starts_ms=10, ends_ms=0), range(10, 30)),
        (replace(CONTRACT, starts_ms=0, ends_ms=20), range(20)),
        (replace(CONTRACT, starts_ms=10, ends_ms=20, state=State.SUSPENDED), range(0)),
        (replace(CONTRACT, starts_ms=10, ends_ms=20, state=State.TERMINATED), range(0)),
    ],
)
def test_a_contract_covers_the_time_it_is_in_force(contract: Contract, covered: range) -> None:
    assert [now for now in range(30) if contract.covers(now)] == list(covered)


def test_a_scenario_is_named_by_its_user_and_its_name() -> None:
    assert SCENARIO.id == "shop-1/delivery"
    assert scenario_key(SCENARIO.id) == ("shop-1", "delivery")
    assert scenario_key("delivery") == ("delivery", "")


TERMS = (Direction.A_TO_B, 0, 7 * DAY_MS, 60, 600)


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (0, Direction.BOTH, "direction"),
        (0, Direction.B_TO_A, "direction"),
        (2, 7 * DAY_MS + 1, "expires_ms"),
        (3, 61, "ring_seconds"),
        (4, 601, "longest_seconds"),
    ],
)
def test_terms_beyond_the_scenario_are_refused(place: int, value: Direction | int, field: str) -> None:
    check_terms(SCENARIO, *TERMS)
    terms: list[Direction | int] = [*TERMS]
    terms[place] = value
    with pytest.raises(BindingError) as caught:
        check_terms(SCENARIO, *terms)  # type: ignore[arg-type]
    assert (caught.value.field, caught.value.rule) == (field, "R17")


def test_a_scenario_without_limits_allows_what_the_switch_does() -> None:
    for direction in Direction:
        check_terms(Scenario("shop-1", "delivery"), direction, 0, 90 * DAY_MS, 180, 43_200)
