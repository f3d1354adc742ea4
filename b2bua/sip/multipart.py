"""The session description inside a message body (RFC 3261 §7.4, RFC 5621, RFC 2046 §5.1).

Only the ``application/sdp`` part of a multipart body is ever looked at; ISUP, QSIG, PIDF and all the rest stay unread.
"""

import re

from b2bua.sip.errors import ParseError

__all__ = ["media_type", "sdp_part"]

DEPTH = 2  # multipart/related inside multipart/mixed is the deepest that carriers send
PARTS = 16  # bounds the work on a body made of boundaries

# m-type SLASH m-subtype *( SEMI m-parameter )
_TYPE = re.compile(r"[ \t]*([!#-'*+.0-9A-Z^-z|~-]+)[ \t]*/[ \t]*([!#-'*+.0-9A-Z^-z|~-]+)[ \t]*(;.*)?", re.DOTALL)
# boundary := 0*69<bchars> bcharsnospace, quoted when it holds specials
_BOUNDARY = re.compile(
    r";[ \t]*boundary[ \t]*=[ \t]*(?:\"([ -!#-\[\]-~]{1,70})\"|([!#-'*+.0-9A-Z^-z|~-]{1,70}))", re.IGNORECASE
)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]+")


def media_type(content_type: str) -> str:
    """``type/subtype`` in lower case, without parameters; '' when the text is none."""
    found = _TYPE.fullmatch(content_type)
    return f"{found[1]}/{found[2]}".lower() if found is not None else ""


def sdp_part(content_type: str, body: bytes) -> bytes | None:
    """The session description in a body of this Content-Type, None when it holds none.

    Raises ParseError 400 for a multipart body that cannot be read.
    """
    return _search(content_type, body, DEPTH)


def _search(content_type: str, body: bytes, depth: int) -> bytes | None:
    kind = media_type(content_type)
    if kind == "application/sdp":
        return body
    if not kind.startswith("multipart/") or not depth:
        return None
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise ParseError("multipart without boundary")
    for part in _parts((found[1] or found[2]).encode("ascii"), body):
        fields, content = _split_part(part)
        # other dispositions are no offer or answer: early-session (RFC 3959), icon, alert
        if fields.get("content-disposition", "session").partition(";")[0].strip().lower() != "session":
            continue
        encoding = fields.get("content-transfer-encoding", "binary").strip().lower()
        if encoding not in ("7bit", "8bit", "binary") or "content-encoding" in fields:
            continue
        result = _search(fields.get("content-type", "text/plain"), content, depth - 1)
        if result is not None:
            return result
    return None


def _parts(boundary: bytes, body: bytes) -> list[bytes]:
    # delimiter := CRLF "--" boundary; the first may open the body; a bare LF before it is tolerated
    delimiter = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|$)")
    parts: list[bytes] = []
    start = -1
    for found in delimiter.finditer(body):
        if start >= 0:
            parts.append(body[start : found.start()])
        start = found.end()
        if found[1]:
            return parts
        if len(parts) >= PARTS:
            raise ParseError("too many body parts")
    raise ParseError("multipart without end" if start >= 0 else "multipart without its boundary")


def _split_part(part: bytes) -> tuple[dict[str, str], bytes]:
    """A part begins with the line break of its delimiter: two in a row mean that it has no header fields."""
    found = _BLANK_LINE.search(part)
    if found is None:
        raise ParseError("body part without end of headers")
    fields: dict[str, str] = {}
    for line in _FOLD.sub(" ", part[: found.start()].decode("latin-1")).replace("\r\n", "\n").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value)
    return fields, part[found.end() :]
