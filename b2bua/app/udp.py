"""UDP for the switch: one socket, drained in batches, written without waiting."""

import errno
import select
import socket
import sys
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
# ICMP says that nobody is there (RFC 3261 §18.4), or other things about an earlier datagram.
UNREACHABLE = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH))
ICMP_ERRORS = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE, errno.EPROTO))
# ip(7), ipv6(7): errors come with the datagram they are about
IP_RECVERR, IPV6_RECVERR = 11, 25
LARGEST_QUOTE, LARGEST_NOTE = 2048, 512
MOST_ERRORS = 64  # told to the switch at one go
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
                self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            self._socket.bind((listen.host, listen.port))
        except OSError:
            self._socket.close()
            raise
        # libuv takes a descriptor with an error out of service (uv_poll_t); that of an epoll never has one
        self._poll = select.epoll()
        self._poll.register(self._socket.fileno(), select.EPOLLIN)
        host, port = self._socket.getsockname()[:2]
        self.address = Peer(host, port)
        self.send_failures = 0
        self.undelivered: list[bytes] = []  # the beginnings of datagrams of which ICMP says that they did not arrive
        self._name = name
        self._view = memoryview(bytearray(LARGEST_DATAGRAM))
        self.rested_at = 0.0  # when the last batch had been handled; whoever handles it says so, monotonic seconds
        self.waited = 0.0  # how long the message at hand has waited for its turn, in seconds
        self.waiting = FairQueue()
        self._flows: dict[tuple[str, int], Flow] = {}

    def fileno(self) -> int:
        """For the event loop."""
        return self._poll.fileno()

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
            for index in range(batch):
                message = self._next()
                if message is None:
                    if not index:
                        self._read_errors()
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
                    continue  # of an earlier datagram, see _read_errors
                return None
            flow = self._flows.get(address)
            if flow is None:
                if len(self._flows) >= REMEMBERED_FLOWS:
                    self._flows.clear()
                flow = self._flows[address] = Flow("UDP", self._name, address[:2])
            return bytes(self._view[:size]), flow

    def _read_errors(self) -> None:
        """What ICMP has said of datagrams of ours. They have to be taken, or the socket stays readable for ever."""
        for _ in range(MOST_ERRORS):
            try:
                quoted, notes, _, _ = self._socket.recvmsg(LARGEST_QUOTE, LARGEST_NOTE, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for _, _, note in notes:
                if int.from_bytes(note[:4], sys.byteorder) in UNREACHABLE:  # struct sock_extended_err begins with errno
                    self.undelivered.append(quoted)

    def send(self, wire: bytes, flow: Flow) -> None:
        """Send one datagram; one that the kernel refuses is counted, and the transaction sends it again."""
        try:
            self._socket.sendto(wire, flow.peer)
        except OSError as error:
            self._send_again(wire, flow, error.errno in ICMP_ERRORS)

    def _send_again(self, wire: bytes, flow: Flow, earlier: bool) -> None:
        """The error that ICMP has left behind for an ``earlier`` datagram stopped this one."""
        try:
            if earlier:
                self._socket.sendto(wire, flow.peer)
                return
        except OSError:
            pass
        self.send_failures += 1

    def close(self) -> None:
        """Stop receiving."""
        self._poll.close()
        self._socket.close()
