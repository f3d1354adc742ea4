"""Key presses in INFO bodies (``application/dtmf-relay`` and ``application/dtmf``), rebuilt for the other leg.

Both forms are customs of gateways, not standards. One body holds one key, so that no number fits in it; what comes out
is written here from the key and its duration, and never copied.
"""

import re

from b2bua.sip.multipart import media_type

__all__ = ["DTMF", "DTMF_RELAY", "DTMF_TYPES", "clean_dtmf"]

DTMF_RELAY = "application/dtmf-relay"
DTMF = "application/dtmf"
DTMF_TYPES = frozenset((DTMF_RELAY, DTMF))

DURATION_DEFAULT = 160  # ms; what gateways take when none is given
DURATION_LONGEST = 9999  # ms; no key is held longer, and five digits would begin to look like part of a number
BODY_BYTES = 256

_KEY = re.compile(r"[0-9A-D*#!]|1[0-6]")
# RFC 4733 §3.2 event codes, which some gateways send in place of the key
_EVENT_CODES = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D", "16": "!"}
_DURATION = re.compile(r"[0-9]{1,5}")


def clean_dtmf(content_type: str, body: bytes) -> bytes | None:
    """The body to send in place of this one under the same type, or None when it is not one key press.

    Tolerated: lower-case names and keys, spaces, bare LF, a missing or senseless duration, lines of other names, and
    the relay form under the plain type, which becomes plain.
    """
    kind = media_type(content_type)
    if kind not in DTMF_TYPES or len(body) > BODY_BYTES:
        return None
    text = body.decode("latin-1").strip(" \t\r\n")
    if kind == DTMF and "=" not in text:
        return _key(text).encode("ascii") or None
    values: dict[str, str] = {}
    for line in text.replace("\r", "\n").split("\n"):
        name, equals, value = line.partition("=")
        if equals:
            values.setdefault(name.strip().lower(), value.strip())
    key = _key(values.get("signal", ""))
    if not key:
        return None
    if kind == DTMF:
        return key.encode("ascii")
    given = values.get("duration", "")
    duration = int(given) if _DURATION.fullmatch(given) else DURATION_DEFAULT
    duration = min(duration, DURATION_LONGEST) or DURATION_DEFAULT
    return f"Signal={key}\r\nDuration={duration}\r\n".encode("ascii")


def _key(text: str) -> str:
    """The key in one character, '!' for hook flash, '' when the text is none."""
    text = text.upper()
    return _EVENT_CODES.get(text, text) if _KEY.fullmatch(text) else ""
