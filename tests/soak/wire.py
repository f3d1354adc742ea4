"""A socket that loses messages, and SIP written and read as far as the phones of the soak need it."""

import random
import socket
from typing import NamedTuple

__all__ = ["Endpoint", "LossyWire", "Message", "read", "request", "respond"]

LARGEST = 65_535
BUFFER_BYTES = 4 << 20
SESSION = (
    "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"
    "a=rtpmap:8 PCMA/8000\r\n"
)
RTP_PORT = 20_000


class Endpoint(NamedTuple):
    """Address and port of a socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def session(self) -> str:
        """A session description of this side."""
        return SESSION.format(host=self.host, port=RTP_PORT)


class Message(NamedTuple):
    """What the phones look at; `vias` are whole lines, `status` is 0 in a request."""

    method: str
    status: int
    uri: str
    vias: tuple[str, ...]
    from_value: str
    to_value: str
    call_id: str
    cseq: str
    contact: str

    @property
    def branch(self) -> str:
        return self.vias[0].partition(";branch=")[2].partition(";")[0]


class LossyWire:
    """A UDP socket between two parties. Each message is lost with a probability, on its way out or in."""

    def __init__(self, here: Endpoint, there: Endpoint, loss: float, chance: random.Random) -> None:
        self.here = here
        self._there = there
        self._loss = loss
        self._chance = chance
        self.lost = 0
        self.passed = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.socket.bind(here)
        self.socket.setblocking(False)

    def send(self, wire: bytes) -> None:
        """Send, or lose."""
        if self._chance.random() < self._loss:
            self.lost += 1
        else:
            self.passed += 1
            self.socket.sendto(wire, self._there)

    def receive(self) -> bytes | None:
        """The next message that waits, b"" for one that is lost here, None when none waits."""
        try:
            wire = self.socket.recv(LARGEST)
        except BlockingIOError:
            return None
        if self._chance.random() < self._loss:
            self.lost += 1
            return b""
        self.passed += 1
        return wire

    def close(self) -> None:
        self.socket.close()


def read(wire: bytes) -> Message:
    """A message of a well-behaved peer."""
    first, *lines = wire.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    fields: dict[str, str] = {}
    vias = []
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "Via":
            vias.append(line)
        else:
            fields[name] = value
    words = first.split(" ")
    status = int(words[1]) if words[0] == "SIP/2.0" else 0
    contact = fields.get("Contact", "").partition("<")[2].partition(">")[0]
    return Message(
        fields["CSeq"].partition(" ")[2],
        status,
        "" if status else words[1],
        tuple(vias),
        fields["From"],
        fields["To"],
        fields["Call-ID"],
        fields["CSeq"],
        contact,
    )


def request(
    method: str,
    uri: str,
    here: Endpoint,
    branch: str,
    from_value: str,
    to_value: str,
    call_id: str,
    cseq: int,
    *,
    body: str = "",
) -> bytes:
    """A request of a phone."""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP {here};branch={branch}",
        "Max-Forwards: 70",
        f"From: {from_value}",
        f"To: {to_value}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        f"Contact: <sip:{here}>",
        *(("Content-Type: application/sdp",) if body else ()),
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    return "\r\n".join(lines).encode()


def respond(to: Message, status: int, here: Endpoint, tag: str = "", body: str = "") -> bytes:
    """An answer of a phone; `tag` goes into To where it has none."""
    to_value = f"{to.to_value};tag={tag}" if tag and ";tag=" not in to.to_value else to.to_value
    lines = [
        f"SIP/2.0 {status} Whatever",
        *to.vias,
        f"From: {to.from_value}",
        f"To: {to_value}",
        f"Call-ID: {to.call_id}",
        f"CSeq: {to.cseq}",
        f"Contact: <sip:{here}>",
        *(("Content-Type: application/sdp",) if body else ()),
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    return "\r\n".join(lines).encode()
