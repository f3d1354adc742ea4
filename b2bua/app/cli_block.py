"""`x700 block`: the blocks of middle numbers and who holds them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, Row, settings_of, show_row, show_rows
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.plan import Block, BlockState
from routing.store.pages import LONGEST_PAGE

app = typer.Typer(help="Blocks of middle numbers.", no_args_is_help=True)

COLUMNS = ("prefix", "state", "provider", "business_user")

Prefix = Annotated[str, typer.Argument(help="The block: 700 and 8 digits.")]


def row(block: Block) -> Row:
    return {
        "prefix": block.prefix,
        "state": block.state.value,
        "provider": block.provider,
        "business_user": block.business_user,
    }


@app.command("add")
def add(
    prefix: Prefix,
    provider: Annotated[str, typer.Option(help="Application platform provider that manages it.")],
    user: Annotated[str, typer.Option(help="Business user it belongs to (R5).")],
    state: Annotated[BlockState, typer.Option(help="State of its life (R18).")] = BlockState.ACTIVE,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Register a block that the ministry has allocated."""
    block = Block(prefix, provider, user, state)

    async def register(settings: Settings) -> None:
        async with binding_store(settings) as store:
            await store.blocks.add(block)

    asyncio.run(register(settings_of(config)))
    show_row(row(block), as_json)


@app.command("list")
def list_blocks(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """List all blocks."""
    settings = settings_of(config)

    async def everything() -> list[Row]:
        return [row(block) async for block in all_blocks(settings)]

    show_rows(asyncio.run(everything()), COLUMNS, as_json)


async def all_blocks(settings: Settings) -> AsyncIterator[Block]:
    async with binding_store(settings) as store:
        after = ""
        while page := await store.blocks.list(after, LONGEST_PAGE):
            for block in page:
                yield block
            after = page[-1].prefix


def _move(prefix: str, state: BlockState, settings: Settings) -> Block:
    async def move() -> Block:
        async with binding_store(settings) as store:
            return await store.blocks.move(prefix, state)

    return asyncio.run(move())


@app.command("freeze")
def freeze(prefix: Prefix, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Stop calls to a block within a second; no new bindings in it either."""
    show_row(row(_move(prefix, BlockState.FROZEN, settings_of(config))), as_json)


@app.command("activate")
def activate(prefix: Prefix, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Let calls through to an allocated or frozen block."""
    show_row(row(_move(prefix, BlockState.ACTIVE, settings_of(config))), as_json)
