"""`x700 contract`: what providers and business users have agreed (R6)."""

from typing import Annotated

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, parse_instant, settings_of, show_row
from b2bua.app.cli_registry import Reason, change, given, life_of, register
from routing.registry import Contract

app = typer.Typer(help="Contracts of providers with business users.", no_args_is_help=True)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="Id of the contract.")]


@app.command("add")
def add(
    identifier: Identifier,
    provider: Annotated[str, typer.Option(help="The provider.")],
    user: Annotated[str, typer.Option(help="The business user.")],
    reference: Annotated[str, typer.Option(help="Its reference in the files; without: the id.")] = "",
    starts: Annotated[str, typer.Option(help="In force from this time; without: always.", metavar="TIME")] = "",
    ends: Annotated[str, typer.Option(help="In force until this time; without: open.", metavar="TIME")] = "",
    reason: Reason = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Register a contract: bindings are made while one is in force."""
    contract = Contract(identifier, provider, user, reference or identifier, _instant(starts), _instant(ends))
    (told,) = register(settings_of(config), contract, reason=reason)
    show_row(told, as_json)


@app.command("change")
def alter(
    identifier: Identifier,
    reference: Annotated[str | None, typer.Option(help="Another reference.")] = None,
    starts: Annotated[str | None, typer.Option(help="Another start; '' is always.", metavar="TIME")] = None,
    ends: Annotated[str | None, typer.Option(help="Another end; '' is open.", metavar="TIME")] = None,
    reason: Reason = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Change what is registered of a contract; what is not given stays."""
    starts_ms, ends_ms = (None if text is None else _instant(text) for text in (starts, ends))
    told = change(
        settings_of(config),
        Contract,
        identifier,
        reason,
        lambda old: given(old, reference=reference, starts_ms=starts_ms, ends_ms=ends_ms),
    )
    show_row(told, as_json)


def _instant(text: str) -> int:
    return parse_instant(text) if text else 0


life_of(
    app,
    Contract,
    "contract",
    ("id", "state", "provider", "business_user", "reference", "starts_ms", "ends_ms", "reason"),
    owned=True,
)
