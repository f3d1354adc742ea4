"""Typed views of header values, made on demand (RFC 3261 §20, §25).

Each pattern stands under the ABNF line it implements. Tolerances for broken peers are marked "tolerated".
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from b2bua.sip.errors import ParseError

__all__ = [
    "COMPACT_FORMS",
    "NameAddr",
    "Via",
    "parse_cseq",
    "parse_name_addr",
    "parse_params",
    "parse_q850",
    "parse_sip_cause",
    "parse_via",
    "split_list",
    "tag_of",
    "tokens_of",
]

# RFC 3261 §7.3.3 and the registrations since: one letter for a whole name
COMPACT_FORMS = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"

# sent-protocol LWS sent-by *( SEMI via-params ); host = hostname / IPv4address / IPv6reference
_VIA = re.compile(
    rf"SIP[ \t]*/[ \t]*2\.0[ \t]*/[ \t]*({TOKEN})[ \t]+(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._]+)"
    r"(?:[ \t]*:[ \t]*([0-9]{1,5}))?[ \t]*((?:;.*)?)",
    re.IGNORECASE | re.ASCII,
)

_SENT_BY = re.compile(r"([A-Za-z0-9.\-]+)(?::([0-9]{1,5}))?")

# generic-param = token [ EQUAL gen-value ]; gen-value = token / host / quoted-string
# (tolerated: any text without ; , " or space as a value, since carriers put URIs and base64 there)
_PARAM = re.compile(rf'[ \t]*;[ \t]*(?:({TOKEN})(?:[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;,"\s]*))?)?[ \t]*', re.DOTALL)

# name-addr = [ display-name ] LAQUOT addr-spec RAQUOT; display-name = *(token LWS) / quoted-string
# (tolerated: any text without quotes or brackets as an unquoted display name)
# possessive: the blanks between could otherwise be shared out in as many ways as there are
_NAME_ADDR = re.compile(r'[ \t]*+(?:"((?:[^"\\]|\\.)*+)"[ \t]*+|([^"<>]*+))<([^<>\s]+)>(.*)', re.DOTALL)

# the form nearly everybody sends: quoted or no display name, and at most a tag; possessive, so a misfit costs one pass
_PLAIN_ADDR = re.compile(rf'(?:"[^"\\]*+" ?)?<[^<>\s"]++>(?:;tag=({TOKEN}))?')

# addr-spec without brackets: parameters after it belong to the header (RFC 3261 §20.10)
_ADDR_SPEC = re.compile(r'([A-Za-z][A-Za-z0-9+.\-]*:[^<>"\s;?,]+)(.*)', re.DOTALL)

# the parameters that nearly every From and To has: none, or a tag alone
_TAG_ONLY = re.compile(rf"[ \t]*;[ \t]*tag[ \t]*=[ \t]*({TOKEN})[ \t]*", re.IGNORECASE | re.ASCII)

# CSeq = 1*DIGIT LWS Method, below 2**31 (§8.1.1.5)
KNOWN_METHODS = frozenset(
    "ACK|BYE|CANCEL|INFO|INVITE|MESSAGE|NOTIFY|OPTIONS|PRACK|PUBLISH|REFER|REGISTER|SUBSCRIBE|UPDATE".split("|")  # noqa: SIM905
)
_CSEQ = re.compile(rf"([0-9]{{1,10}})[ \t]+({TOKEN})")
CSEQ_LIMIT = 1 << 31

_Q850 = re.compile(r"[ \t]*Q\.850[ \t]*(;.*)?", re.IGNORECASE | re.ASCII)
_SIP = re.compile(r"[ \t]*SIP[ \t]*(;.*)?", re.IGNORECASE | re.ASCII)


@dataclass(slots=True)
class Via:
    """The top Via (§20.42): ``host`` and ``port`` are sent-by (port 0: none given), ``rest`` the list elements below
    it."""

    transport: str
    host: str
    port: int
    params: str
    branch: str
    rest: str

    def has_rport(self) -> bool:
        """Whether the sender asked for symmetric response routing (RFC 3581 §4)."""
        params = self.params.lower()
        return "rport" in params and any(piece.partition("=")[0].strip() == "rport" for piece in params.split(";"))


@dataclass(frozen=True, slots=True)
class NameAddr:
    """``display <uri> ;params``; parameter names are lower-case, a parameter without value has ''."""

    display: str
    uri: str
    params: dict[str, str]


def parse_params(text: str) -> dict[str, str]:
    """``;a=b;c`` as a mapping; raises ParseError when the text is not a parameter list."""
    params: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = _PARAM.match(text, position)
        if found is None:
            raise ParseError("bad parameters")
        position = found.end()
        name, value = found.groups()
        if name is not None:  # tolerated: an empty parameter, ";;"
            params.setdefault(name.lower(), value or "")
    return params


def parse_via(value: str) -> Via:
    """The first element of a Via header value."""
    if value.startswith("SIP/2.0/UDP ") and "," not in value:  # the plain form, told apart without a regular expression
        sent_by, _, params = value[12:].partition(";")
        known = _sent_by(sent_by)
        if known is not None:
            start = params.find("branch=")
            if start == 0 or (start > 0 and params[start - 1] == ";"):
                branch = params[start + 7 :].partition(";")[0]
                if branch and " " not in params and '"' not in params:
                    return Via("UDP", known[0], known[1], f";{params}", branch, "")
    rest = ""
    if "," in value:
        elements = value.split(",") if '"' not in value else split_list(value)
        if not all(_VIA.fullmatch(element.strip()) for element in elements):
            raise ParseError("bad Via")
        value, rest = elements[0].strip(), ",".join(elements[1:]).strip()
    found = _VIA.fullmatch(value)
    if found is None:
        raise ParseError("bad Via")
    transport, host, port, params = found.groups()
    pieces = params.split(";") if '"' not in params else ()  # as it is usually spelt, whatever stands beside it
    branch = next((piece[7:].rstrip() for piece in pieces if piece.startswith("branch=")), "")
    if not branch:
        branch = parse_params(params).get("branch", "")
    number = int(port) if port else 0
    if number > 65535:
        raise ParseError("bad Via port")
    return Via(transport.upper(), host, number, params, branch, rest)


@lru_cache(4096)
def _sent_by(text: str) -> tuple[str, int] | None:
    """(host, port) of a plain sent-by, remembered: the same few peers send all the traffic."""
    found = _SENT_BY.fullmatch(text)
    if found is None:
        return None
    port = int(found[2]) if found[2] else 0
    return (found[1], port) if port <= 65535 else None


def parse_name_addr(value: str) -> NameAddr:
    """From, To, Contact, Route, P-Asserted-Identity and their kin: one element."""
    found = _NAME_ADDR.fullmatch(value)
    if found is not None:
        quoted, plain, uri, params = found.groups()
        display = plain.strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        return NameAddr(display, uri, parse_params(params))
    found = _ADDR_SPEC.fullmatch(value)
    if found is None:
        raise ParseError("bad address")
    return NameAddr("", found[1], parse_params(found[2]))


def tag_of(value: str) -> str:
    """The tag of a From or To value, '' when there is none; raises ParseError when the value is not an address."""
    plain = _PLAIN_ADDR.fullmatch(value)
    if plain is not None:
        return plain[1] or ""
    found = _NAME_ADDR.fullmatch(value)
    params = found[4] if found is not None else None
    if params is None:
        found = _ADDR_SPEC.fullmatch(value)
        if found is None:
            raise ParseError("bad address")
        params = found[2]
    if not params:
        return ""
    only = _TAG_ONLY.fullmatch(params)
    return only[1] if only is not None else parse_params(params).get("tag", "")


def parse_cseq(value: str) -> tuple[int, str]:
    """(number, method)."""
    digits, _, method = value.partition(" ")
    if method in KNOWN_METHODS and len(digits) < 10 and digits.isascii() and digits.isdigit():
        return int(digits), method
    found = _CSEQ.fullmatch(value)
    if found is None:
        raise ParseError("bad CSeq")
    number = int(found[1])
    if number >= CSEQ_LIMIT:
        raise ParseError("CSeq out of range")
    return number, found[2]


def split_list(value: str) -> list[str]:
    """A comma list cut at commas outside quotes and angle brackets; empty elements are dropped."""
    if "," not in value:
        return [value] if value else []
    elements: list[str] = []
    start = 0
    quoted = escaped = False
    depth = 0
    for index, character in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            if character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character == "<":
            depth += 1
        elif character == ">":
            depth -= 1
        elif character == "," and depth <= 0:
            elements.append(value[start:index].strip())
            start = index + 1
    elements.append(value[start:].strip())
    return [element for element in elements if element]


def tokens_of(values: Iterable[str]) -> list[str]:
    """The option tags or method names of all lines of a header (Require, Supported, Allow), in order."""
    return [token.strip() for value in values for token in value.split(",") if token.strip()]


def parse_q850(reason: str) -> int:
    """The Q.850 cause of a Reason header (RFC 3326 §2), 0 when it holds none; text is not looked at."""
    cause = _cause(reason, _Q850)
    return cause if cause <= 127 else 0


def parse_sip_cause(reason: str) -> int:
    """The SIP status in a Reason header (RFC 3326 §2), 0 when it holds none."""
    cause = _cause(reason, _SIP) if reason else 0
    return cause if 100 <= cause <= 699 else 0


def _cause(reason: str, protocol: re.Pattern[str]) -> int:
    for element in split_list(reason):
        found = protocol.fullmatch(element)
        if found is not None:
            try:
                cause = parse_params(found[1] or "").get("cause", "")
            except ParseError:
                return 0
            if len(cause) <= 3 and cause.isascii() and cause.isdigit() and int(cause) > 0:
                return int(cause)
    return 0
