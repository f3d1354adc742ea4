from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from routing.admission import admit
from routing.binding import DAY_MS, Binding, BindingRequest, BindingState, Direction, keys
from routing.errors import BindingError
from routing.plan import Block, BlockState
from routing.terms import LONGEST_CALL_SECONDS, LONGEST_REFERENCE, LONGEST_RING_SECONDS
from tests.routing.samples import BINDING, BLOCK, HOUR, NOW, STRANGER, A, B, X, binding, request


def admitted(block: Block = BLOCK, longest_days: int = 90, **changes: Any) -> Binding:
    return admit(request(**changes), lambda _: block, "binding", NOW, longest_days)


def refused(asked: BindingRequest, block: Block | None = BLOCK, longest_days: int = 90) -> BindingError:
    with pytest.raises(BindingError) as caught:
        admit(asked, lambda _: block, "binding", NOW, longest_days)
    return caught.value


@pytest.mark.parametrize(
    ("changes", "now_ms", "live"),
    [
        ({}, NOW - 1, False),
        ({}, NOW, True),
        ({}, NOW + HOUR - 1, True),
        ({}, NOW + HOUR, False),
        ({"ended_ms": NOW + 5}, NOW + 4, False),
        ({"ended_ms": NOW + 5}, NOW + 5, False),
    ],
)
def test_a_binding_lives_from_its_start_until_it_expires_or_is_ended(
    changes: dict[str, Any], now_ms: int, live: bool
) -> None:
    assert binding(**changes).live(now_ms) is live


def test_a_binding_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        BINDING.a = STRANGER  # type: ignore[misc]


def test_an_admitted_request_is_kept_in_the_stored_forms() -> None:
    assert admitted(industrial_id="700.100.1/12345678") == BINDING
    assert admitted(x=f"+86{X}", a="%2B8613800138000", b="861087654321", provider="provider").x == X


def test_what_is_asked_for_is_what_is_bound() -> None:
    bound = admitted(direction=Direction.A_TO_B, ring_seconds=25, longest_seconds=600, starts_ms=NOW + 5)
    assert (bound.direction, bound.ring_seconds, bound.longest_seconds) == (Direction.A_TO_B, 25, 600)
    assert (bound.starts_ms, bound.ended_ms) == (NOW + 5, 0)


def test_an_allocated_block_may_be_filled_ahead_of_its_activation() -> None:
    assert admitted(replace(BLOCK, state=BlockState.ALLOCATED)).x == X


def test_a_barred_direction_occupies_its_key_too() -> None:
    assert keys(binding(direction=Direction.A_TO_B)) == ((X, A), (X, B))


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"x": "700123456780001"[:-1]}, "x", "R3"),
        ({"x": "13800138000"}, "x", "R3"),
        ({"x": f"0{X}"}, "x", "R3"),
        ({"a": "+14155550123"}, "a", "R13"),
        ({"a": ""}, "a", "R13"),
        ({"b": "95588"}, "b", "R13"),
        ({"b": "１３８００１３８００１"}, "b", "R13"),
        ({"a": X}, "a", "R3"),
        ({"b": f"0{X}"}, "b", "R3"),
        ({"b": A}, "b", "key"),
        ({"a": "010-8765-4321"}, "b", "key"),
        ({"business_user": "taxi"}, "business_user", "R5"),
        ({"business_user": ""}, "business_user", "R5"),
        ({"provider": "another"}, "provider", "R6"),
        ({"scenario": ""}, "scenario", "R17"),
        ({"order_id": ""}, "order_id", "R5"),
        ({"order_id": "  "}, "order_id", "R5"),
        ({"real_name": ""}, "real_name", "R16"),
        ({"consent": ""}, "consent", "R16"),
        ({"order_id": "o" * (LONGEST_REFERENCE + 1)}, "order_id", "form"),
        ({"consent": "line\nline"}, "consent", "form"),
        ({"industrial_id": "700\x00"}, "industrial_id", "form"),
        ({"scenario": "\ud800"}, "scenario", "form"),
        ({"starts_ms": -1}, "starts_ms", "form"),
        ({"expires_ms": NOW}, "expires_ms", "form"),
        ({"expires_ms": NOW - 1}, "expires_ms", "form"),
        ({"starts_ms": NOW - HOUR, "expires_ms": NOW - 1}, "expires_ms", "form"),
        ({"starts_ms": NOW + HOUR, "expires_ms": NOW + HOUR}, "expires_ms", "form"),
        ({"expires_ms": NOW + 90 * DAY_MS + 1}, "expires_ms", "R17"),
        ({"starts_ms": NOW - DAY_MS, "expires_ms": NOW + 90 * DAY_MS}, "expires_ms", "R17"),
        ({"starts_ms": NOW + 80 * DAY_MS, "expires_ms": NOW + 91 * DAY_MS}, "expires_ms", "R17"),
        ({"ring_seconds": -1}, "ring_seconds", "form"),
        ({"ring_seconds": LONGEST_RING_SECONDS + 1}, "ring_seconds", "form"),
        ({"longest_seconds": -1}, "longest_seconds", "form"),
        ({"longest_seconds": LONGEST_CALL_SECONDS + 1}, "longest_seconds", "form"),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_with_its_field_and_rule(
    changes: dict[str, Any], field: str, rule: str
) -> None:
    error = refused(request(**changes))
    assert (error.field, error.rule) == (field, rule)
    assert error.message in str(error)
    assert field in str(error)


