"""UDP for the switch: one socket, drained in batches, written without waiting."""

import errno
import socket
from collections.abc import Callable

from b2bua.app.fairness import FairQueue
from b2bua.sip.transaction import Flow
from routing.trunks import Peer

__all__ = ["UdpSocket"]

# As many datagrams as are handled for one journal write; more would make the first of them wait.
BATCH = 64
# Datagrams fetched into the queues of their sources at one go, so that the kernel's buffer, where nobody has a share of
# his own, does not fill up.
LARGEST_HAUL = 1024
# Datagrams that follow each other faster than this are fetched in batches.
BUSY_SECONDS = 0.0003
ICMP_ERRORS = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE, errno.EPROTO))
LARGEST_DATAGRAM = 65_535
# A burst of a tenth of a second at the highest rate must fit; the kernel doubles what is asked for and caps it.
BUFFER_BYTES = 8 << 20
# Peers remembered as Flow objects; forged source addresses cannot make it grow without end.
REMEMBERED_FLOWS = 8192


class UdpSocket:
    """A bound, non-blocking UDP socket. ``address`` is what it is bound to."""

    def __init__(self, listen: Peer, name: str, dscp: int) -> None:
        """Bind; OSError when the address is taken or not ours."""
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            if family == socket.AF_INET:
                self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
            else:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind((listen.host, listen.port))
        except OSError:
            self._socket.close()
            raise
        host, port = self._socket.getsockname()[:2]
        self.address = Peer(host, port)
        self.send_failures = 0
        self._name = name
        self._view = memoryview(bytearray(LARGEST_DATAGRAM))
        self.rested_at = 0.0  # when the last batch had been handled; whoever handles it says so, monotonic seconds
        self.waited = 0.0  # how long the message at hand has waited for its turn, in seconds
        self.waiting = FairQueue()
        self._flows: dict[tuple[str, int], Flow] = {}

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def receive(
        self, admits: Callable[[Flow, float], bool], deliver: Callable[[bytes, Flow], None], now: float
    ) -> bool:
        """Hand over what has arrived and is admitted, at most a batch; True when more is waiting. ``now``: monotonic
        seconds.

        After a pause there is one datagram to expect, and asking for a second costs more than being called again. When
        a batch is not enough the sources are served in turn, see fairness.py.
        """
        waiting = self.waiting
        batch = BATCH if waiting or now - self.rested_at < BUSY_SECONDS else 1
        self.waited = 0.0
        if not waiting:
            for _ in range(batch):
                message = self._next()
                if message is None:
                    return False
                if admits(message[1], now):
                    deliver(*message)
            if batch == 1:
                return False
        for _ in range(LARGEST_HAUL):
            message = self._next()
            if message is None:
                break
            if admits(message[1], now):
                waiting.put(*message, now)
        for _ in range(batch):
            message = waiting.take()
            if message is None:
                break
            self.waited = now - waiting.taken_at
            deliver(*message)
        self.waited = 0.0
        return len(waiting) > 0

    def _next(self) -> tuple[bytes, Flow] | None:
        """The next datagram, or None when there is none."""
        while True:
            try:
                size, address = self._socket.recvfrom_into(self._view)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in ICMP_ERRORS:
                    continue  # of an earlier datagram (Linux reports it here); nothing was received
                return None
            flow = self._flows.get(address)
            if flow is None:
                if len(self._flows) >= REMEMBERED_FLOWS:
                    self._flows.clear()
                flow = self._flows[address] = Flow("UDP", self._name, address[:2])
            return bytes(self._view[:size]), flow

    def send(self, wire: bytes, flow: Flow) -> None:
        """Send one datagram; one that the kernel refuses is counted, and the transaction sends it again."""
        try:
            self._socket.sendto(wire, flow.peer)
        except OSError:
            self.send_failures += 1

    def close(self) -> None:
        """Stop receiving."""
        self._socket.close()
