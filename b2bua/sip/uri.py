"""sip, sips and tel URIs (RFC 3261 §19.1, §25.1; RFC 3966).

Text is kept as it came, escapes included; ``dialled_user`` gives the decoded number. The patterns only read ASCII, and
no two ways of matching overlap, so a match costs time linear in the length of the text.
"""

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote

from b2bua.sip.errors import ParseError

__all__ = ["TOLERANCES", "SipUri", "TelUri", "dialled_user", "format_uri", "parse_uri"]

TOLERANCES = (
    "hash in user",  # a dial string such as *31#700…, whose # should have been escaped (§25.1 user-unreserved)
    "underscore in host",  # internal names of carrier elements
    "empty parameter",  # ';;' or a trailing ';'
    "repeated parameter",  # the first one counts (§19.1.1 forbids the second)
    "tel without context",  # a local number without phone-context (RFC 3966 §5.1.5 requires one)
    "escape in tel number",  # tel:%2B86… for tel:+86…
    "three colons",  # [2001:db8:::192.0.2.1], which the grammar of RFC 3261 allowed by mistake (RFC 5118 §4.10)
)

HOST_BYTES = 255  # the longest domain name there is (RFC 1035 §2.3.4)

# user = 1*( unreserved / escaped / user-unreserved ); unreserved = alphanum / mark
_USER = r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|%[0-9A-Fa-f]{2})+"
# password = *( unreserved / escaped / "&" / "=" / "+" / "$" / "," )
_PASSWORD = r"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|%[0-9A-Fa-f]{2})*"
# host = hostname / IPv4address / IPv6reference; what tells them apart is in _checked_host
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.\-]*"
# uri-parameters = *( ";" pname [ "=" pvalue ] ); paramchar = param-unreserved / unreserved / escaped
_PARAMETERS = r"(?:[;=A-Za-z0-9\-_.!~*'()\[\]/:&+$]|%[0-9A-Fa-f]{2})*"
# headers = "?" header *( "&" header ); hname and hvalue = *( hnv-unreserved / unreserved / escaped )
_HEADERS = r"(?:[&=A-Za-z0-9\-_.!~*'()\[\]/?:+$]|%[0-9A-Fa-f]{2})+"

# SIP-URI = "sip:" [ userinfo ] hostport uri-parameters [ headers ]
_SIP = re.compile(
    rf"([Ss][Ii][Pp][Ss]?):(?:({_USER})(?::({_PASSWORD}))?@)?({_HOST})(?::([0-9]{{1,5}}))?(;{_PARAMETERS})?(?:\?({_HEADERS}))?"
)
# the form that nearly every request has; possessive, so that what does not fit costs one pass
_PLAIN = re.compile(
    r"(sips?):(?:([A-Za-z0-9\-_.+*]++)@)?"
    r"((?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3})"
    r"(?::([1-9][0-9]{0,3}))?(;[A-Za-z0-9;=.+\-]++)?"
)
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
# hostname = *( domainlabel "." ) toplabel [ "." ]; toplabel = ALPHA / ALPHA *( alphanum / "-" ) alphanum
_HOSTNAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_\-]*+(?<!-)\.)*[A-Za-z_][A-Za-z0-9_\-]*+(?<!-)\.?")
# telephone-uri = "tel:" ( global-number / local-number ) *par, with the visual separators of RFC 3966 §3
_TEL = re.compile(
    rf"[Tt][Ee][Ll]:((?:[0-9A-Fa-f*#+.()\-]|%(?:2[389ABDEabde]|3[0-9]|[46][1-6]))+)(;{_PARAMETERS})?",
)
# global-number-digits = "+" *phonedigit DIGIT *phonedigit
_GLOBAL = re.compile(r"\+[.()\-]*[0-9][0-9.()\-]*")
# local-number-digits = *phonedigit-hex ( HEXDIG / "*" / "#" ) *phonedigit-hex
_LOCAL = re.compile(r"[.()\-]*[0-9A-Fa-f*#][0-9A-Fa-f*#.()\-]*")
# scheme = ALPHA *( alphanum / "+" / "-" / "." )
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
# IPv6address = hexpart [ ":" IPv4address ], where hexpart may end in "::"
_THREE_COLONS = re.compile(r":::(?=[0-9]+\.)")
_SEPARATORS = str.maketrans("", "", "-.() ")


@dataclass(slots=True)
class SipUri:
    """``scheme:user:password@host:port;params?headers``, as it was spelt except ``scheme`` and parameter names.

    ``port`` 0 means none given. ``host`` keeps the brackets of an IPv6 address. ``params`` maps lower-case names to
    values, '' for a parameter without one. ``headers`` is the text after the question mark; nothing here acts on it.
    """

    scheme: str
    user: str
    password: str
    host: str
    port: int = 0
    params: dict[str, str] = field(default_factory=dict)
    headers: str = ""


