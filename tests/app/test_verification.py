"""The verification hook at work in a whole shell: real calls, a real server, and the record of each (R20)."""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from b2bua.app.breaker import State
from b2bua.app.config import load
from b2bua.app.config_hooks import Verification
from b2bua.app.hook_client import Heard
from b2bua.app.verification import VerificationFigures, Verifier, question
from cdr.record import Ended
from routing.binding import Mode
from routing.decide import Reason, Refusal, Route
from routing.registry import Scenario
from routing.store.sqlite import Store
from tests.app.far_ends import CALLEE, CALLER, SDP, FarEnd, Node, X, play
from tests.app.far_ends import Heard as HeardMessage
from tests.app.hook import Hook, Manner, answer, hang, raw, reset
from tests.routing.samples import BINDING
from tests.system.phones import now_ms

QUICK = "timeout_ms = 300\ndeadline_ms = 600\nretry_percent = 0\n"


class Scene:
    """A caller, a callee and a hook."""

    def __init__(
        self, directory: Path, *manners: Manner, settings: str = "", scope: str = "all", caller: type[FarEnd] = FarEnd
    ) -> None:
        self.directory = directory
        self.hook = Hook(*manners)
        self.settings = f'[verification]\nurl = "{self.hook.url}"\nscope = "{scope}"\n{settings or QUICK}'
        self.caller = self.callee = FarEnd()
        self._caller = caller

    def play(self, scene: Callable[[Node], Awaitable[None]]) -> None:
        with self.hook:
            play(self.directory, self._open, scene)

    async def _open(self) -> str:
        self.caller, self.callee = await self._caller().listen(), await FarEnd("udp", "127.0.0.2").listen()
        trunks = (
            f'[[trunk]]\nname = "caller"\npeers = ["{self.caller.me}"]\nprefixes = []\n'
            f'[[trunk]]\nname = "callee"\npeers = ["{self.callee.me}"]\nprobe_seconds = 0\n'
        )
        return self.settings + trunks

    def reload(self, node: Node, verification: str) -> None:
        """Other settings of the hook."""
        path = self.directory / "x700.toml"
        text = path.read_text().replace(self.settings, verification)
        assert text != path.read_text()
        path.write_text(text)
        node.shell.reconfigure(load(path, {}))

    async def dial(self, node: Node) -> Callable[[bytes], None]:
        send = await self.caller.connect(node.at("udp"))
        send(self.caller.invite())
        return send

    async def talk(self, node: Node) -> None:
        """A call from its INVITE to its end."""
        send = await self.dial(node)
        invite = await self.callee.heard("INVITE")
        await self.finish(send, invite)

    async def finish(self, send: Callable[[bytes], None], invite: HeardMessage) -> None:
        invite.back(self.callee.answer(200, invite.message, SDP))
        taken = (await self.caller.heard("SIP/2.0 200")).message
        send(self.caller.in_dialog("ACK", taken, 1))
        send(self.caller.in_dialog("BYE", taken, 2))
        bye = await self.callee.heard("BYE")
        bye.back(self.callee.answer(200, bye.message))
        assert (await self.caller.heard("SIP/2.0 200")).message.method == "BYE"

    async def refused(self, node: Node, status: int) -> str:
        """A call that the caller is told this of; the Reason."""
        await self.dial(node)
        heard = (await self.caller.heard(f"SIP/2.0 {status}")).message
        assert self.callee.nothing("INVITE")
        return heard.value("reason")


