"""TLS on real sockets: who is let in, whom we trust, and certificates that change while calls go on."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from b2bua.app.config import load
from tests.app.certificates import Authority
from tests.app.far_ends import SDP, FarEnd, Node, play
from tests.app.test_streams import options


class World:
    """Our certificate and theirs. ``asked`` is what the listener asks of those who connect."""

    def __init__(self, directory: Path, asked: str = "optional", more: str = "", identified: str = "") -> None:
        self.directory = directory
        self.ours = Authority(directory, "ours")
        self.theirs = Authority(directory, "theirs")
        self.node = self.ours.issue("node", "sip.node.example")
        self.asked = asked
        self.more = more
        self.identified = identified
        self.callee_names: tuple[str, ...] = ("127.0.0.1",)

    def client(self, files: tuple[Path, Path] | None) -> ssl.SSLContext:
        """A far end that trusts us, with a certificate or without."""
        context = ssl.create_default_context(cafile=self.ours.file)
        context.check_hostname = False
        if files is not None:
            context.load_cert_chain(*files)
        return context

    def server(self, files: tuple[Path, Path], authority: Authority | None = None) -> ssl.SSLContext:
        """A far end that asks for our certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=(authority or self.ours).file)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(*files)
        return context

    async def settings(self) -> str:
        shown = self.theirs.issue("callee", *self.callee_names)
        self.caller = FarEnd("tls", "127.0.0.2", client=self.client(self.theirs.issue("caller", "sip.caller.example")))
        self.callee = await FarEnd("tls", server=self.server(shown)).listen()
        self.caller.address = self.caller.address._replace(port=5061)
        return (
            f'[[listener]]\nname = "tls"\ntransport = "tls"\nlisten = "127.0.0.1:0"\ncertificate = "{self.node[0]}"\n'
            f'key = "{self.node[1]}"\nca = "{self.theirs.file}"\nclient_certificate = "{self.asked}"\n'
            '[[trunk]]\nname = "caller"\npeers = ["127.0.0.2:5061"]\ntransport = "tls"\nprefixes = []\n'
            f"{self.identified}"
            f'[[trunk]]\nname = "callee"\npeers = ["{self.callee.me}"]\ntransport = "tls"\n{self.more}'
        )


