"""Errors as `application/problem+json` (RFC 9457), with the field at fault and the rule it breaks.

No text here repeats what was sent: a value may be a number or a secret.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from b2bua.api.context import SwitchUnavailable
from routing.errors import BindingError, Conflict, NotFound, StaleRevision, StoreError
from routing.numbers import mask_text

__all__ = [
    "MEDIA_TYPE",
    "Fault",
    "Problem",
    "ProblemError",
    "documented",
    "fault_of",
    "faults_of",
    "install",
    "respond",
    "status_of",
    "unavailable",
]

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "1"  # a store that is locked, a switch that starts again: both are over in about that time

# A field's name may be the sender's own, and spell a number: it is shown when it is short and has few digits.
_FIELD = re.compile(r"[][A-Za-z0-9_.-]{0,64}", re.ASCII)
MOST_DIGITS = 4
UNNAMED = "?"


class Fault(BaseModel):
    """One thing that is wrong."""

    field: str = Field(description="The field at fault, with dots between levels; '' for the request as a whole.")
    rule: str = Field(
        description="The rule it breaks: R1 to R20 of the service, `key` (uniqueness), `form`, `role`, `revision`."
    )
    message: str = Field(description="What is wrong, for a person.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:x700:problem:refused",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "block 70012345678 belongs to another business user",
                "field": "business_user",
                "rule": "R5",
                "errors": [],
            }
        }
    )

    type: str = Field(description="A URN for programs: `urn:x700:problem:` and a word.")
    title: str = Field(description="The name of the status.")
    status: int = Field(description="The status of the answer.")
    detail: str = Field(description="What is wrong, for a person. Holds no number of a subscriber.")
    field: str = Field(default="", description="The first field at fault.")
    rule: str = Field(default="", description="The rule it breaks.")
    errors: list[Fault] = Field(default=[], description="Every fault, where there are several.")


_log = logging.getLogger("x700.api")

_WORDS: Mapping[int, str] = {
    400: "malformed",
    401: "unauthorised",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    409: "conflict",
    412: "stale",
    413: "too-large",
    415: "media-type",
    422: "refused",
    428: "precondition-required",
    429: "too-many-requests",
    500: "defect",
    503: "unavailable",
}

MEANINGS: Mapping[int, str] = {
    400: "The body is no text in UTF-8.",
    401: "No key, a wrong key, or a wrong signature; which, is not said.",
    403: "The key's role may not do this.",
    404: "There is no such thing, or it is another provider's.",
    409: "It collides with what is there already.",
    412: "It was changed since it was read (If-Match).",
    413: "The body is too large.",
    415: "The body is of another media type.",
    422: "A rule of the service forbids it, or a field is malformed.",
    428: "If-Match is missing: say which revision is to be changed.",
    429: "Too many requests with this key; Retry-After says when to come back.",
    503: "The store or the switch does not answer; try again.",
}


class ProblemError(Exception):
    """An answer that is no success, raised anywhere below an endpoint."""

    def __init__(
        self, status: int, detail: str, field: str = "", rule: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.fault = Fault.model_construct(field=field, rule=rule, message=detail)
        self.headers = headers


def respond(
    status: int,
    detail: str,
    field: str = "",
    rule: str = "",
    errors: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem as an answer."""
    body = {
        "type": f"urn:x700:problem:{_WORDS[status]}" if status in _WORDS else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": mask_text(detail),
        "field": _field(field),
        "rule": rule,
        "errors": [{"field": fault.field, "rule": fault.rule, "message": fault.message} for fault in errors],
    }
    return Response(msgspec.json.encode(body), status, dict(headers or {}), MEDIA_TYPE)


def _field(name: str) -> str:
    named = _FIELD.fullmatch(name) and sum(character.isdigit() for character in name) <= MOST_DIGITS
    return name if named else UNNAMED


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what every route may answer, and these."""
    known = {401, 403, 422, 429, 503, *statuses}
    if 413 in known:  # it has a body
        known.add(400)
    return {
        status: {"description": MEANINGS[status], "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE}}}}
        for status in sorted(known)
    }


REFERENCE = "#/components/schemas/Problem"


def status_of(error: BindingError) -> int:
    """The status of a refusal of the store."""
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, StaleRevision):
        return 412
    return 409 if isinstance(error, Conflict) else 422


def fault_of(error: BindingError) -> Fault:
    """A refusal as one of several."""
    return Fault.model_construct(field=_field(error.field), rule=error.rule, message=mask_text(error.message))


def faults_of(errors: Iterable[Mapping[str, Any]], skip: int = 0) -> list[Fault]:
    """What a validation found, without the values it found it in; `skip` levels of the place are left out."""
    faults = []
    for error in errors:
        field = ".".join(str(part) for part in error["loc"][skip:])
        kind = error["type"]
        message = _MESSAGES.get(kind) or str(error["msg"])
        faults.append(Fault.model_construct(field=_field(field), rule="form", message=mask_text(message)))
    return faults


_MESSAGES = {
    "extra_forbidden": "is unknown; take it out",
    "missing": "must be given",
    "json_invalid": "is no JSON",
}


def install(app: FastAPI) -> None:
    """Answer every exception of an application as a problem."""
    for kind, handler in (
        (ProblemError, _problem),
        (BindingError, _refused),
        (StoreError, _unavailable),
        (SwitchUnavailable, _unavailable),
        (RequestValidationError, _invalid),
        (HTTPException, _http),
        (Exception, _defect),
    ):
        app.add_exception_handler(kind, handler)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    fault = error.fault
    return respond(error.status, fault.message, fault.field, fault.rule, headers=error.headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, BindingError)
    if isinstance(error, StaleRevision):
        return respond(412, error.message, "If-Match", "revision")
    return respond(status_of(error), error.message, error.field, error.rule)


async def _unavailable(request: Request, error: Exception) -> Response:
    return unavailable(error)


def unavailable(error: Exception) -> Response:
    """The answer when the store or the switch does not answer; why is in the log."""
    what = "the binding store" if isinstance(error, StoreError) else "the switch"
    _log.warning("unavailable: %s", error)
    return respond(503, f"{what} does not answer; try again", headers={"Retry-After": RETRY_SECONDS})


async def _defect(request: Request, error: Exception) -> Response:
    """What nobody expected; it is in the log, and nothing of it here."""
    return respond(500, "a defect of this service, which is in its log")


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = faults_of(error.errors(), skip=1)
    first = faults[0]
    return respond(422, first.message, first.field, first.rule, faults if len(faults) > 1 else ())


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = _DETAILS.get(error.status_code) or HTTPStatus(error.status_code).phrase
    return respond(error.status_code, detail, headers=error.headers)


_DETAILS = {
    400: "the body cannot be read: send UTF-8",
    404: "there is nothing at this path",
    405: "this method is not offered here",
}
