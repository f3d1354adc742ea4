"""`x700 webhook`: where providers are told of their calls and messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer

from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Exit,
    Json,
    NotFound,
    Row,
    now_ms,
    settings_of,
    show_row,
    show_rows,
    who,
)
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from cdr.store.outbox import Outbox, parse_event_id
from routing.store.sqlite import Store
from routing.store.webhooks import OVERLAP_SECONDS
from routing.webhooks import Webhook

app = typer.Typer(help="Webhooks: where providers are told of their calls and messages.", no_args_is_help=True)

Told = TypeVar("Told")

COLUMNS = ("id", "provider", "url", "events", "active", "reveal")
LETTERS = ("id", "event", "at_ms", "attempts", "settled_ms", "status", "error")

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the webhook, from `webhook list`.")]
Url = Annotated[str | None, typer.Option(help="Address, http:// or https://.")]
Event = Annotated[list[str], typer.Option("--event", help="What it is told, such as call.ended; none: everything.")]
RevealOf = Annotated[
    bool | None, typer.Option("--reveal/--mask", help="Tell real numbers in full; over https:// only.")
]
Active = Annotated[bool | None, typer.Option("--active/--paused", help="Whether it is told anything.")]


@app.command("add")
def add(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="Whose it is.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Address, http:// or https://.")],
    event: Event = [],  # noqa: B006  (typer makes a new list for each run)
    reveal: Annotated[bool, typer.Option("--reveal", help="Tell real numbers in full; over https:// only.")] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Make a webhook. Its secret is shown this once."""

    async def work(store: Store) -> tuple[Webhook, str]:
        return await store.webhooks.add(provider, url, event, reveal=reveal, now_ms=now_ms(), by=who())

    webhook, secret = asyncio.run(_with_store(settings_of(config), work))
    show_row(_row(webhook) | {"secret": secret}, as_json)


@app.command("list")
def list_webhooks(
    provider: Annotated[str, typer.Option(help="Only of this provider.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many, the oldest first.")] = 100,
    after: Annotated[str, typer.Option(help="Go on after this id.", metavar="ID")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List webhooks, the oldest first."""

    async def work(store: Store) -> tuple[Webhook, ...]:
        return await store.webhooks.list(after, limit, provider)

    show_rows(map(_row, asyncio.run(_with_store(settings_of(config), work))), COLUMNS, as_json)


@app.command("show")
def show(identifier: Id, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Show a webhook, what waits for it and what it meets with."""
    settings = settings_of(config)

    async def work(store: Store) -> Row:
        webhook = await _wanted(store, identifier)
        async with _outbox(settings) as outbox:
            return _row(webhook) | (await outbox.counts(identifier))._asdict()

    show_row(asyncio.run(_with_store(settings, work)), as_json)


@app.command("change")
def change(
    identifier: Id,
    url: Url = None,
    event: Annotated[list[str] | None, typer.Option("--event", help="What it is told from now on.")] = None,
    reveal: RevealOf = None,
    active: Active = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Change a webhook; what is not given stays. With another address, --reveal ends unless it is given anew."""

    async def work(store: Store) -> Webhook:
        return await store.webhooks.change(
            identifier, url=url, events=event, active=active, reveal=reveal, now_ms=now_ms(), by=who()
        )

    show_row(_row(asyncio.run(_with_store(settings_of(config), work))), as_json)


@app.command("rotate")
def rotate(
    identifier: Id,
    overlap: Annotated[int, typer.Option(help="Seconds for which both secrets sign every request.")] = OVERLAP_SECONDS,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Give a webhook a new secret, which is shown this once."""

    async def work(store: Store) -> tuple[Webhook, str]:
        return await store.webhooks.rotate(identifier, overlap_seconds=overlap, now_ms=now_ms(), by=who())

    webhook, secret = asyncio.run(_with_store(settings_of(config), work))
    show_row(_row(webhook) | {"secret": secret}, as_json)


@app.command("remove")
def remove(identifier: Id, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Remove a webhook with all that waits for it."""

    async def work(store: Store) -> None:
        await store.webhooks.remove(identifier, now_ms=now_ms(), by=who())

    asyncio.run(_with_store(settings_of(config), work))
    show_row({"id": identifier, "removed": True}, as_json)


@app.command("dead")
def dead(
    identifier: Id,
    limit: Annotated[int, typer.Option(help="At most so many, the oldest first.", min=1, max=1000)] = 100,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List dead letters: events given up after the last try."""
    settings = settings_of(config)

    async def work(store: Store) -> list[Row]:
        await _wanted(store, identifier)
        async with _outbox(settings) as outbox:
            return [letter._asdict() for letter in await outbox.dead(identifier, 0, limit)]

    show_rows(asyncio.run(_with_store(settings, work)), LETTERS, as_json)


@app.command("redeliver")
def redeliver(
    identifier: Id,
    events: Annotated[list[str] | None, typer.Argument(metavar="EVENT...", help="Ids from `webhook dead`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead letters of the webhook.")] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Tell dead letters again, from the first try on."""
    if bool(events) is every:
        raise typer.BadParameter("name events, or say --all", param_hint="EVENT")
    try:
        wanted = [parse_event_id(each) for each in events or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="EVENT") from None
    settings = settings_of(config)

    async def work(store: Store) -> int:
        await _wanted(store, identifier)
        async with _outbox(settings) as outbox:
            return await outbox.redeliver(identifier, now_ms(), None if every else wanted)

    show_row({"id": identifier, "events": asyncio.run(_with_store(settings, work))}, as_json)


@app.command("test")
def try_out(identifier: Id, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Send one event of type webhook.test, now and once, and say what came of it."""
    from b2bua.api.webhook_sender import sender
    from b2bua.api.webhooks import Target, send_test

    settings = settings_of(config)

    async def work(store: Store) -> Row:
        webhook = await _wanted(store, identifier)
        target = Target(identifier, webhook.url, False, await store.webhooks.secrets(identifier, now_ms()))
        async with sender(settings.api.webhook_seconds) as send:
            answer = await send_test(send, target, now_ms())
        return {"id": identifier, "ok": not answer.error, **answer._asdict()}

    row = asyncio.run(_with_store(settings, work))
    show_row(row, as_json)
    if not row["ok"]:
        raise typer.Exit(Exit.FAILED)


def _row(webhook: Webhook) -> dict[str, object]:
    return asdict(webhook)


async def _with_store(settings: Settings, work: Callable[[Store], Awaitable[Told]]) -> Told:
    async with binding_store(settings) as store:
        return await work(store)


async def _wanted(store: Store, identifier: str) -> Webhook:
    webhook = await store.webhooks.get(identifier)
    if webhook is None:
        raise NotFound(f"no webhook {identifier}")
    return webhook


@asynccontextmanager
async def _outbox(settings: Settings) -> AsyncIterator[Outbox]:
    outbox = Outbox(settings.records.directory, durable=False)
    try:
        yield outbox
    finally:
        await outbox.close()
