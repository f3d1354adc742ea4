"""/v1/blocklist and /v1/caller-ranges: who or what may not call or be called (R12, R13)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field

from b2bua.api.auth import Operator, Watcher
from b2bua.api.context import Ctx
from b2bua.api.models import Body, Instant, Shown, Text, WithReason
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from routing.blocklist import LONGEST_RANGE, LONGEST_REASON, PERSONAL, Blocked, BlockKind, BlockRequest
from routing.errors import NotFound
from routing.numbers import mask

__all__ = ["ranges", "router"]

router = APIRouter(prefix="/v1/blocklist", tags=["policy"])
ranges = APIRouter(prefix="/v1/caller-ranges", tags=["policy"])

EntryId = Annotated[int, Path(description="The entry's number.", ge=1, le=2**53 - 1)]
Range = Annotated[
    str, Path(description="First digits of a national number.", max_length=LONGEST_RANGE, examples=["138", "010"])
]


class EntryShown(Shown):
    """An entry of the block list. A real number is masked."""

    id: int
    kind: BlockKind
    value: str
    reason: str
    by: str
    cut: bool = Field(description="Whether calls that were up were ended.")
    business_user: str = Field(description="Whose business gave cause; goes into its credit file.")
    created_ms: int
    expires_ms: int = Field(description="0: it does not expire.")
    lifted_ms: int
    lifted_by: str
    lifted_reason: str
    live: bool = Field(description="Whether it blocks now.")


class NewEntry(Body):
    """What is to be blocked."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"kind": "caller", "value": "13800138000", "reason": "case 2026-118", "cut": True}
        }
    )

    kind: Annotated[BlockKind, Field(strict=False)]
    value: Text = Field(description="A real number, a middle number, a block, or an id, as the kind says.")
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]
    expires_ms: Instant = 0
    cut: bool = Field(default=False, description="End live calls too.")
    business_user: Text = ""


class RangeShown(Shown):
    """Callers whose national number begins so may call, or may not; the longest range that matches decides."""

    prefix: str
    allowed: bool
    reason: str
    by: str
    created_ms: int


class RangeSetting(Body):
    """Whether callers of a range may call."""

    model_config = ConfigDict(json_schema_extra={"example": {"allowed": False, "reason": "order 2026-31"}})

    allowed: bool
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]


class Ranges(Shown):
    """All ranges, in the order of their digits."""

    items: list[RangeShown]


@router.get("", summary="List the block list", responses=documented())
async def list_entries(
    context: Ctx,
    caller: Watcher,
    page: Paging,
    kind: BlockKind | None = None,
    live: Annotated[bool, Query(description="Only what blocks now.")] = False,
) -> Listing[EntryShown]:
    """The newest first. To look for a number, ask with POST /v1/blocklist/search: a number stands in no URL."""
    now_ms = context.clock()
    return await page.of(
        lambda after, limit: context.store.blocklist.list(
            after, limit, kind=kind.value if kind else "", live_at_ms=now_ms if live else 0
        ),
        lambda entry: str(entry.id),
        lambda entry: _shown(entry, now_ms),
    )


class Search(Body):
    """What entries are to be about."""

    model_config = ConfigDict(json_schema_extra={"example": {"kind": "caller", "value": "13800138000"}})

    kind: Annotated[BlockKind, Field(strict=False)]
    value: Text


@router.post("/search", summary="Look for the entries about one value", responses=documented(413, 415))
async def search_entries(context: Ctx, caller: Watcher, page: Paging, body: Search) -> Listing[EntryShown]:
    """The newest first."""
    now_ms = context.clock()
    return await page.of(
        lambda after, limit: context.store.blocklist.list(after, limit, kind=body.kind.value, value=body.value),
        lambda entry: str(entry.id),
        lambda entry: _shown(entry, now_ms),
    )


@router.post("", status_code=201, summary="Block something", responses=documented(409, 413, 415))
async def add_entry(context: Ctx, caller: Operator, body: NewEntry, response: Response) -> EntryShown:
    """New calls and messages are refused within a second."""
    now_ms = context.clock()
    request = BlockRequest(body.kind, body.value, body.reason, body.expires_ms, body.cut, body.business_user)
    entry = await context.store.blocklist.add(request, now_ms, by=caller.by)
    response.headers["Location"] = f"/v1/blocklist/{entry.id}"
    return _shown(entry, now_ms)


@router.get("/{id}", summary="Look at an entry", responses=documented(404))
async def get_entry(context: Ctx, caller: Watcher, id: EntryId) -> EntryShown:
    """Live or not."""
    entry = await context.store.blocklist.get(id)
    if entry is None:
        raise NotFound("id", "R12", "no such entry")
    return _shown(entry, context.clock())


@router.post("/{id}/lift", summary="Lift an entry", responses=documented(404, 409, 413, 415))
async def lift_entry(context: Ctx, caller: Operator, id: EntryId, body: WithReason) -> EntryShown:
    """Before its time; the switch follows within a second."""
    now_ms = context.clock()
    return _shown(await context.store.blocklist.lift(id, now_ms, by=caller.by, reason=body.reason), now_ms)


@ranges.get("", summary="List caller ranges", responses=documented())
async def list_ranges(context: Ctx, caller: Watcher) -> Ranges:
    """All there are."""
    found = await context.store.blocklist.ranges()
    return Ranges(items=[RangeShown.model_validate(item) for item in found])


@ranges.put("/{prefix}", summary="Allow or deny a caller range", responses=documented(413, 415))
async def set_range(context: Ctx, caller: Operator, prefix: Range, body: RangeSetting) -> RangeShown:
    """The switch follows within a second."""
    made = await context.store.blocklist.set_range(
        prefix, body.allowed, context.clock(), by=caller.by, reason=body.reason
    )
    return RangeShown.model_validate(made)


@ranges.post("/{prefix}/drop", status_code=204, summary="Drop a caller range", responses=documented(404, 413, 415))
async def drop_range(context: Ctx, caller: Operator, prefix: Range, body: WithReason) -> None:
    """What it said is said no more."""
    await context.store.blocklist.drop_range(prefix, context.clock(), by=caller.by, reason=body.reason)


def _shown(entry: Blocked, now_ms: int) -> EntryShown:
    return EntryShown(
        id=entry.id,
        kind=entry.kind,
        value=mask(entry.value) if entry.kind in PERSONAL else entry.value,
        reason=entry.reason,
        by=entry.by,
        cut=entry.cut,
        business_user=entry.business_user,
        created_ms=entry.created_ms,
        expires_ms=entry.expires_ms,
        lifted_ms=entry.lifted_ms,
        lifted_by=entry.lifted_by,
        lifted_reason=entry.lifted_reason,
        live=entry.live(now_ms),
    )
