"""`x700 blocklist` and `x700 range`: who may not call or be called at the moment (R12), and who may at all (R13)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer

from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Json,
    NotFound,
    Reveal,
    Row,
    now_ms,
    number_shown,
    parse_instant,
    settings_of,
    show_row,
    show_rows,
    who,
)
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.blocklist import PERSONAL, Blocked, BlockKind, BlockRequest
from routing.store.blocklist import CallerRange
from routing.store.sqlite import Store

app = typer.Typer(help="The block list: what is refused at the moment, and why.", no_args_is_help=True)
ranges_app = typer.Typer(help="Caller ranges: who may call at all, by the first digits.", no_args_is_help=True)

COLUMNS = ("id", "kind", "value", "reason", "cut", "created_ms", "expires_ms", "by", "lifted_ms")
RANGE_COLUMNS = ("prefix", "allowed", "reason", "by", "created_ms")

Kind = Annotated[BlockKind, typer.Argument(help="What is blocked.")]
Identifier = Annotated[int, typer.Argument(metavar="ID", help="Id of the entry, from `blocklist list`.")]
Why = Annotated[str, typer.Option("--reason", help="Why; the audit keeps it. Must be given.")]
Prefix = Annotated[str, typer.Argument(help="First digits of the national number, such as 138 or 010.")]

T = TypeVar("T")


def row(entry: Blocked, reveal: bool) -> Row:
    """An entry as it is printed."""
    shown = number_shown(reveal)
    value = shown(entry.value) if entry.kind in PERSONAL else entry.value
    return asdict(entry) | {"kind": entry.kind.value, "value": value}


def _do(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        async with binding_store(settings) as store:
            return await work(store)

    return asyncio.run(run())


@app.command("add")
def add(
    kind: Kind,
    value: Annotated[str, typer.Argument(help="The number, block, or id; a real number in any spelling.")],
    reason: Why = "",
    until: Annotated[str, typer.Option(help="End of the block.", metavar="TIME")] = "",
    hours: Annotated[float, typer.Option(help="Length of the block; 0: as --until says, or without end.", min=0)] = 0,
    cut: Annotated[bool, typer.Option("--cut", help="End live calls, too.")] = False,
    user: Annotated[str, typer.Option(help="Business user whose credit file it goes into.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Refuse all new calls and messages of something within a second."""
    if until and hours:
        raise typer.BadParameter("give --until or --hours, not both")
    expires_ms = parse_instant(until) if until else now_ms() + round(hours * 3_600_000) if hours else 0
    request = BlockRequest(kind, value, reason, expires_ms, cut, user)
    entry = _do(settings_of(config), lambda store: store.blocklist.add(request, now_ms(), by=who()))
    show_row(row(entry, False), as_json)


@app.command("list")
def list_entries(
    kind: Annotated[BlockKind | None, typer.Option(help="Only entries of this kind.")] = None,
    value: Annotated[str, typer.Option(help="Only about this value; needs --kind.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Those that are lifted or expired, too.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many, the newest first.")] = 100,
    after: Annotated[str, typer.Option(help="Go on after this entry.", metavar="ID")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """List what is blocked."""
    live_at_ms = 0 if everything else now_ms()
    entries = _do(
        settings_of(config),
        lambda store: store.blocklist.list(
            after, limit, kind="" if kind is None else kind.value, value=value, live_at_ms=live_at_ms
        ),
    )
    show_rows((row(entry, reveal) for entry in entries), COLUMNS, as_json)


@app.command("show")
def show(
    identifier: Identifier, config: Config = DEFAULT_CONFIG, as_json: Json = False, reveal: Reveal = False
) -> None:
    """Show one entry."""
    entry = _do(settings_of(config), lambda store: store.blocklist.get(identifier))
    if entry is None:
        raise NotFound(f"no entry {identifier}")
    show_row(row(entry, reveal), as_json)


@app.command("lift")
def lift(identifier: Identifier, reason: Why = "", config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """End a block before its time."""
    entry = _do(settings_of(config), lambda store: store.blocklist.lift(identifier, now_ms(), by=who(), reason=reason))
    show_row(row(entry, False), as_json)


@ranges_app.command("list")
def list_ranges(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """List the ranges; the longest that a caller begins with decides."""
    ranges = _do(settings_of(config), lambda store: store.blocklist.ranges())
    show_rows((each._asdict() for each in ranges), RANGE_COLUMNS, as_json)


def _set(prefix: str, allowed: bool, reason: str, config: Settings) -> CallerRange:
    return _do(config, lambda store: store.blocklist.set_range(prefix, allowed, now_ms(), by=who(), reason=reason))


@ranges_app.command("allow")
def allow(prefix: Prefix, reason: Why = "", config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Let callers of a range call; where only some are allowed, all others are not."""
    show_row(_set(prefix, True, reason, settings_of(config))._asdict(), as_json)


@ranges_app.command("deny")
def deny(prefix: Prefix, reason: Why = "", config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Refuse callers of a range."""
    show_row(_set(prefix, False, reason, settings_of(config))._asdict(), as_json)


@ranges_app.command("drop")
def drop(prefix: Prefix, reason: Why = "", config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Take a range away again."""
    _do(
        settings_of(config),
        lambda store: store.blocklist.drop_range(prefix, now_ms(), by=who(), reason=reason),
    )
    show_row({"prefix": prefix, "dropped": True}, as_json)
