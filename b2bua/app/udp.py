"""UDP for the switch: one socket, drained in batches, written without waiting."""

import socket
from collections.abc import Callable

from b2bua.sip.transaction import Flow
from routing.trunks import Peer

__all__ = ["UdpSocket"]

# As many datagrams as are handled for one journal write; more would make the first of them wait.
BATCH = 64
# Datagrams that follow each other faster than this are fetched in batches.
BUSY_SECONDS = 0.0003
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
            self._socket.bind((listen.host, listen.port))
        except OSError:
            self._socket.close()
            raise
        host, port = self._socket.getsockname()[:2]
        self.address = Peer(host, port)
        self.send_failures = 0
        self._name = name
        self._view = memoryview(bytearray(LARGEST_DATAGRAM))
        self._received_at = 0.0
        self._flows: dict[tuple[str, int], Flow] = {}

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def receive(self, deliver: Callable[[bytes, Flow], None], now: float) -> int:
        """Hand over what has arrived, at most a batch. Returns how many datagrams there were. ``now``: monotonic
        seconds.

        After a pause there is one datagram to expect, and asking for a second costs more than being called again.
        """
        receive, view = self._socket.recvfrom_into, self._view
        flows = self._flows
        batch = BATCH if now - self._received_at < BUSY_SECONDS else 1
        self._received_at = now
        for count in range(batch):
            try:
                size, address = receive(view)
            except BlockingIOError:
                return count
            except OSError:
                continue  # an ICMP error of an earlier datagram (Linux reports it here); nothing was received
            flow = flows.get(address)
            if flow is None:
                if len(flows) >= REMEMBERED_FLOWS:
                    flows.clear()
                flow = flows[address] = Flow("UDP", self._name, address[:2])
            deliver(bytes(view[:size]), flow)
        return batch

    def send(self, wire: bytes, flow: Flow) -> None:
        """Send one datagram; one that the kernel refuses is counted, and the transaction sends it again."""
        try:
            self._socket.sendto(wire, flow.peer)
        except OSError:
            self.send_failures += 1

    def close(self) -> None:
        """Stop receiving."""
        self._socket.close()
