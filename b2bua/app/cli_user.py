"""`x700 user`: the business users whose orders need the calls (R6)."""

from typing import Annotated

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, settings_of, show_row
from b2bua.app.cli_registry import Reason, cap_values, change, given, life_of, register
from routing.caps import format_caps, parse_caps
from routing.registry import BusinessUser, Contract, Resource, check

app = typer.Typer(help="Business users: the enterprises whose orders need the calls.", no_args_is_help=True)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="Id of the business user, such as shop-1.")]
Cap = Annotated[
    list[str], typer.Option("--cap", help="Cap of all its calls together, such as per_minute=600; 0 is none.")
]


@app.command("add")
def add(
    identifier: Identifier,
    provider: Annotated[str, typer.Option(help="Its provider, for good (R5).")],
    contract: Annotated[
        str, typer.Option(help="Reference of its contract with the provider, registered with it as ID.1, open-ended.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name; without: the id.")] = "",
    credit_code: Annotated[str, typer.Option(help="Unified social credit code.")] = "",
    cap: Cap = [],  # noqa: B006  (typer makes a new list for each run)
    reason: Reason = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Register a business user, and its contract with it if one is given."""
    values: list[Resource] = [
        BusinessUser(identifier, provider, name or identifier, credit_code, parse_caps(cap_values(cap)))
    ]
    if contract:
        values.append(Contract(f"{identifier}.1", provider, identifier, contract))
    for value in values:
        check(value)
    told = register(settings_of(config), *values, reason=reason)
    show_row(told[0], as_json)


@app.command("change")
def alter(
    identifier: Identifier,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    credit_code: Annotated[str | None, typer.Option(help="Another unified social credit code.")] = None,
    cap: Cap = [],  # noqa: B006  (typer makes a new list for each run)
    reason: Reason = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Change what is registered of a business user; what is not given stays."""

    def altered(old: BusinessUser) -> BusinessUser:
        caps = parse_caps(format_caps(old.caps) | cap_values(cap))
        return given(old, name=name, credit_code=credit_code, caps=caps)

    show_row(change(settings_of(config), BusinessUser, identifier, reason, altered), as_json)


life_of(app, BusinessUser, "business user", ("id", "state", "provider", "name", "caps", "reason", "since_ms"), False)
