"""What one connection can do to the others: places, names and answers that are not its own, and what it may cost."""

import asyncio
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest

from b2bua.app.connection import Connection
from b2bua.app.streams import MOST_WAITING, _source
from b2bua.sip.parser import Limits
from b2bua.sip.transaction import Flow
from routing.trunks import Peer, Trunk
from tests.app.far_ends import FarEnd, Node, play
from tests.app.test_streams import Call, options
from tests.app.test_tls_calls import NAMES, World


def test_no_trunk_takes_what_goes_to_another_that_is_known_by_its_certificate(tmp_path: Path) -> None:
    third = '[[trunk]]\nname = "third"\npeers = ["127.0.0.2:5062"]\ntransport = "tls"\nprefixes = []\n'
    world = World(tmp_path, identified=f'{NAMES}{third}certificate_names = ["third.example"]\n')

    async def scene(node: Node) -> None:
        send = await world.caller.connect(node.at("tls"))
        world.caller.address = world.caller.address._replace(port=5062)
        send(options(world.caller, 1))
        await world.caller.heard("SIP/2.0 200")
        assert Flow("TLS", "tls", ("127.0.0.2", 5062)) not in node.shell.streams._by_flow
        world.caller.address = world.caller.address._replace(port=5099)  # nobody's
        send(options(world.caller, 2))
        await world.caller.heard("SIP/2.0 200")
        assert Flow("TLS", "tls", ("127.0.0.2", 5099)) in node.shell.streams._by_flow

    play(tmp_path, world.settings, scene)


def test_an_answer_goes_to_nobody_whom_the_asker_names(tmp_path: Path) -> None:
    call = Call(tmp_path, there="udp")

    async def scene(node: Node) -> None:
        victim = await FarEnd("tcp", "127.0.0.66").listen(call.caller.address.port)
        send = await call.caller.connect(node.at("tcp"))
        send(call.caller.invite().replace(b";rport", b";received=127.0.0.66", 1))
        invite = await call.callee.heard("INVITE")
        call.caller.writers[0].transport.abort()
        await node.until(lambda: node.shell.streams.open_connections()["tcp", "in"] == 0)
        invite.back(call.callee.answer(486, invite.message))
        answer = await call.caller.heard("SIP/2.0 486")
        assert "received" not in answer.message.value("via")
        assert victim.connections == 0

    play(tmp_path, call.settings, scene)


