"""``text/plain`` as a body of SIP MESSAGE (RFC 3428, RFC 2046 §4.1): whatever it came in, text inside, UTF-8 on the
wire."""

import re
from typing import Final

from b2bua.sip.errors import ParseError

__all__ = ["PLAIN", "PLAIN_UTF8", "parse_plain"]

PLAIN: Final = "text/plain"
PLAIN_UTF8: Final = "text/plain;charset=UTF-8"

# what phones and gateways write; 'gb2312' is read as its superset, as everybody writes it
_CODECS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "iso-8859-1": "iso-8859-1",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "utf-16": "utf-16",
    "utf-16be": "utf-16-be",
    "utf-16le": "utf-16-le",
}
_CHARSET: Final = re.compile(r";[ \t]*charset[ \t]*=[ \t]*\"?([A-Za-z0-9_.:+\-]+)\"?[ \t]*(?:;|$)", re.IGNORECASE)
# C0 and DEL without tab, line feed and carriage return: no text of people holds them
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def parse_plain(content_type: str, body: bytes) -> str:
    """The text of a body of this Content-Type, without control characters. ParseError 415 for a charset that is not
    known, 400 for octets that are not of it."""
    found = _CHARSET.search(content_type)
    codec = _CODECS.get(found[1].lower() if found is not None else "utf-8")
    if codec is None:
        raise ParseError("charset not known", 415)
    try:
        return _CONTROLS.sub("", body.decode(codec))
    except UnicodeDecodeError:
        raise ParseError("text is not of its charset") from None
