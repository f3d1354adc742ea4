"""Every place of the leak map filled with a number of its own, on every message of a party.

The number stands for whatever a carrier, a phone or its user may put there. None of them may come out on the other
side.
"""

import re
from collections.abc import Callable

__all__ = ["HEADERS", "SDP_LINES", "Filler"]

# {n} is the place's own number, {d} that in digits alone, {h} a host name of that side
HEADERS = (
    # identities
    'P-Asserted-Identity: "{n}" <sip:+86{n}@{h};user=phone>, <tel:+86{n}>',
    'P-Preferred-Identity: "{n}" <sip:{n}@{h}>',
    "P-Called-Party-ID: <sip:{n}@{h}>",
    "P-Served-User: <sip:{n}@{h}>;sescase=orig;regstate=reg",
    "P-Associated-URI: <tel:+86{n}>, <sip:{n}@{h}>",
    "P-Profile-Key: <sip:{n}@{h}>",
    "P-User-Database: <aaa://{h};x={n}>",
    'Remote-Party-ID: "{n}" <sip:{n}@{h}>;party=calling;screen=yes;privacy=off',
    "Diversion: <sip:{n}@{h}>;reason=unconditional;counter=1",
    "History-Info: <sip:{n}@{h}?Reason=SIP%3Bcause%3D302>;index=1, <sip:{n}@{h}>;index=1.1",
    'Referred-By: "{n}" <sip:{n}@{h}>;cid="{n}@{h}"',
    "Refer-To: <sip:{n}@{h}?Replaces={n}>",
    "Reply-To: <sip:{n}@{h}>",
    'Identity: "{n}eyJhbGciOiJFUzI1NiJ9"',
    "Identity-Info: <https://{h}/{n}.cer>;alg=rsa-sha1",
    "Replaces: {n}@{h};to-tag={n};from-tag={n}",
    "Join: {n}@{h};to-tag={n};from-tag={n}",
    "Target-Dialog: {n}@{h};remote-tag={n};local-tag={n}",
    "In-Reply-To: {n}@{h}",
    "P-Asserted-Service: urn:urn-7:{n}",
    "P-Refused-URI-List: sip:{n}@{h}",
    "Privacy: id;x={n}",
    # place and access
    'P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp={n}; network-provided; x="{n}"',
    'P-Visited-Network-ID: "{n}", {h}',
    "P-Last-Access-Network-Info: IEEE-802.11; i-wlan-node-id={n}",
    "Cellular-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp={n}",
    "Geolocation: <cid:{n}@{h}>, <https://{h}/{n}>",
    "Geolocation-Routing: yes;x={n}",
    # charging and correlation
    "P-Charging-Vector: icid-value={n};icid-generated-at={h};orig-ioi={n}",
    "P-Charging-Function-Addresses: ccf={h};x={n}",
    "Session-ID: {n}ab30317f1a784dc48ff824d0d3715d86;remote={n}",
    "X-Vendor-Cookie: {n}",
    "P-Com.Example-Cookie: {n}",
    # words and pictures
    "User-to-User: {n};encoding=hex",
    "Call-Info: <https://{h}/{n}.jpg>;purpose=icon",
    "Alert-Info: <https://{h}/{n}.wav>",
    "Error-Info: <sip:{n}@{h}>",
    "Subject: call from {n}",
    "Organization: {n} & {h}",
    "Priority: normal;x={n}",
    "Date: Sat, 13 Nov 2010 23:29:00 GMT {n}",
    "User-Agent: phone {n} ({h})",
    "Server: gateway {n} ({h})",
    'Warning: 399 {h} "text {n}"',
    'Reason: SIP;cause=486;text="{n}", Q.850;cause=16;text="{n}"',
    "Retry-After: 5 ({n});duration=60;x={n}",
    "X-Anything: {n}",
    "Z{d}: name",
    # lists of tokens, and what negotiates
    "Allow: INVITE, ACK, X{n}",
    "Supported: timer, x{n}",
    "Unsupported: x{n}",
    "Allow-Events: x{n}",
    "Accept: application/sdp;x={n}, application/x{n}",
    "Accept-Language: x{n}",
    "Accept-Contact: *;+x.{n};explicit",
    "Reject-Contact: *;x={n}",
    "Request-Disposition: proxy, x{n}",
    "Feature-Caps: *;+g.{n}",
    "Recv-Info: x{n}",
    "Info-Package: x{n}",
    "Session-Expires: 1800;refresher=uac;x={n}",
    "Min-SE: 90;x={n}",
    "RSeq: {n}",
    "RAck: {n} 1 INVITE",
    "P-Early-Media: supported, x{n}",
    "Resource-Priority: x.{n}",
    "Answer-Mode: Manual;x={n}",
    "Timestamp: {n}",
    "Content-Disposition: session;handling=optional;x={n}",
    "Content-Language: x{n}",
    "Content-ID: <{n}@{h}>",
    "MIME-Version: 1.0 ({n})",
    # routes and credentials
    "Path: <sip:{n}@{h};lr>",
    "Service-Route: <sip:{n}@{h};lr>",
    'Authorization: Digest username="{n}", realm="{h}", nonce="{n}", uri="sip:{n}@{h}", response="{n}"',
    'Proxy-Authorization: Digest username="{n}", realm="{h}", nonce="{n}", uri="sip:{n}@{h}", response="{n}"',
    'WWW-Authenticate: Digest realm="{n}", nonce="{n}"',
    'Proxy-Authenticate: Digest realm="{n}", nonce="{n}"',
    'Authentication-Info: nextnonce="{n}"',
    "Security-Client: ipsec-3gpp; spi-c={n}",
    # other ways of writing a header
    "s: {n}",
    "Folded: begins\r\n  and goes on {n}",
    "Odd   :   {n}   ",
)

