"""`x700 bind`: bindings, made one by one, listed, changed and ended. Files of them: cli_bulk."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from b2bua.app import cli_bulk
from b2bua.app.cli_bulk import InState, Number, OfGroup, Order, Provider, User
from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Json,
    NotFound,
    Reveal,
    Row,
    now_ms,
    parse_instant,
    settings_of,
    show_row,
    show_rows,
    who,
)
from b2bua.app.storage import binding_store
from routing.binding import Binding, BindingDetail, BindingRequest, BindingState, Direction, Mode
from routing.bulk import row_of
from routing.store.pages import LONGEST_PAGE
from routing.store.sqlite import Store

app = typer.Typer(help="Bindings: which parties reach each other through which middle number.", no_args_is_help=True)

COLUMNS = ("id", "state", "mode", "x", "y", "a", "b", "direction", "business_user", "order_id", "expires_ms")
HOUR_MS = 3_600_000

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the binding.")]


app.command("import")(cli_bulk.import_file)
app.command("export")(cli_bulk.export_file)


def _show_what(work: Callable[[Store], Awaitable[Binding]], config: Path, as_json: bool, reveal: bool) -> None:
    """Do something with a binding and show what it is then."""

    async def whole() -> Row:
        async with binding_store(settings_of(config)) as store:
            detail = await store.bindings.detail((await work(store)).id)
            assert detail is not None, "bindings stay"
            return row_of(detail, now_ms(), reveal=reveal)

    show_row(asyncio.run(whole()), as_json)


@app.command("add")
def add(
    x: Annotated[str, typer.Option("--x", help="Middle number that A dials; without: a free one is drawn.")] = "",
    y: Annotated[str, typer.Option("--y", help="Middle number that B dials (AXYB, GXYB); without: one is drawn.")] = "",
    a: Annotated[str, typer.Option("--a", help="Real number of party A; of a group: its default member.")] = "",
    b: Annotated[str, typer.Option("--b", help="Real number of party B.")] = "",
    mode: Annotated[Mode, typer.Option(help="How it joins the parties.")] = Mode.AXB,
    group: Annotated[str, typer.Option(help="Group that takes the part of A (GXB, GXYB).")] = "",
    user: Annotated[str, typer.Option(help="Business user whose order it is.")] = "",
    order: Annotated[str, typer.Option(help="Order that needs the calls.")] = "",
    scenario: Annotated[str, typer.Option(help="Scenario registered for the business user (R17).")] = "",
    real_name: Annotated[str, typer.Option(help="Reference of the real-name verification (R16).")] = "",
    consent: Annotated[str, typer.Option(help="Reference of the consent of both parties (R16).")] = "",
    hours: Annotated[float, typer.Option(help="Lives so many hours, unless --expires is given.", min=0)] = 24.0,
    expires: Annotated[str, typer.Option(help="Lives until this time.", metavar="TIME")] = "",
    starts: Annotated[str, typer.Option(help="Lives from this time; without: at once.", metavar="TIME")] = "",
    direction: Annotated[Direction, typer.Option(help="Who may call.")] = Direction.BOTH,
    provider: Annotated[str, typer.Option(help="Provider; without: the one of the business user.")] = "",
    industrial_id: Annotated[str, typer.Option(help="Industrial internet identifier (R20).")] = "",
    ring_seconds: Annotated[int, typer.Option(help="Longest ringing; 0: as in the settings.", min=0)] = 0,
    longest_seconds: Annotated[int, typer.Option(help="Longest call; 0: as in the settings.", min=0)] = 0,
    most_calls: Annotated[int, typer.Option(help="Calls it admits in its life; 0: any number.", min=0)] = 0,
    client_token: Annotated[str, typer.Option(help="The same token means the same binding.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Bind two parties to a middle number for an order."""
    starts_ms = parse_instant(starts) if starts else 0
    request = BindingRequest(
        x=x,
        y=y,
        a=a,
        b=b,
        mode=mode,
        group=group,
        business_user=user,
        scenario=scenario,
        order_id=order,
        real_name=real_name,
        consent=consent,
        expires_ms=parse_instant(expires) if expires else (starts_ms or now_ms()) + int(hours * HOUR_MS),
        starts_ms=starts_ms,
        provider=provider,
        industrial_id=industrial_id,
        direction=direction,
        ring_seconds=ring_seconds,
        longest_seconds=longest_seconds,
        most_calls=most_calls,
        client_token=client_token,
    )
    _show_what(lambda store: store.bindings.bind(request, now_ms(), by=who()), config, as_json, reveal)