def test_a_call_that_the_hook_allows(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def run(node: Node) -> None:
        await scene.talk(node)
        ended = await node.ended()
        assert (ended.outcome, ended.verification) == ("answered", "passed")
        asked = scene.hook.told[0].question
        assert asked.pop("time").endswith("Z")
        assert asked == {
            "id": ended.record_id, "kind": "call", "x": X, "y": "", "binding_id": asked["binding_id"], "order_id": "1",
            "industrial_id": "", "mode": "AXB", "provider": "provider-1", "business_user": "shop-1",
            "scenario": "delivery", "calling": "a", "caller": "138****8000", "callee": "139****9000",
        }  # fmt: skip
        assert asked["binding_id"]
        figures = node.shell.verification
        assert (figures.results, figures.tries, figures.waiting) == ({"passed": 1}, 1, 0)

    scene.play(run)


def test_a_call_that_the_hook_refuses(tmp_path: Path) -> None:
    scene = Scene(tmp_path, answer(b'{"allow": false, "reason": "order_closed"}'))

    async def run(node: Node) -> None:
        assert await scene.refused(node, 403) == 'Q.850;cause=21;text="not verified"'
        ended = await node.ended()
        assert (ended.outcome, ended.reason, ended.verification) == ("refused", "verification_refused", "refused")

    scene.play(run)


def test_a_hook_without_an_answer_closes(tmp_path: Path) -> None:
    scene = Scene(tmp_path, hang)

    async def run(node: Node) -> None:
        assert await scene.refused(node, 503) == 'Q.850;cause=41;text="verification not possible"'
        ended = await node.ended()
        assert (ended.reason, ended.verification) == ("verification_failed", "failed_closed")
        assert 290 < ended.total_ms < 3000
        assert node.shell.verification.failures == {"timeout": 1}

    scene.play(run)


def test_a_hook_without_an_answer_opens_where_the_settings_say_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path, answer(b"<html>"), settings=f'{QUICK}on_failure = "open"\n')

    async def run(node: Node) -> None:
        await scene.talk(node)
        ended = await node.ended()
        assert (ended.outcome, ended.verification) == ("answered", "failed_open")

    scene.play(run)


def test_a_cancel_meanwhile_ends_the_call_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, hang, settings="timeout_ms = 2000\ndeadline_ms = 2000\n")

    async def run(node: Node) -> None:
        send = await scene.caller.connect(node.at("udp"))
        branch = "z9hG4bKcancelled"
        identity = ("P-Asserted-Identity", f"<tel:+86{CALLER}>")
        uri = f"sip:{X}@switch.example"
        call: dict[str, str] = {"call_id": "cancelled", "branch": branch}
        send(scene.caller.request("INVITE", uri, extra=[identity], body=SDP, **call))
        await scene.caller.heard("SIP/2.0 100")
        send(scene.caller.request("CANCEL", uri, **call))
        await scene.caller.heard("SIP/2.0 487", 1.5)
        ended = await node.ended()
        assert (ended.outcome, ended.verification) == ("cancelled", "")
        await node.until(lambda: not node.shell.verification.waiting)  # the hook's time is over, and changes nothing
        assert len(node.events) == 3
        assert scene.callee.nothing("INVITE")

    scene.play(run)


def test_what_changes_while_the_hook_thinks_counts(tmp_path: Path) -> None:
    """A block, or the end of the binding, must not wait for the next call."""

    def slowly(connection: Any, told: Any) -> None:
        time.sleep(0.2)
        answer()(connection, told)

    scene = Scene(tmp_path, slowly)

    async def run(node: Node) -> None:
        shell = node.shell
        decide = shell._decide

        def ended(*asked: Any, again: bool = False) -> Route | Refusal:
            decision = decide(*asked, again=again)
            assert isinstance(decision, Route)
            if not again:
                return decision
            return Refusal(Reason.BINDING_ENDED, decision.caller, decision.dialled, decision.binding)

        shell._decide = ended
        assert "binding ended" in await scene.refused(node, 403)
        record = await node.ended()
        assert (record.reason, record.verification) == ("binding_ended", "passed")

    scene.play(run)


