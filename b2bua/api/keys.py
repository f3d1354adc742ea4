"""/v1/keys: who may ask."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field

from b2bua.api.auth import Everybody, Operator, Owner
from b2bua.api.context import Ctx
from b2bua.api.models import Body, Instant, Shown, Text, WithReason
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from routing.access import ApiKey, Role
from routing.errors import NotFound
from routing.store.keys import LONGEST_OVERLAP_MS, OVERLAP_MS

__all__ = ["router"]

router = APIRouter(prefix="/v1/keys", tags=["keys"])

KeyId = Annotated[str, Path(description="The middle part of the key.", max_length=64, examples=["0123456789ab"])]


class KeyShown(Shown):
    """A key, without what proves it."""

    id: str
    name: str
    role: Role
    provider: str = Field(description="Whose it is; '' for operators and auditors.")
    created_ms: int
    expires_ms: int = Field(description="0: it does not expire.")
    revoked_ms: int = Field(description="0: it was not revoked.")
    reason: str = Field(description="Why it was revoked.")
    used_ms: int = Field(description="When it was last used, within half a minute; 0: never.")
    replaces: str = Field(description="The key that this one follows.")


class KeyMade(KeyShown):
    """A new key. `secret` is shown this once."""

    secret: str | None = Field(description="The whole key, to be kept safe; null when an answer is repeated.")


class NewKey(Body):
    """A key to be made."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "order service", "role": "provider", "provider": "platform-1"}}
    )

    name: Text = Field(description="What it is for.")
    role: Annotated[Role, Field(strict=False)]
    provider: Text = ""
    expires_ms: Instant = 0


class Rotation(Body):
    """How a key is followed by another."""

    overlap_ms: int = Field(
        default=OVERLAP_MS, ge=0, le=LONGEST_OVERLAP_MS, description="How long the old key works beside the new one."
    )


@router.get("", summary="List keys", responses=documented())
async def list_keys(
    context: Ctx, caller: Everybody, page: Paging, provider: Annotated[str, Query(max_length=64)] = ""
) -> Listing[KeyShown]:
    """A provider sees its own."""
    scope = caller.scope(provider)
    return await page.of(
        lambda after, limit: context.store.keys.list(after, limit, scope), lambda key: key.id, KeyShown.model_validate
    )


@router.post("", status_code=201, summary="Make a key", responses=documented(404, 409, 413, 415))
async def add_key(context: Ctx, caller: Operator, body: NewKey, response: Response) -> KeyMade:
    """The answer is the only place where its secret is shown."""
    made = await context.store.keys.add(
        body.name, body.role, body.provider, expires_ms=body.expires_ms, now_ms=context.clock(), by=caller.by
    )
    return _made(*made, response)


@router.get("/{id}", summary="Look at a key", responses=documented(404))
async def get_key(context: Ctx, caller: Everybody, id: KeyId) -> KeyShown:
    """Without what proves it."""
    key = await context.store.keys.get(id, caller.provider)
    if key is None:
        raise NotFound("id", "form", "no such key")
    return KeyShown.model_validate(key)


@router.post(
    "/{id}/rotate", status_code=201, summary="Make a key's successor", responses=documented(404, 409, 413, 415)
)
async def rotate_key(
    context: Ctx, caller: Owner, id: KeyId, response: Response, body: Rotation | None = None
) -> KeyMade:
    """Both are good until the old one's time is over."""
    overlap_ms = (body or Rotation()).overlap_ms
    made = await context.store.keys.rotate(
        id, overlap_ms=overlap_ms, now_ms=context.clock(), by=caller.by, provider=caller.provider
    )
    return _made(*made, response)


@router.post("/{id}/revoke", summary="End a key at once", responses=documented(404, 409, 413, 415))
async def revoke_key(context: Ctx, caller: Owner, id: KeyId, body: WithReason) -> KeyShown:
    """The next request with it is refused."""
    key = await context.store.keys.revoke(
        id, reason=body.reason, now_ms=context.clock(), by=caller.by, provider=caller.provider
    )
    return KeyShown.model_validate(key)


def _made(key: ApiKey, text: str, response: Response) -> KeyMade:
    response.headers["Location"] = f"/v1/keys/{key.id}"
    response.headers["Cache-Control"] = "no-store"
    return KeyMade(**KeyShown.model_validate(key).model_dump(), secret=text)
