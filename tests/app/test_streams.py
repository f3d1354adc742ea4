"""TCP on real sockets: calls on every mixture of transports, connections that come, go, break and misbehave."""

import asyncio
from pathlib import Path

import pytest

from cdr.record import Ended
from tests.app.far_ends import SDP, FarEnd, Node, free_port, play

TCP = '[[listener]]\nname = "tcp"\ntransport = "tcp"\nlisten = "127.0.0.1:0"\n'
SIX = (
    '[[listener]]\nname = "udp-v6"\ntransport = "udp"\nlisten = "[::1]:0"\n'
    '[[listener]]\nname = "tcp-v6"\ntransport = "tcp"\nlisten = "[::1]:0"\n'
)


def trunk(name: str, far: FarEnd, *more: str) -> str:
    return (
        f'[[trunk]]\nname = "{name}"\npeers = ["{far.me}"]\ntransport = "{far.transport}"\nprobe_seconds = 0\n'
        + "".join(f"{line}\n" for line in more)
    )


def trunks(caller: FarEnd, callee: FarEnd, *more: str) -> str:
    return trunk("caller", caller, "prefixes = []") + trunk("callee", callee, *more)


def listener_of(far: FarEnd) -> str:
    return f"{far.transport}-v6" if ":" in far.address.host else far.transport


WAYS = [
    ("udp", "127.0.0.1", "tcp", "127.0.0.1"),
    ("tcp", "127.0.0.1", "udp", "127.0.0.1"),
    ("tcp", "127.0.0.1", "tcp", "127.0.0.1"),
    ("udp", "::1", "udp", "127.0.0.1"),
    ("udp", "127.0.0.1", "udp", "::1"),
    ("tcp", "::1", "udp", "127.0.0.1"),
    ("udp", "127.0.0.1", "tcp", "::1"),
    ("tcp", "::1", "tcp", "::1"),
]


@pytest.mark.parametrize(("here", "host", "there", "far_host"), WAYS)
def test_a_call_goes_from_any_transport_and_family_to_any(
    here: str, host: str, there: str, far_host: str, tmp_path: Path
) -> None:
    caller, callee = None, None

    async def settings() -> str:
        nonlocal caller, callee
        caller, callee = await FarEnd(here, host).listen(), await FarEnd(there, far_host).listen()
        return TCP + SIX + trunks(caller, callee)

    async def scene(node: Node) -> None:
        assert caller is not None
        assert callee is not None
        send = await caller.connect(node.at(listener_of(caller)))
        send(caller.invite())
        invite = await callee.heard("INVITE")
        entrance = node.at(listener_of(callee))
        shown = f"[{entrance.host}]:{entrance.port}" if ":" in entrance.host else f"{entrance.host}:{entrance.port}"
        assert invite.message.value("via").startswith(f"SIP/2.0/{there.upper()} {shown};branch=")
        suffix = "" if there == "udp" else f";transport={there}"
        assert invite.message.contact.endswith(f"@{shown}{suffix}")
        assert f"IN IP{6 if ':' in far_host else 4} {far_host}".encode() in invite.message.body
        invite.back(callee.answer(180, invite.message))
        assert (await caller.heard("SIP/2.0 180")).message.contact.endswith(
            "" if here == "udp" else f"transport={here}"
        )
        invite.back(callee.answer(200, invite.message, SDP))
        answer = (await caller.heard("SIP/2.0 200")).message
        send(caller.in_dialog("ACK", answer, 1))
        await callee.heard("ACK")
        send(caller.in_dialog("BYE", answer, 2))
        bye = await callee.heard("BYE")
        bye.back(callee.answer(200, bye.message))
        assert (await caller.heard("SIP/2.0 200")).message.method == "BYE"
        assert (await node.ended()).outcome == "answered"
        assert callee.connections == (0 if there == "udp" else 1), "requests in a dialog reuse the connection"

    play(tmp_path, settings, scene)


