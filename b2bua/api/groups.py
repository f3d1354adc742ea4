"""/v1/groups: who may take the part of A in the modes GXB and GXYB."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field

from b2bua.api.auth import Caller, Everybody, Owner
from b2bua.api.context import Ctx
from b2bua.api.etag import IfMatch, MustMatch, etag, required_revision, revision_of
from b2bua.api.models import Body, Identifier, Number, Shown, Text
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from b2bua.api.reveal import Reveal, note_reveal, number_shown
from routing.errors import NotFound
from routing.groups import MOST_MEMBERS, Group

__all__ = ["router"]

router = APIRouter(prefix="/v1/groups", tags=["groups"])

GroupId = Annotated[str, Path(description="The group's id.", max_length=64)]
Members = Annotated[list[Number], Field(max_length=MOST_MEMBERS, description="Real numbers.")]


class GroupShown(Shown):
    """A group. Its members are masked."""

    id: str
    provider: str
    business_user: str
    name: str
    members: list[str]
    created_ms: int
    revision: int


class NewGroup(Body):
    """A group to be made."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"business_user": "shop-1", "name": "couriers", "members": ["13800138000"]}}
    )

    business_user: Identifier
    name: Text
    members: Members = Field(default=[])


class GroupChange(Body):
    """Another name."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "couriers north"}})

    name: Text


class NewMembers(Body):
    """Members to be added. The references are required while the group has bindings that have not ended."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"members": ["13700137000"], "real_name": "rn-2", "consent": "c-2"}}
    )

    members: Annotated[Members, Field(min_length=1)]
    real_name: Text = Field(default="", description="Reference of the proof that they are real-name users (R16).")
    consent: Text = Field(default="", description="Reference of their consent (R16).")


class MemberRemoval(Body):
    """A member to be taken out, and who follows it where B reaches it first."""

    model_config = ConfigDict(json_schema_extra={"example": {"member": "13800138000", "successor": "13700137000"}})

    member: Number
    successor: Number = ""


@router.get("", summary="List groups", responses=documented())
async def list_groups(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    provider: Annotated[str, Query(max_length=64)] = "",
    business_user: Annotated[str, Query(max_length=64)] = "",
    reveal: Reveal = False,
) -> Listing[GroupShown]:
    """The oldest first; a provider sees its own."""
    scope = caller.scope(provider)
    number_shown(caller, reveal)
    await note_reveal(context, caller, reveal, "group")
    return await page.of(
        lambda after, limit: context.store.groups.list(after, limit, business_user=business_user, provider=scope),
        lambda group: group.id,
        lambda group: _model(group, caller, reveal),
    )


@router.post("", status_code=201, summary="Make a group", responses=documented(409, 413, 415))
async def add_group(
    context: Ctx, caller: Owner, body: NewGroup, response: Response, reveal: Reveal = False
) -> GroupShown:
    """With its first members, or none yet."""
    group = await context.store.groups.add(
        body.business_user, body.name, body.members, context.clock(), by=caller.by, provider=caller.provider
    )
    response.headers["Location"] = f"/v1/groups/{group.id}"
    return _shown(group, caller, response, reveal)


@router.get("/{id}", summary="Look at a group", responses=documented(404))
async def get_group(
    context: Ctx, caller: Everybody, id: GroupId, response: Response, reveal: Reveal = False
) -> GroupShown:
    """With its members."""
    group = await context.store.groups.get(id, caller.provider)
    if group is None:
        raise NotFound("id", "form", "no such group")
    number_shown(caller, reveal)
    await note_reveal(context, caller, reveal, "group", id)
    return _shown(group, caller, response, reveal)


@router.patch("/{id}", summary="Rename a group", responses=documented(404, 412, 413, 415, 428))
async def change_group(
    context: Ctx, caller: Owner, id: GroupId, body: GroupChange, response: Response, if_match: MustMatch = None
) -> GroupShown:
    """Members come and go by their own requests."""
    group = await context.store.groups.rename(
        id,
        body.name,
        context.clock(),
        by=caller.by,
        provider=caller.provider,
        revision=required_revision(if_match),
    )
    return _shown(group, caller, response)


@router.delete("/{id}", status_code=204, summary="Forget a group", responses=documented(404, 409, 412))
async def remove_group(context: Ctx, caller: Owner, id: GroupId, if_match: IfMatch = None) -> None:
    """Not while a binding of it is live or yet to start."""
    await context.store.groups.remove(
        id, context.clock(), by=caller.by, provider=caller.provider, revision=revision_of(if_match)
    )


@router.post("/{id}/members", summary="Add members", responses=documented(404, 409, 412, 413, 415))
async def add_members(
    context: Ctx, caller: Owner, id: GroupId, body: NewMembers, response: Response, if_match: IfMatch = None
) -> GroupShown:
    """They may call on all bindings of the group at once."""
    group = await context.store.groups.add_members(
        id,
        body.members,
        context.clock(),
        real_name=body.real_name,
        consent=body.consent,
        by=caller.by,
        provider=caller.provider,
        revision=revision_of(if_match),
    )
    return _shown(group, caller, response)


@router.post("/{id}/members/remove", summary="Take a member out", responses=documented(404, 409, 412, 413, 415))
async def remove_member(
    context: Ctx, caller: Owner, id: GroupId, body: MemberRemoval, response: Response, if_match: IfMatch = None
) -> GroupShown:
    """It may call on no binding of the group from now on. A number stands in no path, which others write down."""
    group = await context.store.groups.remove_member(
        id,
        body.member,
        context.clock(),
        by=caller.by,
        successor=body.successor,
        provider=caller.provider,
        revision=revision_of(if_match),
    )
    return _shown(group, caller, response)


def _model(group: Group, caller: Caller, reveal: bool) -> GroupShown:
    shown = number_shown(caller, reveal)
    return GroupShown(
        id=group.id,
        provider=group.provider,
        business_user=group.business_user,
        name=group.name,
        members=[shown(member) for member in group.members],
        created_ms=group.created_ms,
        revision=group.revision,
    )


def _shown(group: Group, caller: Caller, response: Response, reveal: bool = False) -> GroupShown:
    response.headers.update(etag(group.revision))
    return _model(group, caller, reveal)
