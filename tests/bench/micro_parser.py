"""CPU per message of the parser: ``python -m tests.bench.micro_parser``.

The seven messages of an answered call as carriers send them, an INVITE of a mobile network with all it carries, and
what is refused. Figures are the best of several rounds.
"""

import sys
from contextlib import suppress
from functools import partial

from b2bua.sip.errors import ParseError
from b2bua.sip.parser import parse
from tests.bench.micro_sdp import BODIES, measure

VIA = "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-524287-1---0a1b2c3d4e5f;rport"
OUR_VIA = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK9f8e7d6c5b4a3928"
PARTIES = (
    "From: <sip:13800138000@192.0.2.10:5060;user=phone>;tag=as3f2b1c",
    "To: <sip:700123456780001@192.0.2.1:5060;user=phone>",
    "Call-ID: 5b1c2d3e4f50617283940a1b2c3d4e5f@192.0.2.10",
)
OUR_PARTIES = (
    "From: <sip:700123456780001@192.0.2.1;user=phone>;tag=0f1e2d3c4b5a6978",
    "To: <sip:13900139000@192.0.2.20:5060;user=phone>;tag=b-81",
    "Call-ID: 0123456789abcdef0123456789abcdef",
)
PHONE, NETWORK = ("".join(f"{line}\r\n" for line in lines) for lines in BODIES.values())


def datagram(*lines: str, body: str = "") -> bytes:
    """A message of these lines."""
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


MESSAGES = {
    "INVITE": datagram(
        "INVITE sip:700123456780001@192.0.2.1:5060;user=phone SIP/2.0",
        VIA,
        "Max-Forwards: 66",
        *PARTIES,
        "CSeq: 1 INVITE",
        "Contact: <sip:13800138000@192.0.2.10:5060>",
        "P-Asserted-Identity: <sip:13800138000@192.0.2.10;user=phone>",
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE",
        "Supported: 100rel, timer",
        "User-Agent: carrier",
        "Content-Type: application/sdp",
        body=PHONE,
    ),
    "100": datagram("SIP/2.0 100 Trying", OUR_VIA, *OUR_PARTIES, "CSeq: 1 INVITE"),
    "180": datagram(
        "SIP/2.0 180 Ringing",
        OUR_VIA,
        *OUR_PARTIES,
        "CSeq: 1 INVITE",
        "Contact: <sip:13900139000@192.0.2.20:5060>",
        "Server: carrier",
    ),
    "200 with an answer": datagram(
        "SIP/2.0 200 OK",
        OUR_VIA,
        *OUR_PARTIES,
        "CSeq: 1 INVITE",
        "Contact: <sip:13900139000@192.0.2.20:5060>",
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE",
        "Supported: timer",
        "Server: carrier",
        "Content-Type: application/sdp",
        body=PHONE,
    ),
    "ACK": datagram("ACK sip:700123456780001@192.0.2.1:5060 SIP/2.0", VIA, "Max-Forwards: 66", *PARTIES, "CSeq: 1 ACK"),
    "BYE": datagram(
        "BYE sip:700123456780001@192.0.2.1:5060 SIP/2.0",
        VIA,
        "Max-Forwards: 66",
        *PARTIES,
        "CSeq: 2 BYE",
        "Reason: Q.850;cause=16",
    ),
    "INVITE of a mobile network": datagram(
        "INVITE sip:+86700123456780001@ims.example;user=phone SIP/2.0",
        VIA,
        *(f"v: SIP/2.0/UDP 192.0.2.{host};branch=z9hG4bK{host:016x}" for host in range(30, 34)),
        "Max-Forwards: 62",
        "Route: <sip:192.0.2.1;lr>",
        *(f"Record-Route: <sip:192.0.2.{host};lr;transport=udp>" for host in range(30, 34)),
        "f: <tel:+8613800138000>;tag=ims-0a1b2c3d",
        "t: <tel:+86700123456780001>",
        "i: 0a1b2c3d4e5f@ims.example",
        "CSeq: 1 INVITE",
        'm: <sip:192.0.2.10:5060>;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"',
        "P-Asserted-Identity: <sip:+8613800138000@ims.example>, <tel:+8613800138000>",
        "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=460001234567890;network-provided",
        "P-Charging-Vector: icid-value=0a1b2c3d4e5f;icid-generated-at=192.0.2.30;orig-ioi=ims.example",
        "P-Early-Media: supported",
        "Session-Expires: 1800",
        "Min-SE: 90",
        "k: 100rel, timer, precondition, histinfo",
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, MESSAGE, NOTIFY, REFER",
        "Accept: application/sdp, application/3gpp-ims+xml",
        "User-Agent: phone",
        "c: application/sdp",
        body=NETWORK,
    ),
    "refused: bare line feeds": b"INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP c\r\n\r\n",
    "refused: 130 header fields": datagram("OPTIONS sip:a@192.0.2.1 SIP/2.0", *["X: y"] * 130),
    "refused: rubbish": bytes(range(256)) * 4,
}


def attempt(data: bytes) -> None:
    """Parse; a refusal is a result too."""
    with suppress(ParseError):
        parse(data)


def main() -> None:
    """A line for each message."""
    for name, data in MESSAGES.items():
        sys.stdout.write(f"parse {name:32} {len(data):5} bytes {measure(partial(attempt, data)):7.2f} µs\n")


if __name__ == "__main__":
    main()
