"""/v1/business-users: the enterprises whose orders need the calls (R6)."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field

from b2bua.api.auth import Caller, Everybody, Operator, Owner
from b2bua.api.caps import CapsBody
from b2bua.api.context import Ctx
from b2bua.api.etag import IfMatch, MustMatch, etag
from b2bua.api.models import Body, Identifier, Text, WithReason
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import ProblemError, documented
from b2bua.api.registry import Deed, Id, Registered, StateFilter, changed, found, moved
from routing.access import Role
from routing.caps import NO_CAPS, Caps
from routing.registry import BusinessUser

__all__ = ["router"]

router = APIRouter(prefix="/v1/business-users", tags=["registry"])


class BusinessUserShown(Registered):
    """A business user."""

    id: str
    provider: str
    name: str
    credit_code: str = Field(description="Unified social credit code; '' while unknown.")
    caps: CapsBody = Field(description="Bounds of all its attempts together (R14).")


class NewBusinessUser(Body):
    """A business user to be registered."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"id": "shop-1", "provider": "platform-1", "name": "Shop", "credit_code": "91350100M000100Y43"}
        }
    )

    id: Identifier
    name: Text
    provider: Text = Field(default="", description="Whose it is; a provider may leave it out.")
    credit_code: Annotated[str, Field(max_length=18)] = ""
    caps: CapsBody | None = Field(default=None, description="For the operator to set.")


class BusinessUserChange(Body):
    """What is to be changed of a business user."""

    model_config = ConfigDict(json_schema_extra={"example": {"caps": {"per_hour": 2000}}})

    name: Text | None = None
    credit_code: Annotated[str, Field(max_length=18)] | None = None
    caps: CapsBody | None = Field(default=None, description="For the operator to set.")


@router.get("", summary="List business users", responses=documented())
async def list_business_users(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    provider: Annotated[str, Query(max_length=64)] = "",
    state: StateFilter = None,
) -> Listing[BusinessUserShown]:
    """A provider sees its own."""
    scope = caller.scope(provider)
    return await page.of(
        lambda after, limit: context.store.registry.list(BusinessUser, after, limit, provider=scope, state=state),
        lambda value: value.id,
        BusinessUserShown.model_validate,
    )


@router.post("", status_code=201, summary="Register a business user", responses=documented(409, 413, 415))
async def add_business_user(
    context: Ctx, caller: Owner, body: NewBusinessUser, response: Response
) -> BusinessUserShown:
    """A provider registers its own, the operator anybody's."""
    value = BusinessUser(
        body.id, body.provider or caller.provider, body.name, body.credit_code, _caps(body.caps, caller) or NO_CAPS
    )
    added = await context.store.registry.add(value, context.clock(), by=caller.by, provider=caller.provider)
    response.headers["Location"] = f"/v1/business-users/{added.id}"
    return _shown(added, response)


@router.get("/{id}", summary="Look at a business user", responses=documented(404))
async def get_business_user(context: Ctx, caller: Everybody, id: Id, response: Response) -> BusinessUserShown:
    """With its state and its caps."""
    return _shown(await found(context, caller, BusinessUser, id), response)


@router.patch("/{id}", summary="Change a business user", responses=documented(404, 409, 412, 413, 415, 428))
async def change_business_user(
    context: Ctx, caller: Owner, id: Id, body: BusinessUserChange, response: Response, if_match: MustMatch = None
) -> BusinessUserShown:
    """Whose it is never changes (R5)."""
    fields: dict[str, object] = body.model_dump(exclude_none=True, exclude={"caps"})
    caps = _caps(body.caps, caller)
    if caps is not None:
        fields["caps"] = caps
    return _shown(await changed(context, caller, BusinessUser, id, fields, if_match), response)


@router.post(
    "/{id}/{deed}",
    summary="Suspend, resume or terminate a business user",
    responses=documented(404, 409, 412, 413, 415),
)
async def move_business_user(
    context: Ctx, caller: Operator, id: Id, deed: Deed, body: WithReason, response: Response, if_match: IfMatch = None
) -> BusinessUserShown:
    """New bindings and extensions stop at once; live bindings go on (R7)."""
    return _shown(await moved(context, caller, BusinessUser, id, deed, body.reason, if_match), response)


def _caps(body: CapsBody | None, caller: Caller) -> Caps | None:
    if body is None:
        return None
    if caller.role is not Role.OPERATOR:
        raise ProblemError(403, "are the operator's to set", "caps", "role")
    return body.caps()


def _shown(value: BusinessUser, response: Response) -> BusinessUserShown:
    response.headers.update(etag(value.revision))
    return BusinessUserShown.model_validate(value)
