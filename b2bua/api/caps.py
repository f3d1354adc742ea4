"""Caps in bodies (R14)."""

from typing import Annotated

from pydantic import ConfigDict, Field

from b2bua.api.models import Body
from routing.caps import LARGEST_CAP, Caps, CapSet, parse_cap_set, parse_caps

__all__ = ["CapSetBody", "CapsBody"]

Cap = Annotated[int, Field(ge=0, le=LARGEST_CAP)]


class CapsBody(Body):
    """Attempts let through in a minute, an hour and a day, calls up at one time; 0 is no limit."""

    model_config = ConfigDict(from_attributes=True)

    per_minute: Cap = 0
    per_hour: Cap = 0
    per_day: Cap = 0
    concurrent: Cap = 0
    distinct_x: Cap = Field(default=0, description="Middle numbers one caller may dial in a day; of a caller only.")

    def caps(self, field: str = "caps") -> Caps:
        """As routing has them; BindingError."""
        return parse_caps(self.model_dump(), field)


class CapSetBody(Body):
    """Caps by whom they count."""

    model_config = ConfigDict(from_attributes=True)

    caller: CapsBody = CapsBody()
    binding: CapsBody = CapsBody()
    number: CapsBody = Field(default=CapsBody(), description="Each middle number.")
    total: CapsBody = Field(default=CapsBody(), description="All attempts of the scenario together.")

    def cap_set(self) -> CapSet:
        """As routing has them; BindingError."""
        return parse_cap_set(self.model_dump())
