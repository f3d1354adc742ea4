"""Session descriptions (RFC 8866), rebuilt line by line for the other leg.

Nothing of a received description is passed on as it came: ``rebuild`` keeps media lines, addresses, codecs and the
attributes of an allow-list, and ``with_origin`` puts the switch's own first lines above. ``o=``, ``s=``, ``t=`` are the
switch's own; ``i= u= e= p= k= z= r=`` and everything unknown is left out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from b2bua.sip.errors import MisuseError, ParseError
from b2bua.sip.sdp_attributes import ENCODING, IPV4, IPV6, PAYLOAD_TYPE, clean_attribute

__all__ = ["TOLERANCES", "Media", "Origin", "clean", "describe", "is_hold", "parse_media", "rebuild", "with_origin"]

TOLERANCES = (
    "bare LF",  # or bare CR between lines (RFC 8866 §5 lets a parser accept LF)
    "blank line",  # at the end, mostly
    "no last line break",
    "no version",  # v= missing
    "no origin, name or time",  # o=, s= or t= missing: they are replaced anyway
    "lines out of order",  # written back in the order of RFC 8866 §5
    "space at the end of a line",
    "attribute name in another case",  # t38faxversion
    "media type or transport in another case",  # rtp/avp
)

MEDIA_LINES = 16  # more than any endpoint offers; bounds what one description may make the far end open
SHORT_LINE = 40  # what all phones repeat, codecs and directions, is remembered; media keys are longer and are not
LINES = 1024  # sixteen media lines with sixty candidates and codecs each

# c= nettype addrtype connection-address
_CONNECTION = re.compile(rf"IN +(?:IP4 +({IPV4})|IP6 +({IPV6}))(?:/[0-9]{{1,3}}){{0,2}}")
# FQDN (RFC 8866 §9): with fewer digits than any telephone number has, wherever they stand, it cannot spell one
_CONNECTION_FQDN = re.compile(
    r"IN +IP[46] +(?=[^0-9]*(?:[0-9][^0-9]*){0,9}$)(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}"
)
_CONNECTION_NAME = re.compile(r"[A-Za-z]+ +[A-Za-z0-9]+ +[!-~]+")
# b= bwtype ":" bandwidth (RFC 8866 §5.8, RFC 3556, RFC 3890)
_BANDWIDTH = re.compile(r"(?:CT|AS|TIAS|RS|RR):[0-9]{1,9}")
# m= media SP port [ "/" integer ] SP proto 1*( SP fmt )
_MEDIA = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`{|}~\-]+) +([0-9]{1,5})(/[0-9]{1,3})? +([A-Za-z0-9/.\-]+)((?: +[!-~]+)+)")
_RTP_FORMATS = re.compile(rf"(?: +{PAYLOAD_TYPE})+")
_FAX_FORMAT = re.compile(r" +t38", re.IGNORECASE)
_RTPMAP = re.compile(rf"rtpmap:({PAYLOAD_TYPE}) +([!-~]+)")

# a media type or transport that we do not know, but may name in refusing it: no more than two digits in a row
_UNKNOWN = re.compile(r"[A-Za-z]{1,16}[0-9]{0,2}(?:[/.\-][A-Za-z]{1,16}[0-9]{0,2}){0,3}")

_AS_RTP = _RTP_FORMATS.fullmatch
_AS_FAX = _FAX_FORMAT.fullmatch

# transports of media that crosses, and how their formats are checked
_TRANSPORTS: dict[str, Callable[[str], object]] = {
    "RTP/AVP": _AS_RTP,
    "RTP/AVPF": _AS_RTP,
    "RTP/SAVP": _AS_RTP,
    "RTP/SAVPF": _AS_RTP,
    "UDP/TLS/RTP/SAVP": _AS_RTP,
    "UDP/TLS/RTP/SAVPF": _AS_RTP,
    "TCP/RTP/AVP": _AS_RTP,
    "udptl": _AS_FAX,
    "UDPTL": _AS_FAX,
    "UDP/TLS/UDPTL": _AS_FAX,
}
_SPELLINGS = {name.upper(): name for name in _TRANSPORTS} | {"UDPTL": "udptl"}
# Media of any other type may name its parties inside (MSRP paths, CPIM heads, BFCP users, data channel labels). It
# stays in its place, as offer and answer must have the same lines (RFC 3264 §6), and is refused by port 0; so is what
# comes over a transport that we do not know.
_KINDS = frozenset(("audio", "video", "image", "text"))

# RFC 3551 §6, for the record of a call
_STATIC_CODECS = {
    "0": "PCMU/8000",
    "3": "GSM/8000",
    "4": "G723/8000",
    "5": "DVI4/8000",
    "7": "LPC/8000",
    "8": "PCMA/8000",
    "9": "G722/8000",
    "12": "QCELP/8000",
    "13": "CN/8000",
    "15": "G728/8000",
    "18": "G729/8000",
    "26": "JPEG/90000",
    "31": "H261/90000",
    "32": "MPV/90000",
    "34": "H263/90000",
}
# what may stand in a record: a codec or payload type of its grammar, and no text a peer has chosen
_FACT = re.compile(rf"[a-z]+ (?:{ENCODING}/[0-9]{{1,6}}(?:/[0-9]{{1,2}})?|{PAYLOAD_TYPE}|(?i:t38))")
_OPEN_PORT = re.compile(r"(?<! ) ++0*+[1-9][0-9]*+(?=[ /])")
_DIRECTIONS = frozenset(("sendrecv", "sendonly", "recvonly", "inactive"))
_NOT_SPEECH = ("telephone-event", "CN/", "red/", "rtx/", "ulpfec/", "flexfec")


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose description it is on one leg: ``session_id`` random, ``version`` rising, ``address`` the switch's own.

    A session id below 10**9 is shorter than any telephone number, so it can never spell one by chance.
    """

    session_id: int
    version: int
    address: str

    def __post_init__(self) -> None:
        if self.session_id < 0 or self.version < 0 or not re.fullmatch(rf"{IPV4}|{IPV6}", self.address):
            raise MisuseError("an SDP origin needs numbers and an address")


