"""A masked call with one strange message in it, from either side, at any stage.

The first octet of an input says when and from where the rest of it comes. ``$`` words in it are replaced by what the
switch used on that leg, so that a mutant still belongs to the call. Whatever it does, the switch must not raise, must
not show a party the other's number, and must have empty tables in the end.
"""

import re
from itertools import count

from b2bua.call.switch import Now, Switch, SwitchSettings
from b2bua.sip.transaction import Flow
from routing.decide import Route
from routing.trunks import Peer, Trunk
from tests.routing.samples import BINDING, NOW, A, B, X
from tests.sip.test_sdp import MINIMAL, body

__all__ = ["INVITE", "SDP", "SEEDS", "WORDS", "answer", "feed_call", "request"]

CALLER = Flow("UDP", "udp", ("192.0.2.10", 5060))
CALLEE = Flow("UDP", "udp", ("198.51.100.10", 5060))
TRUNKS = (
    Trunk("in", (Peer(*CALLER.peer),), prefixes=()),
    Trunk("out", (Peer(*CALLEE.peer),)),
)
CALLER_DIGITS = A.removeprefix("+86").encode()
CALLEE_DIGITS = B.removeprefix("+86").encode()
SDP = body(*MINIMAL, "a=sendrecv")

# stages: after the INVITE went out, while it rings, answered but not acknowledged, up, during a re-INVITE, after BYE
STAGES = 6


def _message(first: str, fields: str, content: bytes = b"", kind: str = "application/sdp") -> bytes:
    head = first + fields + (f"\nContent-Type: {kind}" if content else "") + f"\nContent-Length: {len(content)}\n\n"
    return head.replace("\n", "\r\n").encode() + content


INVITE = _message(
    f"INVITE sip:{X}@192.0.2.1 SIP/2.0",
    f"""
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKcaller
Max-Forwards: 70
From: <sip:{A}@192.0.2.10>;tag=caller
To: <sip:{X}@192.0.2.1>
Call-ID: caller
CSeq: 1 INVITE
Contact: <sip:{A}@192.0.2.10:5060>
P-Asserted-Identity: <sip:{A}@192.0.2.10>, <tel:{A}>""",
    SDP,
)


class Call:
    """The switch with a call in it, and what the parties know of it."""

    def __init__(self) -> None:
        tokens = (f"{number:016x}" for number in count(1))
        self.switch = Switch(SwitchSettings(), TRUNKS, lambda: next(tokens), {"udp": "192.0.2.1:5060"})
        self.seconds = 0.0
        self.sent: dict[Flow, list[bytes]] = {CALLER: [], CALLEE: []}
        self.hidden = {CALLER: CALLEE_DIGITS, CALLEE: CALLER_DIGITS}

    @property
    def now(self) -> Now:
        return Now(self.seconds, NOW + int(self.seconds * 1000))

    def feed(self, data: bytes, flow: Flow) -> None:
        self.switch.receive(data, flow, self.now)
        for query in self.switch.queries():
            self.switch.decided(query, Route(BINDING, "a", A, B, X, X, ("out",)), self.now)
        self.collect()

    def collect(self) -> None:
        self.switch.records()
        for wire, flow in self.switch.outgoing():
            side = _side(wire, flow)
            hidden = self.hidden[side]
            assert not hidden or hidden not in wire, "a number has crossed"
            self.sent[side].append(wire)

    def rest(self) -> None:
        """Let every timer run out; a call that is up ends by its longest duration."""
        while (deadline := self.switch.deadline()) is not None:
            self.seconds = max(self.seconds, deadline)
            self.switch.wake(self.now)
            self.collect()

    def newest(self, side: Flow, start: bytes) -> bytes:
        """The last message to that side that begins so, b'' when there is none."""
        return next((wire for wire in reversed(self.sent[side]) if wire.startswith(start)), b"")

    def fill(self, text: bytes, side: Flow) -> bytes:
        """The ``$`` words of a template for that side of the call."""
        if side == CALLEE:
            invite = self.newest(CALLEE, b"INVITE ")
            ours, theirs = _field(invite, b"From"), b"<sip:b@x>;tag=callee"
        else:
            invite = INVITE
            ours, theirs = _field(self.newest(CALLER, b"SIP/2.0 "), b"To") or b"<sip:x>", b"<sip:a@x>;tag=caller"
        values = {
            b"$VIA": _field(invite, b"Via"),
            b"$OURS": ours,
            b"$THEIRS": theirs,
            b"$CALLID": _field(invite, b"Call-ID"),
            b"$CSEQ": _field(invite, b"CSeq").partition(b" ")[0],
            b"$FROM": _field(invite, b"From"),
            b"$TO": _field(invite, b"To"),
        }
        return _WORD.sub(lambda found: values[found[0]], text)


def _side(wire: bytes, flow: Flow) -> Flow:
    """Which party a datagram is for; one that goes to an address a mutant named, by its dialog."""
    for side in (CALLER, CALLEE):
        if flow.peer[0] == side.peer[0]:
            return side
    return CALLER if b"\r\nCall-ID: caller\r\n" in wire else CALLEE


_WORD = re.compile(rb"\$(?:VIA|OURS|THEIRS|CALLID|CSEQ|FROM|TO)")


def _field(wire: bytes, name: bytes) -> bytes:
    found = re.search(rb"\r\n" + name + rb": ([^\r\n]*)", wire)
    return found[1] if found else b""


