"""`x700 audit`: who did what to what, when and why."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, Row, settings_of, show_rows
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store

app = typer.Typer(help="The audit: who did what, when and why.", no_args_is_help=True)

COLUMNS = ("number", "at_ms", "by", "action", "kind", "id", "reason")


@app.command("list")
def list_deeds(
    kind: Annotated[str, typer.Option(help="Only about things of this kind, such as block or provider.")] = "",
    identifier: Annotated[str, typer.Option("--id", help="Only about the thing of this id.")] = "",
    by: Annotated[str, typer.Option(help="Only done by this one.")] = "",
    provider: Annotated[str, typer.Option(help="Only about what is this provider's.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many, the newest first.")] = 100,
    after: Annotated[str, typer.Option(help="Go on after this number.", metavar="NUMBER")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List what was done, the newest first."""

    async def read(settings: Settings) -> list[Row]:
        async with binding_store(settings) as store:
            deeds = await store.audit.list(after, limit, kind=kind, identifier=identifier, by=by, provider=provider)
        return [asdict(deed) for deed in deeds]

    show_rows(asyncio.run(read(settings_of(config))), COLUMNS, as_json)
