"""The command `x700`. Each noun has a file of its own; here stand the commands without one."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer
from typer.main import get_command

from b2bua.app import (
    cli_audit,
    cli_bind,
    cli_block,
    cli_blocklist,
    cli_calls,
    cli_cdr,
    cli_contract,
    cli_credit,
    cli_group,
    cli_key,
    cli_ledger,
    cli_messages,
    cli_provider,
    cli_reload,
    cli_report,
    cli_scenario,
    cli_trunks,
    cli_user,
    cli_webhook,
    compiled,
    logs,
)
from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    EXIT_CODES,
    Config,
    Exit,
    Group,
    Json,
    Row,
    complain,
    report_crash,
    settings_of,
    show_json,
    show_row,
    show_rows,
)
from b2bua.app.config import ConfigError, Settings, settings_table
from b2bua.app.config_values import format_advertise
from b2bua.app.storage import PRIVATE, make_directories
from b2bua.app.supervisor import Program, supervise
from cdr.seal import format_keyring, new_keyring
from routing.trunks import format_peer

DRAIN_MARGIN = 10.0  # seconds beyond the drain: the last BYEs are answered, the journal is closed
API_SECONDS = 15.0  # to answer what was asked
RECORDER_SECONDS = 30.0  # to empty the journal; what is left is read at the next start

app = typer.Typer(
    name="x700",
    cls=Group,
    help="x700, a SIP number-translation switch for 700 numbers.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_provider.app, name="provider")
app.add_typer(cli_user.app, name="user")
app.add_typer(cli_contract.app, name="contract")
app.add_typer(cli_scenario.app, name="scenario")
app.add_typer(cli_block.app, name="block")
app.add_typer(cli_bind.app, name="bind")
app.add_typer(cli_group.app, name="group")
app.add_typer(cli_blocklist.app, name="blocklist")
app.add_typer(cli_blocklist.ranges_app, name="range")
app.add_typer(cli_credit.app, name="credit")
app.add_typer(cli_ledger.app, name="ledger")
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_key.app, name="key")
app.add_typer(cli_report.app, name="report")
app.add_typer(cli_cdr.app, name="cdr")
app.add_typer(cli_calls.app, name="calls")
app.add_typer(cli_messages.app, name="messages")
app.add_typer(cli_webhook.app, name="webhook")
app.command("trunks")(cli_trunks.trunks)
app.command("reload")(cli_reload.reload)


@app.command("run")
def run(config: Config = DEFAULT_CONFIG) -> None:
    """Run switch, recorder and API, and start again whichever dies. The first Ctrl-C drains, the second forces."""
    settings = _starting(config)

    def renew() -> tuple[Program, ...]:
        try:
            changed = settings_of(config)
        except ConfigError:
            return ()  # the switch says what is wrong, and goes on as it is
        logs.configure(changed.log.level, changed.log.format)
        return _programs(config, changed)

    raise typer.Exit(supervise(_programs(config, settings), structlog.get_logger("supervisor"), renew))


def _programs(config: Path, settings: Settings) -> tuple[Program, ...]:
    command = (sys.executable, "-m", "b2bua.app.cli")
    options = ("--config", str(config))
    programs = (
        Program("switch", (*command, "switch", *options), settings.sip.drain_seconds + DRAIN_MARGIN),
        Program("recorder", (*command, "recorder", *options), RECORDER_SECONDS),
    )
    if settings.api.listen is None:
        return programs
    return Program("api", (*command, "api", *options), API_SECONDS), *programs


@app.command("switch")
def switch(config: Config = DEFAULT_CONFIG) -> None:
    """Run the switch alone: signalling, decisions, journal."""
    settings = _starting(config)
    from b2bua.app.daemon import run_switch

    raise typer.Exit(run_switch(settings, lambda: settings_of(config)))


@app.command("recorder")
def recorder(config: Config = DEFAULT_CONFIG) -> None:
    """Run the recorder alone: it turns the journal into records."""
    settings = _starting(config)
    from b2bua.app.recorder import run_recorder

    raise typer.Exit(run_recorder(settings, lambda: settings_of(config)))


def _starting(config: Path) -> Settings:
    # from here until somebody listens a reload waits: what it is about may have been read already
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    settings = settings_of(config)
    logs.configure(settings.log.level, settings.log.format)
    make_directories(settings)
    return settings


@app.command("api")
def api(config: Config = DEFAULT_CONFIG) -> None:
    """Run the HTTP API alone."""
    settings = _starting(config)
    from b2bua.app.cli_api import run_api

    raise typer.Exit(run_api(settings, lambda: settings_of(config)))


@app.command("check-config")
def check_config(
    config: Config = DEFAULT_CONFIG,
    keys: Annotated[bool, typer.Option("--keys", help="List every key there is, instead; reads no file.")] = False,
    as_json: Json = False,
) -> None:
    """Say everything that is wrong with the settings, or what they come to."""
    if keys:
        rows: list[Row] = [row._asdict() for row in settings_table()]
        show_rows(rows, ("section", "key", "default", "meaning", "variable"), as_json)
        return
    try:
        settings = settings_of(config)
    except ConfigError as error:
        if as_json:
            show_json({"ok": False, "problems": error.problems})
        raise
    if as_json:
        secret = {"keyring", "passwords", "verification_secret"}
        show_json({"ok": True, "settings": settings.model_dump(mode="json", exclude=secret)})
        return
    complain(f"{config}: right")
    trunks = ", ".join(f"{trunk.name} ({', '.join(map(format_peer, trunk.peers))})" for trunk in settings.trunks)
    show_row(
        {
            "node": settings.node.name,
            "data": str(settings.node.data_dir),
            "SIP": ", ".join(
                [
                    f"udp {format_peer(settings.sip.listen)}",
                    *(f"{listener.transport} {format_peer(listener.listen)}" for listener in settings.listener),
                ]
            ),
            "advertised": format_advertise(settings.sip.advertise),
            "operations": format_peer(settings.ops.listen),
            "API": format_advertise(settings.api.listen),
            "trunks": trunks,
        },
        as_json,
    )


@app.command("keygen")
def keygen(
    file: Annotated[Path, typer.Argument(help="Where the keys go; only this user may read it.")],
    if_missing: Annotated[bool, typer.Option("--if-missing", help="It is no error that the file exists.")] = False,
    as_json: Json = False,
) -> None:
    """Make the keys that numbers are encrypted with. Keep a copy elsewhere: without them no record can be read."""
    made = True
    file.parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if not if_missing:
            complain(f"{file} exists and is left alone: what was encrypted with its keys needs them")
            raise typer.Exit(Exit.FAILED) from None
        made = False
    else:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(format_keyring(new_keyring()))
            stream.flush()
            os.fsync(stream.fileno())
    show_row({"file": str(file), "made": made}, as_json)


@app.command("demo")
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the temporary directory with every file.")] = False,
    as_json: Json = False,
) -> None:
    """Place a masked call in both directions with SIPp and show what each party sent and saw, and the records."""
    from b2bua.app.demo import run_demo

    raise typer.Exit(run_demo(keep, as_json))


def main() -> None:
    """Entry point: like `app()`, but an error nobody expected ends in one line, too."""
    sys.excepthook = report_crash
    changed = compiled.stale()
    if changed:
        sys.exit(f"x700: compiled before its source was changed: {', '.join(changed)}; run: make fast, or make slow")
    get_command(app)(prog_name="x700")


if __name__ == "__main__":
    main()