def test_a_call_goes_over_tls_both_ways(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scene(node: Node) -> None:
        send = await world.caller.connect(node.at("tls"))
        send(world.caller.invite())
        invite = await world.callee.heard("INVITE")
        port = node.at("tls").port
        assert invite.message.value("via").startswith(f"SIP/2.0/TLS 127.0.0.1:{port};branch=")
        assert invite.message.contact == f"sip:700123456780001@127.0.0.1:{port};transport=tls"
        invite.back(world.callee.answer(200, invite.message, SDP))
        answer = (await world.caller.heard("SIP/2.0 200")).message
        send(world.caller.in_dialog("ACK", answer, 1))
        await world.callee.heard("ACK")
        send(world.caller.in_dialog("BYE", answer, 2))
        bye = await world.callee.heard("BYE")
        bye.back(world.callee.answer(200, bye.message))
        await world.caller.heard("SIP/2.0 200")
        assert node.shell.streams.open_connections() == {
            ("tcp", "in"): 0, ("tcp", "out"): 0, ("tls", "in"): 1, ("tls", "out"): 1,
        }  # fmt: skip

    play(tmp_path, world.settings, scene)


NAMES = 'certificate_names = ["sip.caller.example"]\n'


def test_a_certificate_tells_the_trunk_wherever_it_comes_from(tmp_path: Path) -> None:
    world = World(tmp_path, identified=NAMES)

    async def scene(node: Node) -> None:
        far = FarEnd("tls", "127.0.0.77", client=world.client(world.theirs.issue("roaming", "SIP.Caller.example")))
        send = await far.connect(node.at("tls"))
        send(far.invite())
        await world.callee.heard("INVITE")
        assert dict(node.shell.switch.statistics.attempts) == {"caller": 1}

    play(tmp_path, world.settings, scene)


def unlike(world: World) -> dict[str, ssl.SSLContext]:
    return {
        "none": world.client(None),
        "another name": world.client(world.theirs.issue("other", "sip.other.example")),
        "only the subject": world.client(world.theirs.issue("sip.caller.example")),
    }


@pytest.mark.parametrize("shown", ["none", "another name", "only the subject"])
def test_the_address_alone_is_not_enough_for_a_trunk_with_certificate_names(shown: str, tmp_path: Path) -> None:
    world = World(tmp_path, identified=NAMES)

    async def scene(node: Node) -> None:
        far = FarEnd("tls", "127.0.0.2", client=unlike(world)[shown])
        far.address = far.address._replace(port=5061)
        send = await far.connect(node.at("tls"))
        send(options(far, 1))
        await asyncio.wait_for(far.lost.wait(), 5.0)
        assert far.nothing("SIP/2.0")
        assert node.shell.streams.endings["unknown_source"] == 1
        assert not node.shell.switch.endpoint.received

    play(tmp_path, world.settings, scene)


def test_by_udp_the_address_is_not_enough_either(tmp_path: Path) -> None:
    world = World(tmp_path, identified=NAMES)

    async def scene(node: Node) -> None:
        far = await FarEnd("udp", "127.0.0.2").listen(5061)
        send = await far.connect(node.at("udp"))
        send(options(far, 1))
        await node.until(lambda: node.shell.switch.statistics.drops["unknown_source"])
        assert not node.shell.switch.endpoint.received

    play(tmp_path, world.settings, scene)


REFUSED: list[tuple[str, Callable[[World], ssl.SSLContext]]] = [
    ("required", lambda world: world.client(None)),
    ("required", lambda world: world.client(world.ours.issue("foreign", "sip.caller.example"))),
    ("optional", lambda world: world.client(world.ours.issue("foreign", "sip.caller.example"))),
]


@pytest.mark.parametrize(("asked", "make"), REFUSED)
def test_a_certificate_that_is_missing_or_signed_by_another_ends_the_handshake(
    asked: str, make: Callable[[World], ssl.SSLContext], tmp_path: Path
) -> None:
    world = World(tmp_path, asked)

    async def scene(node: Node) -> None:
        far = FarEnd("tls", "127.0.0.2", client=make(world))
        try:
            await far.connect(node.at("tls"))
            await asyncio.wait_for(far.lost.wait(), 5.0)
        except OSError:
            pass
        await node.until(lambda: node.shell.streams.endings["handshake"] == 1)

    play(tmp_path, world.settings, scene)


def test_who_speaks_no_tls_to_a_tls_listener_is_closed(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scene(node: Node) -> None:
        far = FarEnd("tcp", "127.0.0.2")
        send = await far.connect(node.at("tls"))
        send(options(far, 1))
        await asyncio.wait_for(far.lost.wait(), 5.0)
        await node.until(lambda: node.shell.streams.endings["handshake"] == 1)

    play(tmp_path, world.settings, scene)


@pytest.mark.parametrize(
    ("names", "more", "trusted"),
    [
        (("127.0.0.1",), "", True),
        (("sip.callee.example",), 'certificate_names = ["sip.callee.example"]\n', True),
        (("sip:callee.example",), 'certificate_names = ["sip:callee.example"]\n', True),
        (("sip.callee.example",), "", False),
        (("127.0.0.1",), 'certificate_names = ["sip.callee.example"]\n', False),
        (("127.0.0.9",), "", False),
    ],
)
def test_a_carrier_has_to_show_the_name_or_address_it_is_called_by(
    names: tuple[str, ...], more: str, trusted: bool, tmp_path: Path
) -> None:
    world = World(tmp_path, more=more)
    world.callee_names = names

    async def scene(node: Node) -> None:
        send = await world.caller.connect(node.at("tls"))
        send(world.caller.invite())
        if trusted:
            invite = await world.callee.heard("INVITE")
            invite.back(world.callee.answer(486, invite.message))
            await world.caller.heard("SIP/2.0 486")
        else:
            await world.caller.heard("SIP/2.0 500")
            assert (await node.ended()).routes == ("callee:unreachable",)
            assert world.callee.nothing("INVITE")
            assert node.shell.streams.endings["certificate"] == 1

    play(tmp_path, world.settings, scene)


def test_a_carrier_whose_certificate_nobody_signed_gets_no_call(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.theirs, honest = world.ours, world.theirs  # the listener trusts "theirs", which signs nothing now

    async def settings() -> str:
        return (await world.settings()).replace(str(world.theirs.file), str(honest.file))

    async def scene(node: Node) -> None:
        caller = FarEnd("tls", "127.0.0.2", client=world.client(honest.issue("caller2", "sip.caller.example")))
        send = await caller.connect(node.at("tls"))
        send(caller.invite())
        await caller.heard("SIP/2.0 500")
        assert node.shell.streams.endings["connect"] == 1

    play(tmp_path, settings, scene)


def test_new_certificates_count_for_new_connections_and_end_no_old_one(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scene(node: Node) -> None:
        old = await world.caller.connect(node.at("tls"))
        certificate, key = world.ours.issue("renewed", "renewed.example")
        world.node[0].write_bytes(certificate.read_bytes())
        assert node.shell.read_certificates() == [
            f"listener[tls].key = '{world.node[1]}': is not the key of the certificate; "
            "name the two that belong together"
        ]
        assert await shown(world, node) == "sip.node.example"
        world.node[1].write_bytes(key.read_bytes())
        assert node.shell.read_certificates() == []
        settings = load(tmp_path / "x700.toml", {})
        rivals = [trunk.model_copy(update={"name": f"{trunk.name}-2"}) for trunk in settings.trunk]
        twice = settings.model_copy(update={"trunk": (*settings.trunk, *rivals)})
        with pytest.raises(ValueError, match="claim"):
            node.shell.reconfigure(twice)
        assert await shown(world, node) == "sip.node.example"  # a reload that fails changes nothing
        node.shell.reconfigure(settings)
        assert await shown(world, node) == "renewed.example"
        old(options(world.caller, 1))
        await world.caller.heard("SIP/2.0 200")

    play(tmp_path, world.settings, scene)


async def shown(world: World, node: Node) -> str:
    """The name in the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection(*node.at("tls"), ssl=world.client(None), local_addr=("127.0.0.2", 0))
    certificate = writer.get_extra_info("peercert")
    writer.transport.abort()
    return str(certificate["subjectAltName"][0][1])
