"""/v1/providers: application platforms (R6)."""

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from b2bua.api.auth import Everybody, Operator
from b2bua.api.context import Ctx
from b2bua.api.etag import IfMatch, MustMatch, etag
from b2bua.api.models import Body, Identifier, Text, WithReason
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from b2bua.api.registry import Deed, Id, Registered, StateFilter, changed, found, moved
from routing.registry import Provider

__all__ = ["router"]

router = APIRouter(prefix="/v1/providers", tags=["registry"])


class ProviderShown(Registered):
    """A provider."""

    id: str
    name: str
    licence: str = Field(description="The number of its licence; '' while unknown.")


class NewProvider(Body):
    """A provider to be registered."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"id": "platform-1", "name": "Platform One", "licence": "B2-20260001"}}
    )

    id: Identifier
    name: Text
    licence: Text = ""


class ProviderChange(Body):
    """What is to be changed of a provider."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Platform One Ltd"}})

    name: Text | None = None
    licence: Text | None = None


@router.get("", summary="List providers", responses=documented())
async def list_providers(
    context: Ctx, caller: Everybody, page: Paging, state: StateFilter = None
) -> Listing[ProviderShown]:
    """A provider sees itself."""
    rooms = context.store.registry
    return await page.of(
        lambda after, limit: rooms.list(Provider, after, limit, provider=caller.provider, state=state),
        lambda value: value.id,
        ProviderShown.model_validate,
    )


@router.post("", status_code=201, summary="Register a provider", responses=documented(409, 413, 415))
async def add_provider(context: Ctx, caller: Operator, body: NewProvider, response: Response) -> ProviderShown:
    """It is active at once."""
    value = await context.store.registry.add(Provider(body.id, body.name, body.licence), context.clock(), by=caller.by)
    response.headers["Location"] = f"/v1/providers/{value.id}"
    return _shown(value, response)


@router.get("/{id}", summary="Look at a provider", responses=documented(404))
async def get_provider(context: Ctx, caller: Everybody, id: Id, response: Response) -> ProviderShown:
    """With its state and since when."""
    return _shown(await found(context, caller, Provider, id), response)


@router.patch("/{id}", summary="Change a provider", responses=documented(404, 409, 412, 413, 415, 428))
async def change_provider(
    context: Ctx, caller: Operator, id: Id, body: ProviderChange, response: Response, if_match: MustMatch = None
) -> ProviderShown:
    """Its state is changed by suspend, resume and terminate."""
    fields = body.model_dump(exclude_none=True)
    return _shown(await changed(context, caller, Provider, id, fields, if_match), response)


@router.post(
    "/{id}/{deed}", summary="Suspend, resume or terminate a provider", responses=documented(404, 409, 412, 413, 415)
)
async def move_provider(
    context: Ctx, caller: Operator, id: Id, deed: Deed, body: WithReason, response: Response, if_match: IfMatch = None
) -> ProviderShown:
    """New bindings and extensions stop at once; live bindings go on (R7)."""
    return _shown(await moved(context, caller, Provider, id, deed, body.reason, if_match), response)


def _shown(value: Provider, response: Response) -> ProviderShown:
    response.headers.update(etag(value.revision))
    return ProviderShown.model_validate(value)
