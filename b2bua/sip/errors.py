"""Whose fault it is.

SipError
├── PeerError          the other side's fault: carries the SIP status it deserves
│   └── ParseError     what it sent cannot be read
└── MisuseError        our own bug: never reaches the wire
"""

__all__ = ["MisuseError", "ParseError", "PeerError", "SipError"]


class SipError(Exception):
    """Base of everything this package raises."""


class PeerError(SipError):
    """The peer broke a rule; ``status`` is the SIP answer, ``cause`` one word or phrase for counters and people."""

    def __init__(self, cause: str, status: int = 400) -> None:
        super().__init__(f"{status} {cause}")
        self.cause = cause
        self.status = status


class ParseError(PeerError):
    """The bytes are not a SIP message, or a field the call path needs is not of its grammar."""


class MisuseError(SipError):
    """The caller of this package asked for something impossible."""