@dataclass(slots=True)
class TelUri:
    """``tel:number;params`` (RFC 3966); ``number`` with its visual separators, ``params`` as in SipUri."""

    number: str
    params: dict[str, str] = field(default_factory=dict)


def parse_uri(text: str) -> SipUri | TelUri:
    """The URI in ``text``, without space or brackets around it; ParseError 400 for bad grammar, 416 for its scheme."""
    found = _PLAIN.fullmatch(text)
    if found is not None:
        scheme, user, host, digits, params = found.groups()
        port = int(digits) if digits else 0
        return SipUri(scheme, user or "", "", host, port, _parse_params(params) if params else {}, "")
    found = _SIP.fullmatch(text)
    if found is not None:
        scheme, user, password, host, digits, params, headers = found.groups()
        host = _checked_host(host)
        port = int(digits) if digits else 0
        if digits and not 0 < port <= 65535:
            raise ParseError("bad URI port")
        values = _parse_params(params) if params else {}
        return SipUri(scheme.lower(), user or "", password or "", host, port, values, headers or "")
    found = _TEL.fullmatch(text)
    if found is not None:
        number, params = found.groups()
        plain = unquote(number)
        if not _GLOBAL.fullmatch(plain) and not _LOCAL.fullmatch(plain):
            raise ParseError("bad telephone number")
        return TelUri(number, _parse_params(params) if params else {})
    scheme_found = _SCHEME.match(text)
    if scheme_found is None or scheme_found[0].lower() in ("sip:", "sips:", "tel:"):
        raise ParseError("bad URI")
    raise ParseError("unknown URI scheme", 416)


def format_uri(uri: SipUri | TelUri) -> str:
    """The text of a URI; the inverse of ``parse_uri``."""
    if isinstance(uri, TelUri):
        return f"tel:{uri.number}{_format_params(uri.params)}"
    if not uri.user and not uri.params and not uri.headers:
        return f"{uri.scheme}:{uri.host}:{uri.port}" if uri.port else f"{uri.scheme}:{uri.host}"
    password = f":{uri.password}" if uri.password else ""
    user = f"{uri.user}{password}@" if uri.user else ""
    port = f":{uri.port}" if uri.port else ""
    headers = f"?{uri.headers}" if uri.headers else ""
    return f"{uri.scheme}:{user}{uri.host}{port}{_format_params(uri.params)}{headers}"


def dialled_user(uri: SipUri | TelUri) -> str:
    """The user part or telephone number for number look-up: decoded, without parameters, '' when there is none.

    Parameters inside the user part (``;npdi;rn=…``, ``;isub=…``) are cut off. A local number under a numeric
    phone-context (RFC 3966 §5.1.5) becomes that context and the number, unless it carries a trunk prefix 0, which says
    the same in the national form.
    """
    if isinstance(uri, TelUri):
        return _with_context(unquote(uri.number, errors="replace"), uri.params.get("phone-context", ""))
    user = uri.user
    if ";" not in user:
        return unquote(user, errors="replace") if "%" in user else user
    user, _, rest = user.partition(";")
    # telephone-subscriber in the user part (§19.1.6): its parameters are names that ignore case
    context = ""
    for piece in rest.split(";"):
        name, _, value = piece.partition("=")
        if name.lower() == "phone-context":
            context = value
            break
    return _with_context(unquote(user, errors="replace"), context)


def _with_context(number: str, context: str) -> str:
    if not context or number[:1] in ("+", "0", ""):
        return number
    prefix = unquote(context, errors="replace").translate(_SEPARATORS)
    if prefix[:1] != "+" or not (prefix[1:].isascii() and prefix[1:].isdigit()):
        return number  # a domain name: the number is local to it, and ours only if its own form says so
    return prefix + number


def _checked_host(host: str) -> str:
    """The host as it was spelt, but for three colons; ParseError 400 when it is none."""
    if len(host) > HOST_BYTES:
        raise ParseError("host too long")
    if host[0] == "[":
        host = _THREE_COLONS.sub("::", host)
        try:
            IPv6Address(host[1:-1])
        except AddressValueError:
            raise ParseError("bad IPv6 address") from None
    elif not _IPV4.fullmatch(host) and not _HOSTNAME.fullmatch(host):
        raise ParseError("bad host")
    return host


def _parse_params(text: str) -> dict[str, str]:
    params: dict[str, str] = {}
    for piece in text.split(";"):
        if piece:
            name, equals, value = piece.partition("=")
            if not name or (equals and not value) or "=" in value:
                raise ParseError("bad URI parameter")
            params.setdefault(name.lower(), value)
    return params


def _format_params(params: dict[str, str]) -> str:
    return "".join([f";{name}={value}" if value else f";{name}" for name, value in params.items()])
