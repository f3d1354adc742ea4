"""/v1/bindings: made, changed, extended, ended; each refusal names field and rule; numbers are shown to their giver."""

import csv
import io
import json
from typing import Any

import pytest

from routing.store.reader import Reader
from tests.api.things import binding
from tests.api.world import DAY, HOUR, NOW, OTHER, PROVIDER, USER, A, B, World

E164_A, E164_B = f"+86{A}", f"+86{B}"


async def made(api: World, **changes: object) -> dict[str, Any]:
    answer = await api.platform.post("/v1/bindings", binding(**changes))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_binding_is_in_force_when_the_answer_arrives(api: World) -> None:
    """The switch reads the same file."""
    reader = Reader(api.directory / "bindings.db", api.seal)
    shown = await made(api)
    found = reader.find(shown["x"], E164_A)
    assert found is not None
    assert (found.id, found.b, found.live(NOW)) == (shown["id"], E164_B, True)
    await api.platform.post(f"/v1/bindings/{shown['id']}/end")
    found = reader.find(shown["x"], E164_A)
    assert found is not None
    assert not found.live(NOW)
    reader.close()


async def test_a_binding_is_shown_with_all_that_is_kept(api: World) -> None:
    shown = await made(api, industrial_id="700.100.1/1", most_calls=3, ring_seconds=20, direction="a_to_b")
    answer = await api.platform.get(f"/v1/bindings/{shown['id']}")
    detail = answer.json()
    assert answer.headers["etag"] == '"1"'
    assert {key: detail[key] for key in shown} == shown
    assert (detail["real_name"], detail["consent"], detail["created_ms"]) == ("rn-1", "c-1", NOW)
    assert (detail["a"], detail["b"]) == ("138****8000", "139****9000")
    assert (detail["state"], detail["provider"], detail["business_user"]) == ("live", PROVIDER, USER)


async def test_a_given_number_and_two_aliases(api: World) -> None:
    shown = await made(api, mode="AXYB", x="+86700123456780001", y="700123456780002")
    assert (shown["x"], shown["y"], shown["mode"]) == ("700123456780001", "700123456780002", "AXYB")
    found = (await api.platform.get("/v1/bindings?x=700123456780002")).json()["items"]
    assert [each["id"] for each in found] == [shown["id"]]


async def test_a_binding_of_a_group(api: World) -> None:
    group = (
        await api.platform.post("/v1/groups", {"business_user": USER, "name": "g", "members": [A, "13500135000"]})
    ).json()
    shown = await made(api, mode="GXB", group=group["id"])
    found = (await api.platform.get(f"/v1/bindings?group={group['id']}")).json()["items"]
    assert [each["id"] for each in found] == [shown["id"]]


REFUSALS: list[tuple[dict[str, object], int, str, str]] = [
    ({"a": "120"}, 422, "a", "R13"),
    ({"a": "700123456780009"}, 422, "a", "R3"),
    ({"b": A}, 422, "b", "key"),
    ({"x": "123"}, 422, "x", "R3"),
    ({"x": "700999999990001"}, 422, "x", "R3"),
    ({"x": "700123456790001"}, 422, "business_user", "R5"),
    ({"business_user": "shop-9"}, 422, "business_user", "R6"),
    ({"scenario": "ride"}, 422, "scenario", "R17"),
    ({"order_id": ""}, 422, "order_id", "R5"),
    ({"real_name": ""}, 422, "real_name", "R16"),
    ({"consent": " "}, 422, "consent", "R16"),
    ({"provider": OTHER}, 422, "provider", "R6"),
    ({"expires_ms": NOW}, 422, "expires_ms", "form"),
    ({"expires_ms": NOW + 91 * DAY}, 422, "expires_ms", "R17"),
    ({"expires_ms": -1}, 422, "expires_ms", "form"),
    ({"expires_ms": "1795086400000"}, 422, "expires_ms", "form"),
    ({"expires_ms": 1795086400000.5}, 422, "expires_ms", "form"),
    ({"ring_seconds": 181}, 422, "ring_seconds", "form"),
    ({"most_calls": True}, 422, "most_calls", "form"),
    ({"mode": "AX"}, 422, "mode", "form"),
    ({"direction": "up"}, 422, "direction", "form"),
    ({"colour": "red"}, 422, "colour", "form"),
    ({"order_id": "a\nb"}, 422, "order_id", "form"),
    ({"order_id": "x" * 129}, 422, "order_id", "form"),
]