class Call:
    """A caller on a connection of his own and a callee, both TCP unless said otherwise, with a call between them."""

    def __init__(self, tmp_path: Path, here: str = "tcp", there: str = "tcp", limits: str = "", more: str = "") -> None:
        self.tmp_path = tmp_path
        self.ways = (here, there)
        self.limits = limits
        self.more = more

    async def settings(self) -> str:
        self.caller = await FarEnd(self.ways[0]).listen()
        self.callee = await FarEnd(self.ways[1]).listen()
        self.callees = [self.callee]
        return self.limits + TCP + trunks(self.caller, self.callee, self.more)

    async def set_up(self, node: Node) -> None:
        """To the answer and its ACK."""
        self.send = await self.caller.connect(node.at(self.ways[0]))
        self.send(self.caller.invite())
        self.invite = await self.callee.heard("INVITE")
        self.invite.back(self.callee.answer(200, self.invite.message, SDP))
        self.answer = (await self.caller.heard("SIP/2.0 200")).message
        self.send(self.caller.in_dialog("ACK", self.answer, 1))
        await self.callee.heard("ACK")


def test_a_callee_hangs_up_over_the_connection_that_the_caller_made(tmp_path: Path) -> None:
    """His Via says that he listens at his Contact: no second connection is made to it."""
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        await call.set_up(node)
        bye = call.invite.message
        call.invite.back(
            call.callee.request(
                "BYE", bye.contact, cseq=1, call_id=bye.value("call-id"),
                from_value=f"{bye.value('to')};tag=tag{call.callee.address.port}", to_value=bye.value("from"),
            )
        )  # fmt: skip
        got = await call.caller.heard("BYE")
        got.back(call.caller.answer(200, got.message))
        assert (await call.callee.heard("SIP/2.0 200")).message.method == "BYE"
        assert call.caller.connections == 0

    play(tmp_path, call.settings, scene)


def test_a_connection_that_dies_in_a_call_is_made_again_for_its_end(tmp_path: Path) -> None:
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        await call.set_up(node)
        call.callee.writers[0].transport.abort()
        await node.until(lambda: node.shell.streams.endings["peer"] + node.shell.streams.endings["error"] == 1)
        call.send(call.caller.in_dialog("BYE", call.answer, 2))
        bye = await call.callee.heard("BYE")
        assert call.callee.connections == 2
        bye.back(call.callee.answer(200, bye.message))
        assert (await call.caller.heard("SIP/2.0 200")).message.method == "BYE"
        assert (await node.ended()).outcome == "answered"

    play(tmp_path, call.settings, scene)


def test_a_callee_that_has_gone_away_ends_nothing_but_its_own_leg(tmp_path: Path) -> None:
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        await call.set_up(node)
        call.callee.refuse()
        call.callee.writers[0].transport.abort()
        call.send(call.caller.in_dialog("BYE", call.answer, 2))
        assert (await call.caller.heard("SIP/2.0 200")).message.method == "BYE"
        assert (await node.ended()).outcome == "answered"
        await node.until(lambda: not node.shell.switch.tables()["dialogs"])

    play(tmp_path, call.settings, scene)


def test_an_answer_whose_connection_is_gone_goes_where_its_via_says(tmp_path: Path) -> None:
    """RFC 3261 §18.2.2."""
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        send(call.caller.invite())
        invite = await call.callee.heard("INVITE")
        await call.caller.heard("SIP/2.0 100")
        call.caller.writers[0].transport.abort()
        await node.until(lambda: node.shell.streams.open_connections()["tcp", "in"] == 0)
        invite.back(call.callee.answer(200, invite.message, SDP))
        answer = await call.caller.heard("SIP/2.0 200")
        assert call.caller.connections == 1
        answer.back(call.caller.in_dialog("ACK", answer.message, 1))
        await call.callee.heard("ACK")

    play(tmp_path, call.settings, scene)