@pytest.mark.parametrize("state", [BlockState.FROZEN, BlockState.RETURNED])
def test_a_frozen_or_returned_block_takes_no_binding(state: BlockState) -> None:
    error = refused(request(), block=replace(BLOCK, state=state))
    assert (error.field, error.rule) == ("x", "R18")
    assert state.value in error.message


def test_a_number_in_no_assigned_block_is_refused() -> None:
    error = refused(request(), block=None)
    assert (error.field, error.rule) == ("x", "R3")


def test_an_unregistered_owner_of_a_block_cannot_bind() -> None:
    error = refused(request(business_user=" "), block=replace(BLOCK, business_user=" "))
    assert (error.field, error.rule) == ("business_user", "R6")


@pytest.mark.parametrize(
    "changes",
    [
        {"expires_ms": NOW + 90 * DAY_MS},
        {"starts_ms": NOW - HOUR, "expires_ms": NOW + 1},
        {"ring_seconds": LONGEST_RING_SECONDS},
        {"longest_seconds": LONGEST_CALL_SECONDS},
        {"order_id": "订" * LONGEST_REFERENCE},
    ],
)
def test_the_limits_themselves_are_allowed(changes: dict[str, Any]) -> None:
    assert admitted(**changes).id == "binding"


def test_the_longest_binding_is_a_setting() -> None:
    assert admitted(longest_days=1, expires_ms=NOW + DAY_MS).id == "binding"
    error = refused(request(expires_ms=NOW + DAY_MS + 1), longest_days=1)
    assert "at most 1 days" in error.message


@pytest.mark.parametrize("changes", [{"a": "+14155550123"}, {"b": A}, {"x": "70013800138000"}, {"a": "1380013800O"}])
def test_a_refusal_never_repeats_a_number(changes: dict[str, Any]) -> None:
    text = str(refused(request(**changes)))
    assert not any(digits in text for digits in ("4155550123", "13800138", "87654321"))


@pytest.mark.parametrize(
    ("changes", "now_ms", "state"),
    [
        ({}, NOW - 1, BindingState.WAITING),
        ({}, NOW, BindingState.LIVE),
        ({}, NOW + HOUR, BindingState.EXPIRED),
        ({"ended_ms": NOW + 5}, NOW, BindingState.ENDED),
    ],
)
def test_a_binding_is_in_one_state_and_holds_its_keys_until_it_is_dead(
    changes: dict[str, Any], now_ms: int, state: BindingState
) -> None:
    one = binding(**changes)
    assert one.state(now_ms) is state
    assert one.live(now_ms) is (state is BindingState.LIVE)
    assert one.held(now_ms) is (state in (BindingState.LIVE, BindingState.WAITING))