# Not here: digits among letters in ICE credentials and media keys. They are random text of the parties' media, in which
# a number cannot be told from chance; the tripwire stands behind them.
SDP_LINES = (
    "o={n} {n} {n} IN IP4 {h}",
    "s={n}",
    "i={n}",
    "u=https://{h}/{n}",
    "e={n}@{h} ({n})",
    "p=+86 {n}",
    "b=X-{n}:1",
    "z={n} 0",
    "k=clear:{n}",
    "r=604800 3600 {n}",
    "x={n}",
    "a=tool:{n}",
    "a=cat:{n}",
    "a=keywds:{n}",
    "a=charset:{n}",
    "a=type:{n}",
    "a=lang:{n}",
    "a=sdplang:{n}",
    "a=label:{n}",
    "a=cname:{n}",
    "a=ssrc:1 cname:{n}",
    "a=ssrc-group:FID {n}",
    "a=msid:{n} {n}",
    "a=identity:{n}",
    "a=mid:{n}",
    "a=group:BUNDLE {n}",
    "a=x-{n}:{n}",
    "a={n}",
    "a=sendrecv:{n}",
    "a=ptime:{n}",
    "a=rtpmap:8 {n}/8000",
    "a=rtpmap:8 PCMA/{n}",
    "a=fmtp:101 {n}",
    "a=fmtp:101 0-15;x={n}",
    "a=fmtp:96 config={n};mode-set={n}",
    "a=rtcp:9 IN IP4 {h} {n}",
    "a=rtcp-xr:{n}",
    "a=ice-ufrag:{n}",
    "a=candidate:x{n} 1 UDP 2130706431 198.51.100.77 20000 typ host",
    "a=ice-pwd:{n}{n}",
    "a=candidate:{n} 1 UDP 2130706431 198.51.100.77 20000 typ host",
    "a=candidate:1 1 UDP 2130706431 {h} 20000 typ host x {n}",
    "a=candidate:1 1 UDP 2130706431 198.51.100.77 20000 typ host generation {n}",
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{n}",
    "a=fingerprint:sha-256 {n}",
    "a=key-mgmt:mikey {n}",
    "a=path:msrp://{h}:2855/{n};tcp",
    "a=chatroom:{n}",
    "a=sctpmap:5000 {n}",
    "a=floorid:{n}",
    "a=content:{n}",
    "a=extmap:1 urn:{n}",
    "a=T38FaxMaxBuffer:{n}",
    "a=source-filter: incl IN IP4 * {h} {n}",
    "i={n}",
    "k=clear:{n}",
)


