"""`x700 ledger`: who held a middle number when, and for which order (R5, R11)."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Json,
    Reveal,
    Row,
    now_ms,
    number_shown,
    parse_instant,
    settings_of,
    show_rows,
    who,
)
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.ledger import Entry, Holding
from routing.store.pages import LONGEST_PAGE

app = typer.Typer(help="The ledger: who held a middle number when, and for which order.", no_args_is_help=True)

ENTRIES = ("at_ms", "event", "binding", "business_user", "order_id", "starts_ms", "until_ms", "by", "reason")
HOLDINGS = ("binding", "provider", "business_user", "scenario", "order_id", "a", "b", "from_ms", "until_ms")


@app.command("show")
def show(
    x: Annotated[str, typer.Argument(metavar="X", help="The middle number.")],
    at: Annotated[
        str, typer.Option(help="Who was behind it at this time; needs --purpose and is noted.", metavar="TIME")
    ] = "",
    purpose: Annotated[str, typer.Option(help="What the answer is needed for; the audit keeps it (R11).")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Show everything that happened to a middle number, the newest first, or who was behind it at one time."""
    settings = settings_of(config)
    if not at:
        show_rows(asyncio.run(_entries(settings, x)), ENTRIES, as_json)
        return
    shown = number_shown(reveal)
    holders = asyncio.run(_holders(settings, x, parse_instant(at), purpose))
    show_rows([asdict(found) | {"a": shown(found.a), "b": shown(found.b)} for found in holders], HOLDINGS, as_json)


def row(entry: Entry) -> Row:
    told = asdict(entry) | {"event": entry.event.value}
    del told["parties"]
    return told


async def _entries(settings: Settings, x: str) -> list[Row]:
    rows: list[Row] = []
    async with binding_store(settings) as store:
        after = ""
        while page := await store.ledger.list(x, after, LONGEST_PAGE):
            rows += map(row, page)
            after = str(page[-1].number)
    return rows


async def _holders(settings: Settings, x: str, at_ms: int, purpose: str) -> tuple[Holding, ...]:
    async with binding_store(settings) as store:
        return await store.ledger.holders(x, at_ms, now_ms(), by=who(), purpose=purpose)