class Media(NamedTuple):
    """One ``m=`` section. ``port`` 0: refused. ``codecs`` names ``formats`` one by one, '' where nothing does."""

    kind: str
    port: int
    transport: str
    formats: tuple[str, ...]
    codecs: tuple[str, ...]
    address: str
    direction: str


def clean(body: bytes, origin: Origin) -> bytes:
    """The description in ``body`` with nothing in it but what may cross; errors as ``rebuild``."""
    return with_origin(rebuild(body), origin)


def with_origin(content: bytes, origin: Origin) -> bytes:
    """A whole description from what ``rebuild`` returned. A new version is due when that differs from the last one."""
    family = "IP6" if ":" in origin.address else "IP4"
    head = f"v=0\r\no=- {origin.session_id} {origin.version} IN {family} {origin.address}\r\ns=-\r\n"
    return head.encode("ascii") + content


def rebuild(body: bytes) -> bytes:
    """What may cross of a description, from below ``s=`` on: the part that says whether anything has changed.

    Raises ParseError 400 for what is no session description, 488 for one that this switch cannot pass on.
    """
    described = False
    kept_media = refused_media = 0
    session = ["", "", "t=0 0\r\n"]  # connection, bandwidth, time, attributes
    sections = [session]
    section = session
    refused = False
    for line in _lines(body):
        kind = line[:2]
        if kind == "a=":
            kept = _attribute_again(line) if len(line) <= SHORT_LINE else _attribute(line)
            if kept and (not refused or kept.startswith("a=mid:")):
                section.append(kept)
        elif kind == "m=":
            media, refused = _media_line(line[2:])
            section = [media, "", ""]  # media, connection, bandwidth, attributes
            sections.append(section)
            described = True
            refused_media += refused
            kept_media += not refused
        elif kind == "c=":
            if not refused:
                section[section is not session] = section[section is not session] or f"c={_connection(line[2:])}\r\n"
        elif kind == "b=":
            if not refused and _BANDWIDTH.fullmatch(line, 2):
                section[1 + (section is not session)] += f"{line}\r\n"
        elif kind == "v=":
            if line != "v=0":
                raise ParseError("bad SDP version")
            described = True
        elif kind == "t=":  # all that is left of a session without media
            described = True
        elif line[1:2] != "=" and line:
            raise ParseError("bad SDP line")
    if not described:
        raise ParseError("no SDP")
    if refused_media and not kept_media:
        raise ParseError("no media that crosses", 488)
    if len(sections) - 1 > MEDIA_LINES:
        raise ParseError("too many media lines", 488)
    if not session[0] and not all(section[1] for section in sections[1:] if " 0 " not in section[0]):
        raise ParseError("no connection in SDP")
    return "".join([text for section in sections for text in section]).encode("ascii")


def parse_media(body: bytes) -> list[Media]:
    """The media sections of a description as values; raises ParseError as ``rebuild`` does."""
    found: list[Media] = []
    session_address = ""
    session_direction = "sendrecv"
    for line in rebuild(body).decode("ascii").split("\r\n"):
        kind, _, value = line.partition("=")
        if kind == "m":
            name, port, transport, *formats = value.split()
            codecs = tuple([_STATIC_CODECS.get(payload, "") for payload in formats])
            number = int(port.partition("/")[0])
            found.append(Media(name, number, transport, tuple(formats), codecs, session_address, session_direction))
        elif kind == "c":
            address = value.split()[2].partition("/")[0]
            if found:
                found[-1] = found[-1]._replace(address=address)
            else:
                session_address = address
        elif value in _DIRECTIONS:
            if found:
                found[-1] = found[-1]._replace(direction=value)
            else:
                session_direction = value
        elif found and (rtpmap := _RTPMAP.fullmatch(value)) and rtpmap[1] in found[-1].formats:
            media = found[-1]
            codecs = tuple(
                [
                    rtpmap[2] if payload == rtpmap[1] else codec
                    for payload, codec in zip(media.formats, media.codecs, strict=True)
                ]
            )
            found[-1] = media._replace(codecs=codecs)
    return found


