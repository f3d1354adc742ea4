"""What every command shares: options, exit codes, tables or JSON, errors that end in a line and not in a traceback."""

import getpass
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from b2bua.app.config import ConfigError, Settings, load
from b2bua.app.control import NoSwitch
from cdr.seal import SealError
from cdr.store.files import JournalError
from cdr.store.sqlite import CursorError
from cdr.store.sqlite import StoreError as RecordStoreError
from routing.errors import BindingError, StoreError
from routing.errors import NotFound as NotRegistered
from routing.numbers import mask, mask_text

DEFAULT_CONFIG = Path("/etc/x700/x700.toml")
UNBOUNDED = 1000  # columns of a table that goes into a file or a pipe: no identifier is cut there


class Exit(IntEnum):
    """Exit codes, for scripts."""

    DONE = 0
    FAILED = 1  # it went wrong, or there is no such thing
    USAGE = 2  # the command line or the settings are wrong
    REFUSED = 3  # a rule of the service forbids it
    NO_SWITCH = 4  # no switch is running here
    CRASHED = 70  # a defect of this program; sysexits.h calls it EX_SOFTWARE


EXIT_CODES = (
    "Exit codes: 0 done; 1 failed or not found; 2 wrong command line or settings; 3 refused by a rule of the service; "
    "4 no switch is running here; 70 a defect of x700."
)

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="X700_CONFIG", help="Settings file.", show_default=True, dir_okay=False)
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, messages to standard error.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show real numbers in full instead of 138****8000.")]

Row = Mapping[str, object]


class NotFound(Exception):
    """There is no such thing; the text names it."""


class Group(TyperGroup):
    """The root of the commands: what can be expected to go wrong ends in a message and an exit code."""

    def invoke(self, ctx: Any) -> object:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _fail(Exit.USAGE, *error.problems)
        except NotRegistered as error:
            _fail(Exit.FAILED, error.message)
        except BindingError as error:
            _fail(Exit.REFUSED, f"refused: {error.field}: {error.message} (rule {error.rule})")
        except NoSwitch as error:
            _fail(Exit.NO_SWITCH, str(error))
        except CursorError as error:
            _fail(Exit.USAGE, str(error))
        except BrokenPipeError:
            raise  # whoever read our output has had enough; the framework ends quietly
        except (NotFound, StoreError, RecordStoreError, JournalError, SealError, OSError, sqlite3.Error) as error:
            _fail(Exit.FAILED, str(error))


def _fail(code: Exit, *lines: str) -> NoReturn:
    for line in lines:
        complain(line)
    raise typer.Exit(code)


def complain(line: str) -> None:
    """One line to standard error, with any number in it masked."""
    typer.echo(mask_text(line), err=True)


def report_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python calls for an error nobody caught: one line that can be sent to the authors, without numbers."""
    if issubclass(kind, KeyboardInterrupt):
        return
    place = ""
    while trace is not None:
        place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    complain(f"x700: defect: {kind.__name__}: {error}{place}. Please report this line.")
    sys.stdout.flush()
    os._exit(Exit.CRASHED)  # Python itself would end with 1, which means something else here


def settings_of(config: Path) -> Settings:
    return load(config, os.environ)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def who() -> str:
    """Who gives the command, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without an account, as in some containers
        return f"cli:{os.getuid()}"


def number_shown(reveal: bool) -> Callable[[str], str]:
    """How a real number is printed."""
    return (lambda number: number) if reveal else mask


def show_rows(rows: Iterable[Row], columns: Sequence[str], as_json: bool, title: str = "") -> None:
    """A list: in JSON an array of objects with all their keys, else a table of the columns named."""
    if as_json:
        show_json([dict(row) for row in rows])
        return
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(heading(column), overflow="fold")
    for row in rows:
        table.add_row(*(cell(column, row[column]) for column in columns))
    stdout().print(table)


def show_row(row: Row, as_json: bool) -> None:
    """One thing: in JSON an object, else a table of its keys and values."""
    if as_json:
        show_json(dict(row))
        return
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in row.items():
        table.add_row(heading(key), cell(key, value))
    stdout().print(table)


def show_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def heading(column: str) -> str:
    """A key in words; an instant is shown as a time, so its unit goes."""
    return (column if column in DURATIONS else column.removesuffix("_ms")).replace("_", " ")


def cell(column: str, value: object) -> str:
    """A value as people read it: instants as UTC time, nothing for nothing."""
    if column.endswith("_ms") and column not in DURATIONS and isinstance(value, int):
        return format_instant(value)
    if value is None:
        return ""
    if isinstance(value, dict):
        return " ".join(_pairs(value))
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    return str(value)


def _pairs(values: Mapping[str, object], path: str = "") -> Iterator[str]:
    """What an object holds, as it is written on a command line: 'caller.per_hour=20'."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _pairs(value, f"{path}{key}.")
        else:
            yield f"{path}{key}={value}"


DURATIONS = frozenset({"setup_ms", "talk_ms", "total_ms"})


def stdout() -> Console:
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = UNBOUNDED
    return console


def stderr() -> Console:
    return Console(stderr=True, highlight=False, emoji=False)


def format_instant(milliseconds: int) -> str:
    """UTC milliseconds as '2026-11-21 19:20:00.123Z'; '' for 0, which stands for never."""
    if not milliseconds:
        return ""
    text = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")
    return text.replace("+00:00", "Z")


def parse_instant(text: str) -> int:
    """'2026-11-21', '2026-11-21T19:20', with or without an offset (none: UTC), to UTC milliseconds."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time such as 2026-11-21T19:20:00+08:00") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return int(instant.timestamp() * 1000)