def test_a_peer_that_refuses_the_connection_is_left_for_the_next_at_once(tmp_path: Path) -> None:
    caller = callee = None
    port = free_port()

    async def settings() -> str:
        nonlocal caller, callee
        caller, callee = await FarEnd().listen(), await FarEnd("tcp").listen()
        gone = f'[[trunk]]\nname = "gone"\npeers = ["127.0.0.1:{port}"]\ntransport = "tcp"\npriority = 1\n'
        return TCP + trunks(caller, callee) + gone

    async def scene(node: Node) -> None:
        assert caller is not None
        assert callee is not None
        send = await caller.connect(node.at("udp"))
        send(caller.invite())
        invite = await callee.heard("INVITE", 2.0)  # and not after the four seconds of no_reply
        invite.back(callee.answer(486, invite.message))
        await caller.heard("SIP/2.0 486")
        assert (await node.ended()).routes == ("gone:unreachable", "callee:486")
        assert node.shell.streams.endings["connect"] == 1

    play(tmp_path, settings, scene)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_peer_on_whose_udp_port_nobody_listens_is_left_for_the_next_at_once(host: str, tmp_path: Path) -> None:
    """ICMP says so (RFC 3261 §18.4)."""
    ends: list[FarEnd] = []

    async def settings() -> str:
        ends.extend([await FarEnd().listen(), await FarEnd("tcp").listen()])
        gone = f"[{host}]" if ":" in host else host
        peer = f'[[trunk]]\nname = "gone"\npeers = ["{gone}:{free_port(host)}"]\npriority = 1\n'
        return TCP + SIX + trunks(*ends) + peer

    async def scene(node: Node) -> None:
        caller, callee = ends
        send = await caller.connect(node.at("udp"))
        for _ in range(3):
            send(caller.invite())
            invite = await callee.heard("INVITE", 2.0)
            invite.back(callee.answer(486, invite.message))
            await caller.heard("SIP/2.0 486")
        ended = [event.routes for event in node.events if isinstance(event, Ended)]
        assert ended == [("gone:unreachable", "callee:486")] * 3
        send(options(caller, 1))
        await caller.heard("SIP/2.0 200")
        assert not any(socket.send_failures for socket in node.shell.doors.udp.values())

    play(tmp_path, settings, scene)


def test_without_any_route_left_the_call_has_failed(tmp_path: Path) -> None:
    call = Call(tmp_path, here="udp")

    async def scene(node: Node) -> None:
        call.callee.refuse()
        send = await call.caller.connect(node.at("udp"))
        send(call.caller.invite())
        await call.caller.heard("SIP/2.0 500")
        end = await node.ended()
        assert (end.outcome, end.status, end.routes) == ("failed", 500, ("callee:unreachable",))

    play(tmp_path, call.settings, scene)


def test_a_peer_that_closes_with_an_invite_unanswered_is_left_for_the_next(tmp_path: Path) -> None:
    call = Call(tmp_path, here="udp")

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("udp"))
        send(call.caller.invite())
        await call.callee.heard("INVITE")
        call.callee.writers[0].transport.abort()
        await call.caller.heard("SIP/2.0 500", 2.0)
        assert (await node.ended()).routes == ("callee:unreachable",)

    play(tmp_path, call.settings, scene)


def test_a_peer_that_closes_while_it_rings_may_answer_over_another_connection(tmp_path: Path) -> None:
    call = Call(tmp_path, here="udp")

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("udp"))
        send(call.caller.invite())
        invite = await call.callee.heard("INVITE")
        invite.back(call.callee.answer(180, invite.message))
        await call.caller.heard("SIP/2.0 180")
        call.callee.writers[0].close()
        await node.until(lambda: call.callee.connections == 2)  # we ask whether it is still there
        call.callee.writers[1].write(call.callee.answer(486, invite.message))
        await call.caller.heard("SIP/2.0 486")

    play(tmp_path, call.settings, scene)


def test_a_peer_that_is_gone_while_it_rings_ends_the_call_at_once(tmp_path: Path) -> None:
    call = Call(tmp_path, here="udp")

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("udp"))
        send(call.caller.invite())
        invite = await call.callee.heard("INVITE")
        invite.back(call.callee.answer(180, invite.message))
        await call.caller.heard("SIP/2.0 180")
        call.callee.refuse()
        call.callee.writers[0].transport.abort()
        await call.caller.heard("SIP/2.0 5", 3.0)
        assert (await node.ended()).outcome == "failed"

    play(tmp_path, call.settings, scene)


def test_a_caller_who_cannot_be_answered_any_more_ends_the_call(tmp_path: Path) -> None:
    call = Call(tmp_path, there="udp")

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        send(call.caller.invite())
        invite = await call.callee.heard("INVITE")
        call.caller.refuse()
        call.caller.writers[0].transport.abort()
        await node.until(lambda: node.shell.streams.open_connections()["tcp", "in"] == 0)
        invite.back(call.callee.answer(180, invite.message))
        await call.callee.heard("CANCEL")
        assert (await node.ended()).reason == "peer_lost"

    play(tmp_path, call.settings, scene)


def options(far: FarEnd, number: int) -> bytes:
    return far.request("OPTIONS", "sip:switch.example", branch=f"z9hG4bK{number}", call_id=f"options{number}")


