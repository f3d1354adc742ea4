"""/v1/scenarios: what a business user's calls are for, and their limits (R14, R17)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field

from b2bua.api.auth import Everybody, Operator
from b2bua.api.caps import CapSetBody
from b2bua.api.context import Ctx
from b2bua.api.etag import IfMatch, MustMatch, etag
from b2bua.api.models import Body, CallSeconds, Identifier, RingSeconds, Text, Way, WithReason
from b2bua.api.paging import Listing, Paging
from b2bua.api.problem import documented
from b2bua.api.registry import Deed, Registered, StateFilter, changed, found, moved
from routing.registry import Scenario
from routing.terms import LONGEST_DAYS, Direction
from routing.windows import MOST_WINDOWS, format_window, parse_windows

__all__ = ["router"]

router = APIRouter(prefix="/v1/scenarios", tags=["registry"])

UserPart = Annotated[str, Path(description="The business user.", max_length=64, examples=["shop-1"])]
NamePart = Annotated[str, Path(description="The scenario's name.", max_length=64, examples=["delivery"])]
Days = Annotated[int, Field(ge=1, le=LONGEST_DAYS, description="Days that a binding lasts at most.")]
Windows = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(max_length=MOST_WINDOWS, description="When calls and messages pass, by the clock in China; none: always."),
]


class ScenarioShown(Registered):
    """A scenario."""

    business_user: str
    name: str
    title: str
    longest_days: int
    direction: Direction
    windows: list[str]
    messages: bool = Field(description="Whether messages pass.")
    verify: bool = Field(description="Whether the verification hook is asked for each call (R20).")
    ring_seconds: int
    longest_seconds: int
    caps: CapSetBody


class NewScenario(Body):
    """A scenario to be registered."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "business_user": "shop-1",
                "name": "delivery",
                "title": "Delivery of parcels",
                "longest_days": 3,
                "windows": ["mon-sun 07:00-22:00"],
                "caps": {"binding": {"per_day": 20}},
            }
        }
    )

    business_user: Identifier
    name: Identifier
    title: Text = ""
    longest_days: Days = LONGEST_DAYS
    direction: Way = Direction.BOTH
    windows: Windows = Field(default=[])
    messages: bool = True
    verify: bool = False
    ring_seconds: RingSeconds = 0
    longest_seconds: CallSeconds = 0
    caps: CapSetBody = CapSetBody()


class ScenarioChange(Body):
    """What is to be changed of a scenario."""

    model_config = ConfigDict(json_schema_extra={"example": {"messages": False}})

    title: Text | None = None
    longest_days: Days | None = None
    direction: Way | None = None
    windows: Windows | None = None
    messages: bool | None = None
    verify: bool | None = None
    ring_seconds: RingSeconds | None = None
    longest_seconds: CallSeconds | None = None
    caps: CapSetBody | None = None


@router.get("", summary="List scenarios", responses=documented())
async def list_scenarios(
    context: Ctx,
    caller: Everybody,
    page: Paging,
    provider: Annotated[str, Query(max_length=64)] = "",
    business_user: Annotated[str, Query(max_length=64)] = "",
    state: StateFilter = None,
) -> Listing[ScenarioShown]:
    """A provider sees those of its business users."""
    scope = caller.scope(provider)
    return await page.of(
        lambda after, limit: context.store.registry.list(
            Scenario, after, limit, provider=scope, business_user=business_user, state=state
        ),
        lambda value: value.id,
        _model,
    )


@router.post("", status_code=201, summary="Register a scenario", responses=documented(409, 413, 415))
async def add_scenario(context: Ctx, caller: Operator, body: NewScenario, response: Response) -> ScenarioShown:
    """Every binding names one."""
    fields = body.model_dump(exclude={"windows", "caps"})
    value = Scenario(**fields, windows=parse_windows(body.windows), caps=body.caps.cap_set())
    added = await context.store.registry.add(value, context.clock(), by=caller.by)
    response.headers["Location"] = f"/v1/scenarios/{added.id}"
    return _shown(added, response)


@router.get("/{business_user}/{name}", summary="Look at a scenario", responses=documented(404))
async def get_scenario(
    context: Ctx, caller: Everybody, business_user: UserPart, name: NamePart, response: Response
) -> ScenarioShown:
    """With its limits."""
    return _shown(await found(context, caller, Scenario, f"{business_user}/{name}"), response)


@router.patch(
    "/{business_user}/{name}", summary="Change a scenario", responses=documented(404, 409, 412, 413, 415, 428)
)
async def change_scenario(
    context: Ctx,
    caller: Operator,
    business_user: UserPart,
    name: NamePart,
    body: ScenarioChange,
    response: Response,
    if_match: MustMatch = None,
) -> ScenarioShown:
    """The switch follows within a second."""
    fields: dict[str, object] = body.model_dump(exclude_none=True, exclude={"windows", "caps"})
    if body.windows is not None:
        fields["windows"] = parse_windows(body.windows)
    if body.caps is not None:
        fields["caps"] = body.caps.cap_set()
    value = await changed(context, caller, Scenario, f"{business_user}/{name}", fields, if_match)
    return _shown(value, response)


@router.post(
    "/{business_user}/{name}/{deed}",
    summary="Suspend, resume or terminate a scenario",
    responses=documented(404, 409, 412, 413, 415),
)
async def move_scenario(
    context: Ctx,
    caller: Operator,
    business_user: UserPart,
    name: NamePart,
    deed: Deed,
    body: WithReason,
    response: Response,
    if_match: IfMatch = None,
) -> ScenarioShown:
    """New bindings and extensions stop at once; live bindings go on (R7)."""
    value = await moved(context, caller, Scenario, f"{business_user}/{name}", deed, body.reason, if_match)
    return _shown(value, response)


def _model(value: Scenario) -> ScenarioShown:
    return ScenarioShown(
        business_user=value.business_user,
        name=value.name,
        title=value.title,
        longest_days=value.longest_days,
        direction=value.direction,
        windows=[format_window(window) for window in value.windows],
        messages=value.messages,
        verify=value.verify,
        ring_seconds=value.ring_seconds,
        longest_seconds=value.longest_seconds,
        caps=CapSetBody.model_validate(value.caps),
        state=value.state,
        reason=value.reason,
        since_ms=value.since_ms,
        revision=value.revision,
    )


def _shown(value: Scenario, response: Response) -> ScenarioShown:
    response.headers.update(etag(value.revision))
    return _model(value)
