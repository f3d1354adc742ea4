"""Lists in pages: `limit` rows and a cursor that says where the next page begins. What a cursor holds is nobody's
business: it is good for the list it came from."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field

from b2bua.api.problem import ProblemError
from routing.errors import BindingError

__all__ = ["LONGEST_PAGE", "Listing", "Page", "Paging"]

LONGEST_PAGE = 500
LONGEST_CURSOR = 512

Item = TypeVar("Item")
Row = TypeVar("Row")


class Listing(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class Page:
    """What a request asks of a list. `after` is the place its cursor stands for, '' for the beginning."""

    def __init__(self, path: str, after: str, limit: int) -> None:
        self.path = path
        self.after = after
        self.limit = limit

    async def of(
        self,
        read: Callable[[str, int], Awaitable[Sequence[Row]]],
        place: Callable[[Row], str],
        show: Callable[[Row], Item],
    ) -> Listing[Item]:
        """The body of the answer: `read(after, limit)` gives rows, `place(row)` where the page after it begins."""
        try:
            rows = await read(self.after, self.limit + 1)
        except BindingError as error:
            if error.field == "after":
                raise _stray() from error
            raise
        shown = rows[: self.limit]
        following = self.cursor(place(shown[-1])) if len(rows) > self.limit else None
        return Listing[Item].model_construct(items=[show(row) for row in shown], next=following)

    def cursor(self, place: str) -> str:
        """The text that stands for a place in this list."""
        return base64.urlsafe_b64encode(f"{self.path}\n{place}".encode()).rstrip(b"=").decode()


async def _page(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE, description="Rows of a page.")] = 100,
    cursor: Annotated[
        str, Query(max_length=LONGEST_CURSOR, description="`next` of the page before; the same filters go with it.")
    ] = "",
) -> Page:
    path = request.url.path
    if not cursor:
        return Page(path, "", limit)
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    where, newline, after = text.partition("\n")
    if not newline or where != path:
        raise _stray()
    return Page(path, after, limit)


def _stray() -> ProblemError:
    return ProblemError(422, "is no cursor of this list", "cursor", "form")


Paging = Annotated[Page, Depends(_page)]
"""A parameter of an endpoint that lists."""
