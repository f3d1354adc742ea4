"""Whole messages out of a byte stream (RFC 3261 §18.3, RFC 5626 §4.4.1). However the stream is cut, the result is the
same.

What is wrong inside a message is the parser's to say; here only that counts without which the next message cannot be
found.
"""

import re

from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_via
from b2bua.sip.parser import Limits

__all__ = ["PONG", "Framer", "FramingError", "answer_port", "sender_port"]

PONG = b"\r\n"  # the answer to a ping (RFC 5626 §4.4.1)
DEFAULT_PORTS = {"TCP": 5060, "TLS": 5061}

_END_OF_HEAD = b"\r\n\r\n"
_DEFAULT_LIMITS = Limits()
# Content-Length = ( "Content-Length" / "l" ) HCOLON 1*DIGIT, its white space folded or not; whatever else stands there
# is caught as well, to be refused
_CONTENT_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:((?:[^\r\n]|\r\n[ \t])*+)(?=\r\n|\Z)", re.IGNORECASE)
# Via as the first field of what we write, and the usual place of a request's
_TOP_VIA = re.compile(rb"\r\n(?:via|v)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)


class FramingError(ParseError):
    """Where the next message begins cannot be known: the connection has to be closed. ``head`` is what there is of this
    one."""

    def __init__(self, reason: str, status: int, head: bytes) -> None:
        super().__init__(reason, status)
        self.head = head


class Framer:
    """Collects what one connection receives. ``pings`` counts the keep-alives that have not been answered yet."""

    __slots__ = ("_blank_lines", "_buffer", "_limit", "_needed", "_searched", "pings")

    def __init__(self, limits: Limits = _DEFAULT_LIMITS) -> None:
        self.pings = 0
        self._limit = limits.message_bytes
        self._buffer = bytearray()
        self._searched = 0  # no end of a head begins before this
        self._needed = 0  # length of the present message, 0: not known yet
        self._blank_lines = 0  # in a row, between messages

    def __len__(self) -> int:
        """Bytes that have come and not been taken."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    def take(self) -> bytes | None:
        """The next whole message, or None until there is more. FramingError: there will be none, whatever comes."""
        buffer = self._buffer
        needed = self._needed
        if not needed:
            self._skip_blank_lines()
            needed = self._needed = self._measure()
        if not needed or len(buffer) < needed:
            return None
        message = bytes(buffer[:needed])
        del buffer[:needed]
        self._needed = self._searched = 0
        return message

    def _skip_blank_lines(self) -> None:
        """CRLFs between messages mean nothing (§7.5), two in a row are a ping."""
        buffer = self._buffer
        end = 0
        while buffer.startswith(b"\r\n", end):
            end += 2
            self._blank_lines += 1
            if self._blank_lines == 2:
                self.pings += 1
                self._blank_lines = 0
        if end:
            del buffer[:end]
        if buffer and buffer != b"\r":
            self._blank_lines = 0

    def _measure(self) -> int:
        """The length of the message that begins here, 0 until its head is complete."""
        buffer = self._buffer
        end = buffer.find(_END_OF_HEAD, self._searched)
        size = len(buffer) if end < 0 else end + len(_END_OF_HEAD)
        if size > self._limit:
            raise FramingError("head too long", 513, bytes(buffer[: self._limit]))
        if end < 0:
            self._searched = max(0, size - len(_END_OF_HEAD) + 1)
            return 0
        head = bytes(buffer[:size])
        lengths = _CONTENT_LENGTH.findall(head, 0, end)
        if len(lengths) != 1:
            # §18.3, §20.14; and two of them are one for us and another for somebody else on the way
            raise FramingError("two Content-Length" if lengths else "no Content-Length", 400, head)
        digits = lengths[0].strip()
        if not digits.isdigit() or len(digits) > 9:
            raise FramingError("bad Content-Length", 400, head)
        needed = size + int(digits)
        if needed > self._limit:
            raise FramingError("message too long", 513, head)
        return needed


def answer_port(answer: bytes) -> int:
    """Where an answer of ours goes when the connection of its request is gone (§18.2.2), on the host that the request
    came from: the port its sender is ready to accept connections on. 0 where that cannot be known."""
    found = _TOP_VIA.search(answer)
    if found is None:
        return 0
    try:
        via = parse_via(found[1].decode("utf-8", "surrogateescape"))
    except ParseError:
        return 0
    return via.port or DEFAULT_PORTS.get(via.transport.upper(), 5060)


def sender_port(request: bytes, host: str) -> int:
    """The port on which the sender of a request accepts connections, 0 where its Via names another host than the one it
    comes from."""
    found = None if request.startswith(b"SIP/2.0 ") else _TOP_VIA.search(request)
    if found is None:
        return 0
    try:
        via = parse_via(found[1].decode("utf-8", "surrogateescape"))
    except ParseError:
        return 0
    if via.host.strip("[]").lower() != host:
        return 0
    return via.port or DEFAULT_PORTS.get(via.transport.upper(), 5060)
