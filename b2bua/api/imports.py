"""/v1/imports: many bindings from a file, in the background, with an answer for each line that is refused."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from b2bua.api.auth import Everybody, Owner
from b2bua.api.context import Ctx
from b2bua.api.import_runner import spooled
from b2bua.api.models import MEDIA, Shown, WithReason
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import ProblemError, documented
from b2bua.api.spool import NoRoom, Spool
from routing.bulk import FileFormat, fault_header, fault_line
from routing.store.imports import ImportJob, ImportState
from routing.store.pages import LONGEST_PAGE

__all__ = ["router"]

router = APIRouter(prefix="/v1/imports", tags=["bindings"])

ImportId = Annotated[str, Path(description="The import's id.", max_length=64)]

# Files of one provider on their way in at one time.
MOST_UPLOADS: Final = 4
DISK_SECONDS: Final = "60"  # until it is worth asking a disk again

_BODY: Final = {
    "requestBody": {
        "required": True,
        "description": "One binding a line: JSON Lines, or CSV with a header, with the fields of POST /v1/bindings.",
        "content": {media: {"schema": {"type": "string"}} for media in MEDIA.values()},
    }
}


class ImportShown(Shown):
    """A file on its way in."""

    id: str
    provider: str
    by: str
    format: FileFormat
    state: ImportState
    bytes: int
    lines: int = Field(description="How many it has.")
    line: int = Field(description="How many are settled.")
    bound: int
    refused: int = Field(description="Each of them is told of in /errors.")
    created_ms: int
    ended_ms: int


@router.post(
    "", status_code=202, summary="Import a file of bindings", responses=documented(409, 413, 415), openapi_extra=_BODY
)
async def add_import(
    context: Ctx,
    caller: Owner,
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str,
        Header(alias="Idempotency-Key", max_length=64, description="The same file with the same key is one import."),
    ] = "",
) -> ImportShown:
    """Answered once the whole file is safe; a restart goes on where it was. Follow it at its Location."""
    identifier = os.urandom(12).hex()
    media = request.headers["content-type"].partition(";")[0].strip().lower()
    form = FileFormat.CSV if media == MEDIA[FileFormat.CSV] else FileFormat.JSONL
    uploads: Counter[str] = request.app.state.uploads
    if caller.provider and uploads[caller.provider] >= MOST_UPLOADS:
        raise ProblemError(409, f"{MOST_UPLOADS} files are on their way already; send it when one has come")
    spool = Spool(spooled(context, identifier), context.seal)
    uploads[caller.provider] += 1
    try:
        async for part in request.stream():
            spool.write(part)
        await asyncio.to_thread(spool.finish)
        job = await context.store.imports.add(
            identifier,
            form,
            spool.size,
            spool.lines,
            spool.digest,
            context.clock(),
            by=caller.by,
            provider=caller.provider,
            idempotency_key=idempotency_key,
        )
    except NoRoom:
        spool.discard()
        raise ProblemError(503, "the disk is nearly full", headers={"Retry-After": DISK_SECONDS}) from None
    except BaseException:
        spool.discard()
        raise
    finally:
        uploads[caller.provider] -= 1
    if job.id != identifier:
        spool.discard()
    response.headers["Location"] = f"/v1/imports/{job.id}"
    return _shown(job)


@router.get("", summary="List imports", responses=documented())
async def list_imports(context: Ctx, caller: Everybody, page: Paging) -> Listing[ImportShown]:
    """The newest first; a provider sees its own. They are kept for 30 days."""
    return await page.of(
        lambda after, limit: context.store.imports.list(after, limit, caller.provider), lambda job: job.id, _shown
    )


@router.get("/{id}", summary="Look at an import", responses=documented(404))
async def get_import(context: Ctx, caller: Everybody, id: ImportId) -> ImportShown:
    """How far it has come."""
    return _shown(await context.store.imports.get(id, caller.provider))


@router.get(
    "/{id}/errors",
    summary="Read the lines that were refused",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One line each: line, field, rule and message, in the format of the file.",
            "content": {media: {"schema": {"type": "string"}} for media in MEDIA.values()},
        },
        **documented(404),
    },
)
async def get_errors(context: Ctx, caller: Everybody, id: ImportId) -> StreamingResponse:
    """So far, in the order of the file."""
    job = await context.store.imports.get(id, caller.provider)

    async def lines() -> AsyncIterator[str]:
        yield fault_header(job.format)
        after = -1
        while True:
            faults = await context.store.imports.faults(id, after, LONGEST_PAGE, caller.provider)
            yield "".join(fault_line(fault, job.format) for fault in faults)
            if len(faults) < LONGEST_PAGE:
                return
            after = faults[-1].line

    return StreamingResponse(lines(), media_type=MEDIA[job.format])


@router.post("/{id}/cancel", summary="Cancel an import", responses=documented(404, 409, 413, 415))
async def cancel_import(context: Ctx, caller: Owner, id: ImportId, body: WithReason) -> ImportShown:
    """What it has bound stays."""
    job = await context.store.imports.cancel(
        id, context.clock(), by=caller.by, reason=body.reason, provider=caller.provider
    )
    return _shown(job)


def _shown(job: ImportJob) -> ImportShown:
    return ImportShown.model_validate(job)
