"""A whole shell on real sockets, and far ends of every transport that say what the test wants them to."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, cast
from uuid import uuid4

import uvloop

from b2bua.app.config import load
from b2bua.app.shell import Shell
from b2bua.app.storage import make_directories
from b2bua.sip.stream import Framer
from cdr.journal import decode_event, scan
from cdr.record import Ended, Entry, SealedAttempted
from cdr.seal import format_keyring, new_keyring
from cdr.store.segments import Writer
from routing.binding import BindingRequest
from routing.plan import Block, BlockState
from routing.store.reader import Reader
from routing.store.sqlite import Store
from routing.trunks import Peer, format_peer
from tests.system.phones import now_ms
from tests.system.wire import Lines, Message, read, request, response

__all__ = ["CALLEE", "CALLER", "SDP", "FarEnd", "Heard", "Node", "X", "play"]

X, CALLER, CALLEE = "700123456780001", "13800138000", "13900139000"
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
PATIENCE = 10.0
Send = Callable[[bytes], None]
_OPEN: list["FarEnd"] = []  # of the scene that is played


class Heard(NamedTuple):
    """A message, and ``back`` to say something over the same connection."""

    message: Message
    wire: bytes
    back: Send


class FarEnd:
    """A phone. ``listen`` opens its port; ``connect`` a connection to the switch (for UDP: from the same port)."""

    def __init__(
        self,
        transport: str = "udp",
        host: str = "127.0.0.1",
        server: ssl.SSLContext | None = None,
        client: ssl.SSLContext | None = None,
    ) -> None:
        self.transport = transport
        self.address = Peer(host, 0)
        self.connections = 0  # that the switch has made to us
        self.lost = asyncio.Event()  # one of them has ended
        self.writers: list[asyncio.StreamWriter] = []
        self.pongs = b""
        self._server_context = server
        self._client_context = client
        self._server: asyncio.Server | None = None
        self._datagrams: asyncio.DatagramTransport | None = None
        self._heard: list[Heard] = []
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        _OPEN.append(self)

    @property
    def me(self) -> str:
        """Our host:port."""
        return format_peer(self.address)

    async def listen(self, port: int = 0) -> "FarEnd":
        """Take what comes to our port from now on."""
        host = self.address.host
        if self.transport == "udp":
            loop = asyncio.get_running_loop()
            self._datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), (host, port))
            self.address = Peer(host, self._datagrams.get_extra_info("sockname")[1])
        else:
            self._server = await asyncio.start_server(self._taken, host, port, ssl=self._server_context)
            self.address = Peer(host, self._server.sockets[0].getsockname()[1])
        return self

    def refuse(self) -> None:
        """Take no connections any more."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def connect(self, switch: Peer, source: int = 0) -> Send:
        """A way to the switch."""
        if self._datagrams is not None:
            datagrams = self._datagrams
            return lambda wire: datagrams.sendto(wire, switch)
        reader, writer = await asyncio.open_connection(
            switch.host, switch.port, ssl=self._client_context, local_addr=(self.address.host, source)
        )
        self.writers.append(writer)
        task = asyncio.get_running_loop().create_task(self._read(reader, writer))
        self._tasks.add(task)
        return writer.write

    async def heard(self, start: str, seconds: float = PATIENCE) -> Heard:
        """The next message that begins so; those before it that do not are kept for later."""

        def find() -> Heard | None:
            return next((heard for heard in self._heard if heard.message.first.startswith(start)), None)

        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: find() is not None)
        except TimeoutError:
            got = [heard.message.first for heard in self._heard]
            raise AssertionError(f"{self.transport}: waited for {start!r}, got {got}") from None
        found = find()
        assert found is not None
        self._heard.remove(found)
        return found

    def nothing(self, start: str) -> bool:
        """Whether nothing that begins so has come."""
        return not any(heard.message.first.startswith(start) for heard in self._heard)

    async def close(self) -> None:
        """Close everything."""
        self.refuse()
        if self._datagrams is not None:
            self._datagrams.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # messages

    def request(
        self, method: str, uri: str, *, cseq: int = 1, extra: Lines = (), body: bytes = b"", **dialog: str
    ) -> bytes:
        """A request of ours; ``dialog`` may give call_id, from_value, to_value."""
        wire = request(
            method,
            uri,
            self.me,
            dialog.get("from_value", f"<sip:{CALLER}@{self.me}>;tag=far"),
            dialog.get("to_value", f"<{uri}>"),
            dialog.get("call_id", uuid4().hex),
            cseq,
            extra=[("Contact", f"<sip:{CALLER}@{self.me};transport={self.transport}>"), *extra],
            body=body,
            branch=dialog.get("branch", ""),
        )
        return wire.replace(b"SIP/2.0/UDP", f"SIP/2.0/{self.transport.upper()}".encode(), 1)

    def invite(self, more: Lines = (), call_id: str = "", body: bytes = SDP) -> bytes:
        """A call to the middle number."""
        identity = ("P-Asserted-Identity", f"<tel:+86{CALLER}>")
        uri = f"sip:{X}@switch.example"
        return self.request("INVITE", uri, extra=[identity, *more], body=body, call_id=call_id or uuid4().hex)

    def in_dialog(self, method: str, answer: Message, cseq: int, *, branch: str = "") -> bytes:
        """A request of the caller in the dialog that an answer made."""
        return self.request(
            method,
            answer.contact,
            cseq=cseq,
            call_id=answer.value("call-id"),
            from_value=answer.value("from"),
            to_value=answer.value("to"),
            branch=branch,
        )

    def answer(self, status: int, to: Message, body: bytes = b"") -> bytes:
        """An answer of ours."""
        contact = [("Contact", f"<sip:{CALLEE}@{self.me};transport={self.transport}>")]
        return response(status, to, f"tag{self.address.port}", contact, body)

    # inside

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        await self._read(reader, writer)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer()
        try:
            while data := await reader.read(65_536):
                self.pongs += data if data == b"\r\n" else b""
                framer.feed(data)
                while (wire := framer.take()) is not None:
                    await self.hear(wire, writer.write)
        except OSError:
            pass
        finally:
            self.lost.set()
            writer.close()

    async def hear(self, wire: bytes, back: Send) -> None:
        """A message has come."""
        async with self._news:
            self._heard.append(Heard(read(wire), wire, back))
            self._news.notify_all()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, far: FarEnd) -> None:
        self._far = far
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        transport = self._transport
        assert transport is not None
        task = asyncio.get_running_loop().create_task(self._far.hear(data, lambda wire: transport.sendto(wire, addr)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Node:
    """A shell with one binding, X between CALLER and CALLEE. ``events`` is its journal as it was written."""

    def __init__(self, shell: Shell, directory: Path, log: list[str]) -> None:
        self.shell = shell
        self.log = log
        self._directory = directory

    def at(self, listener: str) -> Peer:
        """Where a listener takes messages."""
        doors = self.shell.doors
        return (doors.udp.get(listener) or doors.streams[listener]).address

    @property
    def events(self) -> list[Entry]:
        """What has been written to the journal."""
        files = sorted(self._directory.iterdir())
        return [decode_event(payload) for file in files for payload in scan(file.read_bytes()).payloads]

    async def until(self, probe: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Return once this is true."""
        async with asyncio.timeout(seconds):
            while not probe():  # noqa: ASYNC110 - the switch has nothing to await
                await asyncio.sleep(0.005)

    async def ended(self) -> Ended:
        """The end of the one call."""
        await self.until(lambda: any(isinstance(event, Ended) for event in self.events))
        assert sum(isinstance(event, SealedAttempted) for event in self.events) == 1
        (end,) = [event for event in self.events if isinstance(event, Ended)]
        return end


async def _node(directory: Path, text: str) -> Node:
    keyring = directory / "keyring"
    if not keyring.exists():
        keyring.touch(mode=0o600)
        keyring.write_text(format_keyring(new_keyring()))
    config = directory / "x700.toml"
    config.write_text(
        f'[node]\ndata_dir = "{directory}"\n[journal]\nsegment_mib = 1\n'
        f'[sip]\nlisten = "127.0.0.1:0"\nt1_ms = 100\nt2_ms = 800\nt4_ms = 1000\n{text}'
    )
    settings = load(config, {})
    make_directories(settings)
    seal = settings.seal()
    async with await Store.open(settings.routing.store, seal) as store:
        await store.registry.enrol("provider-1", "shop-1", "delivery", now_ms=now_ms(), by="test")
        await store.blocks.add(Block(X[:11], "provider-1", "shop-1", BlockState.ACTIVE), now_ms(), by="test")
        await store.bindings.bind(
            BindingRequest(
                x=X, a=CALLER, b=CALLEE, business_user="shop-1", scenario="delivery", order_id="1", real_name="rn-1",
                consent="c-1", expires_ms=now_ms() + 3_600_000,
            ),
            now_ms(),
            by="test",
        )  # fmt: skip
    journal = Writer(settings.journal.directory, settings.journal.segment_mib << 20, settings.journal.sync_window_ms)
    log: list[str] = []

    def note(event: str, **fields: object) -> None:
        log.append(f"{event} {fields}")

    shell = Shell(settings, seal, journal, Reader(settings.routing.store, seal), note)
    return Node(shell, settings.journal.directory, log)


def play(directory: Path, settings: Callable[[], Awaitable[str]], scene: Callable[[Node], Awaitable[None]]) -> None:
    """Run a shell and a scene on its event loop, as the switch process does. ``settings`` gives what comes after [sip]
    in the file, and may open far ends for it. Afterwards no bug of ours has been met."""

    async def run() -> None:
        node = await _node(directory, await settings())
        shell = node.shell
        shell.start()
        try:
            await scene(node)
            assert not shell.defects, node.log
        finally:
            while _OPEN:
                await _OPEN.pop().close()
            await shell.close()

    uvloop.run(run())


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
