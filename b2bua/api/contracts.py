"""/v1/contracts: what a provider and a business user have agreed (R6)."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field

from b2bua.api.auth import Everybody, Operator, Owner
from b2bua.api.context import Ctx
from b2bua.api.etag import IfMatch, MustMatch, etag
from b2bua.api.models import Body, Identifier, Instant, Text, WithReason
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from b2bua.api.registry import Deed, Id, Registered, StateFilter, changed, found, moved
from routing.registry import Contract

__all__ = ["router"]

router = APIRouter(prefix="/v1/contracts", tags=["registry"])


class ContractShown(Registered):
    """A contract."""

    id: str
    provider: str
    business_user: str
    reference: str = Field(description="Where the contract is to be found.")
    starts_ms: int
    ends_ms: int = Field(description="0: it has no end.")


class NewContract(Body):
    """A contract to be registered."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "c-2026-1",
                "provider": "platform-1",
                "business_user": "shop-1",
                "reference": "HT-2026-0001",
            }
        }
    )

    id: Identifier
    business_user: Identifier
    reference: Text
    provider: Text = Field(default="", description="Whose it is; a provider may leave it out.")
    starts_ms: Instant = 0
    ends_ms: Instant = 0


class ContractChange(Body):
    """What is to be changed of a contract."""

    model_config = ConfigDict(json_schema_extra={"example": {"ends_ms": 1830000000000}})

    reference: Text | None = None
    starts_ms: Instant | None = None
    ends_ms: Instant | None = None


@router.get("", summary="List contracts", responses=documented())
async def list_contracts(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    provider: Annotated[str, Query(max_length=64)] = "",
    business_user: Annotated[str, Query(max_length=64)] = "",
    state: StateFilter = None,
) -> Listing[ContractShown]:
    """A provider sees its own."""
    scope = caller.scope(provider)
    return await page.of(
        lambda after, limit: context.store.registry.list(
            Contract, after, limit, provider=scope, business_user=business_user, state=state
        ),
        lambda value: value.id,
        ContractShown.model_validate,
    )


@router.post("", status_code=201, summary="Register a contract", responses=documented(409, 413, 415))
async def add_contract(context: Ctx, caller: Owner, body: NewContract, response: Response) -> ContractShown:
    """A provider registers its own, the operator anybody's; where a contract of the two is suspended or terminated,
    only the operator."""
    value = Contract(
        body.id, body.provider or caller.provider, body.business_user, body.reference, body.starts_ms, body.ends_ms
    )
    added = await context.store.registry.add(value, context.clock(), by=caller.by, provider=caller.provider)
    response.headers["Location"] = f"/v1/contracts/{added.id}"
    return _shown(added, response)


@router.get("/{id}", summary="Look at a contract", responses=documented(404))
async def get_contract(context: Ctx, caller: Everybody, id: Id, response: Response) -> ContractShown:
    """With its state and its term."""
    return _shown(await found(context, caller, Contract, id), response)


@router.patch("/{id}", summary="Change a contract", responses=documented(404, 409, 412, 413, 415, 428))
async def change_contract(
    context: Ctx, caller: Owner, id: Id, body: ContractChange, response: Response, if_match: MustMatch = None
) -> ContractShown:
    """Its parties never change."""
    fields = body.model_dump(exclude_none=True)
    return _shown(await changed(context, caller, Contract, id, fields, if_match), response)


@router.post(
    "/{id}/{deed}", summary="Suspend, resume or terminate a contract", responses=documented(404, 409, 412, 413, 415)
)
async def move_contract(
    context: Ctx, caller: Operator, id: Id, deed: Deed, body: WithReason, response: Response, if_match: IfMatch = None
) -> ContractShown:
    """New bindings and extensions stop at once; live bindings go on (R7)."""
    return _shown(await moved(context, caller, Contract, id, deed, body.reason, if_match), response)


def _shown(value: Contract, response: Response) -> ContractShown:
    response.headers.update(etag(value.revision))
    return ContractShown.model_validate(value)
