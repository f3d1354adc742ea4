"""The extensions of SIP that a peer may insist on (RFC 3261 §8.2.2.3)."""

from b2bua.sip.headers import tokens_of
from b2bua.sip.message import Request
from b2bua.sip.session_expires import TIMER, Terms

__all__ = ["unsupported"]

EXTENSIONS = frozenset(("100rel",))


def unsupported(request: Request, terms: Terms | None) -> list[str]:
    """Extensions the sender insists on and we do not have; session timers count where they are on (``terms``)."""
    if "require" not in request.first and "proxy-require" not in request.first:
        return []
    had = EXTENSIONS if terms is None else {*EXTENSIONS, TIMER}
    tags = [tag for tag in tokens_of(request.all("require")) if tag.lower() not in had]
    return [tag for tag in (*tags, *tokens_of(request.all("proxy-require"))) if tag.isprintable()]
