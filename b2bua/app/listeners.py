"""Everything that the switch receives on: the UDP socket of sip.listen and what the [[listener]] tables name."""

from collections.abc import Mapping
from contextlib import suppress

from b2bua.app.config import Settings
from b2bua.app.config_models import ListenerSettings
from b2bua.app.stream_listener import StreamListener
from b2bua.app.tls import TlsError
from b2bua.app.udp import UdpSocket
from routing.trunks import Peer, format_peer

__all__ = ["MAIN", "Doors", "ListenError"]

MAIN = "udp"  # the name of the listener at sip.listen


class ListenError(OSError):
    """A listener cannot be opened; the text names it, with the reason."""


class Doors:
    """Opens all listeners; ListenError when one cannot be, and then none stays open.

    ``advertised`` and ``transports`` are what the switch needs to know of them, by name.
    """

    def __init__(self, settings: Settings) -> None:
        self.udp: dict[str, UdpSocket] = {}
        self.streams: dict[str, StreamListener] = {}
        self.advertised: dict[str, str] = {}
        self.transports: dict[str, str] = {}
        dscp = settings.sip.dscp
        try:
            with _named("sip.listen", settings.sip.listen):
                self.udp[MAIN] = UdpSocket(settings.sip.listen, MAIN, dscp)
            self._know(MAIN, "UDP", settings.sip.advertise or self.udp[MAIN].address)
            for listener in settings.listener:
                self._open(listener, dscp)
        except ListenError:
            self.close()
            raise

    def _open(self, listener: ListenerSettings, dscp: int) -> None:
        name = listener.name
        opened: UdpSocket | StreamListener
        with _named(f"listener[{name}].listen", listener.listen):
            if listener.transport == "udp":
                opened = self.udp[name] = UdpSocket(listener.listen, name, dscp)
            else:
                opened = self.streams[name] = StreamListener(listener, dscp)
        self._know(name, listener.transport.upper(), listener.advertise or opened.address)

    def _know(self, name: str, transport: str, address: Peer) -> None:
        self.advertised[name] = format_peer(address)
        self.transports[name] = transport

    def shown(self) -> list[str]:
        """Each as transport:address, for people."""
        bound: Mapping[str, UdpSocket | StreamListener] = {**self.udp, **self.streams}
        return [f"{self.transports[name].lower()}:{format_peer(door.address)}" for name, door in bound.items()]

    def close(self) -> None:
        """Close the sockets; connections that were taken are not ours."""
        for socket in self.udp.values():
            with suppress(OSError):
                socket.close()
        for listener in self.streams.values():
            with suppress(OSError):
                listener.close()


class _named:  # noqa: N801 - reads as a function, as contextlib's do
    """Says which listener an error is about."""

    def __init__(self, key: str, address: Peer) -> None:
        self._text = f"{key} {format_peer(address)}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | TlsError):
            raise ListenError(f"{self._text}: {error}") from error
