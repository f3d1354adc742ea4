"""What the commands of the registry share: everything registered is shown, listed, suspended, resumed and terminated
alike."""

import asyncio
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Annotated, Any, TypeVar

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, Row, now_ms, settings_of, show_row, show_rows, who
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.caps import format_cap_set, format_caps
from routing.errors import BindingError, NotFound
from routing.registry import BusinessUser, Resource, Scenario, State
from routing.store.pages import LONGEST_PAGE
from routing.store.sqlite import Store
from routing.windows import format_window

__all__ = ["Reason", "cap_values", "change", "given", "life_of", "register", "row"]

T = TypeVar("T", bound=Resource)

Reason = Annotated[str, typer.Option("--reason", help="Why; the audit keeps it.")]
Needed = Annotated[str, typer.Option("--reason", help="Why; the audit keeps it. Must be given.")]


def row(value: Resource) -> Row:
    """A value as it is printed, its id first."""
    told: dict[str, object] = {"id": value.id}
    told |= {field.name: getattr(value, field.name) for field in fields(value)}
    told["state"] = value.state.value
    if isinstance(value, BusinessUser):
        told["caps"] = format_caps(value.caps)
    elif isinstance(value, Scenario):
        told["caps"] = format_cap_set(value.caps)
        told["direction"] = value.direction.value
        told["windows"] = [format_window(window) for window in value.windows]
    return told


def register(settings: Settings, *values: Resource, reason: str = "") -> tuple[Row, ...]:
    """Add values, one after the other."""

    async def work() -> tuple[Row, ...]:
        async with binding_store(settings) as store:
            return tuple([row(await store.registry.add(value, now_ms(), by=who(), reason=reason)) for value in values])

    return asyncio.run(work())


def change(settings: Settings, kind: type[T], identifier: str, reason: str, alter: Callable[[T], T]) -> Row:
    """Read a value, alter it and store it."""

    async def work() -> Row:
        async with binding_store(settings) as store:
            value = await _there(store, kind, identifier)
            return row(await store.registry.change(alter(value), now_ms(), by=who(), reason=reason))

    return asyncio.run(work())


def given(value: T, **changes: Any) -> T:
    """A value with what was given on the command line put in; None was not given."""
    return replace(value, **{name: changed for name, changed in changes.items() if changed is not None})


def cap_values(words: list[str]) -> dict[str, int]:
    """'per_minute=10' and the like; BindingError for other words."""
    values = {}
    for word in words:
        name, equals, number = word.partition("=")
        if not equals or not (number.isascii() and number.isdigit()) or len(number) > len("1000000000"):
            raise BindingError("cap", "form", f"{word!r} is not a cap such as per_minute=10")
        values[name] = int(number)
    return values


def life_of(app: typer.Typer, kind: type[T], word: str, columns: tuple[str, ...], owned: bool) -> None:
    """Add the commands list, show, suspend, resume and terminate; `owned` is whether the thing has a business user."""
    identified = typer.Argument(metavar="ID", help=f"Id of the {word}.")
    identifier_type = Annotated[str, identified]

    def listed(settings: Settings, provider: str, user: str, state: State | None, as_json: bool) -> None:
        async def everything() -> list[Row]:
            rows: list[Row] = []
            async with binding_store(settings) as store:
                after = ""
                while page := await store.registry.list(
                    kind, after, LONGEST_PAGE, provider=provider, business_user=user, state=state
                ):
                    rows += map(row, page)
                    after = page[-1].id
            return rows

        show_rows(asyncio.run(everything()), columns, as_json)

    of_provider = Annotated[str, typer.Option("--provider", help="Only of this provider.")]
    of_user = Annotated[str, typer.Option("--user", help="Only of this business user.")]
    in_state = Annotated[State | None, typer.Option("--state", help="Only in this state.")]

    if owned:

        @app.command("list", help=f"List every {word}.")
        def list_owned(
            provider: of_provider = "",
            user: of_user = "",
            state: in_state = None,
            config: Config = DEFAULT_CONFIG,
            as_json: Json = False,
        ) -> None:
            listed(settings_of(config), provider, user, state, as_json)

    else:

        @app.command("list", help=f"List every {word}.")
        def list_all(
            provider: of_provider = "",
            state: in_state = None,
            config: Config = DEFAULT_CONFIG,
            as_json: Json = False,
        ) -> None:
            listed(settings_of(config), provider, "", state, as_json)

    @app.command("show", help=f"Show a {word}.")
    def show(identifier: identifier_type, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
        async def read() -> Row:
            async with binding_store(settings_of(config)) as store:
                value = await _there(store, kind, identifier)
                return row(value)

        show_row(asyncio.run(read()), as_json)

    def moved(config: Any, identifier: str, state: State, reason: str, as_json: bool) -> None:
        async def move() -> Row:
            async with binding_store(settings_of(config)) as store:
                value = await store.registry.move(kind, identifier, state, now_ms(), by=who(), reason=reason)
                return row(value)

        show_row(asyncio.run(move()), as_json)

    @app.command("suspend", help=f"Let no binding be made or extended under a {word}; live ones go on (R7).")
    def suspend(
        identifier: identifier_type, reason: Needed = "", config: Config = DEFAULT_CONFIG, as_json: Json = False
    ) -> None:
        moved(config, identifier, State.SUSPENDED, reason, as_json)

    @app.command("resume", help=f"End the suspension of a {word}.")
    def resume(
        identifier: identifier_type, reason: Needed = "", config: Config = DEFAULT_CONFIG, as_json: Json = False
    ) -> None:
        moved(config, identifier, State.ACTIVE, reason, as_json)

    @app.command("terminate", help=f"End a {word} for good; live bindings go on until they end (R7).")
    def terminate(
        identifier: identifier_type, reason: Needed = "", config: Config = DEFAULT_CONFIG, as_json: Json = False
    ) -> None:
        moved(config, identifier, State.TERMINATED, reason, as_json)


async def _there(store: Store, kind: type[T], identifier: str) -> T:
    value = await store.registry.get(kind, identifier)
    if value is None:
        raise NotFound("id", "R6", f"{identifier} is not registered")
    return value
