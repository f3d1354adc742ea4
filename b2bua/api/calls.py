"""/v1/calls: calls that are up or being set up on the switch that runs here."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from b2bua.api.auth import Caller, Everybody, Owner
from b2bua.api.context import Context, Ctx
from b2bua.api.models import Shown
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import ProblemError, documented
from routing.errors import NotFound

__all__ = ["router"]

router = APIRouter(prefix="/v1/calls", tags=["calls"])

CallId = Annotated[str, Path(description="The id of the call, which is that of its record too.", max_length=64)]
LONGEST_NUMBER = 15  # digits of a place in the list


class CallShown(Shown):
    """A live call. Real numbers are masked, whoever asks."""

    id: str
    state: str = Field(description="`deciding`, `setup`, `up`, or `prompt`: a refused caller listens to why.")
    x: str = Field(description="The number dialled; masked when it was no middle number.")
    caller: str
    callee: str
    since_ms: int
    answered_ms: int = Field(description="0: not answered yet.")
    provider: str = Field(description="'' while no binding is known, as for the three below.")
    business_user: str
    binding_id: str
    order_id: str
    ingress: str = Field(description="The carrier it comes from; '' for a provider.")
    egress: str = Field(description="The carrier it goes to; '' for a provider.")


@router.get("", summary="List live calls", responses=documented())
async def list_calls(
    context: Ctx, caller: Everybody, page: Paging, provider: Annotated[str, Query(max_length=64)] = ""
) -> Listing[CallShown]:
    """In the order they came. A provider sees the calls of its own bindings; those that came or ended while the pages
    are read may be missing."""
    place = _number(page.after)
    calls = await _ask(context, provider=caller.scope(provider), after=place, limit=page.limit + 1)
    shown = calls[: page.limit]
    more = len(calls) > page.limit
    return Listing(
        items=[_show(call, caller) for call in shown], next=page.cursor(str(shown[-1]["number"])) if more else None
    )


@router.get("/{id}", summary="Look at a live call", responses=documented(404))
async def get_call(context: Ctx, caller: Everybody, id: CallId) -> CallShown:
    """Once it is over there is its record."""
    for call in await _ask(context, provider=caller.provider, id=id, limit=1):
        return _show(call, caller)
    raise NotFound("id", "form", "no such live call")


@router.post("/{id}/hang-up", status_code=204, summary="End a live call", responses=documented(404))
async def hang_up(context: Ctx, caller: Owner, id: CallId) -> None:
    """On both sides, at once; the record says so. A provider can end the calls of its own bindings."""
    for call in await _ask(context, provider=caller.provider, id=id, limit=1):
        whose = str(call.get("provider", ""))
        break
    else:
        raise NotFound("id", "form", "no such live call")
    note = context.store.audit.note
    # first, so that no call is cut which the audit knows nothing of
    await note(context.clock(), caller.by, "hang-up", "call", id, provider=whose)
    done = (await context.ask(command="hangup", id=id, provider=caller.provider)).get("ok") is True
    await note(context.clock(), caller.by, "hung-up" if done else "not-hung-up", "call", id, provider=whose)
    if not done:
        raise NotFound("id", "form", "no such live call")


async def _ask(context: Context, **filters: object) -> list[dict[str, object]]:
    calls = (await context.ask(command="calls", **filters)).get("calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _show(call: dict[str, object], caller: Caller) -> CallShown:
    shown = CallShown.model_validate(call)
    return shown.model_copy(update={"ingress": "", "egress": ""}) if caller.provider else shown


def _number(place: str) -> int:
    if not place:
        return 0
    if not (place.isascii() and place.isdigit() and len(place) <= LONGEST_NUMBER):
        raise ProblemError(422, "is no cursor of this list", "cursor", "form")
    return int(place)
