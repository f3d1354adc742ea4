"""Real calls, and what their provider sees of them over HTTP: live, told by a webhook, and as records."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from routing.access import Role
from tests.system.node import ANSWERED, BUSY, CALLER, PATIENCE, RINGS, Node, until
from tests.system.phones import now_ms
from tests.webhooks.receiver import Receiver, receiving

PROVIDER = "provider-1"


class Platform:
    """The provider's own programs: a client of the API, and a webhook's receiver."""

    def __init__(self, node: Node, key: str) -> None:
        self.http = httpx.Client(
            base_url=f"http://{node.api.host}:{node.api.port}", headers={"Authorization": f"Bearer {key}"}, timeout=30
        )

    def close(self) -> None:
        self.http.close()

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


def key(node: Node, role: Role, provider: str = "") -> str:
    async def add() -> str:
        async with await node.store() as store:
            return (await store.keys.add("test", role, provider, now_ms=now_ms(), by="test"))[1]

    return asyncio.run(add())


def told(receiver: Receiver) -> dict[str, list[str]]:
    """The events of each call, in the order they came."""
    found: dict[str, list[str]] = {}
    for got in list(receiver.got):
        if got.event["data"]:
            found.setdefault(got.event["data"]["record_id"], []).append(got.event["type"])
    return found


@pytest.fixture
def platform(node: Node) -> Iterator[Platform]:
    for name in ("switch", "recorder", "api"):
        node.start(name).wait_ready()
    with closing(Platform(node, key(node, Role.PROVIDER, PROVIDER))) as platform:
        yield platform


@pytest.fixture
def stranger(node: Node) -> Iterator[Platform]:
    async def enrol() -> None:
        async with await node.store() as store:
            await store.registry.enrol("provider-2", "shop-2", "delivery", now_ms=now_ms(), by="test")

    asyncio.run(enrol())
    with closing(Platform(node, key(node, Role.PROVIDER, "provider-2"))) as stranger:
        yield stranger


def test_a_provider_follows_its_calls_while_they_live_and_afterwards(
    node: Node, platform: Platform, stranger: Platform
) -> None:
    with receiving("/hook?token=hidden") as receiver:
        made = platform.http.post("/v1/webhooks", json={"url": receiver.url})
        assert made.status_code == 201, made.text
        path = f"/v1/webhooks/{made.json()['id']}"
        assert platform.http.post(f"{path}/test").json() == {"ok": True, "status": 200, "error": ""}
        call = node.phones.place(ANSWERED.x, CALLER, None)
        assert call.answered.wait(PATIENCE)
        rings = node.phones.place(RINGS.x, CALLER, None)
        until(lambda: 180 in rings.statuses, "ringing")
        busy = node.phones.place(BUSY.x, CALLER, None)
        until(lambda: busy.final == 486, "486")
        live = {each["x"]: each for each in platform.get("/v1/calls")["items"]}
        assert {x: each["state"] for x, each in live.items()} == {ANSWERED.x: "up", RINGS.x: "setup"}
        assert (live[RINGS.x]["caller"], live[RINGS.x]["order_id"]) == ("138****8000", f"order-{RINGS.x[-4:]}")
        assert stranger.get("/v1/calls")["items"] == []
        for each in live.values():
            assert stranger.http.post(f"/v1/calls/{each['id']}/hang-up").status_code == 404
            assert platform.http.post(f"/v1/calls/{each['id']}/hang-up").status_code == 204
        until(lambda: rings.final == 480, "480")
        until(
            lambda: sum(types[-1] == "call.ended" for types in told(receiver).values()) == 3, "three calls to be told"
        )
        events = told(receiver)
        assert events[live[ANSWERED.x]["id"]] == ["call.attempted", "call.answered", "call.ended"]
        assert events[live[RINGS.x]["id"]] == ["call.attempted", "call.ended"]
        assert sorted(map(len, events.values())) == [2, 2, 3]
        ended = {got.event["data"]["x"]: got.event["data"] for got in receiver.got if got.event["type"] == "call.ended"}
        assert (ended[ANSWERED.x]["outcome"], ended[ANSWERED.x]["reason"]) == ("answered", "hung_up")
        assert (ended[BUSY.x]["outcome"], ended[BUSY.x]["status"]) == ("busy", 486)
        records = {each["record_id"]: each for each in platform.get("/v1/records")["items"]}
        assert set(records) == set(events)
        assert platform.get(f"/v1/records?x={BUSY.x}")["items"][0]["outcome"] == "busy"
        assert stranger.get("/v1/records")["items"] == []
        texts = "".join(f"{got.headers} {got.body!r}" for got in receiver.got)
        texts += "\n".join(line for process in node.processes for line in process.lines) + str(records) + str(live)
        numbers = (CALLER, *(line.callee.removeprefix("0") for line in (ANSWERED, BUSY, RINGS)))
        assert [number for number in (*numbers, "hidden") if number in texts] == []


def test_an_operator_may_have_real_numbers_told(node: Node, platform: Platform) -> None:
    with receiving() as receiver, closing(Platform(node, key(node, Role.OPERATOR))) as operator:
        body = {"url": receiver.url, "provider": PROVIDER, "reveal": True, "events": ["call.attempted"]}
        assert operator.http.post("/v1/webhooks", json=body).status_code == 201
        assert platform.http.post("/v1/webhooks", json=body).status_code == 403
        call = node.phones.place(BUSY.x, CALLER, None)
        until(lambda: call.final == 486, "486")
        until(lambda: receiver.got, "the event")
        data = receiver.got[0].event["data"]
        assert (data["a"], data["b"]) == (f"+86{CALLER}", f"+86{BUSY.callee}")
    assert [line for process in node.processes for line in process.lines if CALLER in line] == []


@pytest.mark.parametrize(
    "request_",
    [
        {"command": "calls", "after": "x"},
        {"command": "calls", "limit": None},
        {"command": "hangup", "id": "x", "provider": PROVIDER},
    ],
)
def test_the_switch_refuses_what_it_does_not_understand(node: Node, request_: dict[str, object]) -> None:
    node.switch()
    assert list(node.ask(**request_)) == ["error"]