@pytest.mark.parametrize(("changes", "status", "field", "rule"), REFUSALS)
async def test_each_refusal_names_field_and_rule(
    api: World, changes: dict[str, object], status: int, field: str, rule: str
) -> None:
    alone = await api.platform.post("/v1/bindings", binding(**changes))
    assert (alone.status_code, alone.json()["field"], alone.json()["rule"]) == (status, field, rule), alone.text
    batch = (await api.platform.post("/v1/bindings/batch", {"items": [binding(**changes)]})).json()
    (item,) = batch["items"]
    assert (batch["made"], batch["refused"], item["binding"]) == (0, 1, None)
    assert (item["status"], item["errors"][0]["field"], item["errors"][0]["rule"]) == (status, field, rule)
    assert await api.store.bindings.list() == ()


async def test_a_batch_is_answered_item_by_item(api: World) -> None:
    first = await made(api, a="13800138001")
    items: list[object] = [
        binding(a="13800138002"),
        binding(a="13800138001", x=first["x"]),
        {"a": 7},
        binding(a="13800138003", provider=OTHER),
        binding(a="13800138004"),
    ]
    answer = await api.platform.post("/v1/bindings/batch", {"items": items})
    assert answer.status_code == 200
    body = answer.json()
    assert [item["status"] for item in body["items"]] == [201, 409, 422, 422, 201]
    assert (body["made"], body["refused"]) == (2, 3)
    assert body["items"][0]["binding"]["a"] == "138****8002"
    assert body["items"][0]["errors"] == []
    assert len(body["items"][2]["errors"]) == len(binding())
    assert len(await api.store.bindings.list()) == 3


@pytest.mark.parametrize("items", [[], [binding()] * 1001])
async def test_a_batch_has_bounds(api: World, items: list[object]) -> None:
    answer = await api.platform.post("/v1/bindings/batch", {"items": items})
    assert (answer.status_code, answer.json()["field"]) == (422, "items")


async def test_a_real_number_is_shown_to_the_provider_that_gave_it(api: World) -> None:
    answer = await api.platform.post("/v1/bindings?reveal=true", binding())
    shown = answer.json()
    assert (shown["a"], shown["b"]) == (E164_A, E164_B)
    for path in (f"/v1/bindings/{shown['id']}?reveal=true", "/v1/bindings?reveal=true", "/v1/bindings/export?reveal=1"):
        assert E164_A in (await api.platform.get(path)).text
        for client in (api.operator, api.auditor):
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["field"]) == (403, "reveal")
        assert A not in (await api.other.get(path)).text


async def test_a_binding_is_extended(api: World) -> None:
    shown = await made(api)
    answer = await api.platform.post(f"/v1/bindings/{shown['id']}/extend", {"expires_ms": NOW + 2 * DAY})
    assert answer.json()["expires_ms"] == NOW + 2 * DAY
    shorter = await api.platform.post(f"/v1/bindings/{shown['id']}/extend", {"expires_ms": NOW + HOUR})
    assert (shorter.status_code, shorter.json()["field"]) == (422, "expires_ms")


async def test_who_is_suspended_extends_nothing_and_keeps_what_is_live(api: World) -> None:
    shown = await made(api)
    await api.operator.post(f"/v1/providers/{PROVIDER}/suspend", {"reason": "licence"})
    for path, body in (
        ("/v1/bindings", binding(a="13500135000")),
        (f"/v1/bindings/{shown['id']}/extend", {"expires_ms": NOW + 2 * DAY}),
    ):
        answer = await api.platform.post(path, body)
        assert (answer.status_code, answer.json()["rule"]) == (422, "R7")
    assert (await api.platform.get(f"/v1/bindings/{shown['id']}")).json()["state"] == "live"
    assert (await api.platform.post(f"/v1/bindings/{shown['id']}/end")).status_code == 200


async def test_a_binding_is_ended_once_and_for_a_reason(api: World) -> None:
    shown = await made(api)
    path = f"/v1/bindings/{shown['id']}"
    answer = await api.platform.post(f"{path}/end", {"reason": "delivered"})
    assert (answer.json()["state"], answer.json()["ended_ms"]) == ("ended", NOW)
    assert (await api.platform.get(path)).json()["ended_reason"] == "delivered"
    api.clock.now_ms += HOUR
    assert (await api.platform.post(f"{path}/end")).json()["ended_ms"] == NOW
    late = await api.platform.post(f"{path}/extend", {"expires_ms": NOW + 2 * DAY})
    assert (late.status_code, late.json()["rule"]) == (409, "ended")


async def test_a_party_is_followed_by_another(api: World) -> None:
    reader = Reader(api.directory / "bindings.db", api.seal)
    shown = await made(api)
    body = {"b": "13700137000", "real_name": "rn-2", "consent": "c-2"}
    answer = await api.platform.post(f"/v1/bindings/{shown['id']}/parties", body)
    assert answer.json()["b"] == "137****7000"
    found = reader.find(shown["x"], "+8613700137000")
    assert found is not None
    assert found.a == E164_A
    reader.close()
    unproved = await api.platform.post(f"/v1/bindings/{shown['id']}/parties", {**body, "b": B, "consent": ""})
    assert (unproved.status_code, unproved.json()["rule"]) == (422, "R16")


