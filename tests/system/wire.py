"""SIP as plain text for the tests' own phones: written and read without a line of the switch's code."""

import re
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import uuid4

from routing.trunks import Peer

__all__ = ["Message", "ask", "free_port", "options", "read", "request", "response"]

Lines = Sequence[tuple[str, str]]
LARGEST = 65_535


class Message(NamedTuple):
    """A message as it came: names in lower case, the values of each in order."""

    first: str
    fields: Mapping[str, Sequence[str]]
    body: bytes

    def value(self, name: str) -> str:
        """The first value of a field, '' where there is none."""
        return next(iter(self.fields.get(name, ())), "")

    @property
    def status(self) -> int:
        """0 for a request."""
        return int(self.first.split(" ")[1]) if self.first.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """Of the request, or of the one that is answered."""
        return self.value("cseq").split(" ")[-1]

    @property
    def contact(self) -> str:
        """The URI in Contact."""
        found = re.search(r"<([^>]+)>", self.value("contact"))
        return found[1] if found else ""


def read(data: bytes) -> Message:
    """The message in a datagram of a well-behaved peer."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), []).append(value.strip())
    return Message(first, fields, body)


def _format(first: str, lines: Lines, body: bytes) -> bytes:
    typed = [("Content-Type", "application/sdp")] if body else []
    every = [*lines, *typed, ("Content-Length", str(len(body)))]
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in every), "", ""]).encode() + body


def request(
    method: str,
    uri: str,
    via: str,
    from_value: str,
    to_value: str,
    call_id: str,
    cseq: int,
    *,
    branch: str = "",
    extra: Lines = (),
    body: bytes = b"",
) -> bytes:
    """A request from the host:port in `via`."""
    lines = [
        ("Via", f"SIP/2.0/UDP {via};branch={branch or f'z9hG4bK{uuid4().hex}'};rport"),
        ("Max-Forwards", "70"),
        ("From", from_value),
        ("To", to_value),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
        *extra,
    ]
    return _format(f"{method} {uri} SIP/2.0", lines, body)


def response(status: int, to: Message, tag: str = "", extra: Lines = (), body: bytes = b"") -> bytes:
    """An answer to a request; `tag` goes into To where it has none."""
    to_value = to.value("to")
    lines = [
        *(("Via", value) for value in to.fields["via"]),
        ("From", to.value("from")),
        ("To", f"{to_value};tag={tag}" if tag and ";tag=" not in to_value else to_value),
        ("Call-ID", to.value("call-id")),
        ("CSeq", to.value("cseq")),
        *extra,
    ]
    return _format(f"SIP/2.0 {status} Whatever", lines, body)


def options(switch: Peer, via: Peer) -> bytes:
    """An OPTIONS to the switch itself."""
    uri, me = f"sip:{switch.host}:{switch.port}", f"{via.host}:{via.port}"
    return request("OPTIONS", uri, me, f"<sip:{me}>;tag=1", f"<{uri}>", uuid4().hex, 1)


def ask(switch: Peer, make: object, source: str = "127.0.0.1", seconds: float = 10.0, times: int = 4) -> Message | None:
    """Send a datagram from a fresh socket, again while nothing comes; the answer, None after all that time.

    `make` is the datagram, or a function that makes it of our own address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((source, 0))
        channel.settimeout(seconds / times)
        wire = make(Peer(*channel.getsockname())) if callable(make) else make
        assert isinstance(wire, bytes)
        for _ in range(times):
            channel.sendto(wire, switch)
            try:
                return read(channel.recv(LARGEST))
            except TimeoutError:
                continue
    return None


def free_port(host: str, kind: socket.SocketKind) -> int:
    """A port that nobody has at the moment."""
    with socket.socket(socket.AF_INET, kind) as channel:
        channel.bind((host, 0))
        port: int = channel.getsockname()[1]
        return port
