"""/v1/numbers: what a middle number is doing, who held it, and who was behind it at an instant (R5, R11)."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import ConfigDict, Field

from b2bua.api.auth import Everybody
from b2bua.api.context import Ctx
from b2bua.api.models import Body, Instant, Shown, Text
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from b2bua.api.reveal import Reveal, number_shown
from routing.ledger import Event
from routing.plan import BlockState
from routing.store.numbers import NumberState

__all__ = ["router"]

router = APIRouter(prefix="/v1/numbers", tags=["numbers"])

Middle = Annotated[str, Path(description="700 and 12 digits.", max_length=64, examples=["700123456780001"])]


class NumberShown(Shown):
    """A middle number."""

    x: str
    state: NumberState
    block: str
    block_state: BlockState
    provider: str
    business_user: str
    bound_until_ms: int = Field(description="When the last binding of it ends or has ended; 0: it never had one.")
    free_ms: int = Field(description="When it may be allocated again; 0: now.")


class EntryShown(Shown):
    """What changed who holds a number, or until when."""

    number: int
    x: str
    at_ms: int
    by: str
    event: Event
    reason: str
    binding: str
    provider: str
    business_user: str
    scenario: str
    order_id: str
    starts_ms: int
    until_ms: int
    group: str


class HoldersQuestion(Body):
    """Who was behind a number at an instant, and why that is asked."""

    model_config = ConfigDict(json_schema_extra={"example": {"at_ms": 1795000000000, "purpose": "case 2026-118"}})

    at_ms: Instant
    purpose: Text = Field(min_length=1, description="Goes into the audit.")


class HolderShown(Shown):
    """A binding that held the number then."""

    x: str
    binding: str
    provider: str
    business_user: str
    scenario: str
    order_id: str
    from_ms: int
    until_ms: int
    group: str
    a: str
    b: str


class Holders(Shown):
    """All bindings that held the number then."""

    items: list[HolderShown]


@router.get("/{x}", summary="Look at a middle number", responses=documented(404))
async def get_number(context: Ctx, caller: Everybody, x: Middle) -> NumberShown:
    """Free, bound or quarantined; a provider sees those of its blocks."""
    return NumberShown.model_validate(await context.store.numbers.get(x, context.clock(), provider=caller.provider))


@router.get("/{x}/ledger", summary="Read the ledger of a middle number", responses=documented())
async def list_entries(context: Ctx, caller: Everybody, page: Paging, x: Middle) -> Listing[EntryShown]:
    """The newest first; a provider sees the entries of its own bindings."""
    return await page.of(
        lambda after, limit: context.store.ledger.list(x, after, limit, provider=caller.provider),
        lambda entry: str(entry.number),
        EntryShown.model_validate,
    )


@router.post("/{x}/holders", summary="Ask who was behind a middle number", responses=documented(413, 415))
async def find_holders(
    context: Ctx, caller: Everybody, x: Middle, body: HoldersQuestion, reveal: Reveal = False
) -> Holders:
    """Noted in the audit, with its purpose. A provider is told of its own bindings."""
    shown = number_shown(caller, reveal)
    found = await context.store.ledger.holders(
        x, body.at_ms, context.clock(), by=caller.by, purpose=body.purpose, provider=caller.provider
    )
    items = [HolderShown.model_validate(holding) for holding in found]
    return Holders(items=[item.model_copy(update={"a": shown(item.a), "b": shown(item.b)}) for item in items])
