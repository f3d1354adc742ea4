"""One TCP or TLS connection: bytes to whole messages and back, and what it may cost."""

import asyncio
from collections import deque
from math import inf
from typing import Protocol, cast

from b2bua.sip.parser import Limits
from b2bua.sip.stream import Framer
from b2bua.sip.transaction import Flow

__all__ = ["Connection", "Keeper"]

# Bytes read ahead of what is handled: more than the longest message, or it would never be whole.
READ_AHEAD = 256 << 10
# Bytes that wait for a peer to read them; it has had its chance by then, and the memory is everybody's.
LARGEST_BACKLOG = 1 << 20
_ANSWER = b"SIP/2.0 "


class Keeper(Protocol):
    """Who owns a connection: the pool."""

    def opened(self, connection: "Connection") -> bool: ...
    def received(self, connection: "Connection") -> None: ...
    def closed(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """``flow`` is the way back to where it leads; ``flows`` are all that lead here, ``asked`` those on which requests
    of ours went out. ``trunk`` is who speaks, '' while that is not known.

    ``arrivals`` says when what is not handled yet has come: (bytes before it, monotonic seconds).

    ``reason`` says why it was closed. ``active_at``, ``unfinished_at`` (when the message began that is not whole yet)
    and ``blocked_at`` (since when the peer does not read) are monotonic seconds.
    """

    __slots__ = (
        "_fed",
        "_keeper",
        "_loop",
        "_paused",
        "_transport",
        "accepted",
        "active_at",
        "address",
        "arrivals",
        "asked",
        "blocked_at",
        "flow",
        "flows",
        "framer",
        "held",
        "names",
        "open",
        "probing",
        "queued",
        "reason",
        "trunk",
        "unfinished_at",
        "waiting",
    )

    def __init__(
        self, keeper: Keeper, loop: asyncio.AbstractEventLoop, flow: Flow, limits: Limits, accepted: bool
    ) -> None:
        self._keeper = keeper
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self.flow = flow
        self.flows = [flow]
        self.accepted = accepted
        self.framer = Framer(limits)
        self.trunk = ""
        self.address = flow.peer  # what it is known by
        self.names: frozenset[str] = frozenset()  # of its verified certificate
        self.arrivals: deque[tuple[int, float]] = deque()
        self._fed = 0
        self.asked: set[Flow] = set()
        self.waiting: list[tuple[bytes, Flow]] = []  # until it is open
        self.held: bytes | None = None  # a message whose source has no share left
        self.queued = False  # stands in the pool's line of those that have received something
        self.probing = False  # made to learn whether the peer is still there
        self.open = False
        self.reason = ""
        self.active_at = loop.time()
        self.unfinished_at = inf
        self.blocked_at = inf

    @property
    def transport(self) -> asyncio.Transport:
        """What asyncio gave us, once there is one."""
        assert self._transport is not None
        return self._transport

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True
        if self.reason:
            self._transport.abort()  # given up meanwhile
            return
        if not self._keeper.opened(self):
            return
        waiting, self.waiting = self.waiting, []
        for wire, flow in waiting:
            self.write(wire, flow)

    def data_received(self, data: bytes) -> None:
        self.active_at = self._loop.time()
        framer = self.framer
        self.arrivals.append((self._fed, self.active_at))
        self._fed += len(data)
        framer.feed(data)
        if len(framer) > READ_AHEAD and not self._paused:
            self.pause()
        if not self.queued:
            self.queued = True
            self._keeper.received(self)

    def pause_writing(self) -> None:
        self.blocked_at = self._loop.time()

    def resume_writing(self) -> None:
        self.blocked_at = inf

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self.reason = self.reason or ("error" if error is not None else "peer")
        self._keeper.closed(self)

    # what the pool calls

    def write(self, wire: bytes, flow: Flow) -> None:
        """Send a message, now or as soon as there is a connection. A peer that does not read loses it."""
        if self._transport is None:
            self.waiting.append((wire, flow))
            return
        if not self.open or self.reason:
            return
        if not wire.startswith(_ANSWER):
            self.asked.add(flow)
        self.active_at = self._loop.time()
        self._transport.write(wire)
        if self._transport.get_write_buffer_size() > LARGEST_BACKLOG:
            self.abort("not_reading")

    def pause(self) -> None:
        """Read no more for now: the peer's own buffers fill up, and it waits."""
        if self.open and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def hold(self, until: float) -> None:
        """Read no more, and count what is there as if it came at that time: its source is waited for, not we."""
        self.arrivals.clear()
        self.arrivals.append((0, until))
        self.pause()

    def arrived_at(self) -> float:
        """When the end of the message came that was taken last, monotonic seconds."""
        arrivals, taken = self.arrivals, self._fed - len(self.framer)
        while len(arrivals) > 1 and arrivals[1][0] < taken:
            arrivals.popleft()
        return arrivals[0][1]

    def resume(self) -> None:
        """Go on reading."""
        if self._paused:
            self._paused = False
            if self.open and not self.reason:
                self.transport.resume_reading()

    def close(self, reason: str) -> None:
        """Send what is on its way, and close."""
        if not self.reason:
            self.reason = reason
            if self._transport is not None:
                self._transport.close()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self.reason = self.reason or reason
        if self._transport is not None:
            self._transport.abort()
