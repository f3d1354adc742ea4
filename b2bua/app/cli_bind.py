"""`x700 bind`: bindings, made one by one or from a file, listed and ended."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, TextIO

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Exit,
    Json,
    NotFound,
    Reveal,
    Row,
    complain,
    number_shown,
    parse_instant,
    settings_of,
    show_json,
    show_row,
    show_rows,
    stderr,
)
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.binding import Binding, BindingRequest, Direction
from routing.errors import BindingError
from routing.store.pages import LONGEST_PAGE

app = typer.Typer(help="Bindings: which parties reach each other through which middle number.", no_args_is_help=True)

COLUMNS = ("id", "state", "x", "a", "b", "direction", "business_user", "order_id", "expires_ms")
HOUR_MS = 3_600_000


def row(binding: Binding, now_ms: int, reveal: bool) -> Row:
    shown = number_shown(reveal)
    return {
        "id": binding.id,
        "state": state(binding, now_ms),
        "mode": binding.mode.value,
        "x": binding.x,
        "y": binding.y,
        "a": shown(binding.a),
        "b": shown(binding.b),
        "direction": binding.direction.value,
        "provider": binding.provider,
        "business_user": binding.business_user,
        "scenario": binding.scenario,
        "order_id": binding.order_id,
        "industrial_id": binding.industrial_id,
        "starts_ms": binding.starts_ms,
        "expires_ms": binding.expires_ms,
        "ended_ms": binding.ended_ms,
        "ring_seconds": binding.ring_seconds,
        "longest_seconds": binding.longest_seconds,
    }


def state(binding: Binding, now_ms: int) -> str:
    """In one word, why it admits calls or does not."""
    if binding.ended_ms:
        return "ended"
    if now_ms < binding.starts_ms:
        return "waiting"
    return "live" if binding.live(now_ms) else "expired"


def now() -> int:
    return time.time_ns() // 1_000_000


@app.command("add")
def add(
    x: Annotated[str, typer.Option("--x", help="Middle number that both dial.")] = "",
    a: Annotated[str, typer.Option("--a", help="Real number of party A.")] = "",
    b: Annotated[str, typer.Option("--b", help="Real number of party B.")] = "",
    user: Annotated[str, typer.Option(help="Business user whose order it is.")] = "",
    order: Annotated[str, typer.Option(help="Order that needs the calls.")] = "",
    scenario: Annotated[str, typer.Option(help="Scenario registered for the business user (R17).")] = "",
    real_name: Annotated[str, typer.Option(help="Reference of the real-name verification (R16).")] = "",
    consent: Annotated[str, typer.Option(help="Reference of the consent of both parties (R16).")] = "",
    hours: Annotated[float, typer.Option(help="Lives so many hours, unless --expires is given.", min=0)] = 24.0,
    expires: Annotated[str, typer.Option(help="Lives until this time.", metavar="TIME")] = "",
    starts: Annotated[str, typer.Option(help="Lives from this time; without: at once.", metavar="TIME")] = "",
    direction: Annotated[Direction, typer.Option(help="Who may call.")] = Direction.BOTH,
    provider: Annotated[str, typer.Option(help="Provider; without: the one of the block.")] = "",
    industrial_id: Annotated[str, typer.Option(help="Industrial internet identifier (R20).")] = "",
    ring_seconds: Annotated[int, typer.Option(help="Longest ringing; 0: as in the settings.", min=0)] = 0,
    longest_seconds: Annotated[int, typer.Option(help="Longest call; 0: as in the settings.", min=0)] = 0,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Make many: one JSON object a line, with the keys of `bind list --json` and real_name and consent; "
            "- is standard input. Numbers given this way do not show in the list of processes.",
            allow_dash=True,
            dir_okay=False,
        ),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Bind two parties to a middle number for an order."""
    settings = settings_of(config)
    if file is not None:
        _add_file(settings, file, as_json)
        return
    starts_ms = parse_instant(starts) if starts else 0
    request = BindingRequest(
        x=x,
        a=a,
        b=b,
        business_user=user,
        scenario=scenario,
        order_id=order,
        real_name=real_name,
        consent=consent,
        expires_ms=parse_instant(expires) if expires else (starts_ms or now()) + int(hours * HOUR_MS),
        starts_ms=starts_ms,
        provider=provider,
        industrial_id=industrial_id,
        direction=direction,
        ring_seconds=ring_seconds,
        longest_seconds=longest_seconds,
    )

    async def bind() -> Binding:
        async with binding_store(settings) as store:
            return await store.bindings.bind(request, now())

    show_row(row(asyncio.run(bind()), now(), reveal), as_json)


def _add_file(settings: Settings, path: Path, as_json: bool) -> None:
    """Bind every line that is right; each other is named with its reason, and the exit code says there were some."""
    if str(path) == "-":
        bound, refused = asyncio.run(_bind_lines(settings, sys.stdin, 0))
    else:
        with path.open(encoding="utf-8") as lines:
            total = sum(1 for _ in lines)
            lines.seek(0)
            bound, refused = asyncio.run(_bind_lines(settings, lines, total))
    if as_json:
        show_json({"bound": bound, "refused": refused})
    else:
        complain(f"{len(bound)} bound, {len(refused)} refused")
        for identifier in bound:
            typer.echo(identifier)
    if refused:
        raise typer.Exit(Exit.REFUSED)


async def _bind_lines(settings: Settings, lines: TextIO, total: int) -> tuple[list[str], list[dict[str, object]]]:
    bound: list[str] = []
    refused: list[dict[str, object]] = []
    async with binding_store(settings) as store:
        for number, line in _watched(lines, total):
            try:
                request = msgspec.json.decode(line, type=BindingRequest)
                bound.append((await store.bindings.bind(request, now())).id)
            except (BindingError, msgspec.DecodeError) as error:
                refused.append({"line": number, "error": str(error)})
                complain(f"line {number}: {error}")
    return bound, refused


def _watched(lines: TextIO, total: int) -> Iterator[tuple[int, str]]:
    """The lines that hold something, with their numbers, under a progress bar that shows on a terminal only."""
    columns = (TextColumn("binding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = stderr()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total or None)
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line
            progress.advance(task)


@app.command("list")
def list_bindings(
    x: Annotated[str, typer.Option("--x", help="Only of this middle number.")] = "",
    live: Annotated[bool, typer.Option("--live", help="Only those that admit calls now.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many, the newest first; 0: all.", min=0)] = 100,
    after: Annotated[str, typer.Option(help="Go on after this id.", metavar="ID")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """List bindings, the newest first."""
    settings, now_ms = settings_of(config), now()

    async def gather() -> list[Row]:
        rows: list[Row] = []
        async for binding in _bindings(settings, after, x):
            if binding.live(now_ms) or not live:
                rows.append(row(binding, now_ms, reveal))
            if limit and len(rows) >= limit:
                break
        return rows

    show_rows(asyncio.run(gather()), COLUMNS, as_json)


async def _bindings(settings: Settings, after: str, x: str) -> AsyncIterator[Binding]:
    async with binding_store(settings) as store:
        while page := await store.bindings.list(after, LONGEST_PAGE, x):
            for binding in page:
                yield binding
            after = page[-1].id


@app.command("end")
def end(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of the binding.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """End a binding: the next call is refused, a call that is up is left to finish."""
    settings = settings_of(config)

    async def finish() -> Binding:
        async with binding_store(settings) as store:
            if await store.bindings.get(identifier) is None:
                raise NotFound(f"no binding {identifier}")
            return await store.bindings.end(identifier, now())

    show_row(row(asyncio.run(finish()), now(), reveal), as_json)
