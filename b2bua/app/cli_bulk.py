"""`x700 bind import` and `x700 bind export`: bindings from files and into files, however many."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO, TextIO

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from b2bua.app.cli_common import (
    DEFAULT_CONFIG,
    Config,
    Exit,
    Json,
    Reveal,
    complain,
    now_ms,
    settings_of,
    show_row,
    stderr,
    who,
)
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.binding import BindingState
from routing.bulk import Fault, FileFormat, fault_header, fault_line
from routing.store.bulk import Import, Tally, exported

STANDARD = Path("-")
BYTES_MEAN_ANYTHING = "surrogateescape"  # a line that is no UTF-8 is refused as a line, not as a file

Number = Annotated[str, typer.Option("--x", help="Only of this middle number, as X or as Y.")]
Order = Annotated[str, typer.Option("--order", help="Only of this order.")]
User = Annotated[str, typer.Option("--user", help="Only of this business user.")]
Provider = Annotated[str, typer.Option("--provider", help="Only of this provider.")]
OfGroup = Annotated[str, typer.Option("--group", help="Only of this group.")]
InState = Annotated[BindingState | None, typer.Option("--state", help="Only in this state now.")]
Form = Annotated[FileFormat | None, typer.Option("--format", help="Without: csv for names that end so, else jsonl.")]


def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="One binding a line, with the keys that `bind export` writes; - is standard input.",
            allow_dash=True,
            dir_okay=False,
        ),
    ],
    form: Form = None,
    errors: Annotated[
        Path | None,
        typer.Option(help="Where lines that are refused are told of; without: FILE.errors.", dir_okay=False),
    ] = None,
    source: Annotated[
        str, typer.Option(help="Name of the file: the same line under the same name is the same binding.")
    ] = "",
    provider: Annotated[str, typer.Option("--provider", help="All of it is of this provider.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Bind every line of a file that is right, and tell of each other with its field and rule.

    What was cut off, or corrected, is imported again: lines that are bound already stay the bindings they are.
    """
    settings = settings_of(config)
    form = form or _form_of(file)
    told = errors or (None if file == STANDARD else file.with_name(f"{file.name}.errors"))
    with ExitStack() as stack:
        lines = sys.stdin
        if file != STANDARD:
            lines = stack.enter_context(file.open(encoding="utf-8", errors=BYTES_MEAN_ANYTHING, newline="\n"))
        faults = _Faults(told, form)
        stack.callback(faults.close)
        total = 0 if file == STANDARD else _count(file)
        tally = asyncio.run(_import(settings, lines, total, form, faults, source or file.name, provider))
    show_row({"lines": tally.line, "bound": tally.bound, "refused": tally.refused, "errors": faults.name}, as_json)
    if tally.refused:
        raise typer.Exit(Exit.REFUSED)


async def _import(
    settings: Settings, lines: TextIO, total: int, form: FileFormat, faults: "_Faults", source: str, provider: str
) -> Tally:
    columns = (TextColumn("binding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = stderr()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total or None)
        async with binding_store(settings) as store:
            work = Import(
                store.bindings,
                settings.seal().hash,
                form,
                by=who(),
                source=source,
                clock=now_ms,
                refused=faults.add,
                progress=lambda tally: bar.update(task, completed=tally.line),
                provider=provider,
            )
            for line in lines:
                await work.feed(line)
            return await work.close()


class _Faults:
    """The error file, made when there is something to tell; without a name it is standard error."""

    def __init__(self, path: Path | None, form: FileFormat) -> None:
        self._path = path
        self._form = form
        self._file: TextIO | None = None
        if path is not None:
            path.unlink(missing_ok=True)  # of an earlier import

    @property
    def name(self) -> str:
        """Where the faults stand, '' when there are none or nowhere."""
        return "" if self._file is None else str(self._path)

    def add(self, fault: Fault) -> None:
        if self._path is None:
            complain(f"line {fault.line}: {fault.field}: {fault.message} (rule {fault.rule})")
            return
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="")
            self._file.write(fault_header(self._form))
        self._file.write(fault_line(fault, self._form))
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def export_file(
    file: Annotated[
        Path, typer.Argument(help="Where to; - is standard output.", allow_dash=True, dir_okay=False)
    ] = STANDARD,
    form: Form = None,
    x: Number = "",
    order: Order = "",
    user: User = "",
    provider: Provider = "",
    group: OfGroup = "",
    state: InState = None,
    config: Config = DEFAULT_CONFIG,
    reveal: Reveal = False,
) -> None:
    """Write bindings, one a line, the newest first. With --reveal what is written can be imported."""
    settings = settings_of(config)

    async def write(out: TextIO) -> None:
        async with binding_store(settings) as store:
            if reveal:
                await store.audit.note(now_ms(), who(), "reveal", "binding", "*", provider=provider)
            async for text in exported(
                store.bindings,
                form or _form_of(file),
                now_ms(),
                reveal=reveal,
                x=x,
                order_id=order,
                business_user=user,
                provider=provider,
                group=group,
                state=state,
            ):
                out.write(text)

    if file == STANDARD:
        asyncio.run(write(sys.stdout))
        return
    with file.open("w", encoding="utf-8", newline="") as out:
        file.chmod(0o600)  # real numbers may stand in it
        asyncio.run(write(out))


def _form_of(file: Path) -> FileFormat:
    return FileFormat.CSV if file.suffix.lower() == ".csv" else FileFormat.JSONL


def _count(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(piece.count(b"\n") for piece in _pieces(stream))


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(1 << 20):
        yield piece
