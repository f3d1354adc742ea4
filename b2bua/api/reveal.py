"""Real numbers in answers: masked, but for the provider that gave them and asks for them in full."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Query

from b2bua.api.auth import Caller
from b2bua.api.context import Context
from b2bua.api.problem import ProblemError
from routing.access import Role
from routing.numbers import mask

__all__ = ["Reveal", "note_reveal", "number_shown"]

ALL = "*"  # a list of them

Reveal = Annotated[
    bool, Query(description="Show real numbers in full. For a provider's key, which sees its own bindings only.")
]


def number_shown(caller: Caller, reveal: bool) -> Callable[[str], str]:
    """How a real number is shown to this caller. ProblemError when it may not ask for that."""
    if not reveal:
        return mask
    if caller.role is not Role.PROVIDER:
        raise ProblemError(403, "real numbers are shown to the provider that gave them", "reveal", "role")
    return str


async def note_reveal(context: Context, caller: Caller, reveal: bool, kind: str, identifier: str = ALL) -> None:
    """Note in the audit, before the answer, that real numbers which were kept are shown in full (R11)."""
    if reveal:
        await context.store.audit.note(context.clock(), caller.by, "reveal", kind, identifier, provider=caller.provider)
