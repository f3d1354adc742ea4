"""/v1/webhooks: where a provider is told of its calls and messages while they happen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field

from b2bua.api.auth import Caller, Everybody, Owner
from b2bua.api.context import Context, Ctx
from b2bua.api.etag import IfMatch, etag, revision_of
from b2bua.api.models import Body, Shown
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import RETRY_SECONDS, ProblemError, documented
from b2bua.api.webhook_sender import sender
from b2bua.api.webhook_target import admit_address, admit_name
from b2bua.api.webhooks import Target, send_test
from cdr.store.database import StoreError
from cdr.store.outbox import Dead, Outbox, parse_event_id
from routing.errors import BindingError, NotFound
from routing.store.webhooks import LONGEST_OVERLAP_SECONDS, OVERLAP_SECONDS
from routing.webhooks import EVENTS, LONGEST_URL, Webhook

__all__ = ["router"]

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

MOST_LETTERS = 1000  # named in one request
LONGEST_NUMBER = 15  # digits of a place in the list of dead letters

WebhookId = Annotated[str, Path(description="The id of the webhook.", max_length=64)]
Url = Annotated[
    str,
    Field(
        max_length=LONGEST_URL,
        description="http:// or https://. Real numbers go over https:// only.",
        examples=["https://hooks.example.net/x700"],
    ),
]
Events = Annotated[
    list[Annotated[str, Field(max_length=32, json_schema_extra={"enum": list(EVENTS)})]],
    Field(max_length=len(EVENTS), description="What it is told; none: everything."),
]


class WebhookShown(Shown):
    """A webhook, without its secret."""

    id: str
    provider: str
    url: str
    events: list[str]
    active: bool = Field(description="false: nothing is told, and nothing is kept for it.")
    reveal: bool = Field(description="Whether it is told real numbers in full; only an operator allows that.")
    created_ms: int
    changed_ms: int
    old_until_ms: int = Field(description="Until then the secret before this one signs as well; 0: there is none.")
    revision: int


class WebhookState(WebhookShown):
    """A webhook and how it fares."""

    waiting: int = Field(description="Events that are still to be told.")
    dead: int = Field(description="Dead letters: events given up after the last try.")
    lost: int = Field(description="Events dropped because too many waited or were dead; /v1/records has them.")
    oldest_ms: int = Field(description="When the event that waits longest happened; 0: none waits.")
    error: str = Field(description="What that event has met with; '' if nothing yet.")


class WebhookMade(WebhookShown):
    """A webhook with a new secret, which is shown this once."""

    secret: str | None = Field(description="whsec_ and the key in base64; null when an answer is repeated.")


class NewWebhook(Body):
    """A webhook to be made."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"url": "https://hooks.example.net/x700", "events": ["call.ended"]}}
    )

    url: Url
    events: Events = Field(default=[])
    provider: str = Field(default="", max_length=64, description="Whose it is; a provider may leave it out.")
    reveal: bool = Field(default=False, description="Real numbers in full; for an operator to allow.")
    active: bool = True


class WebhookChange(Body):
    """What is to be changed; what is left out stays. With another `url`, `reveal` ends unless it is given anew."""

    model_config = ConfigDict(json_schema_extra={"example": {"active": False}})

    url: Url | None = None
    events: Events | None = None
    reveal: bool | None = None
    active: bool | None = None


class SecretRotation(Body):
    """How a secret is followed by another."""

    overlap_seconds: int = Field(
        default=OVERLAP_SECONDS, ge=0, le=LONGEST_OVERLAP_SECONDS, description="How long both sign every request."
    )


class Redelivery(Body):
    """Which dead letters are to be told again."""

    model_config = ConfigDict(json_schema_extra={"example": {"events": []}})

    events: list[Annotated[str, Field(max_length=96)]] = Field(
        default=[], max_length=MOST_LETTERS, description="Their ids; none: all of them."
    )


# What an empty request asks for.
ROTATION = SecretRotation()
REDELIVERY = Redelivery()


class Redelivered(Shown):
    """How many dead letters wait again."""

    events: int


class DeadLetter(Shown):
    """An event that is not tried any more."""

    id: str
    event: str
    record_id: str
    at_ms: int = Field(description="When it happened.")
    attempts: int
    settled_ms: int = Field(description="When it was given up.")
    status: int = Field(description="The last HTTP status; 0: no answer.")
    error: str


class Tried(Shown):
    """What came of a test."""

    ok: bool
    status: int = Field(description="The HTTP status; 0: no answer.")
    error: str


@router.get("", summary="List webhooks", responses=documented())
async def list_webhooks(
    context: Ctx, caller: Everybody, page: Paging, provider: Annotated[str, Query(max_length=64)] = ""
) -> Listing[WebhookShown]:
    """The oldest first. A provider sees its own."""
    scope = caller.scope(provider)
    return await page.of(
        lambda after, limit: context.store.webhooks.list(after, limit, scope),
        lambda webhook: webhook.id,
        WebhookShown.model_validate,
    )


@router.post("", status_code=201, summary="Make a webhook", responses=documented(404, 409, 413, 415))
async def add_webhook(context: Ctx, caller: Owner, body: NewWebhook, response: Response) -> WebhookMade:
    """It is told what happens from a second later on. The answer is the only place where its secret is shown."""
    if not (body.provider or caller.provider):
        raise BindingError("provider", "R6", "must be given")
    caller.own(body.provider or caller.provider, "provider", "no such provider")
    _admit_reveal(caller, body.reveal)
    if _bounded(context, caller):
        admit_address(body.url)
    made = await context.store.webhooks.add(
        body.provider or caller.provider,
        body.url,
        body.events,
        reveal=body.reveal,
        active=body.active,
        now_ms=context.clock(),
        by=caller.by,
    )
    response.headers["Location"] = f"/v1/webhooks/{made[0].id}"
    return _made(*made, response)


