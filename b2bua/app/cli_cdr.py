"""`x700 cdr`: the records of calls."""

import asyncio
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Json,
    NotFound,
    Reveal,
    Row,
    number_shown,
    parse_instant,
    settings_of,
    show_json,
    show_row,
    show_rows,
    stderr,
)
from b2bua.app.config import Settings
from cdr.record import Record, reveal
from cdr.seal import Seal
from cdr.store.sqlite import LARGEST_PAGE, Filters, Page, RecordStore
from routing.numbers import mask_text, parse_middle, parse_subscriber

app = typer.Typer(help="Records of calls.", no_args_is_help=True)

COLUMNS = ("record_id", "arrived_ms", "outcome", "status", "calling", "a", "b", "x", "talk_ms", "ended_by", "reason")
KEPT_CLOSED = frozenset({"sealed", "a_hash", "b_hash"})

Since = Annotated[str, typer.Option(help="Arrived at this time or later.", metavar="TIME")]
Until = Annotated[str, typer.Option(help="Arrived before this time.", metavar="TIME")]
Middle = Annotated[str, typer.Option("--x", help="Middle number dialled.")]
Number = Annotated[str, typer.Option(help="Real number of either party.")]
Outcome = Annotated[str, typer.Option(help="Outcome, such as answered.")]
Order = Annotated[str, typer.Option(help="Order of the binding.")]


def row(record: Record, seal: Seal, show_numbers: bool) -> Row:
    shown = number_shown(show_numbers)
    parties = reveal(record, seal)
    fields = {key: value for key, value in msgspec.structs.asdict(record).items() if key not in KEPT_CLOSED}
    call_id = parties.ingress_call_id if show_numbers else mask_text(parties.ingress_call_id)
    return fields | {
        "a": shown(parties.a),
        "b": shown(parties.b),
        "x": record.x or shown(parties.dialled),
        "ingress_call_id": call_id,
    }


def _filters(settings: Settings, since: str, until: str, x: str, number: str, outcome: str, order: str) -> Filters:
    middle = parse_middle(x) if x else ""
    if middle is None:
        raise typer.BadParameter("a middle number is 700 and 12 digits", param_hint="--x")
    subscriber = parse_subscriber(number) if number else ""
    if subscriber is None:
        raise typer.BadParameter("not a mobile or fixed-line number of China", param_hint="--number")
    return Filters(
        since_ms=parse_instant(since) if since else 0,
        until_ms=parse_instant(until) if until else 0,
        x=middle,
        outcome=outcome,
        order_id=order,
        number_hash=settings.seal().hash(subscriber) if subscriber else b"",
    )


@app.command("list")
def list_records(
    since: Since = "",
    until: Until = "",
    x: Middle = "",
    number: Number = "",
    outcome: Outcome = "",
    order: Order = "",
    limit: Annotated[int, typer.Option(help="At most so many, the newest first; 0: all.", min=0)] = 50,
    after: Annotated[str, typer.Option(help="Go on where the list before broke off.", metavar="CURSOR")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal_numbers: Reveal = False,
) -> None:
    """List records, the newest first."""
    settings = settings_of(config)
    seal = settings.seal()
    page = asyncio.run(_gather(settings, _filters(settings, since, until, x, number, outcome, order), limit, after))
    show_rows((row(record, seal, reveal_numbers) for record in page.records), COLUMNS, as_json)
    if page.cursor:
        typer.echo(f"there are more: --after {page.cursor}", err=True)


async def _gather(settings: Settings, filters: Filters, limit: int, cursor: str) -> Page:
    """The records of as many pages as it takes, under a count that shows on a terminal only."""
    store = RecordStore(settings.records.directory)
    found: list[Record] = []
    console = stderr()
    columns = (TextColumn("{task.completed:.0f} records"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        while True:
            wanted = min(limit - len(found), LARGEST_PAGE) if limit else LARGEST_PAGE
            page = await store.list(filters, limit=wanted, cursor=cursor)
            found += page.records
            cursor = page.cursor
            progress.update(task, completed=len(found))
            if not cursor or len(found) == limit:
                return Page(tuple(found), cursor)


@app.command("show")
def show(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the record.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal_numbers: Reveal = False,
) -> None:
    """Show one record with all its fields."""
    settings = settings_of(config)
    record = asyncio.run(RecordStore(settings.records.directory).show(record_id))
    if record is None:
        raise NotFound(f"no record {record_id}")
    show_row(row(record, settings.seal(), reveal_numbers), as_json)


@app.command("count")
def count(
    since: Since = "",
    until: Until = "",
    x: Middle = "",
    number: Number = "",
    outcome: Outcome = "",
    order: Order = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Count records by outcome."""
    settings = settings_of(config)
    filters = _filters(settings, since, until, x, number, outcome, order)
    counts = asyncio.run(RecordStore(settings.records.directory).count(filters))
    total = sum(counts.values())
    if as_json:
        show_json({"total": total, "outcomes": counts})
        return
    rows: list[Row] = [{"outcome": name, "records": number} for name, number in sorted(counts.items())]
    show_rows([*rows, {"outcome": "all", "records": total}], ("outcome", "records"), as_json)
