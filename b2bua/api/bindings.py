"""/v1/bindings: who reaches whom through which middle number, and until when (R1, R3 to R7, R16, R17).

A binding is in force on the switch when the answer arrives: both read the same file.
"""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from b2bua.api.auth import Caller, Everybody, Owner
from b2bua.api.binder import Binder
from b2bua.api.binding_models import (
    BatchAnswer,
    BindingChange,
    BindingDetailShown,
    BindingEnd,
    BindingExtension,
    BindingShown,
    NewBinding,
    NewBindings,
    PartyChange,
    Wrong,
    row_of,
    shown_of,
    told_of,
)
from b2bua.api.context import Context, Ctx
from b2bua.api.etag import IfMatch, MustMatch, etag, required_revision, revision_of
from b2bua.api.models import MEDIA
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented, fault_of, status_of
from b2bua.api.reveal import Reveal, note_reveal, number_shown
from routing.binding import Binding, BindingRequest, BindingState
from routing.bulk import FileFormat
from routing.errors import BindingError, NotFound
from routing.numbers import parse_middle
from routing.store.bulk import exported

__all__ = ["router"]

router = APIRouter(prefix="/v1/bindings", tags=["bindings"])

BindingId = Annotated[str, Path(description="The binding's id.", max_length=64)]
Once = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=64,
        description="Stands for the `client_token` of a binding that has none: asked for again, it is the same one.",
    ),
]


@router.get("", summary="List bindings", responses=documented())
async def list_bindings(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    x: Annotated[str, Query(max_length=64, description="Middle number, as X or as Y.")] = "",
    order_id: Annotated[str, Query(max_length=128)] = "",
    business_user: Annotated[str, Query(max_length=64)] = "",
    provider: Annotated[str, Query(max_length=64)] = "",
    group: Annotated[str, Query(max_length=64)] = "",
    state: BindingState | None = None,
    reveal: Reveal = False,
) -> Listing[BindingDetailShown]:
    """The newest first; a provider sees its own."""
    shown, scope, now_ms = number_shown(caller, reveal), caller.scope(provider), context.clock()
    await note_reveal(context, caller, reveal, "binding")
    return await page.of(
        lambda after, limit: context.store.bindings.details(
            after,
            limit,
            x,
            order_id=order_id,
            business_user=business_user,
            provider=scope,
            group=group,
            state=state,
            now_ms=now_ms,
        ),
        lambda detail: detail.id,
        lambda detail: told_of(detail, now_ms, shown),
    )


@router.post(
    "", status_code=201, response_model=BindingShown, summary="Make a binding", responses=documented(404, 409, 413, 415)
)
async def add_binding(
    context: Ctx,
    caller: Owner,
    request: Request,
    body: NewBinding,
    reveal: Reveal = False,
    idempotency_key: Once = "",
) -> Response:
    """Each key (number dialled, caller) belongs to one live binding; a taken one is 409."""
    shown, now_ms = number_shown(caller, reveal), context.clock()
    binder: Binder = request.app.state.binder
    binding = await binder.bind(body.request(caller.provider, _token(caller, idempotency_key)), caller.by)
    return Response(
        msgspec.json.encode(row_of(binding, now_ms, shown)),
        201,
        {"Location": f"/v1/bindings/{binding.id}"},
        "application/json",
    )


@router.post("/batch", response_model=BatchAnswer, summary="Make many bindings", responses=documented(413, 415))
async def add_bindings(
    context: Ctx, caller: Owner, body: NewBindings, reveal: Reveal = False, idempotency_key: Once = ""
) -> Response:
    """All in one transaction; each item has its own answer, in the order of the request."""
    shown, now_ms = number_shown(caller, reveal), context.clock()
    token = _token(caller, idempotency_key)
    asked = [_asked(item, caller, f"{token}.{place}" if token else "") for place, item in enumerate(body.items)]
    requests = [request for request in asked if isinstance(request, BindingRequest)]
    answers = iter(await context.store.bindings.bind_many(requests, now_ms, by=caller.by))
    items: list[dict[str, object]] = []
    made = 0
    for request in asked:
        answer = next(answers) if isinstance(request, BindingRequest) else request
        if isinstance(answer, Binding):
            made += 1
            items.append({"status": 201, "binding": row_of(answer, now_ms, shown), "errors": ()})
        elif isinstance(answer, Wrong):
            items.append({"status": 422, "binding": None, "errors": [fault.__dict__ for fault in answer.faults]})
        else:
            items.append({"status": status_of(answer), "binding": None, "errors": [fault_of(answer).__dict__]})
    body_text = msgspec.json.encode({"made": made, "refused": len(items) - made, "items": items})
    return Response(body_text, 200, media_type="application/json")