def answer(status: str, content: bytes = b"", method: str = "INVITE", more: str = "") -> bytes:
    fields = f"\nVia: $VIA\nFrom: $FROM\nTo: $TO;tag=callee\nCall-ID: $CALLID\nCSeq: $CSEQ {method}"
    contact = f"\nContact: <sip:{B}@198.51.100.10:5060>\nP-Asserted-Identity: <tel:{B}>"
    return _message(f"SIP/2.0 {status}", fields + contact + more, content)


def request(method: str, content: bytes = b"", more: str = "", kind: str = "application/sdp", number: int = 7) -> bytes:
    fields = (
        f"\nVia: SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bK{method}{number};rport\nMax-Forwards: 70"
        f"\nFrom: $THEIRS\nTo: $OURS\nCall-ID: $CALLID\nCSeq: {number} {method}\nContact: <sip:p@203.0.113.9>"
    )
    return _message(f"{method} sip:192.0.2.1 SIP/2.0", fields + more, content, kind)


_RINGING = answer("180 Ringing")
_OK = answer("200 OK", SDP)
_ACK = request("ACK", number=1).replace(b"CSeq: 1 ", b"CSeq: $CSEQ ")
_REINVITE = request("INVITE", SDP.replace(b"sendrecv", b"sendonly"), number=5)
_BYE = request("BYE", number=6)

_INJECTED = (
    *(
        answer(status)
        for status in ("100 Trying", "180 Ringing", "181 x", "199 x", "404 Not Found", "486 Busy", "603 No")
    ),
    *(
        answer(status)
        for status in ("302 Moved", "401 x", "407 x", "420 x", "481 x", "487 x", "491 x", "500 x", "600 x")
    ),
    *(answer(status, SDP) for status in ("183 Session Progress", "200 OK", "202 Accepted", "488 x")),
    answer("503 x", more="\nRetry-After: 5"),
    answer("200 OK", b"v=0\r\nx"),
    answer("200 OK", SDP).replace(b"tag=callee", b"tag=another"),
    answer("200 OK", method="BYE"),
    answer("200 OK", method="CANCEL"),
    answer("180 Ringing", more=f"\nRequire: 100rel\nRSeq: 1\nReason: Q.850;cause=1;text={B}\nDiversion: <tel:{B}>"),
    *(
        request(method)
        for method in ("BYE", "INVITE", "OPTIONS", "UPDATE", "PRACK", "REFER", "NOTIFY", "MESSAGE", "INFO", "X")
    ),
    request("INVITE", SDP),
    request("INVITE", SDP, "\nRequire: timer", number=8),
    request("INVITE", b"rubbish"),
    answer("183 x", SDP, more="\nRequire: 100rel\nRSeq: 1\nAllow: UPDATE"),
    answer("183 x", SDP, more="\nRequire: 100rel\nRSeq: 2").replace(b"tag=callee", b"tag=another"),
    request("PRACK", SDP, "\nRAck: 1 1 INVITE"),
    request("UPDATE", SDP, "\nAllow: UPDATE"),
    request("UPDATE", SDP, number=9),
    request("INFO", b"Signal=5\r\nDuration=160\r\n", kind="application/dtmf-relay"),
    request("INFO", B.encode(), kind="text/plain"),
    _ACK,
    request("ACK", SDP),
    INVITE,
    INVITE.replace(b"INVITE sip", b"CANCEL sip").replace(b"1 INVITE", b"1 CANCEL"),
    INVITE.replace(b"INVITE sip", b"ACK sip").replace(b"1 INVITE", b"1 ACK"),
)
SEEDS = [bytes((stage,)) + message for stage in range(STAGES * 2) for message in _INJECTED]
WORDS = (
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\r\n ",
        b"\0",
        b";",
        b",",
        b"<",
        b">",
        b'"',
        b" ",
        b"=",
        b":",
        b"-1",
        b"99999999999",
        b"\xff",
    ),
    *(
        b"$VIA",
        b"$OURS",
        b"$THEIRS",
        b"$CALLID",
        b"$CSEQ",
        b"\r\nTo: $OURS",
        b"\r\nContact: <sip:x>",
        b"\r\nRoute: <sip:y;lr>",
    ),
    *(
        b"INVITE",
        b"BYE",
        b"ACK",
        b"CANCEL",
        b"INFO",
        b"SIP/2.0 200 OK",
        b"SIP/2.0 100 x",
        b"\r\nRecord-Route: <sip:r;lr>",
    ),
    *(
        b"\r\nRequire: x",
        b"\r\nContent-Length: 0",
        b"\r\nMax-Forwards: 0",
        b"\r\nReason: Q.850;cause=16",
        b";tag=callee",
    ),
)


def feed_call(data: bytes) -> None:
    """Play the call with the message of ``data`` in it."""
    first, strange = data[:1] or b"\0", data[1:]
    stage, from_callee = divmod(first[0] % (STAGES * 2), 2)
    side = CALLEE if from_callee else CALLER
    call = Call()
    # what a party says itself it may be told again; only what it has not said is hidden from it
    call.hidden = {
        flow: b"" if flow == side and any(digits in strange for digits in (CALLER_DIGITS, CALLEE_DIGITS)) else digits
        for flow, digits in call.hidden.items()
    }
    steps = (
        (INVITE, CALLER),
        (_RINGING, CALLEE),
        (_OK, CALLEE),
        (_ACK, CALLER),
        (_REINVITE, CALLER),
        (_BYE, CALLER),
    )
    for index, (template, flow) in enumerate(steps):
        call.feed(call.fill(template, flow), flow)
        if index == stage:
            call.feed(call.fill(strange, side), side)
    call.rest()
    assert set(call.switch.tables().values()) == {0}, "something was left behind"
    assert call.switch.statistics.tripwire == 0 or CALLER_DIGITS in strange or CALLEE_DIGITS in strange, "tripwire"
