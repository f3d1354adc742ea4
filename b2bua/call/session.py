"""Session descriptions on the way through: read and rebuilt on arrival, given our own origin line on departure."""

from collections.abc import Callable

from b2bua.sip.errors import ParseError
from b2bua.sip.message import Message
from b2bua.sip.multipart import sdp_part
from b2bua.sip.sdp import Origin, rebuild, with_origin

__all__ = ["Session", "session_description"]


def session_description(message: Message) -> bytes:
    """The session description of a message, rebuilt from the allow-list; b'' when it has no body.

    ParseError 415: the body is something else; 400 or 488: it is no description we can pass on.
    """
    if not message.body:
        return b""
    content_type = message.get("content-type")
    if content_type is None:
        raise ParseError("body without Content-Type", 415)
    if message.get("content-encoding") not in (None, "", "identity"):
        raise ParseError("encoded body", 415)
    if content_type.lower() == "application/sdp":
        return rebuild(message.body)
    sdp = sdp_part(content_type, message.body)
    if sdp is None:
        raise ParseError("no session description in body", 415)
    return rebuild(sdp)


class Session:
    """Our origin on one leg (RFC 4566 §5.2): a random session id, and a version that rises when the description
    changes.

    ``last`` is the description sent last, without its origin; ``refused`` that the peer did not take it.
    """

    __slots__ = ("_id", "_version", "last", "refused")

    def __init__(self, token: Callable[[], str]) -> None:
        self._id = int(token()[:8], 16) % 1_000_000_000
        self._version = 1
        self.last = b""
        self.refused = False

    def present(self, content: bytes, address: str) -> bytes:
        """The whole description to send on this leg; b'' for none."""
        if not content:
            return b""
        if self.last and self.last != content:
            self._version += 1
        self.last = content
        self.refused = False
        return with_origin(content, Origin(self._id, self._version, address))

    def holds(self, content: bytes) -> bool:
        """Whether this description is in force here already."""
        return content == self.last and not self.refused and bool(content)