@router.get(
    "/export",
    summary="Export bindings",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One binding a line; with `reveal` it is what POST /v1/imports takes.",
            "content": {media: {"schema": {"type": "string"}} for media in MEDIA.values()},
        },
        **documented(),
    },
)
async def export_bindings(
    context: Ctx,
    caller: Everybody,
    format: FileFormat = FileFormat.JSONL,
    x: Annotated[str, Query(max_length=64)] = "",
    order_id: Annotated[str, Query(max_length=128)] = "",
    business_user: Annotated[str, Query(max_length=64)] = "",
    provider: Annotated[str, Query(max_length=64)] = "",
    group: Annotated[str, Query(max_length=64)] = "",
    state: BindingState | None = None,
    reveal: Reveal = False,
) -> StreamingResponse:
    """The newest first, as many as there are; a provider is given its own."""
    number_shown(caller, reveal)
    if x and parse_middle(x) is None:
        raise BindingError("x", "R3", "a middle number is 700 and 12 digits")
    await note_reveal(context, caller, reveal, "binding")
    lines = exported(
        context.store.bindings,
        format,
        context.clock(),
        reveal=reveal,
        x=x,
        order_id=order_id,
        business_user=business_user,
        provider=caller.scope(provider),
        group=group,
        state=state,
    )
    return StreamingResponse(lines, media_type=MEDIA[format])


@router.get("/{id}", summary="Look at a binding", responses=documented(404))
async def get_binding(
    context: Ctx, caller: Everybody, id: BindingId, response: Response, reveal: Reveal = False
) -> BindingDetailShown:
    """Live or not."""
    shown = number_shown(caller, reveal)
    detail = await context.store.bindings.detail(id, caller.provider)
    if detail is None:
        raise NotFound("id", "form", "no such binding")
    await note_reveal(context, caller, reveal, "binding", id)
    response.headers.update(etag(detail.revision))
    return told_of(detail, context.clock(), shown)


@router.patch(
    "/{id}", summary="Change a binding's direction or limits", responses=documented(404, 409, 412, 413, 415, 428)
)
async def change_binding(
    context: Ctx, caller: Owner, id: BindingId, body: BindingChange, if_match: MustMatch = None
) -> BindingShown:
    """From the next call on."""
    binding = await context.store.bindings.change(
        id,
        context.clock(),
        direction=body.direction,
        ring_seconds=body.ring_seconds,
        longest_seconds=body.longest_seconds,
        most_calls=body.most_calls,
        by=caller.by,
        provider=caller.provider,
        revision=required_revision(if_match),
    )
    return _shown(context, caller, binding)


@router.post("/{id}/extend", summary="Let a binding last longer", responses=documented(404, 409, 412, 413, 415))
async def extend_binding(
    context: Ctx, caller: Owner, id: BindingId, body: BindingExtension, if_match: IfMatch = None
) -> BindingShown:
    """Everybody it needs must be in order as for a new one (R7)."""
    binding = await context.store.bindings.extend(
        id,
        body.expires_ms,
        context.clock(),
        by=caller.by,
        provider=caller.provider,
        revision=revision_of(if_match),
    )
    return _shown(context, caller, binding)


@router.post("/{id}/end", summary="End a binding", responses=documented(404, 412, 413, 415))
async def end_binding(
    context: Ctx, caller: Owner, id: BindingId, body: BindingEnd | None = None, if_match: IfMatch = None
) -> BindingShown:
    """From the next call on; a call that is up goes on. One that is dead already stays as it is."""
    binding = await context.store.bindings.end(
        id,
        context.clock(),
        by=caller.by,
        reason=body.reason if body else "",
        provider=caller.provider,
        revision=revision_of(if_match),
    )
    return _shown(context, caller, binding)


@router.post(
    "/{id}/parties", summary="Put somebody else in a party's place", responses=documented(404, 409, 412, 413, 415)
)
async def change_party(
    context: Ctx, caller: Owner, id: BindingId, body: PartyChange, if_match: IfMatch = None
) -> BindingShown:
    """From the next call on."""
    binding = await context.store.bindings.change_party(
        id,
        context.clock(),
        a=body.a,
        b=body.b,
        real_name=body.real_name,
        consent=body.consent,
        by=caller.by,
        provider=caller.provider,
        revision=revision_of(if_match),
    )
    return _shown(context, caller, binding)


def _asked(item: NewBinding | Wrong, caller: Caller, token: str) -> BindingRequest | BindingError | Wrong:
    if isinstance(item, Wrong):
        return item
    try:
        return item.request(caller.provider, token)
    except BindingError as error:
        return error


def _token(caller: Caller, idempotency_key: str) -> str:
    # the store keeps the tokens of each provider apart; a key of it that follows another asks for the same
    return f"{'own' if caller.provider else caller.key_id}.{idempotency_key}" if idempotency_key else ""


def _shown(context: Context, caller: Caller, binding: Binding) -> BindingShown:
    return shown_of(binding, context.clock(), number_shown(caller, False))
