"""The SDP attributes that may cross the switch, as data: name, grammar of the value, reason.

What is not in a table here does not cross, and a value outside its grammar takes its whole line with it. The grammars
hold what the media needs and no free text: names start with a letter and hold few digits, numbers are shorter than any
telephone number, keys and fingerprints have the length of their algorithm. The patterns only read ASCII.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

__all__ = [
    "ATTRIBUTES",
    "ENCODING",
    "FORMAT_PARAMETERS",
    "IPV4",
    "IPV6",
    "PAYLOAD_TYPE",
    "Attribute",
    "clean_attribute",
]

IPV4 = r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3})"
# the shape of RFC 4291 §2.2 texts; whether "::" stands once is for whoever uses the address
IPV6 = rf"(?:(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}(?:{IPV4}|[0-9A-Fa-f]{{0,4}}))"
# payload types have seven bits (RFC 3550 §5.1)
PAYLOAD_TYPE = r"(?:12[0-7]|1[01][0-9]|[1-9]?[0-9])"

_ADDRESS = rf"(?:{IPV4}|{IPV6})"
_PORT = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{1,3}|[0-9])"
# encoding names such as H263-1998, AMR-WB+, telephone-event: at most two groups of four digits, never side by side
ENCODING = r"[A-Za-z][A-Za-z+_.\-]{0,24}(?:[0-9]{1,4}(?![0-9])[A-Za-z+_.\-]{0,16}){0,2}"
# identification tags (RFC 5888 §4): "0", "audio", "sdparta_0"
_TAG = r"[A-Za-z_.\-]{0,12}[0-9]{0,3}"
_DIRECTION = r"(?:none|send|recv|sendrecv)"
_FEEDBACK = (
    r"(?:(?:ack|nack|ccm)(?: (?:pli|sli|rpsi|fir|tmmbr|tstr|vbcm|pause|ecn))?(?: smaxpr=[0-9]{1,4})?"
    r"|trr-int [0-9]{1,5}|goog-remb|transport-cc)"
)
_SUITE = (
    r"(?:(?:AES_CM_(?:128|192|256)|AES_(?:192|256)_CM|F8_128)_HMAC_SHA1_(?:80|32)"
    r"|AEAD_AES_(?:128|256)_GCM(?:_8|_12)?)"
)
# key-params: the master key and salt in base64, a lifetime, a key identifier with its length (RFC 4568 §6.1)
_INLINE_KEY = r"inline:[A-Za-z0-9+/]{38,64}={0,2}(?:\|(?:2\^[0-9]{1,2}|[0-9]{1,7}))?(?:\|[0-9]{1,4}:[0-9]{1,3})?"
_SESSION_PARAMETER = (
    r"(?:KDR=[0-9]{1,2}|UNENCRYPTED_SRTP|UNENCRYPTED_SRTCP|UNAUTHENTICATED_SRTP"
    r"|FEC_ORDER=(?:FEC_SRTP|SRTP_FEC)|WSH=[0-9]{1,4})"
)


class Attribute(NamedTuple):
    """One line of the allow-list; ``value`` is a pattern, or None for an attribute that has no value."""

    name: str
    value: str | None
    reason: str


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("sendrecv", None, "direction and hold (RFC 3264 §6.1)"),
    Attribute("sendonly", None, "direction and hold (RFC 3264 §6.1)"),
    Attribute("recvonly", None, "direction and hold (RFC 3264 §6.1)"),
    Attribute("inactive", None, "direction and hold (RFC 3264 §6.1)"),
    Attribute(
        "rtpmap", rf"{PAYLOAD_TYPE} +{ENCODING}/[0-9]{{1,6}}(?:/[0-9]{{1,2}})?", "names the codec (RFC 8866 §6.6)"
    ),
    Attribute("ptime", r"[0-9]{1,4}(?:\.[0-9]{1,3})?", "packet time (RFC 8866 §6.4)"),
    Attribute("maxptime", r"[0-9]{1,4}(?:\.[0-9]{1,3})?", "packet time (RFC 8866 §6.5)"),
    Attribute("framerate", r"[0-9]{1,3}(?:\.[0-9]{1,3})?", "video rate (RFC 8866 §6.13)"),
    Attribute("framesize", rf"{PAYLOAD_TYPE} +[0-9]{{1,4}}-[0-9]{{1,4}}", "picture size (RFC 6064 §4)"),
    Attribute("quality", r"[0-9]{1,2}", "video quality (RFC 8866 §6.14)"),
    Attribute(
        "content", r"(?:main|alt|slides|speaker|sl)(?:,(?:main|alt|slides|speaker|sl))*", "which picture (RFC 4796)"
    ),
    Attribute(
        "silenceSupp",
        r"(?:on|off) (?:-|[0-9]{1,3}) (?:-|standard|custom) (?:-|No SID|Fixed Noise|Sampled Noise) (?:-|[0-9]{1,3})",
        "silence suppression of gateways (RFC 3108 §5.6.3.2)",
    ),
    Attribute("rtcp", rf"{_PORT}(?: IN (?:IP4 {IPV4}|IP6 {IPV6}))?", "control port behind NAT (RFC 3605)"),
    Attribute("rtcp-mux", None, "control on the media port (RFC 5761)"),
    Attribute("rtcp-mux-only", None, "control on the media port (RFC 8858)"),
    Attribute("rtcp-rsize", None, "short control packets (RFC 5506)"),
    Attribute("rtcp-fb", rf"(?:\*|{PAYLOAD_TYPE}) +{_FEEDBACK}", "picture loss and rate feedback (RFC 4585 §4.2)"),
    Attribute(
        "crypto",
        rf"[0-9]{{1,3}} +{_SUITE} +{_INLINE_KEY}(?:;{_INLINE_KEY}){{0,3}}(?: +{_SESSION_PARAMETER}){{0,4}}",
        "media keys, end to end (RFC 4568)",
    ),
    Attribute("setup", r"active|passive|actpass|holdconn", "who opens DTLS or TCP (RFC 4145 §4)"),
    Attribute("connection", r"new|existing", "whether to open anew (RFC 4145 §5)"),
    Attribute(
        "fingerprint",
        r"(?i:sha-(?:1|224|256|384|512)) +(?:[0-9A-Fa-f]{2}:){19,63}[0-9A-Fa-f]{2}",
        "certificate of the media path (RFC 8122 §5)",
    ),
    # credentials that the parties use towards each other; no stack makes them of digits alone
    Attribute("ice-ufrag", r"(?![0-9+/]+$)[A-Za-z0-9+/]{4,64}", "connectivity checks (RFC 8839 §5.4)"),
    Attribute("ice-pwd", r"(?![0-9+/]+$)[A-Za-z0-9+/]{22,128}", "connectivity checks (RFC 8839 §5.4)"),
    Attribute("ice-lite", None, "connectivity checks (RFC 8839 §5.3)"),
    Attribute("ice-mismatch", None, "connectivity checks (RFC 8839 §5.3)"),
    Attribute("ice-pacing", r"[0-9]{1,4}", "connectivity checks (RFC 8839 §5.5)"),
    Attribute(
        "ice-options",
        r"(?:trickle|ice2|renomination|rtp\+ecn)(?: (?:trickle|ice2|renomination|rtp\+ecn)){0,3}",
        "the same",
    ),
    Attribute(
        "remote-candidates",
        rf"[0-9]{{1,3}} {_ADDRESS} {_PORT}(?: [0-9]{{1,3}} {_ADDRESS} {_PORT}){{0,7}}",
        "connectivity checks (RFC 8839 §5.2)",
    ),
    Attribute("end-of-candidates", None, "connectivity checks (RFC 8838 §14)"),
    Attribute("mid", rf"(?!$){_TAG}", "names a media line (RFC 5888 §4)"),
    Attribute(
        "group",
        rf"(?:BUNDLE|LS|FID|SRF|ANAT|FEC|FEC-FR|DDP|DUP)(?: (?! |$){_TAG}){{0,16}}",
        "ties media lines (RFC 5888 §5)",
    ),
    Attribute("bundle-only", None, "ties media lines (RFC 8843 §6)"),
    Attribute("T38FaxVersion", r"[0-9]{1,2}", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38MaxBitRate", r"[0-9]{1,6}", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxFillBitRemoval", r"[01]?", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxTranscodingMMR", r"[01]?", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxTranscodingJBIG", r"[01]?", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxRateManagement", r"transferredTCF|localTCF", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxMaxBuffer", r"[0-9]{1,6}", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxMaxDatagram", r"[0-9]{1,6}", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxMaxIFP", r"[0-9]{1,6}", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxUdpEC", r"t38UDPFEC|t38UDPRedundancy|t38UDPNoEC", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxUdpECDepth", r"[0-9]{1,3}(?: [0-9]{1,3})?", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38FaxUdpFECMaxSpan", r"[0-9]{1,3}", "fax (ITU-T T.38 Annex D)"),
    Attribute("T38ModemType", r"t38G3FaxOnly|t38G3AndV34G3", "fax (ITU-T T.38 Annex D)"),
    Attribute("curr", rf"qos (?:e2e|local|remote) {_DIRECTION}", "resource reservation (RFC 3312 §4)"),
    Attribute(
        "des",
        rf"qos (?:mandatory|optional|none|failure|unknown) (?:e2e|local|remote) {_DIRECTION}",
        "resource reservation (RFC 3312 §4)",
    ),
    Attribute("conf", rf"qos (?:e2e|local|remote) {_DIRECTION}", "resource reservation (RFC 3312 §4)"),
)

_NUMBER = r"[0-9]{1,7}"
_SWITCH = r"[01]|yes|no|on|off|true|false"
_FLAG = r"[01]"
_BASE64_LIST = r"(?:[A-Za-z0-9+/]{2,512}={0,2}(?:,|$)){1,4}"
_RATES = r"[0-9]{1,3}(?:\.[0-9]{1,2})?(?:-[0-9]{1,3}(?:\.[0-9]{1,2})?)?"
_BAND = r"(?:nb|wb|swb|fb)(?:-(?:nb|wb|swb|fb))?"

# Parameters of a=fmtp by codec: name → grammar. Configuration blobs in hexadecimal (MPEG-4 config) are left out: they
# read like numbers, and their decoders find the same in the stream.
FORMAT_PARAMETERS: dict[str, str] = {
    # AMR, AMR-WB (RFC 4867 §8) and EVS (3GPP TS 26.445 Annex A)
    "octet-align": _FLAG,
    "crc": _FLAG,
    "robust-sorting": _FLAG,
    "mode-set": r"[0-9]{1,2}(?:[,-][0-9]{1,2}){0,9}",
    "mode-change-period": r"[0-9]",
    "mode-change-capability": r"[0-9]",
    "mode-change-neighbor": _FLAG,
    "interleaving": r"[0-9]{1,2}",
    "max-red": r"[0-9]{1,5}",
    "channels": r"[0-9]{1,2}",
    "dtx": _FLAG,
    "dtx-recv": _FLAG,
    "evs-mode-switch": _FLAG,
    "hf-only": _FLAG,
    "cmr": r"-?[01]",
    "br": _RATES,
    "br-send": _RATES,
    "br-recv": _RATES,
    "bw": _BAND,
    "bw-send": _BAND,
    "bw-recv": _BAND,
    "ch-send": r"[0-9]",
    "ch-recv": r"[0-9]",
    "ch-aw-recv": r"-?[0-9]",
    # G.723.1, G.729, iLBC, G.722.1, Speex (RFC 4856, 3952, 5577, 5574)
    "annexa": _SWITCH,
    "annexb": _SWITCH,
    "mode": r'[0-9]{1,2}|"?[0-9](?:,[0-9]|,any){0,9}"?|AAC-[lh]br',
    "bitrate": _NUMBER,
    "vbr": r"on|off|vad",
    "cng": _SWITCH,
    # Opus, SILK (RFC 7587 §6.1)
    "ptime": r"[0-9]{1,3}",
    "minptime": r"[0-9]{1,3}",
    "maxptime": r"[0-9]{1,3}",
    "maxplaybackrate": r"[0-9]{1,6}",
    "sprop-maxcapturerate": r"[0-9]{1,6}",
    "maxaveragebitrate": r"[0-9]{1,6}",
    "stereo": _FLAG,
    "sprop-stereo": _FLAG,
    "cbr": _FLAG,
    "useinbandfec": _FLAG,
    "usedtx": _FLAG,
    # AAC (RFC 3640 §4.1, RFC 6416 §7.1)
    "streamtype": r"[0-9]",
    "object": r"[0-9]{1,2}",
    "cpresent": _FLAG,
    "sizelength": r"[0-9]{1,2}",
    "indexlength": r"[0-9]{1,2}",
    "indexdeltalength": r"[0-9]{1,2}",
    "constantduration": r"[0-9]{1,5}",
    # H.264 and H.265 (RFC 6184 §8.1, RFC 7798 §7.1)
    "profile-level-id": r"[0-9A-Fa-f]{6}|[0-9]{1,3}",
    "packetization-mode": r"[0-2]",
    "level-asymmetry-allowed": _FLAG,
    "sprop-parameter-sets": _BASE64_LIST,
    "sprop-vps": _BASE64_LIST,
    "sprop-sps": _BASE64_LIST,
    "sprop-pps": _BASE64_LIST,
    "max-mbps": _NUMBER,
    "max-smbps": _NUMBER,
    "max-fs": _NUMBER,
    "max-cpb": _NUMBER,
    "max-dpb": _NUMBER,
    "max-br": _NUMBER,
    "max-fr": r"[0-9]{1,3}",
    "max-fps": r"[0-9]{1,5}",
    "max-lsr": _NUMBER,
    "redundant-pic-cap": _FLAG,
    "profile-id": r"[0-9]{1,2}",
    "profile-space": r"[0-3]",
    "tier-flag": _FLAG,
    "level-id": r"[0-9]{1,3}",
    "tx-mode": r"SRST|MRST|MRMT",
    # AV1, retransmission, real-time text (AV1 RTP §7.2, RFC 4588 §8.1, RFC 4103 §6)
    "profile": r"[0-9]{1,2}",
    "level": r"[0-9]{1,3}",
    "level-idx": r"[0-9]{1,2}",
    "tier": _FLAG,
    "apt": PAYLOAD_TYPE,
    "rtx-time": r"[0-9]{1,5}",
    "cps": r"[0-9]{1,3}",
    # H.263 (RFC 4629 §8.2)
    "sqcif": r"[0-9]{1,2}",
    "qcif": r"[0-9]{1,2}",
    "cif": r"[0-9]{1,2}",
    "cif4": r"[0-9]{1,2}",
    "cif16": r"[0-9]{1,2}",
    "maxbr": r"[0-9]{1,5}",
}

# fmtp: a list of events (RFC 4733 §2.4.1) or of redundant payload types (RFC 2198 §5)
_EVENTS = r"[0-9]{1,3}(?:-[0-9]{1,3})?"
_FORMAT_LIST = re.compile(
    rf"{PAYLOAD_TYPE} +(?:{_EVENTS}(?:,{_EVENTS}){{0,15}}|{PAYLOAD_TYPE}(?:/{PAYLOAD_TYPE}){{1,5}})"
)
_FORMAT = re.compile(rf"({PAYLOAD_TYPE}) +(.+)")
_FORMAT_CHECKS = {name: re.compile(value).fullmatch for name, value in FORMAT_PARAMETERS.items()}
_FORMAT_SEPARATOR = re.compile(r"[; ]+")

# candidate = foundation component transport priority address port typ type [raddr rport] extensions (RFC 8839 §5.1);
# a name for an address (mDNS) means nothing beyond its own network and is left out
_CANDIDATE = re.compile(
    rf"((?![A-Za-z0-9+/]*[0-9]{{11}})[A-Za-z0-9+/]{{1,32}} [0-9]{{1,3}} (?:UDP|TCP|udp|tcp) [0-9]{{1,10}}"
    rf" {_ADDRESS} {_PORT} typ (?:host|srflx|prflx|relay)(?: raddr {_ADDRESS} rport {_PORT})?)((?: .*)?)"
)
_TCP_TYPE = re.compile(r" tcptype (?:active|passive|so)(?= |$)")

_CHECKS: dict[str, Callable[[str], object] | None] = {
    name: re.compile(value).fullmatch if value is not None else None for name, value, _ in ATTRIBUTES
}
# a name in another case than registered is understood; T.38 stacks differ in it
_SPELLINGS = {name.lower(): name for name in (*_CHECKS, "fmtp", "candidate")}


def clean_attribute(text: str) -> str | None:
    """What may cross of ``name[:value]``, the text after ``a=``: the same, less of it, or None for nothing."""
    name, colon, value = text.partition(":")
    try:
        check = _CHECKS[name]
    except KeyError:
        return _clean_other(name, value)
    if check is None:
        return None if colon else text
    return text if check(value) is not None or (not colon and check("") is not None) else None


def _clean_other(name: str, value: str) -> str | None:
    if name == "fmtp":
        kept = _clean_format(value)
        return f"fmtp:{kept}" if kept is not None else None
    if name == "candidate":
        found = _CANDIDATE.fullmatch(value)
        if found is None:
            return None
        tcp_type = _TCP_TYPE.search(found[2])
        return f"candidate:{found[1]}{tcp_type[0] if tcp_type else ''}"
    spelling = _SPELLINGS.get(name.lower())
    if spelling is None or spelling == name:
        return None
    return clean_attribute(f"{spelling}:{value}" if value else spelling)


@lru_cache(maxsize=1024)  # every call repeats the few dozen that the phones in use send
def _clean_format(value: str) -> str | None:
    if _FORMAT_LIST.fullmatch(value) is not None:
        return value
    found = _FORMAT.fullmatch(value)
    if found is None:
        return None
    pieces = [piece for piece in _FORMAT_SEPARATOR.split(found[2]) if piece]
    kept: list[str] = []
    for piece in pieces:
        name, _, setting = piece.partition("=")
        check = _FORMAT_CHECKS.get(name.lower())
        if check is not None and check(setting) is not None:
            kept.append(piece)
    if not kept:
        return None
    return value if len(kept) == len(pieces) else f"{found[1]} {';'.join(kept)}"
