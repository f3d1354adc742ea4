"""`x700 reload`: the switch that runs here reads its settings again."""

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Exit, Json, settings_of, show_json
from b2bua.app.config import ConfigError
from b2bua.app.control import NoSwitch, ask


def reload(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Let the running switch read its settings again; on any mistake it keeps the old ones and says what is wrong."""
    path = settings_of(config).ops.control_socket
    answer = ask(path, command="reload")
    problems = answer.get("problems")
    if as_json:
        show_json(answer)
    if isinstance(problems, list) and problems:
        if as_json:
            raise typer.Exit(Exit.USAGE)
        raise ConfigError([*map(str, problems), "nothing was changed"])
    if answer.get("ok") is not True:
        raise NoSwitch(f"what answers on {path} cannot reload")
    if not as_json:
        for line in sentences(answer):
            typer.echo(line)


def sentences(answer: dict[str, object]) -> list[str]:
    """The answer of a reload in words."""
    told: list[str] = []
    for key, text in (
        ("changed", "changed"),
        ("restart", "changed but needs a restart"),
        ("recorder", "changed for the recorder, which takes it over on SIGHUP"),
    ):
        names = answer.get(key)
        if isinstance(names, list) and names:
            told.append(f"{text}: {', '.join(map(str, names))}")
    return told or ["nothing has changed"]
