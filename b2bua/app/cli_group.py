"""`x700 group`: groups whose members take the part of A in bindings of modes GXB and GXYB."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

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
    settings_of,
    show_row,
    show_rows,
    who,
)
from b2bua.app.storage import binding_store
from routing.groups import Group
from routing.store.pages import LONGEST_PAGE
from routing.store.sqlite import Store

app = typer.Typer(help="Groups that take the part of A in bindings.", no_args_is_help=True)
members = typer.Typer(help="Members of a group.", no_args_is_help=True)
app.add_typer(members, name="member")

COLUMNS = ("id", "provider", "business_user", "name", "members", "created_ms")

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the group.")]


def row(group: Group, reveal: bool) -> Row:
    shown = number_shown(reveal)
    return {
        "id": group.id,
        "provider": group.provider,
        "business_user": group.business_user,
        "name": group.name,
        "members": [shown(member) for member in group.members],
        "created_ms": group.created_ms,
        "revision": group.revision,
    }


def _show_what(work: Callable[[Store], Awaitable[Group]], config: Path, as_json: bool, reveal: bool) -> None:
    async def whole() -> Row:
        async with binding_store(settings_of(config)) as store:
            return row(await work(store), reveal)

    show_row(asyncio.run(whole()), as_json)


@app.command("add")
def add(
    user: Annotated[str, typer.Option(help="Business user whose group it is.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    member: Annotated[list[str] | None, typer.Option(help="Real number of a member; may be given often.")] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Make a group."""
    _show_what(lambda store: store.groups.add(user, name, member or (), now_ms(), by=who()), config, as_json, reveal)


@app.command("list")
def list_groups(
    user: Annotated[str, typer.Option("--user", help="Only of this business user.")] = "",
    provider: Annotated[str, typer.Option("--provider", help="Only of this provider.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """List all groups, the oldest first."""

    async def gather() -> list[Row]:
        rows: list[Row] = []
        after = ""
        async with binding_store(settings_of(config)) as store:
            while page := await store.groups.list(after, LONGEST_PAGE, business_user=user, provider=provider):
                rows += [row(group, reveal) for group in page]
                after = page[-1].id
        return rows

    show_rows(asyncio.run(gather()), COLUMNS, as_json)


@app.command("show")
def show(identifier: Id, config: Config = DEFAULT_CONFIG, as_json: Json = False, reveal: Reveal = False) -> None:
    """Show a group and its members."""

    async def find(store: Store) -> Group:
        found = await store.groups.get(identifier)
        if found is None:
            raise NotFound(f"no group {identifier}")
        return found

    _show_what(find, config, as_json, reveal)


@app.command("rename")
def rename(
    identifier: Id,
    name: Annotated[str, typer.Argument(help="What people call it from now on.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Give a group another name."""
    _show_what(lambda store: store.groups.rename(identifier, name, now_ms(), by=who()), config, as_json, reveal)


@app.command("remove")
def remove(identifier: Id, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Forget a group; not while a binding of it has not ended."""

    async def work() -> None:
        async with binding_store(settings_of(config)) as store:
            await store.groups.remove(identifier, now_ms(), by=who())

    asyncio.run(work())
    show_row({"id": identifier, "removed": True}, as_json)


@members.command("add")
def add_member(
    identifier: Id,
    numbers: Annotated[list[str], typer.Argument(metavar="NUMBER...", help="Real numbers.")],
    real_name: Annotated[str, typer.Option(help="Reference of their real-name verification (R16).")] = "",
    consent: Annotated[str, typer.Option(help="Reference of their consent (R16).")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Add members: they may call on all bindings of the group from now on. With such bindings, name the references."""
    _show_what(
        lambda store: store.groups.add_members(
            identifier, numbers, now_ms(), real_name=real_name, consent=consent, by=who()
        ),
        config,
        as_json,
        reveal,
    )


@members.command("remove")
def remove_member(
    identifier: Id,
    number: Annotated[str, typer.Argument(help="Real number of the member.")],
    successor: Annotated[
        str, typer.Option(help="Member who takes his place where he is the default A of a binding.")
    ] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Take a member out: he may call on no binding of the group from now on."""
    _show_what(
        lambda store: store.groups.remove_member(identifier, number, now_ms(), by=who(), successor=successor),
        config,
        as_json,
        reveal,
    )