@app.command("list")
def list_bindings(
    x: Number = "",
    order: Order = "",
    user: User = "",
    provider: Provider = "",
    group: OfGroup = "",
    state: InState = None,
    live: Annotated[bool, typer.Option("--live", help="Only those that admit calls now; as --state live.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many, the newest first; 0: all.", min=0)] = 100,
    after: Annotated[str, typer.Option(help="Go on after this id.", metavar="ID")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """List bindings, the newest first."""
    settings, at_ms = settings_of(config), now_ms()
    wanted = BindingState.LIVE if live else state

    async def pages() -> AsyncIterator[BindingDetail]:
        at, left = after, limit
        async with binding_store(settings) as store:
            while page := await store.bindings.details(
                at,
                min(left, LONGEST_PAGE) if limit else LONGEST_PAGE,
                x,
                order_id=order,
                business_user=user,
                provider=provider,
                group=group,
                state=wanted,
                now_ms=at_ms,
            ):
                for detail in page:
                    yield detail
                at, left = page[-1].id, left - len(page)
                if limit and left <= 0:
                    return

    async def gather() -> list[Row]:
        return [row_of(detail, at_ms, reveal=reveal) async for detail in pages()]

    show_rows(asyncio.run(gather()), COLUMNS, as_json)


@app.command("show")
def show(
    identifier: Id,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Show all that is kept of a binding."""

    async def find(store: Store) -> Binding:
        found = await store.bindings.get(identifier)
        if found is None:
            raise NotFound(f"no binding {identifier}")
        return found

    _show_what(find, config, as_json, reveal)


@app.command("extend")
def extend(
    identifier: Id,
    expires: Annotated[str, typer.Option(help="Lives until this time. Must be given.", metavar="TIME")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Let a binding live longer; what its scenario allows counts from its start (R17)."""
    until = parse_instant(expires)
    _show_what(lambda store: store.bindings.extend(identifier, until, now_ms(), by=who()), config, as_json, reveal)


@app.command("end")
def end(
    identifier: Id,
    reason: Annotated[str, typer.Option("--reason", help="Why; the audit and the ledger keep it.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """End a binding: the next call is refused, a call that is up is left to finish."""
    _show_what(lambda store: store.bindings.end(identifier, now_ms(), by=who(), reason=reason), config, as_json, reveal)


@app.command("change")
def change(
    identifier: Id,
    a: Annotated[str, typer.Option("--a", help="Another party A.")] = "",
    b: Annotated[str, typer.Option("--b", help="Another party B.")] = "",
    real_name: Annotated[str, typer.Option(help="Real-name reference of the parties then (R16).")] = "",
    consent: Annotated[str, typer.Option(help="Reference of the consent of the parties then (R16).")] = "",
    direction: Annotated[Direction | None, typer.Option(help="Who may call from now on.")] = None,
    ring_seconds: Annotated[int | None, typer.Option(help="Longest ringing; 0: as in the settings.", min=0)] = None,
    longest_seconds: Annotated[int | None, typer.Option(help="Longest call; 0: as in the settings.", min=0)] = None,
    most_calls: Annotated[int | None, typer.Option(help="Calls it admits in its life; 0: any number.", min=0)] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Change a party, with new references, or the direction and the limits. Calls that are up go on as they are."""

    async def work(store: Store) -> Binding:
        async with store.transaction():
            changed = await store.bindings.change(
                identifier,
                now_ms(),
                direction=direction,
                ring_seconds=ring_seconds,
                longest_seconds=longest_seconds,
                most_calls=most_calls,
                by=who(),
            )
            if not (a or b or real_name or consent):
                return changed
            return await store.bindings.change_party(
                identifier, now_ms(), a=a, b=b, real_name=real_name, consent=consent, by=who()
            )

    _show_what(work, config, as_json, reveal)
