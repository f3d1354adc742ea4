"""`x700 report`: what the ministry asks for about middle numbers (R18)."""

import asyncio
from typing import Annotated

import typer

from b2bua.app.cli_block import row
from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, Row, now_ms, settings_of, show_rows
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.plan import BlockState

app = typer.Typer(help="Reports of allocation and use.", no_args_is_help=True)

COLUMNS = (
    *("prefix", "state", "provider", "business_user", "bound", "quarantined", "free"),
    *("allocated_ms", "activated_ms", "due_ms", "overdue"),
)
# A page of a report counts the numbers of each of its blocks, so it is shorter than one that lists.
REPORT_PAGE = 50


@app.command("numbers")
def numbers(
    provider: Annotated[str, typer.Option("--provider", help="Only of this provider.")] = "",
    user: Annotated[str, typer.Option("--user", help="Only of this business user.")] = "",
    state: Annotated[BlockState | None, typer.Option("--state", help="Only in this state.")] = None,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only blocks not activated within five working days of their allocation.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Say of each block how many of its numbers are bound, in quarantine and free, and when it had to be active."""

    async def read(settings: Settings) -> list[Row]:
        rows: list[Row] = []
        async with binding_store(settings) as store:
            after = ""
            while page := await store.blocks.use(
                now_ms(), after, REPORT_PAGE, provider=provider, business_user=user, state=state
            ):
                for use in page:
                    counts = {"bound": use.bound, "quarantined": use.quarantined, "free": use.free}
                    if use.overdue or not overdue:
                        rows.append({**row(use.block), **counts, "overdue": use.overdue})
                after = page[-1].block.prefix
        return rows

    show_rows(asyncio.run(read(settings_of(config))), COLUMNS, as_json)