def test_messages_come_in_one_segment_and_in_many_small_ones(tmp_path: Path) -> None:
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        send(b"".join(options(call.caller, number) for number in range(200)))
        for _ in range(200):
            await call.caller.heard("SIP/2.0 200")
        wire = b"\r\n" + options(call.caller, 1000) + options(call.caller, 1001)
        for octet in wire:
            send(bytes((octet,)))
            await asyncio.sleep(0)
        for _ in range(2):
            await call.caller.heard("SIP/2.0 200")

    play(tmp_path, call.settings, scene)


def test_a_ping_is_answered(tmp_path: Path) -> None:
    """RFC 5626 §4.4.1."""
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        send(b"\r\n\r\n")
        await node.until(lambda: call.caller.pongs == b"\r\n")
        assert node.shell.switch.statistics.drops["keep_alive"] == 1

    play(tmp_path, call.settings, scene)


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        (lambda wire: wire.replace(b"Content-Length: 0\r\n", b""), "400"),
        (lambda wire: wire.replace(b"Content-Length: 0", b"Content-Length: 70000"), "513"),
        (lambda wire: wire.replace(b"Content-Length: 0\r\n", b"Subject: " + b"x" * 70_000 + b"\r\n"), "513"),
    ],
)
def test_a_stream_that_cannot_be_followed_is_answered_and_closed(damage: object, status: str, tmp_path: Path) -> None:
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        assert callable(damage)
        send = await call.caller.connect(node.at("tcp"))
        send(options(call.caller, 1) + damage(options(call.caller, 2)) + options(call.caller, 3))
        await call.caller.heard("SIP/2.0 200")
        await call.caller.heard(f"SIP/2.0 {status}")
        await asyncio.wait_for(call.caller.lost.wait(), 5.0)
        assert call.caller.nothing("SIP/2.0 200")
        assert node.shell.streams.endings["framing"] == 1

    play(tmp_path, call.settings, scene)


def test_a_peer_that_does_not_read_is_closed_and_nobody_else_waits(tmp_path: Path) -> None:
    call = Call(tmp_path, there="udp")

    async def scene(node: Node) -> None:
        _, writer = await asyncio.open_connection(*node.at("tcp"), limit=1)
        deaf = node.shell.streams
        number = 0
        while not deaf.endings["not_reading"]:
            number += 1
            writer.write(options(call.caller, number))
            if number % 50 == 0:
                await asyncio.sleep(0.001)
            if number % 2000 == 0:
                await call.set_up(node)
        assert deaf.endings["not_reading"] == 1
        await call.set_up(node)
        writer.transport.abort()

    play(tmp_path, call.settings, scene)


def test_a_message_that_does_not_become_whole_ends_its_connection(tmp_path: Path) -> None:
    call = Call(tmp_path, limits="[limits]\nmessage_seconds = 0.3\n")

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        send(options(call.caller, 1) + b"OPTIONS ")
        await call.caller.heard("SIP/2.0 200")
        while not call.caller.lost.is_set():
            send(b"x")  # now and then a byte does not help
            await asyncio.sleep(0.1)
        assert node.shell.streams.endings["unfinished"] == 1

    play(tmp_path, call.settings, scene)


def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        send(options(call.caller, 1))
        await call.caller.heard("SIP/2.0 200")
        (connection,) = node.shell.streams._connections
        connection.active_at -= 301
        await asyncio.wait_for(call.caller.lost.wait(), 5.0)
        assert node.shell.streams.endings["idle"] == 1

    play(tmp_path, call.settings, scene)


def test_connections_are_bounded_by_source_and_in_all(tmp_path: Path) -> None:
    call = Call(tmp_path, limits="[limits]\nsource_connections = 2\nconnections = 3\n")

    async def scene(node: Node) -> None:
        streams = node.shell.streams
        for _ in range(3):
            await call.caller.connect(node.at("tcp"))
        await node.until(lambda: streams.endings["source_limit"] == 1)
        assert streams.open_connections()["tcp", "in"] == 2
        streams.send(call.caller.invite(), node.shell.switch.listeners.flow_to("TCP", *call.callee.address))
        await node.until(lambda: streams.open_connections()["tcp", "out"] == 1)
        streams.limits = type(streams.limits)(3, 5)
        await call.caller.connect(node.at("tcp"))
        await node.until(lambda: streams.endings["total_limit"] == 1)

    play(tmp_path, call.settings, scene)


