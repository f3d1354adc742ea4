"""`x700 provider`: the application platforms that make bindings (R6)."""

from typing import Annotated

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, settings_of, show_row
from b2bua.app.cli_registry import Reason, change, given, life_of, register
from routing.registry import Provider

app = typer.Typer(help="Providers: the application platforms that make bindings.", no_args_is_help=True)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="Id of the provider, such as platform-1.")]


@app.command("add")
def add(
    identifier: Identifier,
    name: Annotated[str, typer.Option(help="Name; without: the id.")] = "",
    licence: Annotated[str, typer.Option(help="Number of its licence.")] = "",
    reason: Reason = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Register a provider."""
    (told,) = register(settings_of(config), Provider(identifier, name or identifier, licence), reason=reason)
    show_row(told, as_json)


@app.command("change")
def alter(
    identifier: Identifier,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    licence: Annotated[str | None, typer.Option(help="Another licence.")] = None,
    reason: Reason = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Change what is registered of a provider; what is not given stays."""
    settings = settings_of(config)
    told = change(settings, Provider, identifier, reason, lambda old: given(old, name=name, licence=licence))
    show_row(told, as_json)


life_of(app, Provider, "provider", ("id", "state", "name", "licence", "reason", "since_ms"), owned=False)
