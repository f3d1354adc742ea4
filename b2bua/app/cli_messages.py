"""`x700 messages`: the short messages that the switch here has taken and not delivered yet."""

from typing import Annotated

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, NotFound, Row, settings_of, show_row, show_rows
from b2bua.app.control import NoSwitch, ask
from b2bua.app.deeds import ask_noted

app = typer.Typer(help="Short messages that wait at the switch that runs here.", no_args_is_help=True)

COLUMNS = ("id", "state", "x", "caller", "callee", "ingress", "tries", "since_ms", "due_ms", "expires_ms")


@app.command("list")
def list_messages(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """List the messages that are not delivered yet; numbers are masked, texts never shown."""
    path = settings_of(config).ops.control_socket
    messages = ask(path, command="messages").get("messages")
    if not isinstance(messages, list):
        raise NoSwitch(f"what answers on {path} knows no messages")
    rows: list[Row] = [dict.fromkeys(COLUMNS) | message for message in messages]
    show_rows(rows, COLUMNS, as_json)


@app.command("discard")
def discard(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of the message, from `messages list`.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Give up one message that waits for its next try."""
    answer = ask_noted(settings_of(config), "discard", "message", identifier, ("discard", "discarded", "not-discarded"))
    if answer.get("ok") is not True:
        raise NotFound(str(answer.get("error", f"no message {identifier}")))
    show_row({"id": identifier, "ok": True}, as_json)
