"""`x700 scenario`: the uses that business users have registered, and their limits (R17)."""

from typing import Annotated

import typer

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, settings_of, show_row
from b2bua.app.cli_registry import Reason, cap_values, change, given, life_of, register
from routing.caps import format_cap_set, parse_cap_set
from routing.errors import BindingError
from routing.registry import Scenario
from routing.terms import LONGEST_DAYS, Direction
from routing.windows import Window, parse_windows

app = typer.Typer(
    help="Scenarios: what business users use bindings for, and within which limits.", no_args_is_help=True
)

Windows = Annotated[
    list[str] | None,
    typer.Option("--window", help="When calls and messages pass, such as 'mon-fri 09:00-18:00'; 'always' ends limits."),
]
Cap = Annotated[
    list[str],
    typer.Option("--cap", help="Cap by caller, binding, number or total, such as caller.per_hour=20; 0 is none."),
]


@app.command("add")
def add(
    user: Annotated[str, typer.Argument(metavar="USER", help="Business user that registers it.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, such as delivery.")],
    title: Annotated[str, typer.Option(help="What it is, in words.")] = "",
    days: Annotated[int, typer.Option(help="A binding lasts at most so many days.")] = LONGEST_DAYS,
    direction: Annotated[Direction, typer.Option(help="Who may call at most.")] = Direction.BOTH,
    window: Windows = None,
    messages: Annotated[bool, typer.Option("--messages/--no-messages", help="Short messages pass.")] = True,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Calls pass the verification hook.")] = False,
    ring_seconds: Annotated[int, typer.Option(help="Longest ringing; 0: as in the settings.")] = 0,
    longest_seconds: Annotated[int, typer.Option(help="Longest call; 0: as in the settings.")] = 0,
    cap: Cap = [],  # noqa: B006  (typer makes a new list for each run)
    reason: Reason = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Register a scenario of a business user."""
    scenario = given(
        Scenario(
            user,
            name,
            title,
            days,
            direction,
            messages=messages,
            verify=verify,
            ring_seconds=ring_seconds,
            longest_seconds=longest_seconds,
        ),
        windows=_windows(window),
        caps=parse_cap_set(_cap_set({}, cap)),
    )
    (told,) = register(settings_of(config), scenario, reason=reason)
    show_row(told, as_json)


@app.command("change")
def alter(
    identifier: Annotated[str, typer.Argument(metavar="USER/NAME", help="The scenario.")],
    title: Annotated[str | None, typer.Option(help="What it is, in words.")] = None,
    days: Annotated[int | None, typer.Option(help="A binding lasts at most so many days.")] = None,
    direction: Annotated[Direction | None, typer.Option(help="Who may call at most.")] = None,
    window: Windows = None,
    messages: Annotated[bool | None, typer.Option("--messages/--no-messages", help="Short messages pass.")] = None,
    verify: Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="Calls pass the verification hook.")
    ] = None,
    ring_seconds: Annotated[int | None, typer.Option(help="Longest ringing; 0: as in the settings.")] = None,
    longest_seconds: Annotated[int | None, typer.Option(help="Longest call; 0: as in the settings.")] = None,
    cap: Cap = [],  # noqa: B006  (typer makes a new list for each run)
    reason: Reason = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Change the limits of a scenario; what is not given stays. Live bindings follow within a second."""

    def altered(old: Scenario) -> Scenario:
        return given(
            old,
            title=title,
            longest_days=days,
            direction=direction,
            windows=_windows(window),
            messages=messages,
            verify=verify,
            ring_seconds=ring_seconds,
            longest_seconds=longest_seconds,
            caps=parse_cap_set(_cap_set(format_cap_set(old.caps), cap)),
        )

    show_row(change(settings_of(config), Scenario, identifier, reason, altered), as_json)


def _windows(texts: list[str] | None) -> tuple[Window, ...] | None:
    """None where nothing was given, which leaves them as they are."""
    if not texts:
        return None
    return parse_windows([] if texts == ["always"] else texts)


def _cap_set(old: dict[str, dict[str, int]], words: list[str]) -> dict[str, dict[str, int]]:
    values = {subject: dict(caps) for subject, caps in old.items()}
    for path, number in cap_values(words).items():
        subject, dot, name = path.partition(".")
        if not dot:
            raise BindingError("cap", "form", f"{path!r} does not say whose cap it is; write caller.{path} or the like")
        values.setdefault(subject, {})[name] = number
    return values


life_of(
    app,
    Scenario,
    "scenario",
    ("id", "state", "title", "longest_days", "direction", "windows", "messages", "verify", "caps"),
    owned=True,
)
