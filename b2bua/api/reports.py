"""/v1/reports: allocation and use of numbers, as the ministry asks for them (R18)."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from b2bua.api.auth import Everybody
from b2bua.api.blocks import BlockShown
from b2bua.api.context import Ctx
from b2bua.api.models import Shown
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from routing.plan import BlockState

__all__ = ["router"]

router = APIRouter(prefix="/v1/reports", tags=["reports"])


class BlockUseShown(Shown):
    """What becomes of the 10,000 numbers of a block now."""

    block: BlockShown
    bound: int = Field(description="Numbers in a binding that is live or yet to start.")
    quarantined: int = Field(description="Numbers that rest after a binding.")
    free: int
    overdue: bool = Field(description="Whether it waits for its activation for longer than it may.")


@router.get("/use", summary="Use of the numbers of each block", responses=documented())
async def report_use(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    provider: Annotated[str, Query(max_length=64)] = "",
    business_user: Annotated[str, Query(max_length=64)] = "",
    state: BlockState | None = None,
) -> Listing[BlockUseShown]:
    """Counted at this instant; a provider sees its own."""
    scope, now_ms = caller.scope(provider), context.clock()
    return await page.of(
        lambda after, limit: context.store.blocks.use(
            now_ms, after, limit, provider=scope, business_user=business_user, state=state
        ),
        lambda use: use.block.prefix,
        BlockUseShown.model_validate,
    )


@router.get("/activations", summary="Blocks that wait for their activation", responses=documented())
async def report_activations(
    context: Ctx, caller: Everybody, page: Paging, provider: Annotated[str, Query(max_length=64)] = ""
) -> Listing[BlockShown]:
    """Each is due within five working days of its allocation; a provider sees its own."""
    scope = caller.scope(provider)
    return await page.of(
        lambda after, limit: context.store.blocks.list(after, limit, provider=scope, state=BlockState.ALLOCATED),
        lambda block: block.prefix,
        BlockShown.model_validate,
    )