def test_another_party_meanwhile_is_another_question(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def run(node: Node) -> None:
        shell = node.shell
        decide = shell._decide
        questions = iter([CALLEE, "13900139009", "13900139009"])

        def moved(*asked: Any, again: bool = False) -> Route:
            decision = decide(*asked, again=again)
            assert isinstance(decision, Route)
            return Route(
                decision.binding, decision.calling, decision.caller, f"+86{next(questions)}", decision.dialled,
                decision.shown, decision.trunks,
            )  # fmt: skip

        shell._decide = moved
        send = await scene.dial(node)
        invite = await scene.callee.heard("INVITE")
        assert invite.message.first.startswith("INVITE sip:13900139009@")
        await scene.finish(send, invite)
        await node.ended()
        assert [told.question["callee"] for told in scene.hook.told] == ["139****9000", "139****9009"]
        assert next(questions, None) is None

    scene.play(run)


def test_another_party_where_nobody_asks_any_more(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def run(node: Node) -> None:
        shell = node.shell
        decide = shell._decide

        def moved(*asked: Any, again: bool = False) -> Route | Refusal:
            decision = decide(*asked, again=again)
            assert isinstance(decision, Route)
            if again:
                scene.reload(node, "")
                return Route(
                    decision.binding, decision.calling, decision.caller, "+8613900139009", decision.dialled,
                    decision.shown, decision.trunks,
                )  # fmt: skip
            return decision

        shell._decide = moved
        await scene.talk(node)
        ended = await node.ended()
        assert ended.verification == ""

    scene.play(run)


@pytest.mark.parametrize(("asks", "word", "questions"), [(True, "passed", 1), (False, "skipped", 0)])
def test_only_scenarios_that_ask_for_it(tmp_path: Path, asks: bool, word: str, questions: int) -> None:
    """The switch that runs knows it as soon as the registry does."""
    scene = Scene(tmp_path, scope="scenario")

    async def run(node: Node) -> None:
        settings = load(tmp_path / "x700.toml", {})
        async with await Store.open(settings.routing.store, settings.seal()) as store:
            scenario = await store.registry.get(Scenario, "shop-1/delivery")
            assert scenario is not None
            await store.registry.change(replace(scenario, title="asked", verify=asks), now_ms(), by="test")
        version = node.shell._plan_version
        await node.until(lambda: node.shell._plan_version > version)
        await scene.talk(node)
        ended = await node.ended()
        assert ended.verification == word
        assert len(scene.hook.told) == questions

    scene.play(run)


def test_a_reload_changes_the_hook_and_takes_it_away(tmp_path: Path) -> None:
    scene = Scene(tmp_path, answer(b'{"allow": false}'))

    async def run(node: Node) -> None:
        with Hook() as other:
            after = scene.settings.replace(scene.hook.url, other.url)
            scene.reload(node, after)
            await scene.talk(node)
            assert (len(scene.hook.told), len(other.told)) == (0, 1)
            scene.settings = after
            scene.reload(node, "")
            await scene.talk(node)
            assert len(other.told) == 1
        await node.until(lambda: sum(isinstance(event, Ended) for event in node.events) == 2)
        words = [event.verification for event in node.events if isinstance(event, Ended)]
        assert words == ["passed", ""]

    scene.play(run)


def test_what_was_asked_before_a_reload_is_answered(tmp_path: Path) -> None:
    scene = Scene(tmp_path, hang)

    async def run(node: Node) -> None:
        await scene.dial(node)
        await node.until(lambda: scene.hook.told)
        scene.reload(node, "")
        await scene.caller.heard("SIP/2.0 503")
        ended = await node.ended()
        assert ended.verification == "failed_closed"

    scene.play(run)


def test_a_shell_that_stops_does_not_wait_for_the_hook(tmp_path: Path) -> None:
    scene = Scene(tmp_path, hang, settings="timeout_ms = 3000\ndeadline_ms = 3500\n")
    stopped: list[float] = []

    async def run(node: Node) -> None:
        await scene.dial(node)
        await node.until(lambda: scene.hook.told)
        node.shell.enter(node.shell.switch.release_all)
        stopped.append(time.monotonic())

    scene.play(run)
    assert time.monotonic() - stopped[0] < 2.0


class Deaf(FarEnd):
    """Hears answers to OPTIONS alone."""

    async def hear(self, wire: bytes, back: Callable[[bytes], None]) -> None:
        if b" OPTIONS\r\n" in wire:
            await super().hear(wire, back)


@pytest.mark.parametrize("breaker", [50, 10_000], ids=["breaker", "no_breaker"])
@pytest.mark.parametrize(
    "manner", [hang, reset, answer(b" " * 3_000_000), raw(b"\r\n" * 500_000)], ids=["hangs", "resets", "3_MB", "floods"]
)
def test_whatever_the_hook_does_signalling_is_not_delayed(tmp_path: Path, manner: Manner, breaker: int) -> None:
    """Two hundred calls a second are put to it; other requests are answered as if there were no hook."""
    scene = Scene(tmp_path, manner, caller=Deaf, settings=f"{QUICK}breaker_failures = {breaker}\n")

    async def run(node: Node) -> None:
        send = await scene.caller.connect(node.at("udp"))
        uri = f"sip:{node.at('udp').host}"

        async def wait() -> float:
            began = time.monotonic()
            send(scene.caller.request("OPTIONS", uri))
            await scene.caller.heard("SIP/2.0 200")
            return time.monotonic() - began

        idle = [await wait() for _ in range(50)]
        waits: list[float] = []
        for number in range(200):
            send(scene.caller.invite(call_id=f"call-{number}"))
            if number % 4 == 0:
                waits.append(await wait())
            await asyncio.sleep(0.005)
        await node.until(lambda: not node.shell.switch.active_calls)
        words = {event.verification for event in node.events if isinstance(event, Ended)}
        assert words == {"failed_closed"}
        assert (node.shell.verification.failures["breaker"] > 50) == (breaker < 200)
        # an answer of the hook would be 300 ms away; a busy machine answers nobody quickly
        assert statistics.median(waits) < max(0.03, 10 * statistics.median(idle)), (idle, waits)

    scene.play(run)


# the verifier alone


class FakeClient:
    """Says what the test says."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.stopped = 0

    def ask(self, number: int, identifier: str, body: bytes) -> None:
        self.asked.append(number)

    def stop(self) -> None:
        self.stopped += 1

    def join(self, seconds: float) -> None:
        assert self.stopped


class Alone:
    """A verifier with such a client. ``words`` are the answers that came by callback, ``log`` the events."""

    def __init__(self, **settings: Any) -> None:
        self.figures = VerificationFigures()
        self.log: list[str] = []
        self.words: list[str] = []
        values = Verification(url="http://127.0.0.1:1/", scope="all", **settings)
        self.verifier = Verifier(values, SecretStr(""), self.figures, lambda event, **_: self.log.append(event))
        self.verifier._client.stop()
        self.verifier._client.join(2.0)
        self.client = FakeClient()
        self.verifier._client = self.client  # type: ignore[assignment]

    def ask(self) -> str:
        return self.verifier.ask("record", b"{}", self.words.append)

    def hear(self, allow: bool | None, *failures: str) -> None:
        self.verifier._heard(self.client.asked.pop(0), Heard(allow, failures, 1, 0.01))


async def test_a_hook_that_fails_is_left_alone_for_a_while_and_then_tried() -> None:
    alone = Alone(breaker_failures=3, breaker_seconds=0.05)
    for _ in range(4):
        assert alone.ask() == ""
    for _ in range(4):
        alone.hear(None, "timeout")
    assert alone.words == ["failed_closed"] * 4
    assert alone.ask() == "failed_closed"
    assert alone.figures.state is State.OPEN
    await asyncio.sleep(0.06)
    assert alone.ask() == ""
    assert alone.figures.state is State.HALF_OPEN
    assert alone.ask() == "failed_closed"
    alone.hear(True)
    assert alone.ask() == ""
    assert alone.words[4:] == ["passed"]
    assert alone.log == ["verification_suspended", "verification_resumed"]
    assert alone.figures.failures == {"timeout": 4, "breaker": 2}
    assert alone.figures.results == {"failed_closed": 6, "passed": 1}


async def test_so_many_at_one_time_and_no_more() -> None:
    alone = Alone(connections=2, on_failure="open")
    assert [alone.ask() for _ in range(3)] == ["", "", "failed_open"]
    alone.hear(False)
    assert alone.ask() == ""
    assert alone.figures.failures == {"busy": 1}
    assert alone.figures.waiting == 2
    assert alone.words == ["refused"]


async def test_a_retired_verifier_answers_what_it_was_asked_and_stops() -> None:
    alone = Alone()
    alone.ask()
    alone.ask()
    alone.verifier.retire()
    alone.hear(True)
    assert alone.client.stopped == 0
    alone.hear(True)
    assert (alone.client.stopped, alone.words) == (1, ["passed"] * 2)
    alone.verifier.close()
    assert alone.client.stopped == 1


async def test_an_idle_verifier_stops_when_it_is_retired() -> None:
    alone = Alone()
    alone.verifier.retire()
    assert alone.client.stopped == 1
    other = Alone()
    other.ask()
    other.verifier.close()
    assert other.client.stopped == 1


async def test_an_answer_that_comes_after_the_end_of_the_loop_is_nobody_s() -> None:
    alone = Alone()
    loop = asyncio.new_event_loop()
    loop.close()
    alone.verifier._loop = loop
    alone.verifier._tell(0, Heard(True, (), 1, 0.0))
    assert alone.words == []


def test_numbers_are_masked_in_every_mode() -> None:
    for mode in Mode:
        binding = replace(BINDING, mode=mode, x=X, y="700123456780002")
        route = Route(binding, "b", BINDING.b, BINDING.a, "700123456780002", X, ("carrier-a",))
        body = question("record-1", "message", route, 1_800_000_000_123)
        told = json.loads(body)
        assert (told["x"], told["y"], told["mode"], told["kind"]) == (X, "700123456780002", mode.value, "message")
        assert told["time"] == "2027-01-15T08:00:00.123Z"
        for number in (BINDING.a, BINDING.b):
            assert number.removeprefix("+86") not in body.decode()
