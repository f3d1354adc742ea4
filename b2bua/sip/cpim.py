"""``message/cpim`` (RFC 3862): a text in an envelope of its own, with From and To inside.

The envelope never crosses. Reading keeps the text and the time; writing makes a new envelope from the middle number.
"""

import re
from dataclasses import dataclass
from typing import Final

from b2bua.sip.errors import MisuseError, ParseError
from b2bua.sip.multipart import media_type
from b2bua.sip.plain import PLAIN, PLAIN_UTF8, parse_plain

__all__ = ["CPIM", "Envelope", "format_cpim", "parse_cpim"]

CPIM: Final = "message/cpim"

FIELDS: Final = 64  # header lines of an envelope; nobody sends a quarter of it
_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")
_LINES: Final = re.compile(r"\r?\n")
# Header-name = [ Name-prefix "." ] Name; Name = 1*NAMECHAR (§3.1, §3.6)
_FIELD: Final = re.compile(
    r"((?:[!#$%&'*+\-0-9A-Z^_`a-z|~]+\.)?[!#$%&'*+\-0-9A-Z^_`a-z|~]+):(;[^:]*:)? ?(.*)", re.DOTALL
)
# date-time of RFC 3339 §5.6, which DateTime is (RFC 3862 §4.5)
_TIME: Final = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,3})?"
    r"(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"
)
# What an envelope may insist on (§4.6): all of it we understand, in that we write it anew or leave it out.
_UNDERSTOOD: Final = frozenset(("from", "to", "cc", "datetime", "subject", "ns", "require"))


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is kept of an envelope: ``sent`` is its DateTime, '' when it has none that is one."""

    text: str
    sent: str


def parse_cpim(body: bytes) -> Envelope:
    """Open an envelope. ParseError 400 when it cannot be read, 415 when there is no text/plain in it or when it insists
    on something that is not known here."""
    head, rest = _split(body)
    fields = _fields(head)
    for _, value in [field for field in fields if field[0] == "require"]:
        for name in value.split(","):
            if name.strip().lower() not in _UNDERSTOOD:
                raise ParseError("an extension of message/cpim is required", 415)
    times = [value.strip() for name, value in fields if name == "datetime"]
    sent = times[0] if times and _TIME.fullmatch(times[0]) else ""
    head, content = _split(rest)
    inner = dict(reversed(_fields(head)))
    content_type = inner.get("content-type", PLAIN)
    if media_type(content_type) != PLAIN:
        raise ParseError("message/cpim without text/plain", 415)
    if inner.get("content-transfer-encoding", "8bit").strip().lower() not in ("7bit", "8bit", "binary"):
        raise ParseError("transfer encoding not known", 415)
    if "content-encoding" in inner:
        raise ParseError("content encoding not known", 415)
    return Envelope(parse_plain(content_type, content), sent)


def format_cpim(envelope: Envelope, sender: str, recipient: str) -> bytes:
    """A new envelope around a text; ``sender`` and ``recipient`` are URIs. The pair of ``parse_cpim``."""
    head = [f"From: <{sender}>", f"To: <{recipient}>"]
    if envelope.sent:
        head.append(f"DateTime: {envelope.sent}")
    lines = [*head, "", f"Content-Type: {PLAIN_UTF8}", "", ""]
    if any("\r" in line or "\n" in line for line in lines):
        raise MisuseError("a line of an envelope holds CR or LF")
    return "\r\n".join(lines).encode() + envelope.text.encode("utf-8", "replace")


def _split(data: bytes) -> tuple[str, bytes]:
    """Header lines, and what follows the blank line behind them. No header at all is a blank line at once."""
    for blank in (b"\r\n", b"\n"):
        if data.startswith(blank):
            return "", data[len(blank) :]
    found = _BLANK_LINE.search(data)
    if found is None:
        raise ParseError("message/cpim without end of headers")
    try:
        return data[: found.start()].decode(), data[found.end() :]
    except UnicodeDecodeError:
        raise ParseError("message/cpim is not UTF-8") from None


def _fields(head: str) -> list[tuple[str, str]]:
    """(lower-case name, value) of each line. MIME headers may be folded (RFC 2045); message headers are not."""
    fields: list[tuple[str, str]] = []
    for line in _LINES.split(head) if head else ():
        if line[:1] in (" ", "\t") and fields:
            name, value = fields.pop()
            fields.append((name, f"{value} {line.strip()}"))
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            raise ParseError("bad header in message/cpim")
        fields.append((found[1].lower(), found[3]))
        if len(fields) > FIELDS:
            raise ParseError("too many headers in message/cpim")
    return fields
