"""From fields to the wire (RFC 3261 §7). One guard keeps values inside their lines."""

from collections.abc import Sequence

from b2bua.sip.errors import MisuseError

__all__ = ["PHRASES", "format_repetition", "format_request", "format_response", "phrase_of"]

# RFC 3261 §21 and the registrations since; a peer's own phrase is never passed on
PHRASES = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}

_CLASS_PHRASES = ("Trying", "OK", "Multiple Choices", "Bad Request", "Server Internal Error", "Decline")


def phrase_of(status: int) -> str:
    """The standard reason phrase; that of the class for a status without one (§8.1.3.2)."""
    return PHRASES.get(status) or _CLASS_PHRASES[status // 100 - 1]


def format_request(
    method: str,
    uri: str,
    via: str,
    from_value: str,
    to_value: str,
    call_id: str,
    cseq: int,
    max_forwards: int = 70,
    routes: Sequence[str] = (),
    extra: Sequence[str] = (),
    content_type: str = "",
    body: bytes = b"",
) -> bytes:
    """The wire form of a request of ours. ``extra`` holds whole lines, ``Name: value``."""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: {via}",
        f"Max-Forwards: {max_forwards}",
        *[f"Route: {route}" for route in routes],
        f"From: {from_value}",
        f"To: {to_value}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        *extra,
    ]
    if body:
        lines.append(f"Content-Type: {content_type}")
    lines.append(f"Content-Length: {len(body)}")
    return _guarded(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def format_repetition(wire: bytes, via: str, cseq: int, lines: Sequence[str]) -> bytes:
    """A request of ours (its wire form) once more as a new one (RFC 3261 §8.1.3.5): another Via and CSeq number, and
    ``lines`` for the credentials that it held."""
    head, _, body = wire.partition(b"\r\n\r\n")
    kept: list[bytes] = []
    for line in head.split(b"\r\n"):
        name = line.partition(b":")[0]
        if name == b"Via":
            kept.append(_guarded([f"Via: {via}"]).encode())
        elif name == b"CSeq":
            kept.append(b"CSeq: %d %s" % (cseq, line.rpartition(b" ")[2]))
            kept += [line.encode("utf-8", "surrogateescape") for line in _guarded(["", *lines]).split("\r\n") if line]
        elif name not in (b"Authorization", b"Proxy-Authorization"):
            kept.append(line)
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


def format_response(
    status: int,
    before_tag: str,
    to_tag: str,
    after_tag: str,
    extra: Sequence[str] = (),
    content_type: str = "",
    body: bytes = b"",
) -> bytes:
    """The wire form of an answer.

    ``before_tag`` and ``after_tag`` are the lines that an answer echoes (§8.2.6.2), cut where the To tag goes; they
    come out of a parsed message, so they hold whole lines and nothing else. ``to_tag`` is '' when the request had one
    or for 100.
    """
    tag = _guarded([f";tag={to_tag}"]) if to_tag else ""
    lines = [*extra, f"Content-Type: {content_type}"] if body else [*extra]
    lines.append(f"Content-Length: {len(body)}")
    text = f"SIP/2.0 {status} {phrase_of(status)}\r\n{before_tag}{tag}{after_tag}{_guarded(lines)}\r\n\r\n"
    return text.encode("utf-8", "surrogateescape") + body


def _guarded(lines: list[str]) -> str:
    """The lines joined; a value that holds CR, LF or NUL is our bug and goes nowhere."""
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise MisuseError("a header value holds CR, LF or NUL")
    return text
