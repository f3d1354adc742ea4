"""`x700 key`: who may ask the API."""

import asyncio
from typing import Annotated

import typer

from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Json,
    Row,
    complain,
    now_ms,
    parse_instant,
    settings_of,
    show_row,
    show_rows,
    who,
)
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.access import ApiKey, Role
from routing.store.keys import HOUR_MS, OVERLAP_MS
from routing.store.pages import LONGEST_PAGE

app = typer.Typer(help="Keys of the API.", no_args_is_help=True)

COLUMNS = ("id", "name", "role", "provider", "state", "created_ms", "expires_ms", "used_ms")

Identifier = Annotated[str, typer.Argument(metavar="ID", help="Id of the key: its middle part.")]


def row(key: ApiKey) -> Row:
    """A key as it is printed."""
    state = "revoked" if key.revoked_ms else "valid" if key.valid(now_ms()) else "expired"
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role.value,
        "provider": key.provider,
        "state": state,
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
        "revoked_ms": key.revoked_ms,
        "reason": key.reason,
        "used_ms": key.used_ms,
        "replaces": key.replaces,
    }


@app.command("add")
def add(
    name: Annotated[str, typer.Option(help="What it is for.")],
    role: Annotated[Role, typer.Option(help="provider: its own; operator: everything; auditor: reads everything.")],
    provider: Annotated[str, typer.Option(help="Whose it is, for the role provider.")] = "",
    expires: Annotated[str, typer.Option(help="Until when, such as 2027-01-01; without: for good.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Make a key. Its secret is printed now and never again."""
    expires_ms = parse_instant(expires) if expires else 0

    async def work(settings: Settings) -> tuple[ApiKey, str]:
        async with binding_store(settings) as store:
            return await store.keys.add(name, role, provider, expires_ms=expires_ms, now_ms=now_ms(), by=who())

    _show_made(*asyncio.run(work(settings_of(config))), as_json)


@app.command("list")
def list_keys(
    provider: Annotated[str, typer.Option(help="Only those of this provider.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List keys."""
    settings = settings_of(config)

    async def everything() -> list[Row]:
        async with binding_store(settings) as store:
            rows: list[Row] = []
            after = ""
            while page := await store.keys.list(after, LONGEST_PAGE, provider):
                rows += map(row, page)
                after = page[-1].id
            return rows

    show_rows(asyncio.run(everything()), COLUMNS, as_json)


@app.command("rotate")
def rotate(
    identifier: Identifier,
    hours: Annotated[
        int, typer.Option(min=0, max=90 * 24, help="How long the old key works beside the new one.")
    ] = OVERLAP_MS // HOUR_MS,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Make a key's successor. Its secret is printed now and never again."""

    async def work(settings: Settings) -> tuple[ApiKey, str]:
        async with binding_store(settings) as store:
            return await store.keys.rotate(identifier, overlap_ms=hours * HOUR_MS, now_ms=now_ms(), by=who())

    _show_made(*asyncio.run(work(settings_of(config))), as_json)


@app.command("revoke")
def revoke(
    identifier: Identifier,
    reason: Annotated[str, typer.Option(help="Why; the audit keeps it. Must be given.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """End a key at once and for good."""

    async def work(settings: Settings) -> ApiKey:
        async with binding_store(settings) as store:
            return await store.keys.revoke(identifier, reason=reason, now_ms=now_ms(), by=who())

    show_row(row(asyncio.run(work(settings_of(config)))), as_json)


def _show_made(key: ApiKey, secret: str, as_json: bool) -> None:
    complain("keep the secret safe: it cannot be shown again")
    show_row({**row(key), "secret": secret}, as_json)
