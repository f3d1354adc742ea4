"""Caps: how often something may be used (R14, R17). Windows are by the clock in China: a minute, an hour, a day."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from routing.errors import BindingError

__all__ = ["NO_CAPS", "NO_CAP_SET", "CapSet", "Caps", "format_cap_set", "format_caps", "parse_cap_set", "parse_caps"]

# A larger number is a mistake in typing, and one that a table could not hold.
LARGEST_CAP = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Caps:
    """Attempts that are let through in one minute, hour and day, calls up at one time, and middle numbers that one
    caller may dial in one day. 0 is no limit."""

    per_minute: int = 0
    per_hour: int = 0
    per_day: int = 0
    concurrent: int = 0
    distinct_x: int = 0

    def over(self, base: "Caps") -> "Caps":
        """These caps, and those of ``base`` where there is none here; NO_CAPS itself where there is none at all."""
        merged = Caps(
            self.per_minute or base.per_minute,
            self.per_hour or base.per_hour,
            self.per_day or base.per_day,
            self.concurrent or base.concurrent,
            self.distinct_x or base.distinct_x,
        )
        return NO_CAPS if merged == NO_CAPS else merged


NO_CAPS: Final = Caps()


@dataclass(frozen=True, slots=True)
class CapSet:
    """The caps of a scenario, by whom they count: each caller, each binding, each middle number, and all attempts of
    the scenario together. ``distinct_x`` means something for a caller only."""

    caller: Caps = NO_CAPS
    binding: Caps = NO_CAPS
    number: Caps = NO_CAPS
    total: Caps = NO_CAPS

    def over(self, base: "CapSet") -> "CapSet":
        """These caps, and those of ``base`` where there is none here."""
        return CapSet(
            self.caller.over(base.caller),
            self.binding.over(base.binding),
            self.number.over(base.number),
            self.total.over(base.total),
        )


NO_CAP_SET: Final = CapSet()

_CAPS_FIELDS: Final = tuple(field.name for field in fields(Caps))
_SET_FIELDS: Final = tuple(field.name for field in fields(CapSet))


def parse_caps(values: object, field: str = "caps") -> Caps:
    """Read caps from a plain mapping such as a JSON object; BindingError names ``field`` and the key at fault."""
    if not isinstance(values, Mapping):
        raise BindingError(field, "form", "must be an object of caps")
    found: dict[str, int] = {}
    for key, value in values.items():
        if key not in _CAPS_FIELDS:
            raise BindingError(f"{field}.{key}", "form", f"there is no such cap; there are {', '.join(_CAPS_FIELDS)}")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_CAP:
            raise BindingError(f"{field}.{key}", "form", f"must be a whole number from 0 to {LARGEST_CAP}")
        if key == "distinct_x" and value and not field.endswith("caller"):
            raise BindingError(f"{field}.{key}", "R14", "counts middle numbers of a caller; give it under caller")
        found[key] = value
    return Caps(**found)


def format_caps(caps: Caps) -> dict[str, int]:
    """The caps there are, as a plain mapping; the pair of ``parse_caps``."""
    return {name: value for name in _CAPS_FIELDS if (value := getattr(caps, name))}


def parse_cap_set(values: object, field: str = "caps") -> CapSet:
    """Read the caps of a scenario from a plain mapping such as a JSON object; BindingError names the key at fault."""
    if not isinstance(values, Mapping):
        raise BindingError(field, "form", "must be an object of caps")
    found: dict[str, Caps] = {}
    for key, value in values.items():
        if key not in _SET_FIELDS:
            raise BindingError(f"{field}.{key}", "form", f"there is no such cap; there are {', '.join(_SET_FIELDS)}")
        found[key] = parse_caps(value, f"{field}.{key}")
    return CapSet(**found)


def format_cap_set(caps: CapSet) -> dict[str, dict[str, int]]:
    """The caps there are, as a plain mapping; the pair of ``parse_cap_set``."""
    return {name: values for name in _SET_FIELDS if (values := format_caps(getattr(caps, name)))}
