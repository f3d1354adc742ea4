"""/v1/blocks: blocks of middle numbers, from allocation to return (R5, R18)."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field

from b2bua.api.auth import Everybody, Operator
from b2bua.api.context import Ctx
from b2bua.api.etag import IfMatch, etag, revision_of
from b2bua.api.models import Body, Identifier, Instant, Shown, Text
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from routing.allocation import BlockLife
from routing.errors import NotFound
from routing.plan import Block, BlockState

__all__ = ["BlockShown", "router"]

router = APIRouter(prefix="/v1/blocks", tags=["blocks"])

Prefix = Annotated[str, Path(description="700 and 8 digits.", max_length=16, examples=["70012345678"])]


class BlockDeed(StrEnum):
    """What takes a block to another state: activate and thaw to active, freeze to frozen, return to returned."""

    ACTIVATE = "activate"
    FREEZE = "freeze"
    THAW = "thaw"
    RETURN = "return"


_STATES = {
    BlockDeed.ACTIVATE: BlockState.ACTIVE,
    BlockDeed.FREEZE: BlockState.FROZEN,
    BlockDeed.THAW: BlockState.ACTIVE,
    BlockDeed.RETURN: BlockState.RETURNED,
}


class BlockShown(Shown):
    """A block: 10,000 middle numbers."""

    prefix: str
    provider: str
    business_user: str
    state: BlockState
    reason: str = Field(description="Why it is in its state.")
    allocated_ms: int
    activated_ms: int = Field(description="0: never yet.")
    frozen_ms: int = Field(description="0: it is not frozen.")
    returned_ms: int = Field(description="0: it is not returned.")
    due_ms: int = Field(description="When it has to be active at the latest, five working days after its allocation.")
    revision: int


class NewBlock(Body):
    """A block that the ministry has allocated."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"prefix": "70012345678", "provider": "platform-1", "business_user": "shop-1", "state": "active"}
        }
    )

    prefix: Annotated[str, Field(max_length=16)]
    provider: Identifier
    business_user: Identifier
    state: Annotated[BlockState, Field(strict=False, description="allocated or active.")] = BlockState.ALLOCATED
    allocated_ms: Instant = 0
    reason: Text = ""


class BlockMove(Body):
    """Why; needed to freeze and to return."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "order of the ministry 2026-31"}})

    reason: Text = ""


@router.get("", summary="List blocks", responses=documented())
async def list_blocks(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    provider: Annotated[str, Query(max_length=64)] = "",
    business_user: Annotated[str, Query(max_length=64)] = "",
    state: BlockState | None = None,
) -> Listing[BlockShown]:
    """A provider sees its own."""
    scope = caller.scope(provider)
    return await page.of(
        lambda after, limit: context.store.blocks.list(
            after, limit, provider=scope, business_user=business_user, state=state
        ),
        lambda block: block.prefix,
        BlockShown.model_validate,
    )


@router.post("", status_code=201, summary="Register a block", responses=documented(409, 413, 415))
async def add_block(context: Ctx, caller: Operator, body: NewBlock, response: Response) -> BlockShown:
    """Its holder must be registered and under contract (R6)."""
    life = await context.store.blocks.add(
        Block(body.prefix, body.provider, body.business_user, body.state),
        context.clock(),
        by=caller.by,
        reason=body.reason,
        allocated_ms=body.allocated_ms,
    )
    response.headers["Location"] = f"/v1/blocks/{life.prefix}"
    return _shown(life, response)


@router.get("/{prefix}", summary="Look at a block", responses=documented(404))
async def get_block(context: Ctx, caller: Everybody, prefix: Prefix, response: Response) -> BlockShown:
    """With the instants of its life."""
    life = await context.store.blocks.get(prefix, provider=caller.provider)
    if life is None:
        raise NotFound("prefix", "R3", "no such block")
    return _shown(life, response)


@router.post(
    "/{prefix}/{deed}",
    summary="Activate, freeze, thaw or return a block",
    responses=documented(404, 409, 412, 413, 415),
)
async def move_block(
    context: Ctx,
    caller: Operator,
    prefix: Prefix,
    deed: BlockDeed,
    response: Response,
    body: BlockMove | None = None,
    if_match: IfMatch = None,
) -> BlockShown:
    """The switch follows within a second. What has live bindings is not returned (R7)."""
    reason = body.reason if body else ""
    life = await context.store.blocks.move(
        prefix, _STATES[deed], context.clock(), by=caller.by, reason=reason, revision=revision_of(if_match)
    )
    return _shown(life, response)


def _shown(life: BlockLife, response: Response) -> BlockShown:
    response.headers.update(etag(life.revision))
    return BlockShown.model_validate(life)
