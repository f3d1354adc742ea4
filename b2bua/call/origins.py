"""Whose message it is: trunks by their addresses and certificates, those too that the settings no longer have while
calls go on over them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

from b2bua.call.former import FormerTrunks
from b2bua.call.trunk_state import TrunkStates
from b2bua.sip.endpoint import Endpoint
from b2bua.sip.transaction import Flow
from routing.targets import Choice
from routing.trunks import Sources, Trunk

__all__ = ["Origins"]


class Origins:
    """Present and former trunks. Times are monotonic seconds.

    ``trunks`` are the present ones by name, each the same object for as long as nothing about it changes: that is how
    a former trunk is told. The media server of announcements is none of them, but what it says is heard.
    ``calls_over(names)`` returns the handles of the calls with a leg at one of these trunks;
    ``forgotten(name)`` is called when nothing of a trunk is left.
    """

    __slots__ = ("_calls_over", "_endpoint", "_forgotten", "_former", "_media", "_media_source", "_states", "trunks")

    def __init__(
        self,
        trunks: Sequence[Trunk],
        states: TrunkStates,
        endpoint: Endpoint,
        calls_over: Callable[[set[str]], set[int]],
        forgotten: Callable[[str], None],
    ) -> None:
        self.trunks = {trunk.name: trunk for trunk in trunks}
        self._states = states
        self._endpoint = endpoint
        self._calls_over = calls_over
        self._forgotten = forgotten
        self._former: list[FormerTrunks] = []
        self._media: Trunk | None = None
        self._media_source: Sources | None = None

    def __len__(self) -> int:
        """How many changes of the settings, or of DNS, still have calls from before."""
        return len(self._former)

    # of a message

    def sender(self, flow: Flow) -> Trunk | None:
        """Whose datagram it is, as far as its address tells. Where that trunk asks for digest, its requests have the
        last word."""
        trunk = self.trunk_at(*flow.peer)
        return None if trunk is None or trunk.certificate_names else trunk

    def trunk_at(self, host: str, port: int) -> Trunk | None:
        """The trunk that an address belongs to."""
        trunk = self._states.sources.trunk_of(host, port)
        if trunk is None and self._former:
            for former in self._former:
                trunk = former.sources.trunk_of(host, port) or trunk
        if trunk is None and self._media_source is not None:
            trunk = self._media_source.trunk_of(host, port)
        return trunk

    def present(self, trunk: Trunk) -> bool:
        """Whether it stands in the settings as it is: only then something new is taken from there."""
        return self.trunks.get(trunk.name) is trunk

    def speaker(self, owner: str, address: tuple[str, int], names: frozenset[str]) -> Trunk | None:
        """Whose message it is on a connection that was found to be ``owner``'s by its address or the names of its
        certificate: still his, or who would be taken for it now, else him as he was while his calls go on."""
        if not owner:
            return None
        if self._media is not None and owner == self._media.name:
            return self._media
        at = self._states.sources.trunk_of(*address)
        for name in (owner, self.trunk_for(*address, names)):
            trunk = self.trunks.get(name)
            if trunk is not None and (
                not names.isdisjoint(trunk.certificate_names) if trunk.certificate_names else trunk is at
            ):
                return trunk
        gone = (trunk for former in self._former for trunk in former.trunks if trunk.name == owner)
        return next(gone, None)

    # of a connection

    def trunk_for(self, host: str, port: int, names: frozenset[str]) -> str:
        """The trunk that a connection belongs to: by the names of its verified certificate, else by its address; '' for
        a stranger. A trunk with ``certificate_names`` is known by those alone."""
        for trunk in self.trunks.values():
            if not names.isdisjoint(trunk.certificate_names):
                return trunk.name
        at = self.trunk_at(host, port)
        return at.name if at is not None and not at.certificate_names else ""

    def knows(self, host: str) -> bool:
        """Whether any trunk sends from this host, whatever the port."""
        if self._states.sources.knows(host) or any(former.sources.knows(host) for former in self._former):
            return True
        return self._media_source is not None and self._media_source.knows(host)

    def expects(self, host: str, port: int) -> tuple[str, frozenset[str]]:
        """(trunk, names) of a peer that we connect to: one of the names has to stand in its certificate."""
        trunk = self.trunk_at(host, port)
        if trunk is None:
            return "", frozenset((_canonical(host),))
        if trunk.certificate_names:
            return trunk.name, frozenset(trunk.certificate_names)
        return trunk.name, frozenset(_canonical(each) for each in (host, *(peer.host for peer in trunk.peers)))

    # changes

    def replace(self, trunks: Sequence[Trunk], now: float) -> list[Trunk]:
        """Other settings; returns the trunks to go by from now on. ValueError, and nothing has changed, when two trunks
        claim one source."""
        kept = [self.trunks[trunk.name] if self.trunks.get(trunk.name) == trunk else trunk for trunk in trunks]
        gone = [trunk for trunk in self.trunks.values() if trunk not in kept]
        resolved = {trunk.name: self._states.addresses(trunk.name) for trunk in gone}
        self._states.replace(kept)
        self.trunks = {trunk.name: trunk for trunk in kept}
        if gone:
            self._retire(gone, resolved, now)
        return kept

    def serve_media(self, media: Trunk | None, now: float) -> None:
        """Another media server, or none; the one before is heard as long as announcements of it are played."""
        before, self._media = self._media, media
        self._media_source = None if media is None else Sources((media,))
        if before is not None and before != media:
            self._retire([before], {}, now)

    def resolved(self, table: Mapping[str, Sequence[Choice]], now: float) -> None:
        """What DNS says now of some trunks. A live call may be with an address that is no longer given."""
        before = {name: self._states.addresses(name) for name in table}
        self._states.resolved(table)
        left = {name: sorted(set(before[name]) - set(self._states.addresses(name))) for name in table}
        gone = [replace(trunk, peers=(), networks=()) for name, trunk in self.trunks.items() if left.get(name)]
        if gone:
            self._retire(gone, left, now)

    def over(self, handle: int, now: float) -> None:
        """A call has ended, and needs no former trunk any more."""
        for former in self._former:
            if handle in former.calls:
                former.calls.discard(handle)
                if not former.calls:
                    self._let_settle(former, now)

    def _retire(self, gone: list[Trunk], resolved: Mapping[str, list[tuple[str, int]]], now: float) -> None:
        """Keep trunks known for what belongs to their calls."""
        calls = self._calls_over({trunk.name for trunk in gone})
        former = FormerTrunks(gone, calls, self._forget, resolved)
        self._former.append(former)
        if not calls:
            self._let_settle(former, now)

    def _let_settle(self, former: FormerTrunks, now: float) -> None:
        """Its last call is over: the messages that end it have as long as any transaction (RFC 3261 timers F and H)."""
        self._endpoint.timers.set(former, now + self._endpoint.values.timeout, now)

    def _forget(self, former: FormerTrunks) -> None:
        self._former.remove(former)
        for trunk in former.trunks:
            name = trunk.name
            known = name in self.trunks or any(trunk.name == name for other in self._former for trunk in other.trunks)
            if not known:
                self._forgotten(name)


def _canonical(host: str) -> str:
    """A name or address as certificates are read: an IPv6 address may be written in several ways."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower()