@pytest.mark.parametrize(
    "change",
    [{"peers": (Peer("127.0.0.8", 5060),)}, {"transport": "tls", "certificate_names": ("sip.caller.example",)}],
    ids=["moved", "certificate demanded"],
)
def test_a_connection_from_a_trunk_of_before_carries_its_calls_and_no_new_one(
    change: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    call = Call(tmp_path)

    async def settings() -> str:
        text = await call.settings()
        there = call.caller.me
        call.caller.address = Peer("127.0.0.3", call.caller.address.port)
        return text.replace(there, call.caller.me)

    async def scene(node: Node) -> None:
        await call.set_up(node)
        shell = node.shell

        def without(trunk: Trunk) -> Trunk:
            return replace(trunk, **change) if trunk.name == "caller" else trunk  # type: ignore[arg-type]

        trunks = [without(trunk) for trunk in shell.trunks]
        shell.enter(lambda now: shell.switch.reconfigure(shell.switch.limits, trunks, now))
        call.send(call.caller.invite())
        await call.caller.heard("SIP/2.0 403")
        call.send(call.caller.in_dialog("BYE", call.answer, 2))
        bye = await call.callee.heard("BYE")
        bye.back(call.callee.answer(200, bye.message))
        await call.caller.heard("SIP/2.0 200")

    play(tmp_path, settings, scene)


def test_strangers_who_show_no_certificate_take_few_places(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def settings() -> str:
        return f"[limits]\nconnections = 32\n{await world.settings()}"

    async def scene(node: Node) -> None:
        streams = node.shell.streams
        silent = [FarEnd("tcp", f"127.0.0.{host}") for host in range(9, 14)]
        for far in silent:
            await far.connect(node.at("tls"))
        await node.until(lambda: streams.endings["stranger_limit"] == 3)
        send = await world.caller.connect(node.at("tls"))
        send(options(world.caller, 1))
        await world.caller.heard("SIP/2.0 200")
        for far in silent:
            far.writers[0].transport.abort()
        await node.until(lambda: not streams._strangers)

    play(tmp_path, settings, scene)


def test_who_is_known_by_its_certificate_is_no_stranger_any_more(tmp_path: Path) -> None:
    world = World(tmp_path, identified=NAMES)

    async def settings() -> str:
        return f"[limits]\nconnections = 16\n{await world.settings()}"

    async def scene(node: Node) -> None:
        for host in ("127.0.0.77", "127.0.0.78"):
            shown = world.theirs.issue(f"roaming-{host}", "sip.caller.example")
            far = FarEnd("tls", host, client=world.client(shown))
            send = await far.connect(node.at("tls"))
            send(options(far, 1))
            await far.heard("SIP/2.0 200")
        assert node.shell.streams.endings["stranger_limit"] == 0

    play(tmp_path, settings, scene)


def test_a_stranger_who_does_not_let_go_is_gone_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)

    def shake_hands(address: Peer) -> socket.socket:
        """A handshake by hand: nothing answers the good-bye."""
        connection = socket.create_connection(address, source_address=("127.0.0.9", 0))
        here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = world.client(None).wrap_bio(here, there)
        while True:
            try:
                session.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(there.read())
                here.write(connection.recv(65_536))
            else:
                connection.sendall(there.read())
                return connection

    async def scene(node: Node) -> None:
        with await asyncio.to_thread(shake_hands, node.at("tls")):
            await node.until(lambda: node.shell.streams.endings["unknown_source"] == 1, 3.0)
            assert node.shell.streams.open_connections()["tls", "in"] == 0

    play(tmp_path, world.settings, scene)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_network_of_ipv6_counts_as_one_source(one: str, other: str, same: bool) -> None:
    assert (_source(one) == _source(other)) is same


def test_what_waits_for_a_connection_to_be_made_is_bounded(tmp_path: Path) -> None:
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        streams = node.shell.streams
        flow = node.shell.switch.listeners.flow_to("TCP", *call.callee.address)
        for number in range(MOST_WAITING + 5):
            streams.send(options(call.caller, number), flow)
        (connection,) = streams._connections
        assert len(connection.waiting) == MOST_WAITING
        assert len(streams._undelivered) == 5

    play(tmp_path, call.settings, scene)


def test_a_peer_that_ends_with_rubbish_is_left_for_the_next(tmp_path: Path) -> None:
    call = Call(tmp_path, here="udp")

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("udp"))
        send(call.caller.invite())
        await call.callee.heard("INVITE")
        streams = node.shell.streams
        (connection,) = streams._connections
        streams._scheduled = True  # nothing is handled before both are here
        call.callee.writers[0].write(b"rubbish\r\n\r\n")
        await node.until(lambda: connection.queued)
        call.callee.writers[0].transport.abort()
        await node.until(lambda: not connection.open)
        streams._scheduled = False
        streams._schedule()
        await call.caller.heard("SIP/2.0 500", 2.0)
        assert (await node.ended()).routes == ("callee:unreachable",)

    play(tmp_path, call.settings, scene)


def test_a_call_that_has_waited_too_long_in_a_stream_is_turned_away(tmp_path: Path) -> None:
    call = Call(tmp_path, limits="[limits]\noverload_delay_ms = 10\n")

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        send(options(call.caller, 1))
        await call.caller.heard("SIP/2.0 200")
        (connection,) = node.shell.streams._connections
        connection.data_received(call.caller.invite())
        time.sleep(0.3)  # noqa: ASYNC251 - the switch is busy
        await call.caller.heard("SIP/2.0 503")
        assert node.shell.switch.load.waited == 0.0

    play(tmp_path, call.settings, scene)


class _Clock(asyncio.AbstractEventLoop):
    """Tells the time, and nothing else."""

    now = 0.0

    def time(self) -> float:
        return self.now


class _Nobody:
    def opened(self, connection: Connection) -> bool:
        return True

    def received(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...


def test_a_message_has_come_when_its_last_byte_has() -> None:
    clock = _Clock()
    connection = Connection(_Nobody(), clock, Flow("TCP", "tcp", ("192.0.2.1", 5060)), Limits(), accepted=True)
    message = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n"
    for data in (message + message[:9], message[9:-2], message[-2:] + message):
        clock.now += 1.0
        connection.data_received(data)
    came = []
    while connection.framer.take() is not None:
        came.append(connection.arrived_at())
    assert came == [1.0, 3.0, 3.0]
    connection.data_received(message * 2)
    connection.hold(9.0)
    clock.now = 12.0
    connection.data_received(message)
    held = []
    while connection.framer.take() is not None:
        held.append(connection.arrived_at())
    assert held == [9.0, 9.0, 12.0], "what its source's share has cost is not counted"
