"""/v1/records: what became of every call and message."""

from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import Field

from b2bua.api.auth import Caller, Everybody
from b2bua.api.context import Context, Ctx
from b2bua.api.models import LAST_INSTANT, Shown
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import RETRY_SECONDS, ProblemError, documented
from cdr.record import Parties, Record, reveal
from cdr.seal import SealError
from cdr.store.sqlite import CursorError, Filters, Page, RecordStore, StoreError
from routing.errors import BindingError, NotFound
from routing.numbers import mask, parse_middle

__all__ = ["router"]

router = APIRouter(prefix="/v1/records", tags=["records"])

RecordId = Annotated[str, Path(description="The id of the record.", max_length=64)]
Since = Annotated[int, Query(ge=0, le=LAST_INSTANT, description="Arrived at this instant or later.")]
Until = Annotated[int, Query(ge=0, le=LAST_INSTANT, description="Arrived before this instant; 0: no end.")]
Word = Annotated[str, Query(max_length=128)]

# Numbers that do not open: of a keyring that is not here.
HIDDEN: Final = Parties("****", "****", "****", "")


class RecordShown(Shown):
    """One attempt. Real numbers are masked, whoever asks; instants are UTC milliseconds, 0 for what did not happen."""

    record_id: str
    kind: str = Field(description="`call` or `message`.")
    provider: str
    business_user: str
    scenario: str
    binding_id: str
    order_id: str
    industrial_id: str
    mode: str
    x: str = Field(description="The middle number; without a binding the number dialled, masked if it is no such.")
    y: str
    a: str
    b: str
    calling: str = Field(description="Which party of the binding dialled: `a`, `b`, or '' without a binding.")
    arrived_ms: int
    ringing_ms: int
    answered_ms: int
    ended_ms: int
    setup_ms: int = Field(description="From arrival to answer, as all durations by a clock that never jumps.")
    talk_ms: int
    total_ms: int
    status: int = Field(description="The final SIP status.")
    q850: int = Field(description="The Q.850 cause, 0: none.")
    outcome: str
    reason: str = Field(description="Why it was refused or cut; '' otherwise.")
    ended_by: str
    verification: str
    media: str
    partial: bool = Field(description="Its beginning was lost: only what its later events said is known.")
    node: str
    ingress: str = Field(description="The carrier it came from; '' for a provider, as the two below.")
    egress: str
    routes: list[str] = Field(description="Every carrier tried, with its answer.")


@router.get("", summary="List records", responses=documented())
async def list_records(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    since_ms: Since = 0,
    until_ms: Until = 0,
    x: Word = "",
    order_id: Word = "",
    business_user: Word = "",
    outcome: Word = "",
    kind: Annotated[Literal["call", "message", ""], Query()] = "",
    provider: Word = "",
) -> Listing[RecordShown]:
    """The newest first. An attempt has its record seconds after it ended."""
    middle = parse_middle(x) if x else ""
    if middle is None:
        raise BindingError("x", "R3", "a middle number is 700 and 12 digits")
    filters = Filters(
        since_ms=since_ms,
        until_ms=until_ms,
        x=middle,
        outcome=outcome,
        order_id=order_id,
        provider=caller.scope(provider),
        business_user=business_user,
        kind=kind,
    )
    found = await _read(context, filters, page.limit, page.after)
    return Listing(
        items=[_show(record, context, caller) for record in found.records],
        next=page.cursor(found.cursor) if found.cursor else None,
    )


@router.get("/{id}", summary="Look at a record", responses=documented(404))
async def get_record(context: Ctx, caller: Everybody, id: RecordId) -> RecordShown:
    """One attempt."""
    found = await _read(context, Filters(record_id=id, provider=caller.provider), 1)
    for record in found.records:
        return _show(record, context, caller)
    raise NotFound("id", "form", "no such record")


async def _read(context: Context, filters: Filters, limit: int, cursor: str = "") -> Page:
    try:
        return await RecordStore(context.records).list(filters, limit=limit, cursor=cursor)
    except CursorError:
        raise ProblemError(422, "is no cursor of this list", "cursor", "form") from None
    except StoreError:
        retry = {"Retry-After": RETRY_SECONDS}
        raise ProblemError(503, "the record store does not answer; try again", headers=retry) from None


def _show(record: Record, context: Context, caller: Caller) -> RecordShown:
    try:
        parties = reveal(record, context.seal)
    except (SealError, ValueError):
        parties = HIDDEN
    fields = msgspec.structs.asdict(record) | {
        "x": record.x or mask(parties.dialled),
        "a": mask(parties.a),
        "b": mask(parties.b),
        "routes": list(record.routes),
    }
    if caller.provider:
        fields |= {"ingress": "", "egress": "", "routes": []}
    return RecordShown.model_validate(fields)
