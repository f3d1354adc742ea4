"""A listening TCP or TLS socket, and the sockets that connections leave by."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from b2bua.app.config_models import ListenerSettings
from b2bua.app.tls import TlsError, client_context, server_context
from routing.trunks import Peer

__all__ = ["StreamListener", "outgoing_socket"]

# Connections taken at one go.
BATCH = 64
BACKLOG = 1024
# After the process has run out of descriptors there is no use in asking again at once.
PAUSE_SECONDS = 1.0
# What was sent and is not acknowledged after these milliseconds ends a connection.
USER_TIMEOUT_MS = 30_000


class StreamListener:
    """A bound, listening socket. ``address`` is what it is bound to; ``context`` and ``client_context`` are None for
    TCP."""

    def __init__(self, settings: ListenerSettings, dscp: int) -> None:
        """Bind; OSError when the address is taken or not ours, TlsError when a file cannot be used."""
        self.name = settings.name
        self.transport = settings.transport.upper()
        self.context: ssl.SSLContext | None = None
        self.client_context: ssl.SSLContext | None = None
        self.dscp = dscp
        self._settings = settings
        if self.transport == "TLS":
            self.context, self.client_context = server_context(settings), client_context(settings)
        self._read = self.context, self.client_context
        host, port = settings.listen
        self.wildcard = ip_address(host).is_unspecified
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _tune(self._socket, dscp)
            self._socket.bind((host, port))
            self._socket.listen(BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self.address = Peer(*self._socket.getsockname()[:2])

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def accept(
        self, loop: asyncio.AbstractEventLoop, again: Callable[["StreamListener"], None]
    ) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
        """Those who have connected, with their addresses. Without descriptors left, ``again`` is heard of later."""
        for _ in range(BATCH):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:
                loop.remove_reader(self.fileno())
                loop.call_later(PAUSE_SECONDS, self._listen_again, loop, again)
                return
            sock.setblocking(False)
            yield sock, address[:2]

    def _listen_again(self, loop: asyncio.AbstractEventLoop, again: Callable[["StreamListener"], None]) -> None:
        if self.fileno() >= 0:
            loop.add_reader(self.fileno(), again, self)

    def read_certificates(self) -> str:
        """Read the files again, for ``use_certificates`` to put in force; what is wrong with them, '' when nothing."""
        if self.context is None:
            return ""
        try:
            self._read = server_context(self._settings), client_context(self._settings)
        except TlsError as error:
            return f"{error.key} = {str(getattr(self._settings, error.key))!r}: {error.text}"
        return ""

    def use_certificates(self) -> None:
        """Take what was read last for the connections to come."""
        self.context, self.client_context = self._read

    def close(self) -> None:
        """Take no more."""
        self._socket.close()


def outgoing_socket(listener: StreamListener, host: str) -> socket.socket:
    """A socket to connect with, from the listener's own address: the far end knows us by it. OSError where that address
    cannot reach ``host``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        _tune(sock, listener.dscp)
        if not listener.wildcard:
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind((listener.address.host, 0))
    except OSError:
        sock.close()
        raise
    return sock


_BIND_ADDRESS_NO_PORT = 24  # ip(7): the port is chosen when it connects, so that it only has to be unlike its pair


def _tune(sock: socket.socket, dscp: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
