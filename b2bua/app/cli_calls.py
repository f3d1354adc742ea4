"""`x700 calls`: the calls of the switch that runs here."""

from typing import Annotated

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, NotFound, Row, settings_of, show_row, show_rows
from b2bua.app.control import NoSwitch, ask
from b2bua.app.deeds import ask_noted

app = typer.Typer(help="Live calls of the switch that runs here.", no_args_is_help=True)

COLUMNS = ("id", "state", "x", "caller", "callee", "ingress", "egress", "since_ms", "answered_ms")


@app.command("list")
def list_calls(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """List the calls that are up or being set up."""
    path = settings_of(config).ops.control_socket
    calls = ask(path, command="calls").get("calls")
    if not isinstance(calls, list):
        raise NoSwitch(f"what answers on {path} knows no calls")
    rows: list[Row] = [dict.fromkeys(COLUMNS) | call for call in calls]
    show_rows(rows, COLUMNS, as_json)


@app.command("hangup")
def hang_up(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of the call, from `calls list`.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """End one call on both sides."""
    answer = ask_noted(settings_of(config), "hangup", "call", identifier, ("hang-up", "hung-up", "not-hung-up"))
    if answer.get("ok") is not True:
        raise NotFound(str(answer.get("error", f"no call {identifier}")))
    show_row({"id": identifier, "ok": True}, as_json)


@app.command("tables")
def tables(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Show how many entries each table of the switch holds; idle, all are empty."""
    answer = ask(settings_of(config).ops.control_socket, command="tables")
    sizes = answer.get("tables", answer)
    show_row(sizes if isinstance(sizes, dict) else answer, as_json)
