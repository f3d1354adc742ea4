"""A group: subscribers of whom any may call, and be called, as the A side of bindings in modes GXB and GXYB."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from routing.errors import BindingError
from routing.numbers import parse_middle, parse_subscriber
from routing.terms import check_reference

# Every live binding of a group has one key for each member: this bounds what one binding costs the store, and that the
# switch's files are written in one piece when a member comes or goes.
MOST_MEMBERS: Final = 200


@dataclass(frozen=True, slots=True)
class Group:
    """One group of a business user. `members` are E.164, in the order they came; `revision` counts changes from 1."""

    id: str
    provider: str
    business_user: str
    name: str
    members: tuple[str, ...]
    created_ms: int
    revision: int


def check_name(name: str) -> None:
    """Refuse a name that is none: BindingError."""
    if not name.strip():
        raise BindingError("name", "form", "must be given")
    check_reference("name", name)


def admit_members(texts: Iterable[str], present: Iterable[str] = ()) -> tuple[str, ...]:
    """Return new members as E.164, once each, without those present; BindingError when one is no subscriber of China
    (R13) or they would be too many."""
    there = dict.fromkeys(present)
    before = len(there)
    for text in texts:
        there[party("member", text)] = None
    if len(there) > MOST_MEMBERS:
        raise BindingError("member", "form", f"a group has at most {MOST_MEMBERS} members")
    return tuple(there)[before:]


def party(field: str, text: str) -> str:
    """Return a real number as E.164; BindingError, which does not repeat it, when it cannot be a party (R3, R13)."""
    number = parse_subscriber(text)
    if number is not None:
        return number
    if parse_middle(text, accept_zero=True) is not None:
        raise BindingError(field, "R3", "a middle number cannot be a party")
    raise BindingError(field, "R13", "not a mobile or fixed-line number of China")


def member_text(group: str, number: str) -> str:
    """Return the text whose keyed hash stands for a member; another for every group, so that groups do not compare."""
    return f"member|{group}|{number}"
