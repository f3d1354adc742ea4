"""A carrier that is a domain, with a real name server, real sockets and the whole shell."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from routing.trunks import format_peer
from tests.app.far_ends import SDP, FarEnd, Node, free_port, play
from tests.name_server import NameServer

TCP = '[[listener]]\nname = "tcp"\ntransport = "tcp"\nlisten = "127.0.0.1:0"\n'


class Carrier:
    """A caller known by address, and a callee behind `carrier.example`: over TCP at a port where nobody listens, then
    over UDP at the phone."""

    def __init__(self, path: Path, trunk: str = "") -> None:
        self.path = path
        self.trunk = trunk
        self.server = NameServer()

    async def settings(self) -> str:
        await self.server.__aenter__()
        self.caller, self.callee = await FarEnd().listen(), await FarEnd("udp", "127.0.0.2").listen()
        self.describe("127.0.0.2", self.callee.address.port)
        return (
            f'[dns]\nservers = ["{format_peer(self.server.address)}"]\ntimeout_seconds = 0.2\nshortest_seconds = 1\n'
            f"{TCP}"
            f'[[trunk]]\nname = "caller"\npeers = ["{self.caller.me}"]\nprefixes = []\n'
            f'[[trunk]]\nname = "callee"\npeers = ["carrier.example"]\ntransport = "auto"\n{self.trunk}'
        )

    def describe(self, host: str, port: int) -> None:
        put = self.server.put
        services = (
            '10 1 "s" "SIP+D2T" "" _sip._tcp.carrier.example.',
            '10 2 "s" "SIP+D2U" "" _sip._udp.carrier.example.',
        )
        put("carrier.example", "NAPTR", *services, ttl=1)
        put("_sip._tcp.carrier.example", "SRV", f"1 1 {free_port(host)} pop.carrier.example.", ttl=1)
        put("_sip._udp.carrier.example", "SRV", f"1 1 {port} pop.carrier.example.", ttl=1)
        put("pop.carrier.example", "A", host, ttl=1)

    async def call(self, node: Node) -> None:
        """From the INVITE to the end, answered by the callee."""
        send = await self.caller.connect(node.at("udp"))
        send(self.caller.invite())
        invite = await self.callee.heard("INVITE")
        assert invite.message.first.startswith("INVITE sip:13900139000@carrier.example SIP")
        invite.back(self.callee.answer(200, invite.message, SDP))
        answer = (await self.caller.heard("SIP/2.0 200")).message
        send(self.caller.in_dialog("ACK", answer, 1))
        await self.callee.heard("ACK")
        send(self.caller.in_dialog("BYE", answer, 2))
        bye = await self.callee.heard("BYE")
        bye.back(self.callee.answer(200, bye.message))
        assert (await self.caller.heard("SIP/2.0 200")).message.method == "BYE"

    async def answer_probes(self) -> None:
        """200 to every OPTIONS, until cancelled."""
        while True:
            probe = await self.callee.heard("OPTIONS")
            probe.back(self.callee.answer(200, probe.message))

    def states(self, node: Node) -> list[tuple[str, str]]:
        views = node.shell.switch.trunk_view(node.shell.now())
        return [(view.transport, view.state) for view in views if view.trunk == "callee"]

    def run(self, scene: Callable[[Node], Awaitable[None]]) -> None:
        """Play it, and close the name server."""

        async def guarded(node: Node) -> None:
            try:
                await scene(node)
            finally:
                await self.server.__aexit__(None, None, None)

        play(self.path, self.settings, guarded)


def test_a_call_to_a_domain_goes_on_from_a_connection_that_fails_to_the_next_service(tmp_path: Path) -> None:
    carrier = Carrier(tmp_path, "probe_seconds = 0\n")

    async def scene(node: Node) -> None:
        await node.until(lambda: carrier.states(node) == [("TCP", "up"), ("UDP", "up")])
        await carrier.call(node)
        ended = await node.ended()
        assert (ended.outcome, ended.routes) == ("answered", ("callee:unreachable", "callee:200"))

    carrier.run(scene)


def test_probing_finds_out_and_calls_no_longer_try_it(tmp_path: Path) -> None:
    carrier = Carrier(tmp_path, "probe_seconds = 0.3\n")

    async def scene(node: Node) -> None:
        async with asyncio.TaskGroup() as tasks:
            polite = tasks.create_task(carrier.answer_probes())
            await node.until(lambda: carrier.states(node) == [("TCP", "down"), ("UDP", "up")])
            await carrier.call(node)
            polite.cancel()
        assert (await node.ended()).routes == ("callee:200",)
        assert any(line.startswith("target_down {'trunk': 'callee', 'target': 'tcp:127.0.0.2:") for line in node.log)

    carrier.run(scene)


def test_a_carrier_that_moves_is_followed_and_known_by_its_new_address(tmp_path: Path) -> None:
    carrier = Carrier(tmp_path, "probe_seconds = 0\n")

    async def scene(node: Node) -> None:
        await node.until(lambda: ("UDP", "up") in carrier.states(node))
        moved = await FarEnd("udp", "127.0.0.3").listen()
        sources = node.shell.switch.states.sources
        assert sources.trunk_of("127.0.0.3", moved.address.port) is None
        carrier.describe("127.0.0.3", moved.address.port)
        carrier.server.put("_sip._tcp.carrier.example", "SRV")
        carrier.callee = moved
        await node.until(lambda: carrier.states(node) == [("UDP", "up")])
        await node.until(lambda: node.shell.switch.states.sources.trunk_of("127.0.0.3", moved.address.port) is not None)
        await carrier.call(node)
        assert (await node.ended()).routes == ("callee:200",)

    carrier.run(scene)


def test_without_any_name_server_calls_are_refused_and_say_why(tmp_path: Path) -> None:
    carrier = Carrier(tmp_path, "probe_seconds = 0\n")
    carrier.server.silent = True

    async def scene(node: Node) -> None:
        await node.until(lambda: any(line.startswith("dns_failed") for line in node.log))
        send = await carrier.caller.connect(node.at("udp"))
        send(carrier.caller.invite())
        refused = (await carrier.caller.heard("SIP/2.0 500")).message
        assert refused.value("reason") == 'Q.850;cause=34;text="no route"'
        assert (await node.ended()).routes == ("callee:dns",)
        assert carrier.states(node) == [("UDP", "dns")]

    carrier.run(scene)
