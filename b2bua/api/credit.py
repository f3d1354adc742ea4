"""/v1/credit: what stands against business users (R19)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field

from b2bua.api.auth import Caller, Everybody, Operator
from b2bua.api.context import Context, Ctx
from b2bua.api.models import Body, Shown
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from routing.credit import Source, Violation
from routing.errors import NotFound
from routing.registry import BusinessUser
from routing.store.credit import LARGEST_TIMES, LONGEST_NOTE

__all__ = ["router"]

router = APIRouter(prefix="/v1/credit", tags=["policy"])

UserId = Annotated[str, Path(description="The business user.", max_length=64, examples=["shop-1"])]
Day = Annotated[str, Query(description="A day in China, such as 2026-11-22; both bounds are included.", max_length=10)]


class CreditShown(Shown):
    """How often something happened on a day; negative takes something back."""

    number: int
    business_user: str
    day: str
    violation: Violation
    times: int
    source: Source
    note: str
    by: str
    at_ms: int


class CreditFileShown(Shown):
    """The sums of a business user between two days."""

    business_user: str
    since_day: str
    until_day: str
    totals: dict[str, int] = Field(description="Times by violation.")


class CreditNote(Body):
    """Something to be put into a credit file."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"violation": "complaint", "note": "complaint 4711, confirmed", "times": 1}}
    )

    violation: Annotated[Violation, Field(strict=False)]
    note: Annotated[str, Field(min_length=1, max_length=LONGEST_NOTE)]
    times: Annotated[int, Field(ge=-LARGEST_TIMES, le=LARGEST_TIMES)] = 1
    day: Annotated[str, Field(max_length=10)] = ""


@router.get("/{business_user}", summary="Sum up a credit file", responses=documented(404))
async def get_credit(
    context: Ctx, caller: Everybody, business_user: UserId, since_day: Day = "", until_day: Day = ""
) -> CreditFileShown:
    """A provider sees those of its business users."""
    await _own(context, caller, business_user)
    return CreditFileShown.model_validate(
        await context.store.credit.file(business_user, since_day=since_day, until_day=until_day)
    )


@router.get("/{business_user}/entries", summary="List a credit file", responses=documented(404))
async def list_credit(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    business_user: UserId,
    since_day: Day = "",
    until_day: Day = "",
) -> Listing[CreditShown]:
    """The newest first."""
    await _own(context, caller, business_user)
    return await page.of(
        lambda after, limit: context.store.credit.list(
            business_user, after, limit, since_day=since_day, until_day=until_day
        ),
        lambda entry: str(entry.number),
        CreditShown.model_validate,
    )


@router.post(
    "/{business_user}/entries",
    status_code=201,
    summary="Put something into a credit file",
    responses=documented(404, 413, 415),
)
async def add_credit(context: Ctx, caller: Operator, business_user: UserId, body: CreditNote) -> CreditShown:
    """It stays; what was wrong is taken back by a negative entry."""
    entry = await context.store.credit.note(
        business_user, body.violation, body.note, context.clock(), by=caller.by, times=body.times, day=body.day
    )
    return CreditShown.model_validate(entry)


async def _own(context: Context, caller: Caller, business_user: str) -> None:
    if await context.store.registry.get(BusinessUser, business_user, provider=caller.provider) is None:
        raise NotFound("business_user", "R6", "no such business user")