class Filler:
    """Rewrites what one party sends. ``numbers`` tells where each number was put, by message and place.

    ``spell`` makes the text of one place out of its running number: a number of its own, or the party's real one in one
    of its spellings.
    """

    def __init__(self, side: str, spell: Callable[[int], str]) -> None:
        self.side = side
        self.host = f"{side}-side.example"
        self.multipart = False
        self.lines: tuple[str, ...] = SDP_LINES
        self.numbers: dict[tuple[str, str], str] = {}
        self._spell = spell

    def number(self, message: str, place: str) -> str:
        """What stands in one place of one kind of message; the same each time it is sent."""
        key = (message, place)
        if key not in self.numbers:
            self.numbers[key] = self._spell(len(self.numbers))
        return self.numbers[key]

    def disguise(self, data: bytes) -> bytes:
        """The message with all places filled."""
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        method = fields["CSeq"].split()[1]
        answer = first.startswith("SIP/2.0")
        message = f"{first.split()[1]} {method}" if answer else method
        if ";tag=" in fields["To"] and not answer and method == "INVITE":
            message = "re-INVITE"

        def fill(text: str, place: str = "") -> str:
            number = self.number(message, place or text)
            return text.format(n=number, d=re.sub(r"\D", "", number), h=self.host)

        if answer:
            first = fill(f"SIP/2.0 {first.split()[1]} Words {{n}}", "status phrase")
        else:
            uri = first.split()[1]
            first = fill(f"{method} {uri};x={{n}} SIP/2.0", "request URI")
        kept = [first]
        for line in lines:
            name, _, value = line.partition(": ")
            if name == "Via" and not answer:
                kept.append(fill(line.replace(";rport", ";x={n};rport"), "Via"))
                kept.append(fill("Via: SIP/2.0/UDP lower.{h};branch=z9hG4bK{n};received={n}", "lower Via"))
            elif name == "Contact":
                parameters = ';+sip.instance="<urn:gsma:imei:{n}>";+g.x="{n}";x={n}'
                kept.append(fill(f'Contact: "{{n}}" {value}{parameters}', "Contact"))
            elif name not in ("Content-Length", "Content-Type", "User-Agent"):
                kept.append(line)
        kept += [fill(header) for header in HEADERS]
        if answer and 300 <= int(first.split()[1]) < 400:
            kept.append(fill('Contact: "{n}" <sip:{n}@{h};x={n}>, <tel:+86{n}>;q=0.1'))
        content_type, body = self._body(fields.get("Content-Type", ""), body, fill)
        kept += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
        return "\r\n".join(kept).encode() + b"\r\n\r\n" + body

    @staticmethod
    def lens(data: bytes) -> bytes:
        """An answer as the proxy behind the lower Via would hand it on."""
        return re.sub(rb"\r\nVia: SIP/2\.0/UDP lower[^\r]*", b"", data) if data.startswith(b"SIP/2.0") else data

    def _body(self, content_type: str, body: bytes, fill: Callable[..., str]) -> tuple[str, bytes]:
        if content_type == "application/sdp":
            filled = self._description(body.decode(), fill).encode()
            return self._multipart(filled, fill) if self.multipart else (fill("application/sdp;x={n}"), filled)
        if content_type:
            return fill(content_type + ";x={n}"), body + fill("From={n}\r\nX-Caller: {n}\r\n").encode()
        return fill("text/plain;x={n}"), fill("call me at {n}, says {h}").encode()

    def _description(self, text: str, fill: Callable[..., str]) -> str:
        """The lines of the phone that make the media, and all the others."""
        lines = text.split("\r\n")
        own = [line for line in lines if line[:2] in ("c=", "m=") or line.startswith(("a=rtpmap", "a=fmtp"))]
        direction = [line for line in lines if line in ("a=sendrecv", "a=sendonly")]
        media = next(index for index, line in enumerate(own) if line.startswith("m="))
        above = [line for line in self.lines[:-2] if not line.startswith("a=")]
        attributes = [line for line in self.lines if line.startswith("a=")]
        below = self.lines[-2:]
        whole = [
            "v=0",
            *[fill(line) for line in above],
            *own[:media],
            "t=0 0",
            *[fill(line, f"session {line}") for line in attributes],
            own[media],
            *[fill(line, f"media {line}") for line in below],
            *own[media + 1 :],
            *[fill(line, f"media {line}") for line in attributes],
            *direction,
            "",
        ]
        return "\r\n".join(whole)

    @staticmethod
    def _multipart(sdp: bytes, fill: Callable[..., str]) -> tuple[str, bytes]:
        """The description among the parts that gateways and telephones like to add."""
        digits = re.sub(r"\D", "", fill("{n}", "ISUP part")).ljust(16, "0")[:16]
        others = (
            ("application/isup;version=itu-t92+", digits),
            ("application/pidf+xml", fill("<presence entity='sip:{n}@{h}'/>", "PIDF part")),
            ("text/vcard", fill("BEGIN:VCARD\r\nTEL:{n}\r\nEND:VCARD", "vCard part")),
            ("message/sipfrag", fill("INVITE sip:{n}@{h} SIP/2.0", "sipfrag part")),
            ("application/vnd.etsi.aoc+xml", fill("<aoc>{n}</aoc>", "charge part")),
        )
        parts = [
            fill(f"--edge\r\nContent-Type: {kind}\r\nContent-ID: <{{n}}>\r\n\r\n{text}\r\n", f"part {kind}").encode()
            for kind, text in others
        ]
        head = fill('--edge\r\nContent-Type: application/sdp;x="{n}"\r\nX-Part: {n}\r\n\r\n', "SDP part").encode()
        body = (
            fill("preamble {n}\r\n", "preamble").encode()
            + b"".join(parts[:3])
            + head
            + sdp
            + b"\r\n"
            + b"".join(parts[3:])
        )
        return fill('multipart/mixed;x="{n}";boundary=edge'), body + b"--edge--\r\n" + fill("{n}", "epilogue").encode()
