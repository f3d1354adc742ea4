"""All TCP and TLS connections of the switch: which one a message takes, who speaks on it, and when it is closed.

What the switch has to hear of is kept as steps until the shell takes them, a batch at a time and each connection in
turn, with the same rhythm as for datagrams. Nothing here is called back while the switch is at work.
"""

import asyncio
import re
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address
from math import inf

from b2bua.app.connection import Connection
from b2bua.app.stream_listener import StreamListener, outgoing_socket
from b2bua.app.tls import certificate_names
from b2bua.call.switch import Now, Switch
from b2bua.sip.parser import Limits
from b2bua.sip.stream import PONG, FramingError, answer_port, sender_port
from b2bua.sip.transaction import Flow
from routing.trunks import Trunk

__all__ = ["StreamLimits", "Streams"]

# Messages handled for one journal write; more would make the first of them wait.
BATCH = 64
# TCP and TLS together; less than no_reply_seconds, so that another route or transport has its chance.
CONNECT_SECONDS = 3.0
HANDSHAKE_SECONDS = 5.0
# A peer whose receive window stays shut so long is not served any more.
BLOCKED_SECONDS = 30.0
# A source above its share is looked at again after so long.
HOLD_SECONDS = 0.05
# Messages that may wait for one connection to be made.
MOST_WAITING = 512
MOST_PONGS = 8
# Of all connections, those whose certificate is still awaited may be one in so many.
STRANGERS_PART = 16
_ANSWER = b"SIP/2.0 "
_DNS_NAME = re.compile(r"(?=.*[a-z])[^:]+")


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Counts and seconds; see the settings of the same names."""

    connections: int = 4096
    source_connections: int = 256
    idle_seconds: float = 300.0
    message_seconds: float = 10.0


class Streams:
    """``switch`` is told what arrives, once ``wake`` has been scheduled and has taken the ``steps``.

    ``endings`` counts connections by the reason of their end, those that were never let in among them. ``waited``: how
    long the message of the present step has waited for its turn, in seconds; not for its source's share.
    """

    def __init__(
        self,
        listeners: Iterable[StreamListener],
        limits: StreamLimits,
        message: Limits,
        switch: Switch,
        wake: Callable[[], None],
    ) -> None:
        self.limits = limits
        self.message = message
        self.endings: Counter[str] = Counter()
        self.waited = 0.0
        self._loop = asyncio.get_running_loop()
        self._switch = switch
        self._wake = wake
        self._scheduled = False
        self._listeners = {listener.name: listener for listener in listeners}
        self._connections: set[Connection] = set()
        self._by_flow: dict[Flow, Connection] = {}
        self._sources: Counter[str] = Counter()  # accepted connections by host or network
        self._strangers: set[Connection] = set()  # accepted from hosts unknown, and not known by a certificate yet
        self._ready: deque[Connection] = deque()
        self._undelivered: list[tuple[bytes, Flow]] = []
        self._unreachable: list[Flow] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    # what the shell calls

    def start(self) -> None:
        """Take connections from now on."""
        for listener in self._listeners.values():
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def send(self, wire: bytes, flow: Flow) -> None:
        """Send over the connection that is there, else over a new one; what cannot be delivered becomes a step."""
        connection = self._by_flow.get(flow)
        if connection is None or connection.reason:
            connection = self._another(wire, flow)
        if connection is None or len(connection.waiting) >= MOST_WAITING:
            self._undelivered.append((wire, flow))
            self._schedule()
            return
        connection.write(wire, flow)

    def steps(self, now: Now) -> Iterator[Callable[[], object]]:
        """What the switch has to hear of, to be called one by one."""
        self._scheduled = False
        undelivered, self._undelivered = self._undelivered, []
        for wire, flow in undelivered:
            yield partial(self._switch.undelivered, wire, flow, now)
        unreachable, self._unreachable = self._unreachable, []
        for flow in unreachable:
            yield partial(self._switch.unreachable, flow, now)
        ready = self._ready
        for _ in range(BATCH):
            if not ready:
                return
            yield from self._next(ready.popleft(), now)
        if ready:
            self._schedule()

    def tend(self) -> None:
        """To be called every second or so: close what is idle, unfinished or stuck."""
        now = self._loop.time()
        for connection in list(self._connections):
            if now - connection.blocked_at > BLOCKED_SECONDS:
                connection.abort("not_reading")
            elif now - connection.unfinished_at > self.limits.message_seconds:
                self._drop(connection, "unfinished")
            elif now - connection.active_at > self.limits.idle_seconds:
                self._drop(connection, "idle")

    def open_connections(self) -> Mapping[tuple[str, str], int]:
        """How many there are, by transport and direction."""
        counts = {(kind, way): 0 for kind in ("tcp", "tls") for way in ("in", "out")}
        for connection in self._connections:
            counts[connection.flow.transport.lower(), "in" if connection.accepted else "out"] += 1
        return counts

    def waiting(self) -> int:
        """Connections on which something waits for its turn."""
        return len(self._ready)

    def read_certificates(self) -> list[str]:
        """Read all certificate files again, and put none in force. What is wrong with them; nothing when all is
        right."""
        return [
            f"listener[{listener.name}].{problem}"
            for listener in self._listeners.values()
            if (problem := listener.read_certificates())
        ]

    def use_certificates(self) -> None:
        """Put in force what was read, all of it right, for the connections that come; those that are open stay."""
        for listener in self._listeners.values():
            listener.use_certificates()

    async def close(self, seconds: float = 1.0) -> None:
        """Close all, after what is on its way has been sent, or so many seconds."""
        if self._closing:
            return
        self._closing = True
        for listener in self._listeners.values():
            self._loop.remove_reader(listener.fileno())
            listener.close()
        for connection in list(self._connections):
            self._drop(connection, "shutdown")
        end = self._loop.time() + seconds
        while self._connections and self._loop.time() < end:  # noqa: ASYNC110 - connections end one by one
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort("shutdown")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # what a connection calls

    def opened(self, connection: Connection) -> bool:
        """It stands: who is it? False: nobody to talk to."""
        host, port = connection.flow.peer
        transport = connection.transport
        shown = connection.names = certificate_names(transport.get_extra_info("peercert"))
        if not connection.accepted:
            connection.trunk, names = self._switch.origins.expects(host, port)
            if transport.get_extra_info("ssl_object") is not None and names.isdisjoint(shown):
                connection.abort("certificate")
                return False
            return True
        connection.trunk = self._switch.origins.trunk_for(host, port, shown)
        if not connection.trunk and not self._switch.origins.knows(host):
            connection.abort("unknown_source")
            return False
        self._strangers.discard(connection)
        return True

    def received(self, connection: Connection) -> None:
        """It has read something: its turn comes."""
        self._ready.append(connection)
        self._schedule()

    def closed(self, connection: Connection) -> None:
        """It is gone; what it has received before is still to be handled."""
        self._leave(connection)
        self._give_up(connection)
        if not connection.queued:
            connection.queued = True
            self._ready.append(connection)

    # inside

    def _schedule(self) -> None:
        if not self._scheduled and not self._closing:
            self._scheduled = True
            self._loop.call_soon(self._wake)

    def _next(self, connection: Connection, now: Now) -> Iterator[Callable[[], object]]:
        """The next message of a connection; the last step of one that is gone is what waits for it in vain."""
        framer = connection.framer
        try:
            message = connection.held or framer.take()
        except FramingError as error:
            connection.framer = type(framer)(self.message)
            if connection.open and not connection.reason:
                yield partial(self._switch.unframed, error, connection.flow, now)
                self._loop.call_soon(self._drop, connection, "framing")  # when the answer is out
                connection.queued = False
            else:
                yield from self._drained(connection, now)
            return
        if framer.pings:
            self._pong(connection)
        if message is None:
            yield from self._drained(connection, now)
            return
        connection.unfinished_at = inf
        waited = max(0.0, now.monotonic - connection.arrived_at())
        if not self._switch.shares(connection.flow, now.monotonic):
            connection.held = message
            connection.hold(now.monotonic + HOLD_SECONDS)
            self._loop.call_later(HOLD_SECONDS, self.received, connection)
            return
        connection.held = None
        self._ready.append(connection)
        trunk = self._speaker(connection, message)
        if trunk is not None:
            self.waited = waited
            yield partial(self._switch.receive, message, connection.flow, now, trunk)
        else:
            self._switch.statistics.drops["unknown_source"] += 1
            connection.abort("unknown_source")

    def _drained(self, connection: Connection, now: Now) -> Iterator[Callable[[], object]]:
        """There is no whole message left."""
        connection.queued = False
        connection.arrivals.clear()
        if connection.open:
            if not len(connection.framer):
                connection.unfinished_at = inf
            elif connection.unfinished_at == inf:
                connection.unfinished_at = now.monotonic
            connection.resume()
            return
        asked, connection.asked = connection.asked, set()
        for flow in asked:
            yield partial(self._lost, flow, now)

    def _lost(self, flow: Flow, now: Now) -> None:
        """Requests waited on this flow: ask by a new connection whether the peer is still there."""
        if self._switch.connection_lost(flow, now) and not self._closing and flow not in self._by_flow:
            connection = self._connect(flow)
            if connection is None:
                self._unreachable.append(flow)
                self._schedule()
            else:
                connection.probing = True

    def _pong(self, connection: Connection) -> None:
        pings, connection.framer.pings = connection.framer.pings, 0
        self._switch.statistics.drops["keep_alive"] += pings
        if connection.open and not connection.reason:
            connection.transport.write(PONG * min(pings, MOST_PONGS))

    def _speaker(self, connection: Connection, message: bytes) -> Trunk | None:
        """Whose message this is, as the settings are now. The first request also tells where its sender listens: what
        goes there takes this connection from now on (as RFC 5923 has it, for the sender's own address alone)."""
        flow = connection.flow
        if connection.accepted and len(connection.flows) == 1:
            port = sender_port(message, flow.peer[0])
            if port:
                origins, address = self._switch.origins, (flow.peer[0], port)
                if not connection.trunk:
                    connection.trunk, connection.address = origins.trunk_for(*address, frozenset()), address
                at = origins.trunk_at(*address)
                known_as = flow._replace(peer=address)
                other = self._by_flow.get(known_as)
                if (at is None or at.name == connection.trunk) and (other is None or other.accepted):
                    self._by_flow[known_as] = connection
                    connection.flows.append(known_as)
        return self._switch.origins.speaker(connection.trunk, connection.address, connection.names)

    def _accept(self, listener: StreamListener) -> None:
        for sock, (host, port) in listener.accept(self._loop, self._accept):
            reason = self._refusal(listener, host)
            if reason:
                self.endings[reason] += 1
                sock.close()
                continue
            flow = Flow(listener.transport, listener.name, (host, port))
            connection = Connection(self, self._loop, flow, self.message, accepted=True)
            self._enter(connection)
            self._run(self._welcome(connection, listener, sock))

    def _refusal(self, listener: StreamListener, host: str) -> str:
        """Why a connection is not let in, '' when it is."""
        certified = listener.context is not None and listener.context.verify_mode is not ssl.CERT_NONE
        known = self._switch.origins.knows(host)
        if not known and not certified:
            return "unknown_source"
        if self._sources[_source(host)] >= self.limits.source_connections:
            return "source_limit"
        if not known and len(self._strangers) >= max(1, self.limits.connections // STRANGERS_PART):
            return "stranger_limit"
        return "total_limit" if len(self._connections) >= self.limits.connections else ""

    async def _welcome(self, connection: Connection, listener: StreamListener, sock: socket.socket) -> None:
        timeout = HANDSHAKE_SECONDS if listener.context is not None else None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=listener.context, ssl_handshake_timeout=timeout
            )
        except (OSError, ValueError):  # of the handshake; a certificate that cannot be verified among them
            self._failed(connection, "handshake")

    def _another(self, wire: bytes, flow: Flow) -> Connection | None:
        """The connection for a message whose own is not there: an answer goes to the port that its Via names, on the
        host that asked (§18.2.2)."""
        if wire.startswith(_ANSWER):
            port = answer_port(wire)
            if not port:
                return None
            flow = flow._replace(peer=(flow.peer[0], port))
            connection = self._by_flow.get(flow)
            if connection is not None and not connection.reason:
                return connection
        return self._connect(flow)

    def _connect(self, flow: Flow) -> Connection | None:
        listener = self._listeners.get(flow.listener)
        if listener is None or self._closing or len(self._connections) >= self.limits.connections:
            return None
        connection = Connection(self, self._loop, flow, self.message, accepted=False)
        self._enter(connection)
        self._run(self._call(connection, listener))
        return connection

    async def _call(self, connection: Connection, listener: StreamListener) -> None:
        host, port = connection.flow.peer
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                sock = outgoing_socket(listener, host)
                try:
                    await self._loop.sock_connect(sock, (host, port))
                    await self._loop.create_connection(
                        lambda: connection,
                        sock=sock,
                        ssl=listener.client_context,
                        server_hostname=self._server_name(host, port) if listener.client_context else None,
                    )
                except BaseException:
                    sock.close()
                    raise
        except (OSError, ValueError, TimeoutError):
            self._failed(connection, "connect")

    def _server_name(self, host: str, port: int) -> str:
        """The name that the far end chooses its certificate by."""
        names = sorted(name for name in self._switch.origins.expects(host, port)[1] if _DNS_NAME.fullmatch(name))
        return names[0] if names else host

    def _enter(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._by_flow[connection.flow] = connection
        if connection.accepted:
            host = connection.flow.peer[0]
            self._sources[_source(host)] += 1
            if not self._switch.origins.knows(host):
                self._strangers.add(connection)

    def _leave(self, connection: Connection) -> None:
        self.endings[connection.reason] += 1
        self._connections.discard(connection)
        for flow in connection.flows:
            if self._by_flow.get(flow) is connection:
                del self._by_flow[flow]
        if connection.accepted:
            self._strangers.discard(connection)
            source = _source(connection.flow.peer[0])
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

    def _failed(self, connection: Connection, reason: str) -> None:
        """It has never come to be."""
        if connection not in self._connections:
            return
        connection.reason = connection.reason or reason
        self._leave(connection)
        self._give_up(connection)

    def _give_up(self, connection: Connection) -> None:
        """What waited for it is not delivered."""
        self._undelivered += connection.waiting
        connection.waiting = []
        if connection.probing:
            self._unreachable.append(connection.flow)
        self._schedule()

    def _drop(self, connection: Connection, reason: str) -> None:
        connection.blocked_at = min(connection.blocked_at, self._loop.time())
        connection.close(reason)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _source(host: str) -> str:
    """Who counts as one: a host, or what one customer has of IPv6 at least."""
    return str(IPv6Address(host).exploded)[:19] if ":" in host else host