@router.get("/{id}", summary="Look at a webhook", responses=documented(404))
async def get_webhook(context: Ctx, caller: Everybody, id: WebhookId, response: Response) -> WebhookState:
    """With what waits for it, and what it meets with."""
    webhook = await _wanted(context, caller, id)
    async with _outbox(context) as outbox:
        counts = await outbox.counts(id)
    response.headers.update(etag(webhook.revision))
    return WebhookState(**WebhookShown.model_validate(webhook).model_dump(), **counts._asdict())


@router.patch("/{id}", summary="Change a webhook", responses=documented(404, 412, 413, 415))
async def change_webhook(
    context: Ctx, caller: Owner, id: WebhookId, body: WebhookChange, response: Response, match: IfMatch = None
) -> WebhookShown:
    """In force within a second."""
    _admit_reveal(caller, bool(body.reveal))
    if body.url is not None and _bounded(context, caller):
        admit_address(body.url)
    webhook = await context.store.webhooks.change(
        id,
        url=body.url,
        events=body.events,
        active=body.active,
        reveal=body.reveal,
        revision=revision_of(match),
        provider=caller.provider,
        now_ms=context.clock(),
        by=caller.by,
    )
    response.headers.update(etag(webhook.revision))
    return WebhookShown.model_validate(webhook)


@router.delete("/{id}", status_code=204, summary="Remove a webhook", responses=documented(404, 412))
async def remove_webhook(context: Ctx, caller: Owner, id: WebhookId, match: IfMatch = None) -> None:
    """With all that waits for it, and its dead letters."""
    await context.store.webhooks.remove(
        id, provider=caller.provider, revision=revision_of(match), now_ms=context.clock(), by=caller.by
    )


@router.post(
    "/{id}/rotate", status_code=201, summary="Give a webhook a new secret", responses=documented(404, 413, 415)
)
async def rotate_secret(
    context: Ctx, caller: Owner, id: WebhookId, response: Response, body: SecretRotation = ROTATION
) -> WebhookMade:
    """For a time every request bears a signature by either, so that no event is refused meanwhile."""
    made = await context.store.webhooks.rotate(
        id,
        overlap_seconds=body.overlap_seconds,
        provider=caller.provider,
        now_ms=context.clock(),
        by=caller.by,
    )
    return _made(*made, response)


@router.get("/{id}/dead-letters", summary="List dead letters", responses=documented(404))
async def list_dead_letters(context: Ctx, caller: Everybody, id: WebhookId, page: Paging) -> Listing[DeadLetter]:
    """The oldest first."""
    await _wanted(context, caller, id)
    place = _number(page.after)

    async def read(_: str, limit: int) -> list[Dead]:
        async with _outbox(context) as outbox:
            return await outbox.dead(id, place, limit)

    return await page.of(read, lambda letter: str(letter.number), DeadLetter.model_validate)


@router.post("/{id}/redeliver", summary="Tell dead letters again", responses=documented(404, 413, 415))
async def redeliver(context: Ctx, caller: Owner, id: WebhookId, body: Redelivery = REDELIVERY) -> Redelivered:
    """From the first try on, at once. Later events of the same call were told meanwhile: the order is lost."""
    await _wanted(context, caller, id)
    try:
        wanted = [parse_event_id(each) for each in body.events] or None
    except ValueError as error:
        raise BindingError("events", "form", str(error)) from None
    async with _outbox(context) as outbox:
        return Redelivered(events=await outbox.redeliver(id, context.clock(), wanted))


@router.post("/{id}/test", summary="Try a webhook out", responses=documented(404))
async def test_webhook(context: Ctx, caller: Owner, id: WebhookId) -> Tried:
    """Sends one event of type `webhook.test`, now and once, and says what came of it."""
    webhook = await _wanted(context, caller, id)
    if _bounded(context, caller):
        await admit_name(webhook.url)
    secrets = await context.store.webhooks.secrets(id, context.clock())
    async with sender(context.settings.webhook_seconds) as send:
        answer = await send_test(send, Target(id, webhook.url, False, secrets), context.clock())
    return Tried(ok=not answer.error, status=answer.status, error=answer.error)


def _bounded(context: Context, caller: Caller) -> bool:
    return bool(caller.provider) and not context.settings.webhook_private


def _admit_reveal(caller: Caller, reveal: bool) -> None:
    if reveal and caller.provider:
        raise ProblemError(403, "only an operator may allow real numbers", "reveal", "role")


async def _wanted(context: Context, caller: Caller, identifier: str) -> Webhook:
    webhook = await context.store.webhooks.get(identifier, caller.provider)
    if webhook is None:
        raise NotFound("id", "form", "no such webhook")
    return webhook


def _made(webhook: Webhook, secret: str, response: Response) -> WebhookMade:
    response.headers.update(etag(webhook.revision))
    response.headers["Cache-Control"] = "no-store"
    return WebhookMade(**WebhookShown.model_validate(webhook).model_dump(), secret=secret)


@asynccontextmanager
async def _outbox(context: Context) -> AsyncIterator[Outbox]:
    outbox = Outbox(context.records, durable=False)
    try:
        yield outbox
    except StoreError:
        retry = {"Retry-After": RETRY_SECONDS}
        raise ProblemError(503, "the outbox does not answer; try again", headers=retry) from None
    finally:
        await outbox.close()


def _number(place: str) -> int:
    if not (place.isascii() and place.isdigit() and len(place) <= LONGEST_NUMBER):
        if place:
            raise ProblemError(422, "is no cursor of this list", "cursor", "form")
        return 0
    return int(place)
