"""What every table of the settings has in common."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """Frozen, without unknown keys, its defaults held to the same rules as what is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
