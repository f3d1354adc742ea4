"""/docs: the OpenAPI document for people, in one page of our own. Nothing in it comes from anywhere else, so it works
on a host without a way out."""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

# The page's own script and style stand in it; it speaks to this API alone and is shown in nobody's frame.
POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE: Final = files("b2bua.api").joinpath("docs.html").read_text(encoding="utf-8")


@router.get("/docs")
async def docs() -> Response:
    """The page."""
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return Response(PAGE, headers=headers, media_type="text/html")
