"""Far ends with session timers (RFC 4028), made of the phones of the tests: header lines go in and out on the way."""

import re
from dataclasses import dataclass, field

from tests.call.phone import Phone, PhoneCall, Stage

__all__ = ["TimedPhone"]

_SUBJECT = re.compile(rb"\r\nCSeq: *[0-9]+ (INVITE|UPDATE)\r\n")
_EXPIRES = re.compile(rb"\r\n(?:Session-Expires|x): *([0-9]+)(?:;refresher=(uac|uas))?", re.IGNORECASE)
_MINIMUM = re.compile(rb"\r\nMin-SE: *([0-9]+)", re.IGNORECASE)


@dataclass
class TimedPhone:
    """Gives a phone the timer. ``asks`` is the refresher of its INVITE ('' unsaid), ``grants`` that of its 2xx where
    the INVITE leaves it open. ``silent``: it never refreshes, whatever it has promised."""

    phone: Phone
    asks: str = ""
    grants: str = "uas"
    interval: int = 600
    minimum: int = 90
    silent: bool = False
    refreshing: bool = False
    agreed: int = 0
    refreshes: list[float] = field(default_factory=list)  # when it has sent one
    _asked: bytes = b""

    def __post_init__(self) -> None:
        self.phone.disguise = self._out
        self.phone.lens = self._in

    def _out(self, wire: bytes) -> bytes:
        if not _SUBJECT.search(wire):
            return wire
        if wire.startswith(b"SIP/2.0 2"):
            found = _EXPIRES.search(self._asked)
            refresher = (found[2].decode() if found and found[2] else "") or self.grants
            interval = min(int(found[1]), self.interval) if found else self.interval
            self._agree(interval, refresher == "uas")
            return _insert(wire, "Require: timer", f"Session-Expires: {interval};refresher={refresher}")
        if wire.startswith((b"INVITE ", b"UPDATE ")):
            refresher = self.asks if not self.agreed else "uac" if self.refreshing else "uas"
            value = f"{self.agreed or self.interval}" + (f";refresher={refresher}" if refresher else "")
            return _insert(wire, "Supported: timer", f"Session-Expires: {value}", f"Min-SE: {self.minimum}")
        return wire

    def _in(self, wire: bytes) -> bytes:
        if _SUBJECT.search(wire):
            if not wire.startswith(b"SIP/2.0"):
                self._asked = wire
            elif wire.startswith(b"SIP/2.0 2"):
                found = _EXPIRES.search(wire)
                assert found is not None, "a 2xx without the timer"
                assert found[2], "a 2xx that does not say who refreshes"
                self._agree(int(found[1]), found[2] == b"uac")
        return wire

    def _agree(self, interval: int, refreshing: bool) -> None:
        begun, self.agreed, self.refreshing = bool(self.agreed), interval, refreshing
        if not begun:
            self.phone.network.later(interval / 2, self._tick)

    def _tick(self) -> None:
        live = [call for call in self.phone.calls if call.stage is Stage.UP]
        if not live:
            return
        if self.refreshing and not self.silent:
            self.refresh(live[0])
        self.phone.network.later(self.agreed / 2, self._tick)

    def refresh(self, call: PhoneCall) -> None:
        """Refresh by the method that this phone knows."""
        self.refreshes.append(self.phone.network.now)
        if self.phone.updates:
            call.update(b"")
        else:
            call.reinvite()


def _insert(wire: bytes, *lines: str) -> bytes:
    head, end, body = wire.partition(b"\r\n\r\n")
    return b"\r\n".join((head, *(line.encode() for line in lines))) + end + body