def describe(body: bytes) -> str:
    """Media facts for the record of a call, such as ``audio PCMA/8000, image t38``; '' when there are none."""
    try:
        lines = _lines(body)
    except ParseError:
        return ""
    telling = [line for line in lines if line.startswith(("m=", "a=rtpmap:"))]
    return _facts(tuple([_OPEN_PORT.sub(" 9", line, count=1) if line[0] == "m" else line for line in telling]))


@lru_cache(maxsize=2048)
def _facts(lines: tuple[str, ...]) -> str:
    """``describe``, remembered: with the ports levelled, phones say the same few things."""
    words: list[str] = []
    kind = ""
    formats: list[str] = []
    names: dict[str, str] = {}
    for line in [*lines, "m="]:
        if line.startswith("a=rtpmap:"):
            payload, _, codec = line[9:].partition(" ")
            if _FACT.fullmatch(f"x {codec}"):
                names[payload] = codec
        elif line.startswith("m="):
            if kind:
                codecs = [
                    codec for payload in formats if (codec := names.get(payload) or _STATIC_CODECS.get(payload, ""))
                ]
                speech = [codec for codec in codecs if not codec.startswith(_NOT_SPEECH)]
                words.append(f"{kind} {speech[0] if speech else formats[0]}")
            found = _MEDIA.fullmatch(line, 2)
            if found is not None and found[1] in _KINDS and int(found[2]):
                kind, formats, names = found[1], found[5].split(), {}
            else:
                kind = ""
    return ", ".join([word for word in words if _FACT.fullmatch(word)])


def is_hold(body: bytes) -> bool:
    """Whether the sender listens to nothing: every open media line sendonly, inactive or at the null address.

    RFC 3264 §8.4, and the null address of RFC 2543. Raises ParseError as ``rebuild`` does.
    """
    open_media = [media for media in parse_media(body) if media.port]
    return bool(open_media) and all(
        media.direction in ("sendonly", "inactive") or media.address in ("0.0.0.0", "::") for media in open_media
    )


def _lines(body: bytes) -> list[str]:
    # Latin-1 maps every byte to one character, so nothing fails here, and nothing outside ASCII passes a pattern later
    text = body.decode("latin-1")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.rstrip(" \t\n")
    if text.count("\n") >= LINES:
        raise ParseError("SDP too long", 488)
    lines = text.split("\n")
    if " \n" in text or "\t\n" in text:
        return [line.rstrip(" \t") for line in lines]
    return lines


def _attribute(line: str) -> str:
    """The whole ``a=`` line for the other leg, '' when it does not cross."""
    kept = clean_attribute(line[2:])
    return f"a={kept}\r\n" if kept is not None else ""


_attribute_again = lru_cache(maxsize=2048)(_attribute)


def _media_line(text: str) -> tuple[str, bool]:
    """The ``m=`` line for the other leg, and whether the media behind it is refused."""
    found = _MEDIA.fullmatch(text)
    if found is None or int(found[2]) > 65535:
        raise ParseError("bad media line")
    kind, port, count, transport, formats = found.groups()
    if kind not in _KINDS and kind.lower() in _KINDS:
        kind = kind.lower()
    if kind in _KINDS:
        check = _TRANSPORTS.get(transport)
        if check is None:
            transport = _SPELLINGS.get(transport.upper(), transport)
            check = _TRANSPORTS.get(transport)
        if check is not None:
            if check(formats) is None:
                raise ParseError("bad media format", 488)
            return f"m={kind} {int(port)}{count or ''} {transport}{formats}\r\n", False
    if _UNKNOWN.fullmatch(kind) is None or _UNKNOWN.fullmatch(transport) is None:
        raise ParseError("unknown media", 488)
    return f"m={kind} 0 {transport} {'0' if 'RTP/' in transport else '*'}\r\n", True


def _connection(text: str) -> str:
    if _CONNECTION.fullmatch(text) is not None:
        return text
    if _CONNECTION_FQDN.fullmatch(text) is not None:
        return text
    if _CONNECTION_NAME.fullmatch(text) is not None:
        raise ParseError("SDP connection is neither an address nor a plain host name", 488)
    raise ParseError("bad SDP connection")
