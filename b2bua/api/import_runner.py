"""Imports in the background: one piece of one file at a time, so that other requests have their turn between."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from b2bua.api.context import Context
from b2bua.api.spool import read_piece
from routing.binding import BindingRequest
from routing.bulk import Fault, FileFormat, Lines
from routing.errors import BindingError, StoreError
from routing.numbers import mask_text
from routing.store.imports import ImportJob, ImportState, Piece

__all__ = ["importing", "spooled"]

AGAIN_SECONDS: Final = 1.0  # until a store that does not answer is asked again

_log = logging.getLogger("x700.imports")


def spooled(context: Context, identifier: str) -> Path:
    """Where the file of an import lies."""
    return context.imports / f"{identifier}.sealed"


@asynccontextmanager
async def importing(context: Context) -> AsyncIterator[None]:
    """Go on with what was left unfinished, and with each file that comes."""
    with suppress(StoreError):  # then the next start sweeps
        _sweep(context, await context.store.imports.unfinished())
    task = asyncio.create_task(_forever(context), name="imports")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _forever(context: Context) -> None:
    arrived = context.store.imports.arrived
    while True:
        arrived.clear()
        try:
            for job in await context.store.imports.unfinished():
                await _run(context, job)
        except StoreError as error:
            _log.warning("import_waits: %s", error)
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            await arrived.wait()


def _sweep(context: Context, jobs: tuple[ImportJob, ...]) -> None:
    """Remove files that no import has: of one that never came whole, or whose end was not seen."""
    known = {spooled(context, job.id) for job in jobs}
    with suppress(FileNotFoundError):
        for path in list(context.imports.iterdir()):
            if path not in known and path.suffix in (".sealed", ".part"):
                path.unlink(missing_ok=True)


async def _run(context: Context, job: ImportJob) -> None:
    """One file to its end."""
    path = spooled(context, job.id)
    loop = asyncio.get_running_loop()
    while job.state is ImportState.RUNNING:
        begun = loop.time()
        try:
            piece = _piece(context, job, path)
        except BindingError as error:
            await _fail(context, job, Fault(1, mask_text(error.field), error.rule, mask_text(error.message)))
            break
        except (OSError, ValueError) as error:  # a SealError is one
            _log.error("import_unreadable: %s", error)
            await _fail(context, job, Fault(0, "file", "form", "what was sent is no longer readable; send it again"))
            break
        job = await context.store.imports.settle(job.id, piece, context.clock())
        if job.state is ImportState.RUNNING:
            await asyncio.sleep(loop.time() - begun)  # half of the time is left to others
    path.unlink(missing_ok=True)


async def _fail(context: Context, job: ImportJob, fault: Fault) -> None:
    await context.store.imports.fail(job.id, fault, context.clock())


def _piece(context: Context, job: ImportJob, path: Path) -> Piece:
    """The next piece as requests. BindingError when the file as a whole is none of its format."""
    texts, place, last = read_piece(path, job.place, context.seal)
    lines = Lines(job.format)
    header = job.header
    if header:
        lines.read(header)
    requests: list[tuple[int, BindingRequest]] = []
    faults: list[Fault] = []
    for number, text in enumerate(texts, start=job.line + 1):
        try:
            request = lines.read(text)
            if request is not None:
                requests.append((number, _own(request, job.provider)))
            elif job.format is FileFormat.CSV and not header and text.strip():
                header = text
        except BindingError as error:
            if error.field == "header":
                raise
            faults.append(Fault(number, mask_text(error.field), error.rule, mask_text(error.message)))
    return Piece(requests, faults, place, job.line + len(texts), header, last)


def _own(request: BindingRequest, provider: str) -> BindingRequest:
    if not provider:
        return request
    if request.provider not in ("", provider):
        raise BindingError("provider", "R6", "is another than yours")
    return replace(request, provider=provider)
