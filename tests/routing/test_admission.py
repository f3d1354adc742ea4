"""What the gate says to requests of the modes with two aliases and with groups; of plain ones, see test_binding."""

from dataclasses import replace
from typing import Any

import pytest

from routing.admission import admit, fingerprint_text
from routing.binding import Binding, Mode
from routing.errors import BindingError
from routing.groups import MOST_MEMBERS, Group, admit_members, check_name, member_text
from routing.plan import PREFIX_DIGITS, Block, BlockState
from tests.routing.samples import BLOCK, HOUR, NOW, PREFIX, STRANGER, A, B, X, request

Y = f"{PREFIX}0002"
GROUP = Group("couriers", "provider", "shop", "couriers", (A, STRANGER), NOW, 1)
BLOCKS = {
    PREFIX: BLOCK,
    "70012345679": Block("70012345679", "another", "shop", BlockState.ACTIVE),
    "70012345680": replace(BLOCK, prefix="70012345680", business_user="taxi"),
    "70012345681": replace(BLOCK, prefix="70012345681", state=BlockState.FROZEN),
}


def gate(known: Group | None = GROUP, **changes: Any) -> Binding:
    return admit(request(**changes), lambda x: BLOCKS.get(x[:PREFIX_DIGITS]), "binding", NOW, group=known)


def test_each_mode_is_admitted_with_what_it_needs() -> None:
    assert gate(mode=Mode.AXYB, y=f"+86{Y}").y == Y
    assert gate(mode=Mode.GXB, group="couriers").group == "couriers"
    both = gate(mode=Mode.GXYB, y=Y, group="couriers", a=STRANGER, most_calls=3)
    assert (both.x, both.y, both.a, both.b, both.most_calls) == (X, Y, STRANGER, B, 3)


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"y": Y}, "y", "form"),
        ({"mode": Mode.GXB, "group": "couriers", "y": Y}, "y", "form"),
        ({"mode": Mode.AXYB, "y": X}, "y", "form"),
        ({"mode": Mode.AXYB, "y": "13800138000"}, "y", "R3"),
        ({"mode": Mode.AXYB, "y": "700999999990001"}, "y", "R3"),
        ({"mode": Mode.AXYB, "y": "700123456790001"}, "y", "R6"),
        ({"mode": Mode.AXYB, "y": "700123456800001"}, "business_user", "R5"),
        ({"mode": Mode.AXYB, "y": "700123456810001"}, "y", "R18"),
        ({"group": "couriers"}, "group", "form"),
        ({"mode": Mode.GXB}, "group", "form"),
        ({"mode": Mode.GXB, "group": "couriers", "a": "13700137000"}, "a", "member"),
        ({"mode": Mode.GXB, "group": "couriers", "b": STRANGER}, "b", "key"),
        ({"mode": Mode.GXYB, "y": Y, "group": "couriers", "b": STRANGER}, "b", "key"),
        ({"most_calls": -1}, "most_calls", "form"),
        ({"most_calls": 1_000_001}, "most_calls", "form"),
        ({"client_token": "t" * 129}, "client_token", "form"),
        ({"client_token": "a\nb"}, "client_token", "form"),
        ({"provider": "\ud800"}, "provider", "R6"),
    ],
)
def test_what_a_mode_does_not_allow_is_refused_with_field_and_rule(
    changes: dict[str, Any], field: str, rule: str
) -> None:
    with pytest.raises(BindingError) as caught:
        gate(**changes)
    assert (caught.value.field, caught.value.rule) == (field, rule)
    assert "3800138" not in str(caught.value)


def test_a_group_must_be_there_and_of_the_same_business_user() -> None:
    for group, rule in ((None, "form"), (replace(GROUP, business_user="taxi"), "R5")):
        with pytest.raises(BindingError) as caught:
            gate(group, mode=Mode.GXB, group="couriers")
        assert (caught.value.field, caught.value.rule) == ("group", rule)


SAME: list[dict[str, Any]] = [
    {"a": "+8613800138000"},
    {"x": f"0086{X}"},
    {"b": "01087654321"},
    {"client_token": "token"},
    {"provider": "provider"},
]
OTHER: list[dict[str, Any]] = [
    {"a": STRANGER},
    {"x": Y},
    {"x": ""},
    {"mode": Mode.AXYB},
    {"y": Y},
    {"group": "couriers"},
    {"order_id": "order-2"},
    {"expires_ms": NOW + HOUR + 1},
    {"starts_ms": NOW},
    {"consent": "consent-2"},
    {"most_calls": 1},
    {"a": "no number"},
]


@pytest.mark.parametrize("changes", SAME)
def test_another_spelling_is_the_same_request(changes: dict[str, Any]) -> None:
    assert fingerprint_text(request(**changes)) == fingerprint_text(request())


def test_every_difference_makes_another_request() -> None:
    texts = [fingerprint_text(request(**changes)) for changes in ({}, *OTHER)]
    assert len(set(texts)) == len(texts)


# --- groups ---


def test_members_are_kept_in_the_stored_form_and_once() -> None:
    assert admit_members(["138 0013 8000", "+8613800138000", "010-87654321"]) == (A, B)
    assert admit_members([A, B], (B,)) == (A,)


@pytest.mark.parametrize(
    ("text", "rule"), [("95588", "R13"), ("", "R13"), ("+14155550123", "R13"), (X, "R3"), (f"0{X}", "R3")]
)
def test_who_cannot_be_a_party_cannot_be_a_member(text: str, rule: str) -> None:
    with pytest.raises(BindingError) as caught:
        admit_members([A, text])
    assert (caught.value.field, caught.value.rule) == ("member", rule)
    assert not text or text not in caught.value.message


def test_a_group_has_only_so_many_members() -> None:
    crowd = [f"138{number:08d}" for number in range(MOST_MEMBERS)]
    assert len(admit_members(crowd)) == MOST_MEMBERS
    with pytest.raises(BindingError, match=f"at most {MOST_MEMBERS}"):
        admit_members([STRANGER], admit_members(crowd))


@pytest.mark.parametrize("name", ["", "  ", "n" * 129, "a\tb"])
def test_a_name_is_a_line_of_text(name: str) -> None:
    with pytest.raises(BindingError) as caught:
        check_name(name)
    assert caught.value.field == "name"


def test_one_member_is_hashed_differently_in_every_group() -> None:
    assert member_text("one", A) != member_text("two", A)
