"""/v1/audit: who did what to what, when and why."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from b2bua.api.auth import Everybody
from b2bua.api.context import Ctx
from b2bua.api.models import Shown
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented

__all__ = ["router"]

router = APIRouter(prefix="/v1/audit", tags=["audit"])


class DeedShown(Shown):
    """One deed. Rows are added and never changed."""

    number: int
    at_ms: int
    by: str = Field(description="`key:<id>`, `cli:<unix user>`, `switch`, …")
    action: str
    kind: str = Field(description="What kind of thing it was done to.")
    id: str = Field(description="To which of them.")
    reason: str
    provider: str = Field(description="Whose that is.")
    detail: dict[str, Any]


@router.get("", summary="Read the audit", responses=documented())
async def list_deeds(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    provider: Annotated[str, Query(max_length=64)] = "",
    kind: Annotated[str, Query(max_length=64)] = "",
    id: Annotated[str, Query(max_length=160)] = "",
    by: Annotated[str, Query(max_length=160)] = "",
) -> Listing[DeedShown]:
    """The newest first; a provider sees what was done to its own."""
    scope = caller.scope(provider)
    return await page.of(
        lambda after, limit: context.store.audit.list(after, limit, provider=scope, kind=kind, identifier=id, by=by),
        lambda deed: str(deed.number),
        DeedShown.model_validate,
    )
