"""From a datagram to a message (RFC 3261 §7, §25). The only exception is ParseError.

Only what every message needs is checked here: the start line, the field syntax, the fields that name the transaction
and the dialog, and the body's length. Limits come first, each checked before the work it bounds.
"""

import re
from dataclasses import dataclass

from b2bua.sip.errors import ParseError
from b2bua.sip.headers import COMPACT_FORMS, KNOWN_METHODS, TOKEN, parse_cseq, parse_via, tag_of
from b2bua.sip.message import Request, Response

__all__ = ["Limits", "parse", "salvage"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may cost. Far above what carriers send, far below what hurts."""

    message_bytes: int = 65_535
    header_fields: int = 128
    line_bytes: int = 8192
    via_fields: int = 32


_DEFAULT_LIMITS = Limits()

# every usual spelling of the fields that carriers send, so that a name costs one look-up
_COMMON_NAMES = (
    "Accept|Allow|Allow-Events|Authorization|Call-ID|Contact|Content-Disposition|Content-Encoding|Content-Length|"
    "Content-Type|CSeq|Date|Diversion|Expires|From|History-Info|Max-Forwards|Min-SE|Organization|P-Access-Network-Info|"
    "P-Asserted-Identity|P-Charging-Vector|Privacy|Proxy-Authenticate|Proxy-Authorization|Proxy-Require|RAck|Reason|"
    "Record-Route|Require|Retry-After|Route|RSeq|Server|Session-Expires|Subject|Supported|Timestamp|To|Unsupported|"
    "User-Agent|Via|Warning|WWW-Authenticate"
)
_KEYS: dict[str, str] = {name: name.lower() for name in _COMMON_NAMES.split("|")}
_KEYS |= {name: name for name in _KEYS.values()}
_KEYS |= COMPACT_FORMS
_KEYS |= {letter.upper(): name for letter, name in COMPACT_FORMS.items()}

# fields of which a message has at most one (§7.3.1, §20); two of them leave it open which is meant
_SINGLE = frozenset(
    {"from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type", "date", "expires", "timestamp"}
)

# field-name HCOLON; HCOLON = *( SP / HTAB ) ":" SWS
_NAME = re.compile(rf"({TOKEN})[ \t]*")
_METHOD = re.compile(TOKEN)
# what a request URI may not contain whatever its scheme
_URI_REFUSED = re.compile(r'[\s<>"]')
_BLANK = frozenset((" ", "\t"))
_NUL_UNESCAPED = re.compile(r"(?<!\\)\0")
_STATUSES = {str(status): status for status in range(100, 700)}
_STATUS_LINE = re.compile(r"SIP/2\.0 ([0-9]{3})(?: .*)?", re.IGNORECASE | re.ASCII | re.DOTALL)
_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE | re.ASCII)


def parse(data: bytes, limits: Limits = _DEFAULT_LIMITS) -> Request | Response:
    """The message in a datagram or in one framed stream message. Bytes past Content-Length are cut off (§18.3)."""
    if len(data) > limits.message_bytes:
        raise ParseError("message too large", 513)
    if data[:1] in b"\r\n":
        data = data.lstrip(b"\r\n")  # §7.5: CRLFs before the start line are ignored
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        raise ParseError("no end of headers")
    text = head.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks:
        raise ParseError("bare CR or LF")
    if "\0" in text and _NUL_UNESCAPED.search(text):
        raise ParseError("NUL in header")
    if len(head) > limits.line_bytes and any(len(line) > limits.line_bytes for line in head.split(b"\r\n")):
        raise ParseError("header line too long", 513)
    if "\r\n " in text or "\r\n\t" in text:
        lines = _unfold(lines, limits.line_bytes)
    if len(lines) - 1 > limits.header_fields:
        raise ParseError("too many header fields", 513)

    message = _start_line(lines[0])
    first: dict[str, str] = {}
    more: dict[str, list[str]] = {}
    key_of = _KEYS.get
    for line in lines[1:]:
        name, separated, value = line.partition(": ")  # the way everybody writes it
        key = key_of(name)
        if key is None or not separated:
            name, separated, value = line.partition(":")
            key = key_of(name) if separated else None
            if key is None:
                key = _key(name, separated)
            value = value.strip(" \t")
        elif value[:1] in _BLANK or value[-1:] in _BLANK:
            value = value.strip(" \t")
        if key in first:
            if key in _SINGLE:
                raise ParseError(f"two {key}")
            more.setdefault(key, []).append(value)
        else:
            first[key] = value
    message.first = first
    message.more = more
    try:
        message.from_value = first["from"]
        message.to_value = first["to"]
        message.call_id = first["call-id"]
        via = first["via"]
        cseq = first["cseq"]
    except KeyError as missing:
        raise ParseError(f"no {missing.args[0]}") from None
    message.via = parse_via(via)
    message.cseq, message.cseq_method = parse_cseq(cseq)
    message.from_tag = tag_of(message.from_value)
    message.to_tag = tag_of(message.to_value)
    if not message.call_id or " " in message.call_id or "\t" in message.call_id:
        raise ParseError("bad Call-ID")
    if isinstance(message, Request) and message.cseq_method != message.method:
        raise ParseError("CSeq of another method")
    if "\0" in text:
        # a quoted NUL (§25.1 quoted-pair) may stand where an answer only echoes it; what we build ourselves cannot
        # hold one
        echoed = message.from_value + message.to_value if isinstance(message, Request) else ""
        if text.count("\0") != echoed.count("\0"):
            raise ParseError("NUL in header")
    if "via" in more and len(more["via"]) >= limits.via_fields:
        raise ParseError("too many Via", 513)
    length = first.get("content-length")
    if length is not None:
        if not (length.isascii() and length.isdigit()) or len(length) > 9:
            raise ParseError("bad Content-Length")
        size = int(length)
        if size > len(body):
            raise ParseError("body shorter than Content-Length")
        if size < len(body):
            body = body[:size]
    message.body = body
    return message


def _start_line(line: str) -> Request | Response:
    if line[:4].lower() == "sip/":
        if line[:8] == "SIP/2.0 " and line[11:12] == " " and line[8:11] in _STATUSES:
            return Response(_STATUSES[line[8:11]])
        found = _STATUS_LINE.fullmatch(line)
        if found is None:
            raise ParseError("bad status line")
        status = int(found[1])
        if not 100 <= status <= 699:
            raise ParseError("status out of range")
        return Response(status)
    method, _, rest = line.partition(" ")
    uri, _, version = rest.rpartition(" ")
    if method not in KNOWN_METHODS and not _METHOD.fullmatch(method):
        raise ParseError("bad method")
    if version != "SIP/2.0" and version.lower() != "sip/2.0":
        # Request-Line = Method SP Request-URI SP SIP-Version: another well-formed version deserves its own answer
        # (§21.5.6)
        if _VERSION.fullmatch(version):
            raise ParseError("version not supported", 505)
        raise ParseError("bad request line")
    if not uri or _URI_REFUSED.search(uri) or ":" not in uri:
        raise ParseError("bad request URI")
    return Request(method, uri)


def _key(name: str, colon: str) -> str:
    found = _NAME.fullmatch(name)
    if found is None or not colon:
        raise ParseError("bad header field")
    lowered = found[1].lower()
    return COMPACT_FORMS.get(lowered, lowered)


def _unfold(lines: list[str], line_bytes: int) -> list[str]:
    """§7.3.1: a line that begins with white space goes on with the one before."""
    whole: list[list[str]] = []
    for line in lines:
        if line[:1] in (" ", "\t"):
            if len(whole) < 2:
                raise ParseError("folded start line")
            whole[-1].append(line.lstrip(" \t"))
        else:
            whole.append([line])
    unfolded = [" ".join(pieces) if len(pieces) > 1 else pieces[0] for pieces in whole]
    if any(len(line.encode("utf-8", "surrogateescape")) > line_bytes for line in unfolded):
        raise ParseError("header line too long", 513)
    return unfolded


_ECHOED = {"via", "from", "to", "call-id", "cseq"}


def salvage(data: bytes) -> dict[str, list[str]] | None:
    """What a stateless answer to an unreadable request must echo (§8.2.6.2), or None when it cannot be answered.

    None for responses, for ACK (never answered), and where an echoed field is missing or could break the answer's
    lines.
    """
    head, complete, _ = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if head[:4].upper() == b"SIP/" or (head[:3] == b"ACK" and head[3:4] in b" \t\r"):
        return None
    if not complete or len(head) > _DEFAULT_LIMITS.line_bytes:
        head = head[: _DEFAULT_LIMITS.line_bytes].rpartition(b"\r\n")[0]  # the last line may be cut
    echo: dict[str, list[str]] = {}
    try:
        lines = _unfold(head.decode("utf-8", "surrogateescape").split("\r\n"), _DEFAULT_LIMITS.line_bytes)
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            lowered = name.strip().lower()
            key = COMPACT_FORMS.get(lowered, lowered)
            if colon and key in _ECHOED:
                if any(character in value for character in "\r\n\0"):
                    return None
                echo.setdefault(key, []).append(value.strip())
    except ParseError:
        return None
    return echo if echo.keys() == _ECHOED else None