def test_a_stranger_is_not_let_in(tmp_path: Path) -> None:
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        stranger = FarEnd("tcp", "127.0.0.9")
        await stranger.connect(node.at("tcp"))
        await asyncio.wait_for(stranger.lost.wait(), 5.0)
        assert node.shell.streams.endings["unknown_source"] == 1

    play(tmp_path, call.settings, scene)


def test_of_two_trunks_on_one_host_the_port_of_the_sender_tells_which_it_is(tmp_path: Path) -> None:
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        send(call.caller.invite())
        await call.callee.heard("INVITE")
        assert dict(node.shell.switch.statistics.attempts) == {"caller": 1}
        other = FarEnd("tcp")
        other.address = other.address._replace(port=free_port())
        nobody = await other.connect(node.at("tcp"))
        nobody(options(other, 1))
        await asyncio.wait_for(other.lost.wait(), 5.0)
        assert node.shell.switch.statistics.drops["unknown_source"] == 1

    play(tmp_path, call.settings, scene)


def test_a_source_above_its_share_waits_and_loses_nothing(tmp_path: Path) -> None:
    call = Call(tmp_path, limits="[limits]\nsource_messages_per_second = 100.0\nsource_burst = 5\n")

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        began = node.shell.loop.time()
        send(b"".join(options(call.caller, number) for number in range(40)))
        for _ in range(40):
            await call.caller.heard("SIP/2.0 200")
        assert node.shell.loop.time() - began > 0.25

    play(tmp_path, call.settings, scene)


LONG = b"a=rtpmap:8 PCMA/8000\r\n" * 60


@pytest.mark.parametrize("takes", [True, False])
def test_a_large_request_goes_over_tcp_where_the_trunk_has_it_and_the_peer_too(takes: bool, tmp_path: Path) -> None:
    """RFC 3261 §18.1.1."""
    call = Call(tmp_path, here="udp", there="udp", more="large_over_tcp = true")

    async def scene(node: Node) -> None:
        tcp = FarEnd("tcp")
        if takes:
            await tcp.listen(call.callee.address.port)
        send = await call.caller.connect(node.at("udp"))
        send(call.caller.invite(body=SDP + LONG))
        invite = await (tcp if takes else call.callee).heard("INVITE", 3.0)
        assert len(invite.wire) > 1300
        assert invite.message.value("via").startswith("SIP/2.0/TCP" if takes else "SIP/2.0/UDP")
        assert len(invite.message.fields["via"]) == 1
        invite.back(call.callee.answer(200, invite.message, SDP))
        answer = (await call.caller.heard("SIP/2.0 200")).message
        send(call.caller.in_dialog("ACK", answer, 1))
        await call.callee.heard("ACK")
        if not takes:  # it has said no: it is not asked again for a while
            send(call.caller.invite(body=SDP + LONG))
            await call.callee.heard("INVITE")
            assert node.shell.streams.endings["connect"] == 1

    play(tmp_path, call.settings, scene)


def test_a_large_request_stays_on_udp_without_the_setting(tmp_path: Path) -> None:
    call = Call(tmp_path, here="udp", there="udp")

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("udp"))
        send(call.caller.invite(body=SDP + LONG))
        assert (await call.callee.heard("INVITE")).message.value("via").startswith("SIP/2.0/UDP")

    play(tmp_path, call.settings, scene)


def test_a_caller_who_asked_with_sips_is_given_a_contact_of_sips(tmp_path: Path) -> None:
    """RFC 3261 §12.1.1."""
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        send = await call.caller.connect(node.at("tcp"))
        send(call.caller.invite().replace(b"INVITE sip:", b"INVITE sips:", 1))
        invite = await call.callee.heard("INVITE")
        invite.back(call.callee.answer(180, invite.message))
        assert (await call.caller.heard("SIP/2.0 180")).message.contact.startswith("sips:700")

    play(tmp_path, call.settings, scene)


def test_closing_says_good_bye_before_it_hangs_up(tmp_path: Path) -> None:
    call = Call(tmp_path)

    async def scene(node: Node) -> None:
        await call.set_up(node)
        call.send(options(call.caller, 1))
        await call.caller.heard("SIP/2.0 200")  # so the ACK has been heard, too
        node.shell.enter(node.shell.switch.release_all)
        await node.shell.streams.close()
        await call.caller.heard("BYE")
        await call.callee.heard("BYE")
        assert node.shell.streams.endings["shutdown"] == 2

    play(tmp_path, call.settings, scene)
