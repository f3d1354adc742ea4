"""/v1/calls: what the switch says of its calls, narrowed to whose they are, and hanging up."""

import base64
from typing import Any

import pytest

from routing.errors import StoreError
from tests.api.world import OTHER, PROVIDER, World

CALL: dict[str, Any] = {
    "id": "call-1",
    "state": "up",
    "x": "700123456780001",
    "ingress": "carrier-a",
    "egress": "carrier-b",
    "caller": "138****8000",
    "callee": "139****9000",
    "since_ms": 5,
    "answered_ms": 7,
    "number": 41,
    "provider": PROVIDER,
    "business_user": "shop-1",
    "binding_id": "b-1",
    "order_id": "o-1",
}


async def test_an_operator_sees_all_and_which_carriers(api: World) -> None:
    api.switch.answer = {"calls": [CALL]}
    answer = await api.operator.get("/v1/calls")
    shown = {key: value for key, value in CALL.items() if key != "number"}
    assert answer.json() == {"items": [shown], "next": None}
    assert api.switch.asked == [{"command": "calls", "provider": "", "after": 0, "limit": 101}]


async def test_a_provider_sees_its_own_and_no_carriers(api: World) -> None:
    api.switch.answer = {"calls": [CALL]}
    (call,) = (await api.platform.get(f"/v1/calls?provider={OTHER}")).json()["items"]
    assert (call["ingress"], call["egress"], call["provider"]) == ("", "", PROVIDER)
    assert api.switch.asked[0]["provider"] == PROVIDER
    await api.auditor.get(f"/v1/calls?provider={OTHER}")
    assert api.switch.asked[1]["provider"] == OTHER


async def test_lists_come_in_pages(api: World) -> None:
    api.switch.answer = {"calls": [CALL | {"id": f"call-{n}", "number": n} for n in (3, 5, 9)]}
    first = (await api.operator.get("/v1/calls?limit=2")).json()
    assert [each["id"] for each in first["items"]] == ["call-3", "call-5"]
    await api.operator.get(f"/v1/calls?limit=2&cursor={first['next']}")
    assert [asked["after"] for asked in api.switch.asked] == [0, 5]


@pytest.mark.parametrize("place", ["x", "-1", "9" * 30])
async def test_a_cursor_that_no_list_has_given_is_refused(api: World, place: str) -> None:
    cursor = base64.urlsafe_b64encode(f"/v1/calls\n{place}".encode()).decode().rstrip("=")
    answer = await api.operator.get(f"/v1/calls?cursor={cursor}")
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")
    assert api.switch.asked == []


async def test_one_call_is_asked_for_by_its_id(api: World) -> None:
    api.switch.answer = {"calls": [CALL]}
    assert (await api.platform.get("/v1/calls/call-1")).json()["id"] == "call-1"
    assert api.switch.asked == [{"command": "calls", "provider": PROVIDER, "id": "call-1", "limit": 1}]
    api.switch.answer = {"calls": []}
    assert (await api.platform.get("/v1/calls/call-1")).status_code == 404


async def test_hanging_up_says_whose_call_it_must_be_and_is_in_the_audit(api: World) -> None:
    api.switch.answer = {"ok": True, "calls": [CALL]}
    answer = await api.platform.post("/v1/calls/call-1/hang-up")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.switch.asked == [
        {"command": "calls", "provider": PROVIDER, "id": "call-1", "limit": 1},
        {"command": "hangup", "id": "call-1", "provider": PROVIDER},
    ]
    done, asked = await api.store.audit.list(kind="call")
    assert (asked.action, asked.id, asked.provider) == ("hang-up", "call-1", PROVIDER)
    assert (done.action, done.id, done.provider) == ("hung-up", "call-1", PROVIDER)
    await api.operator.post("/v1/calls/call-1/hang-up")
    assert api.switch.asked[3]["provider"] == ""
    assert [deed.provider for deed in await api.store.audit.list(kind="call")] == [PROVIDER] * 4


async def test_no_call_is_cut_that_the_audit_could_not_note(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    api.switch.answer = {"ok": True, "calls": [CALL]}
    monkeypatch.setattr(api.store.audit, "note", fail)
    assert (await api.operator.post("/v1/calls/call-1/hang-up")).status_code == 503
    assert [asked["command"] for asked in api.switch.asked] == ["calls"]


async def test_a_call_that_ends_meanwhile_is_not_there_and_the_audit_says_it_was_asked_for(api: World) -> None:
    api.switch.answer = {"error": "no live call has this id", "calls": [CALL]}
    assert (await api.platform.post("/v1/calls/call-1/hang-up")).status_code == 404
    assert [deed.action for deed in await api.store.audit.list(kind="call")] == ["not-hung-up", "hang-up"]


async def test_a_call_that_is_over_or_anothers_is_not_there(api: World) -> None:
    api.switch.answer = {"error": "no live call has this id"}
    answer = await api.platform.post("/v1/calls/call-1/hang-up")
    assert (answer.status_code, answer.json()["detail"]) == (404, "no such live call")
    assert await api.store.audit.list(kind="call") == ()


async def test_an_auditor_hangs_nobody_up(api: World) -> None:
    assert (await api.auditor.post("/v1/calls/call-1/hang-up")).status_code == 403
    assert api.switch.asked == []


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/call-1"), ("POST", "/call-1/hang-up")])
async def test_without_a_switch_it_is_a_503(api: World, method: str, path: str) -> None:
    api.switch.answer = None
    answer = await api.platform(method, f"/v1/calls{path}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_switch_that_knows_no_calls_has_none(api: World) -> None:
    api.switch.answer = {"error": "unknown command"}
    assert (await api.operator.get("/v1/calls")).json() == {"items": [], "next": None}