async def test_limits_are_changed_one_by_one(api: World) -> None:
    shown = await made(api, most_calls=3)
    answer = await api.platform.patch(
        f"/v1/bindings/{shown['id']}", {"direction": "b_to_a"}, headers={"If-Match": '"1"'}
    )
    assert (answer.json()["direction"], answer.json()["most_calls"]) == ("b_to_a", 3)
    assert (await api.platform.get(f"/v1/bindings/{shown['id']}")).headers["etag"] == '"2"'


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["o-4", "o-3", "o-2", "o-1"]),
        ("?order_id=o-2", ["o-2"]),
        ("?state=ended", ["o-1"]),
        ("?state=live", ["o-4", "o-3"]),
        ("?state=waiting", ["o-2"]),
        (f"?business_user={USER}&state=live", ["o-4", "o-3"]),
        ("?business_user=shop-2", []),
        ("?x=700123456780003", ["o-3"]),
        (f"?provider={OTHER}", ["o-4", "o-3", "o-2", "o-1"]),
    ],
)
async def test_a_list_is_narrowed(api: World, query: str, expected: list[str]) -> None:
    """A provider's own, whichever it asks for."""
    first = await made(api, a="13800138001", order_id="o-1")
    await api.platform.post(f"/v1/bindings/{first['id']}/end")
    await made(api, a="13800138002", order_id="o-2", starts_ms=NOW + HOUR)
    await made(api, a="13800138003", order_id="o-3", x="700123456780003")
    await made(api, a="13800138004", order_id="o-4")
    answer = await api.platform.get(f"/v1/bindings{query}")
    assert [each["order_id"] for each in answer.json()["items"]] == expected


@pytest.mark.parametrize("query", ["?x=123", "?state=dead", "?reveal=maybe"])
async def test_a_filter_that_is_wrong_is_refused(api: World, query: str) -> None:
    for path in ("/v1/bindings", "/v1/bindings/export"):
        answer = await api.platform.get(path + query)
        assert answer.status_code == 422
        assert answer.json()["field"] == query[1:].partition("=")[0]


async def test_what_is_exported_is_what_an_import_takes(api: World) -> None:
    shown = await made(api)
    await made(api, a="13500135000", order_id="order-2")
    answer = await api.platform.get("/v1/bindings/export?reveal=true&order_id=order-1")
    (line,) = answer.text.splitlines()
    exported = json.loads(line)
    assert (exported["id"], exported["a"], exported["consent"]) == (shown["id"], E164_A, "c-1")
    await api.platform.post(f"/v1/bindings/{shown['id']}/end")
    again = await api.platform(
        "POST", "/v1/imports", content=answer.content, headers={"Content-Type": answer.headers["content-type"]}
    )
    assert again.status_code == 202


async def test_an_export_is_masked_and_a_table_if_wanted(api: World) -> None:
    await made(api)
    answer = await api.auditor.get("/v1/bindings/export?format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    ((row,)) = list(csv.DictReader(io.StringIO(answer.text)))
    assert (row["a"], row["b"], row["provider"]) == ("138****8000", "139****9000", PROVIDER)
    assert (await api.other.get("/v1/bindings/export")).text == ""


async def test_numbers_shown_in_full_are_in_the_audit(api: World) -> None:
    made = (await api.platform.post("/v1/bindings", binding())).json()
    group = await api.store.groups.add(USER, "couriers", ("13500135000",), NOW, by="test")
    paths = ("bindings", f"bindings/{made['id']}", "bindings/export", "groups", f"groups/{group.id}")
    for path in paths:
        assert (await api.platform.get(f"/v1/{path}")).status_code == 200
        assert (await api.auditor.get(f"/v1/{path}?reveal=true")).status_code == 403
    deeds = await api.store.audit.list(provider=PROVIDER)
    assert [deed for deed in deeds if deed.action == "reveal"] == []
    for path in paths:
        assert (await api.platform.get(f"/v1/{path}?reveal=true")).status_code == 200
    deeds = await api.store.audit.list(provider=PROVIDER)
    assert [(deed.kind, deed.id) for deed in reversed(deeds) if deed.action == "reveal"] == [
        ("binding", "*"),
        ("binding", made["id"]),
        ("binding", "*"),
        ("group", "*"),
        ("group", group.id),
    ]
    assert {deed.by for deed in deeds if deed.action == "reveal"} == {f"key:{api.platform.key.split('_')[1]}"}
