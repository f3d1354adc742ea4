"""`x700 block`: the blocks of middle numbers, who holds each, and the states of its life (R18)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

import typer

from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Json,
    Row,
    now_ms,
    parse_instant,
    settings_of,
    show_row,
    show_rows,
    who,
)
from b2bua.app.cli_registry import Reason
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.allocation import BlockLife
from routing.errors import NotFound
from routing.plan import Block, BlockState
from routing.store.pages import LONGEST_PAGE

app = typer.Typer(help="Blocks of middle numbers.", no_args_is_help=True)

COLUMNS = ("prefix", "state", "provider", "business_user", "allocated_ms", "activated_ms", "reason")

Prefix = Annotated[str, typer.Argument(help="The block: 700 and 8 digits.")]
Needed = Annotated[str, typer.Option("--reason", help="Why; the audit keeps it. Must be given.")]


def row(life: BlockLife) -> Row:
    return asdict(life) | {"state": life.state.value, "due_ms": life.due_ms}


@app.command("add")
def add(
    prefix: Prefix,
    user: Annotated[str, typer.Option(help="Business user it belongs to (R5).")],
    provider: Annotated[str, typer.Option(help="Its provider; without: the one of the business user.")] = "",
    state: Annotated[
        BlockState, typer.Option(help="State of its life: allocated or active (R18).")
    ] = BlockState.ACTIVE,
    allocated: Annotated[str, typer.Option(help="When the ministry allocated it; without: now.", metavar="TIME")] = "",
    reason: Reason = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Register a block that the ministry has allocated."""
    block = Block(prefix, provider, user, state)
    allocated_ms = parse_instant(allocated) if allocated else 0

    async def work(settings: Settings) -> BlockLife:
        async with binding_store(settings) as store:
            return await store.blocks.add(block, now_ms(), by=who(), reason=reason, allocated_ms=allocated_ms)

    show_row(row(asyncio.run(work(settings_of(config)))), as_json)


@app.command("list")
def list_blocks(
    provider: Annotated[str, typer.Option("--provider", help="Only of this provider.")] = "",
    user: Annotated[str, typer.Option("--user", help="Only of this business user.")] = "",
    state: Annotated[BlockState | None, typer.Option("--state", help="Only in this state.")] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List all blocks."""
    settings = settings_of(config)

    async def everything() -> list[Row]:
        return [row(life) async for life in all_blocks(settings, provider, user, state)]

    show_rows(asyncio.run(everything()), COLUMNS, as_json)


async def all_blocks(
    settings: Settings, provider: str = "", user: str = "", state: BlockState | None = None
) -> AsyncIterator[BlockLife]:
    async with binding_store(settings) as store:
        after = ""
        while page := await store.blocks.list(after, LONGEST_PAGE, provider=provider, business_user=user, state=state):
            for life in page:
                yield life
            after = page[-1].prefix


@app.command("show")
def show(prefix: Prefix, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Show a block with the instants of its life and what becomes of its numbers."""

    async def read(settings: Settings) -> Row:
        async with binding_store(settings) as store:
            life = await store.blocks.get(prefix)
            if life is None:
                raise NotFound("prefix", "R3", "no such block is registered")
            use = await store.blocks.use_of(life, now_ms())
            return {**row(life), "bound": use.bound, "quarantined": use.quarantined, "free": use.free}

    show_row(asyncio.run(read(settings_of(config))), as_json)


def _move(config: Config, prefix: str, state: BlockState, reason: str, as_json: bool, was: BlockState | None) -> None:
    async def move(settings: Settings) -> BlockLife:
        async with binding_store(settings) as store:
            return await store.blocks.move(prefix, state, now_ms(), by=who(), reason=reason, was=was)

    show_row(row(asyncio.run(move(settings_of(config)))), as_json)


@app.command("activate")
def activate(prefix: Prefix, reason: Reason = "", config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Let calls through to an allocated block."""
    _move(config, prefix, BlockState.ACTIVE, reason, as_json, BlockState.ALLOCATED)


@app.command("freeze")
def freeze(prefix: Prefix, reason: Needed = "", config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Stop calls to a block within a second; no new bindings in it either."""
    _move(config, prefix, BlockState.FROZEN, reason, as_json, None)


@app.command("thaw")
def thaw(prefix: Prefix, reason: Reason = "", config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Let calls through to a frozen block again."""
    _move(config, prefix, BlockState.ACTIVE, reason, as_json, BlockState.FROZEN)


@app.command("return")
def give_back(prefix: Prefix, reason: Needed = "", config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Give a block back that nobody uses any more."""
    _move(config, prefix, BlockState.RETURNED, reason, as_json, None)
