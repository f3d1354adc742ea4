"""`x700 credit`: the credit files of business users (R19)."""

import asyncio
import csv
import io
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Json,
    Row,
    now_ms,
    settings_of,
    show_json,
    show_row,
    show_rows,
    who,
)
from b2bua.app.config import Settings
from b2bua.app.credit import settle_past
from b2bua.app.storage import binding_store
from cdr.store.sqlite import RecordStore
from routing.credit import CreditEntry, CreditFile, Violation
from routing.store.sqlite import Store

app = typer.Typer(help="Credit files of business users: violations by type and day.", no_args_is_help=True)

COLUMNS = ("number", "day", "violation", "times", "source", "note", "by", "at_ms")

User = Annotated[str, typer.Argument(metavar="USER", help="The business user.")]
Since = Annotated[str, typer.Option(help="First day in China, such as 2026-11-22.", metavar="DAY")]
Until = Annotated[str, typer.Option(help="Last day.", metavar="DAY")]

T = TypeVar("T")


class Form(StrEnum):
    """Forms of an export."""

    JSON = "json"
    CSV = "csv"


def row(entry: CreditEntry) -> Row:
    """An entry as it is printed."""
    return asdict(entry) | {"violation": entry.violation.value, "source": entry.source.value}


def _do(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        async with binding_store(settings) as store:
            return await work(store)

    return asyncio.run(run())


def _file(user: str, since: str, until: str, settings: Settings) -> CreditFile:
    return _do(settings, lambda store: store.credit.file(user, since_day=since, until_day=until))


@app.command("show")
def show(
    user: User, since: Since = "", until: Until = "", config: Config = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Show a credit file: sums by type, then every entry, the newest first."""
    file = _file(user, since, until, settings_of(config))
    if as_json:
        show_json(_plain(file))
        return
    show_row({"business_user": user, **file.totals}, False)
    show_rows((row(entry) for entry in file.entries), COLUMNS, False)


@app.command("add")
def add(
    user: User,
    violation: Annotated[Violation, typer.Argument(help="Type of violation.")],
    note: Annotated[str, typer.Argument(help="What happened, in words without numbers of people.")],
    times: Annotated[int, typer.Option(help="How often; negative takes back.")] = 1,
    day: Annotated[str, typer.Option(help="The day in China it happened; today by default.", metavar="DAY")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Put something into a credit file. What stands there stays."""
    entry = _do(
        settings_of(config),
        lambda store: store.credit.note(user, violation, note, now_ms(), by=who(), times=times, day=day),
    )
    show_row(row(entry), as_json)


@app.command("export")
def export(
    user: User,
    since: Since = "",
    until: Until = "",
    form: Annotated[Form, typer.Option("--format", help="Form of the export.")] = Form.JSON,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write a credit file to standard output, to be shared."""
    file = _file(user, since, until, settings_of(config))
    if form is Form.JSON:
        show_json(_plain(file))
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, ("business_user", *COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(dict(row(entry)) for entry in file.entries)
    typer.echo(text.getvalue(), nl=False)


@app.command("settle")
def settle(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Count in the refused attempts of past days now; the recorder does it by itself some minutes after midnight."""
    settings = settings_of(config)
    records = RecordStore(settings.records.directory)
    done = _do(settings, lambda store: settle_past(store, records, now_ms(), by=who()))
    rows: list[Row] = [{"day": day, "entries": entries} for day, entries in done.items()]
    show_rows(rows, ("day", "entries"), as_json)


def _plain(file: CreditFile) -> dict[str, object]:
    return asdict(file) | {"entries": [row(entry) for entry in file.entries]}
