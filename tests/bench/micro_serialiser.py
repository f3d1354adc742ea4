"""CPU per message of the serialiser: ``python -m tests.bench.micro_serialiser``.

What the switch sends in an answered call, from fields that the call has at hand. Figures are the best of some rounds.
"""

import sys
from collections.abc import Callable

from b2bua.sip.serialiser import format_request, format_response
from tests.bench.micro_sdp import BODIES, measure

BODY = "".join(f"{line}\r\n" for line in next(iter(BODIES.values()))).encode()
VIA = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK9f8e7d6c5b4a3928"
CALLEE = "sip:13900139000@192.0.2.20:5060;user=phone"
OURS = "<sip:700123456780001@192.0.2.1;user=phone>;tag=0f1e2d3c4b5a6978"
THEIRS = f"<{CALLEE}>"
CALL_ID = "0123456789abcdef0123456789abcdef"
CAPABILITIES = ("Contact: <sip:192.0.2.1:5060>", "Allow: INVITE, ACK, CANCEL, BYE, INFO, OPTIONS", "User-Agent: x700")
IDENTITY = ("P-Asserted-Identity: <sip:700123456780001@192.0.2.1;user=phone>",)
ROUTES = ("<sip:192.0.2.30;lr>", "<sip:192.0.2.31;lr>")
# what an answer echoes of its request, cut where the To tag goes
BEFORE_TAG = (
    "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-524287-1---0a1b2c3d4e5f;rport=5060;received=192.0.2.10\r\n"
    "From: <sip:13800138000@192.0.2.10:5060;user=phone>;tag=as3f2b1c\r\n"
    "To: <sip:700123456780001@192.0.2.1:5060;user=phone>"
)
AFTER_TAG = "\r\nCall-ID: 5b1c2d3e4f50617283940a1b2c3d4e5f@192.0.2.10\r\nCSeq: 1 INVITE\r\n"
TAG = "7fabf97babd3dba4"

MESSAGES: dict[str, Callable[[], bytes]] = {
    "INVITE": lambda: format_request(
        "INVITE", CALLEE, VIA, OURS, THEIRS, CALL_ID, 1, 65, (), (*CAPABILITIES, *IDENTITY), "application/sdp", BODY
    ),
    "100": lambda: format_response(100, BEFORE_TAG, "", AFTER_TAG),
    "180": lambda: format_response(180, BEFORE_TAG, TAG, AFTER_TAG, CAPABILITIES),
    "200 with an answer": lambda: format_response(
        200, BEFORE_TAG, TAG, AFTER_TAG, CAPABILITIES, "application/sdp", BODY
    ),
    "ACK": lambda: format_request("ACK", CALLEE, VIA, OURS, THEIRS, CALL_ID, 1),
    "ACK along a route": lambda: format_request("ACK", CALLEE, VIA, OURS, THEIRS, CALL_ID, 1, routes=ROUTES),
    "BYE": lambda: format_request("BYE", CALLEE, VIA, OURS, THEIRS, CALL_ID, 2, extra=("Reason: Q.850;cause=16",)),
    "200 for BYE": lambda: format_response(200, BEFORE_TAG, "", AFTER_TAG),
}


def main() -> None:
    """A line for each message."""
    for name, build in MESSAGES.items():
        sys.stdout.write(f"format {name:24} {len(build()):5} bytes {measure(build):7.2f} µs\n")


if __name__ == "__main__":
    main()
