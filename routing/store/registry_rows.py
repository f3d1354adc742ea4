"""How what is registered lies in rows of the binding store: shared by the room that writes and by those who read."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from routing.caps import format_cap_set, format_caps, parse_cap_set, parse_caps
from routing.registry import BusinessUser, Contract, Provider, Scenario, State
from routing.terms import Direction
from routing.windows import format_window, parse_windows

__all__ = ["SCENARIO_COLUMNS", "SHAPES", "Shape", "scenario_of"]

_STATE: Final = "state, reason, since_ms, revision"
SCENARIO_COLUMNS: Final = (
    "business_user, name, title, longest_days, direction, windows, messages, verify, ring_seconds, longest_seconds,"
    f" caps, {_STATE}"
)


def scenario_of(row: Any) -> Scenario:
    """A row of SCENARIO_COLUMNS."""
    return Scenario(
        row[0],
        row[1],
        row[2],
        row[3],
        Direction(row[4]),
        parse_windows(json.loads(row[5])),
        bool(row[6]),
        bool(row[7]),
        row[8],
        row[9],
        parse_cap_set(json.loads(row[10])),
        State(row[11]),
        *row[12:],
    )


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of thing: its word, its table, its columns and how a value becomes a row and back.

    `own` is the condition that a row belongs to a provider, `key` the columns that name a row; the first columns are
    those, `fixed` counts the ones that never change. The last four are the state, its reason, since when, the revision.
    """

    kind: str
    table: str
    columns: str
    key: tuple[str, ...]
    fixed: int
    own: str
    value: Callable[[Any], Any]
    row: Callable[[Any], tuple[str | int, ...]]

    def names(self) -> list[str]:
        """The columns, one by one."""
        return self.columns.split(", ")

    def told(self, row: Sequence[str | int]) -> dict[str, str | int]:
        """The columns of a row, or of its beginning, by their names."""
        return dict(zip(self.names(), row, strict=False))


def _provider(row: Any) -> Provider:
    identifier, name, licence, state, *rest = row
    return Provider(identifier, name, licence, State(state), *rest)


def _business_user(row: Any) -> BusinessUser:
    identifier, provider, name, credit_code, caps, state, *rest = row
    return BusinessUser(identifier, provider, name, credit_code, parse_caps(json.loads(caps)), State(state), *rest)


def _contract(row: Any) -> Contract:
    identifier, provider, business_user, reference, starts_ms, ends_ms, state, *rest = row
    return Contract(identifier, provider, business_user, reference, starts_ms, ends_ms, State(state), *rest)


def _scenario_row(value: Scenario) -> tuple[str | int, ...]:
    return (
        value.business_user,
        value.name,
        value.title,
        value.longest_days,
        value.direction.value,
        json.dumps([format_window(window) for window in value.windows]),
        int(value.messages),
        int(value.verify),
        value.ring_seconds,
        value.longest_seconds,
        json.dumps(format_cap_set(value.caps)),
    )


SHAPES: Final[dict[type[Any], Shape]] = {
    Provider: Shape(
        "provider",
        "providers",
        f"id, name, licence, {_STATE}",
        ("id",),
        1,
        "id = ?",
        _provider,
        lambda value: (value.id, value.name, value.licence),
    ),
    BusinessUser: Shape(
        "business_user",
        "business_users",
        f"id, provider, name, credit_code, caps, {_STATE}",
        ("id",),
        2,
        "provider = ?",
        _business_user,
        lambda value: (
            value.id,
            value.provider,
            value.name,
            value.credit_code,
            json.dumps(format_caps(value.caps)),
        ),
    ),
    Contract: Shape(
        "contract",
        "contracts",
        f"id, provider, business_user, reference, starts_ms, ends_ms, {_STATE}",
        ("id",),
        3,
        "provider = ?",
        _contract,
        lambda value: (
            value.id,
            value.provider,
            value.business_user,
            value.reference,
            value.starts_ms,
            value.ends_ms,
        ),
    ),
    Scenario: Shape(
        "scenario",
        "scenarios",
        SCENARIO_COLUMNS,
        ("business_user", "name"),
        2,
        "business_user IN (SELECT id FROM business_users WHERE provider = ?)",
        scenario_of,
        _scenario_row,
    ),
}
