"""Entity tags of single resources: the revision, so that a change can say which state it was decided on."""

import re
from typing import Annotated

from fastapi import Header

from b2bua.api.problem import ProblemError
from routing.errors import StaleRevision

__all__ = ["IfMatch", "MustMatch", "etag", "required_revision", "revision_of"]

_TAG = re.compile(r'"([1-9][0-9]{0,15})"', re.ASCII)


def etag(revision: int) -> dict[str, str]:
    """The header of an answer that shows a resource in this revision."""
    return {"ETag": f'"{revision}"'}


def revision_of(tag: str | None) -> int:
    """The revision that an If-Match asks for, 0 for none and for `*`. A tag of another form fits nothing."""
    if tag is None or tag.strip() == "*":
        return 0
    match = _TAG.fullmatch(tag.strip())
    if match is None:
        raise StaleRevision("If-Match", "revision", "is no tag of this resource; read it again")
    return int(match[1])


def required_revision(tag: str | None) -> int:
    """The same where a change has to say what it was decided on."""
    if tag is None:
        raise ProblemError(428, "must be given: the ETag that was read, or *", "If-Match", "revision")
    return revision_of(tag)


IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="The ETag that was read: changed since, it is 412.")
]
"""A parameter of an endpoint whose change may be conditional."""

MustMatch = Annotated[
    str | None, Header(alias="If-Match", description="The ETag that was read, or `*`. Without it: 428.")
]
"""A parameter of an endpoint whose change must be."""
