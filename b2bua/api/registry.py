"""What the four kinds of the registry have in common: how one is found, changed and taken to another state."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from fastapi import Path, Query
from pydantic import Field

from b2bua.api.auth import Caller
from b2bua.api.context import Context
from b2bua.api.etag import required_revision, revision_of
from b2bua.api.models import Shown
from routing.errors import NotFound, StaleRevision
from routing.registry import Resource, State

__all__ = ["Deed", "Id", "Registered", "StateFilter", "changed", "found", "moved"]

T = TypeVar("T", bound=Resource)

Id = Annotated[str, Path(description="Its id.", max_length=64, examples=["shop-1"])]
StateFilter = Annotated[State | None, Query(description="Only what is in this state.")]


class Deed(StrEnum):
    """What takes something to another state."""

    SUSPEND = "suspend"
    RESUME = "resume"
    TERMINATE = "terminate"


_STATES = {Deed.SUSPEND: State.SUSPENDED, Deed.RESUME: State.ACTIVE, Deed.TERMINATE: State.TERMINATED}


class Registered(Shown):
    """What every kind shows."""

    state: State
    reason: str = Field(description="Why it is in its state.")
    since_ms: int = Field(description="Since when it is in its state.")
    revision: int = Field(description="Counts its changes; also the ETag.")


async def found(context: Context, caller: Caller, kind: type[T], identifier: str) -> T:
    """What the caller may know of under this id; NotFound."""
    value = await context.store.registry.get(kind, identifier, provider=caller.provider)
    if value is None:
        raise NotFound("id", "R6", "nothing of this id is registered")
    return value


async def changed(
    context: Context, caller: Caller, kind: type[T], identifier: str, fields: Mapping[str, Any], if_match: str | None
) -> T:
    """Change these fields of what was read at the revision of If-Match, which must be given."""
    revision = required_revision(if_match)
    old = await found(context, caller, kind, identifier)
    if revision not in (0, old.revision):
        raise StaleRevision("If-Match", "revision", f"it has changed: it is at {old.revision}")
    new = replace(old, **fields)
    return await context.store.registry.change(new, context.clock(), by=caller.by, provider=caller.provider)


async def moved(
    context: Context, caller: Caller, kind: type[T], identifier: str, deed: Deed, reason: str, if_match: str | None
) -> T:
    """Take it to another state; If-Match may be given."""
    return await context.store.registry.move(
        kind,
        identifier,
        _STATES[deed],
        context.clock(),
        by=caller.by,
        reason=reason,
        revision=revision_of(if_match),
        provider=caller.provider,
    )
