"""Registry, blocks, numbers, groups, policy, credit, reports and audit, as their resources show them."""

from typing import Any

import pytest

from routing.store.reader import Reader
from tests.api.things import binding, provide
from tests.api.world import BLOCK, DAY, HOUR, NOW, OTHER, PROVIDER, USER, A, World

MUST = {"If-Match": "*"}


async def created(api: World, path: str, body: dict[str, object]) -> dict[str, Any]:
    answer = await api.operator.post(path, body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    looked = await api.operator.get(answer.headers["location"])
    assert looked.json() == shown
    if "revision" in shown:
        assert looked.headers["etag"] == answer.headers["etag"] == '"1"'
    return shown


# registry


async def test_everything_a_binding_needs_is_registered_through_the_api(api: World) -> None:
    await created(api, "/v1/providers", {"id": "platform-3", "name": "Third", "licence": "B2-1"})
    await created(
        api, "/v1/business-users",
        {"id": "shop-3", "provider": "platform-3", "name": "Shop", "caps": {"per_hour": 9}},
    )  # fmt: skip
    await created(
        api, "/v1/contracts", {"id": "c-3", "provider": "platform-3", "business_user": "shop-3", "reference": "r"}
    )
    scenario = await created(
        api,
        "/v1/scenarios",
        {
            "business_user": "shop-3",
            "name": "ride",
            "windows": ["mon-fri 08:00-22:00"],
            "caps": {"caller": {"distinct_x": 5}, "binding": {"per_day": 9}},
            "longest_days": 3,
        },
    )
    assert scenario["windows"] == ["mon-fri 08:00-22:00"]
    assert scenario["caps"]["caller"]["distinct_x"] == 5
    await created(
        api,
        "/v1/blocks",
        {"prefix": "70033333333", "provider": "platform-3", "business_user": "shop-3", "state": "active"},
    )
    made = await api.operator.post("/v1/bindings", binding(business_user="shop-3", scenario="ride"))
    assert made.status_code == 201, made.text
    assert (made.json()["provider"], made.json()["x"][:11]) == ("platform-3", "70033333333")


@pytest.mark.parametrize(
    ("path", "body", "field", "rule"),
    [
        ("/v1/providers", {"id": "Platform 3", "name": "x"}, "id", "form"),
        ("/v1/providers", {"id": "p-3", "name": " "}, "name", "R6"),
        ("/v1/business-users", {"id": "s-3", "name": "x", "provider": "nobody"}, "provider", "R6"),
        (
            "/v1/business-users",
            {"id": "s-3", "name": "x", "provider": PROVIDER, "credit_code": "1"},
            "credit_code",
            "R6",
        ),
        (
            "/v1/business-users",
            {"id": "s-3", "name": "x", "provider": PROVIDER, "caps": {"distinct_x": 1}},
            "caps.distinct_x",
            "R14",
        ),
        ("/v1/contracts", {"id": "c-3", "provider": OTHER, "business_user": USER, "reference": "r"}, "provider", "R6"),
        (
            "/v1/contracts",
            {"id": "c-3", "provider": PROVIDER, "business_user": USER, "reference": "r", "starts_ms": 2, "ends_ms": 1},
            "ends_ms",
            "form",
        ),
        ("/v1/scenarios", {"business_user": "nobody", "name": "x"}, "business_user", "R6"),
        ("/v1/scenarios", {"business_user": USER, "name": "x", "windows": ["at night"]}, "windows", "form"),
        ("/v1/scenarios", {"business_user": USER, "name": "x", "longest_days": 0}, "longest_days", "form"),
        ("/v1/blocks", {"prefix": "70112345678", "provider": PROVIDER, "business_user": USER}, "prefix", "R3"),
        ("/v1/blocks", {"prefix": "70012345670", "provider": OTHER, "business_user": USER}, "business_user", "R6"),
        (
            "/v1/blocks",
            {"prefix": "70012345670", "provider": PROVIDER, "business_user": USER, "state": "frozen"},
            "state",
            "R18",
        ),
        ("/v1/groups", {"business_user": "nobody", "name": "x"}, "business_user", "R6"),
        ("/v1/groups", {"business_user": USER, "name": "x", "members": ["120"]}, "member", "R13"),
        ("/v1/blocklist", {"kind": "caller", "value": "120", "reason": "x"}, "value", "R13"),
        ("/v1/blocklist", {"kind": "x", "value": "120", "reason": "x"}, "value", "R3"),
        ("/v1/blocklist", {"kind": "binding", "value": "b", "reason": "x", "expires_ms": 1}, "expires_ms", "R12"),
        (f"/v1/credit/{USER}/entries", {"violation": "complaint", "note": "x", "times": 0}, "times", "R19"),
        (f"/v1/credit/{USER}/entries", {"violation": "complaint", "note": "x", "day": "today"}, "day", "form"),
    ],
)
async def test_what_cannot_be_registered_is_told_by_field_and_rule(
    api: World, path: str, body: dict[str, object], field: str, rule: str
) -> None:
    answer = await api.operator.post(path, body)
    assert answer.status_code == 422, answer.text
    told = answer.json()
    assert told["rule"] == rule, told
    assert told["field"].startswith(field), told


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/providers", {"id": PROVIDER, "name": "x"}),
        ("/v1/business-users", {"id": USER, "name": "x", "provider": PROVIDER}),
        ("/v1/contracts", {"id": f"{USER}.enrolled", "provider": PROVIDER, "business_user": USER, "reference": "r"}),
        ("/v1/scenarios", {"business_user": USER, "name": "delivery"}),
        ("/v1/blocks", {"prefix": BLOCK, "provider": PROVIDER, "business_user": USER}),
    ],
)
async def test_what_is_there_already_is_a_conflict(api: World, path: str, body: dict[str, object]) -> None:
    assert (await api.operator.post(path, body)).status_code == 409


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/providers/{id}", {"name": "new", "licence": "B2-9"}),
        ("/v1/business-users/{id}", {"name": "new", "caps": {"per_day": 5}}),
        ("/v1/contracts/{id}", {"reference": "new", "ends_ms": NOW + DAY}),
        (
            "/v1/scenarios/{business_user}/{name}",
            {
                "title": "new", "longest_days": 2, "direction": "a_to_b", "windows": ["sat-sun 10:00-12:00"],
                "messages": False, "verify": True, "ring_seconds": 30, "longest_seconds": 600,
            },
        ),
    ],
)  # fmt: skip
async def test_what_is_changed_is_shown_and_the_rest_stays(api: World, path: str, body: dict[str, Any]) -> None:
    target = (await provide(api)).fill(path)
    before = (await api.operator.get(target)).json()
    after = (await api.operator.patch(target, body, headers=MUST)).json()
    expected = {**before, **body, "revision": before["revision"] + 1}
    if "caps" in body:
        expected["caps"] = {**before["caps"], **body["caps"]}
    assert after == expected
    assert (await api.operator.get(target)).json() == after


async def test_caps_of_a_scenario_are_changed(api: World) -> None:
    target = f"/v1/scenarios/{USER}/delivery"
    answer = await api.operator.patch(target, {"caps": {"total": {"concurrent": 2}}}, headers=MUST)
    assert answer.json()["caps"]["total"]["concurrent"] == 2


@pytest.mark.parametrize(
    "path",
    ["/v1/providers/{id}", "/v1/business-users/{id}", "/v1/contracts/{id}", "/v1/scenarios/{business_user}/{name}"],
)
async def test_states_are_moved_with_a_reason(api: World, path: str) -> None:
    target = (await provide(api)).fill(path)
    for deed, state in (("suspend", "suspended"), ("resume", "active"), ("terminate", "terminated")):
        answer = await api.operator.post(f"{target}/{deed}", {"reason": f"to {deed}"})
        assert (answer.json()["state"], answer.json()["reason"]) == (state, f"to {deed}")
        assert answer.json()["since_ms"] == NOW
    assert (await api.operator.post(f"{target}/resume", {"reason": "again"})).status_code == 409
    assert (await api.operator.post(f"{target}/sell", {"reason": "x"})).status_code == 422
    assert (await api.operator.post(f"{target}/suspend", {})).status_code == 422


async def test_lists_of_the_registry_are_narrowed(api: World) -> None:
    await api.operator.post(f"/v1/business-users/{USER}/suspend", {"reason": "x"})

    async def ids(path: str) -> list[str]:
        items = (await api.operator.get(path)).json()["items"]
        return [item.get("id") or item["business_user"] for item in items]

    assert await ids("/v1/business-users?state=suspended") == [USER]
    assert await ids(f"/v1/business-users?provider={OTHER}") == ["shop-2"]
    assert await ids(f"/v1/contracts?business_user={USER}") == [f"{USER}.enrolled"]
    assert await ids(f"/v1/scenarios?provider={OTHER}") == ["shop-2"]
    assert await ids("/v1/providers?state=terminated") == []


async def test_a_provider_registers_its_own_but_sets_no_caps(api: World) -> None:
    answer = await api.platform.post("/v1/business-users", {"id": "shop-3", "name": "x"})
    assert (answer.status_code, answer.json()["provider"]) == (201, PROVIDER)
    contract = await api.platform.post("/v1/contracts", {"id": "c-3", "business_user": "shop-3", "reference": "r"})
    assert (contract.status_code, contract.json()["provider"]) == (201, PROVIDER)
    for method, path, body in (
        ("POST", "/v1/business-users", {"id": "shop-4", "name": "x", "caps": {"per_day": 1}}),
        ("PATCH", f"/v1/business-users/{USER}", {"caps": {"per_day": 0}}),
    ):
        refused = await api.platform(method, path, json=body, headers=MUST)
        assert (refused.status_code, refused.json()["field"]) == (403, "caps")


# blocks, numbers, reports


async def test_a_block_goes_through_its_life(api: World) -> None:
    body = {"prefix": "70055555555", "provider": PROVIDER, "business_user": USER}
    block = await created(api, "/v1/blocks", body)
    assert (block["state"], block["activated_ms"]) == ("allocated", 0)
    waiting = (await api.platform.get("/v1/reports/activations")).json()["items"]
    assert [each["prefix"] for each in waiting] == ["70055555555"]
    assert waiting[0]["due_ms"] > NOW
    path = "/v1/blocks/70055555555"
    reader = Reader(api.directory / "bindings.db", api.seal)
    for deed, state in (
        ("activate", "active"),
        ("freeze", "frozen"),
        ("thaw", "active"),
        ("freeze", "frozen"),
        ("return", "returned"),
    ):
        before = reader.changes()
        answer = await api.operator.post(f"{path}/{deed}", {"reason": "x"})
        assert answer.json()["state"] == state
        assert reader.changes() != before  # the switch follows
    reader.close()
    assert (await api.operator.post(f"{path}/thaw")).status_code == 409
    assert (await api.operator.get(path)).json()["returned_ms"] == NOW


async def test_a_block_with_live_bindings_is_not_returned(api: World) -> None:
    await api.platform.post("/v1/bindings", binding())
    await api.operator.post(f"/v1/blocks/{BLOCK}/freeze", {"reason": "x"})
    answer = await api.operator.post(f"/v1/blocks/{BLOCK}/return", {"reason": "x"})
    assert (answer.status_code, answer.json()["rule"]) == (409, "R7")


async def test_freezing_needs_a_reason(api: World) -> None:
    answer = await api.operator.post(f"/v1/blocks/{BLOCK}/freeze")
    assert (answer.status_code, answer.json()["field"]) == (422, "reason")


async def test_a_number_is_free_bound_and_at_rest(api: World) -> None:
    x = f"{BLOCK}0001"

    async def number() -> dict[str, Any]:
        shown: dict[str, Any] = (await api.platform.get(f"/v1/numbers/{x}")).json()
        return shown

    free = await number()
    assert (free["state"], free["bound_until_ms"], free["free_ms"], free["block"]) == ("free", 0, 0, BLOCK)
    made = (await api.platform.post("/v1/bindings", binding(x=x))).json()
    bound = await number()
    assert (bound["state"], bound["bound_until_ms"]) == ("bound", made["expires_ms"])
    await api.platform.post(f"/v1/bindings/{made['id']}/end")
    rested = await number()
    assert rested["state"] == "quarantined"
    api.clock.now_ms = rested["free_ms"]
    assert (await number())["state"] == "free"


@pytest.mark.parametrize(("x", "status"), [("123", 422), ("700999999990001", 404), ("700123456790001", 404)])
async def test_a_number_of_nobody_or_of_another(api: World, x: str, status: int) -> None:
    assert (await api.platform.get(f"/v1/numbers/{x}")).status_code == status


async def test_who_was_behind_a_number_is_told_for_an_instant_and_noted(api: World) -> None:
    made = (await api.platform.post("/v1/bindings", binding())).json()
    api.clock.now_ms = NOW + HOUR
    await api.platform.post(f"/v1/bindings/{made['id']}/end", {"reason": "done"})
    path = f"/v1/numbers/{made['x']}"
    question = {"at_ms": NOW + HOUR // 2, "purpose": "case 118"}
    for client in (api.operator, api.auditor):
        (holder,) = (await client.post(f"{path}/holders", question)).json()["items"]
        assert (holder["binding"], holder["order_id"], holder["a"]) == (made["id"], "order-1", "138****8000")
        assert (holder["from_ms"], holder["until_ms"]) == (NOW, NOW + HOUR)
        assert (await client.post(f"{path}/holders?reveal=true", question)).status_code == 403
    (own,) = (await api.platform.post(f"{path}/holders?reveal=true", question)).json()["items"]
    assert own["a"] == f"+86{A}"
    assert (await api.operator.post(f"{path}/holders", {**question, "at_ms": NOW + DAY})).json() == {"items": []}
    assert (await api.operator.post(f"{path}/holders", {**question, "purpose": " "})).status_code == 422
    deeds = (await api.operator.get("/v1/audit?kind=number")).json()["items"]
    assert [deed["reason"] for deed in deeds] == ["case 118"] * 4
    ledger = (await api.platform.get(f"{path}/ledger")).json()["items"]
    assert [(entry["event"], entry["reason"]) for entry in ledger] == [("ended", "done"), ("bound", "")]


async def test_use_of_a_block_is_counted(api: World) -> None:
    for number in range(3):
        await api.platform.post("/v1/bindings", binding(a=f"1380013800{number}"))
    (use,) = (await api.platform.get("/v1/reports/use")).json()["items"]
    assert (use["bound"], use["quarantined"], use["free"], use["overdue"]) == (3, 0, 9997, False)
    assert use["block"]["prefix"] == BLOCK


# groups


async def test_members_come_and_go(api: World) -> None:
    body = {"business_user": USER, "name": "couriers", "members": ["13500135000", "13600136000"]}
    group = await created(api, "/v1/groups", body)
    assert group["members"] == ["135****5000", "136****6000"]
    path = f"/v1/groups/{group['id']}"
    grown = await api.platform.post(f"{path}/members", {"members": ["13400134000"]})
    assert (len(grown.json()["members"]), grown.headers["etag"]) == (3, '"2"')
    left = await api.platform.post(f"{path}/members/remove", {"member": "13500135000"})
    assert left.json()["members"] == ["136****6000", "134****4000"]
    gone = await api.platform.post(f"{path}/members/remove", {"member": "13500135000"})
    assert gone.status_code == 404
    assert (await api.platform.get(f"{path}?reveal=true")).json()["members"] == ["+8613600136000", "+8613400134000"]
    assert (await api.platform.delete(path)).status_code == 204
    assert (await api.platform.get(path)).status_code == 404


async def test_a_group_with_live_bindings_stays(api: World) -> None:
    things = await provide(api)
    made = await api.platform.post("/v1/bindings", binding(a="13500135000", mode="GXB", group=things.group))
    assert made.status_code == 201
    more: dict[str, object] = {"members": ["13400134000"], "real_name": "rn-2"}
    answer = await api.platform.post(f"/v1/groups/{things.group}/members", more)
    assert (answer.status_code, answer.json()["field"], answer.json()["rule"]) == (422, "consent", "R16")
    answer = await api.platform.post(f"/v1/groups/{things.group}/members", {**more, "consent": "c-2"})
    assert answer.status_code == 200
    answer = await api.platform.delete(f"/v1/groups/{things.group}")
    assert (answer.status_code, answer.json()["rule"]) == (409, "member")
    stays = await api.platform.post(f"/v1/groups/{things.group}/members/remove", {"member": "13500135000"})
    assert stays.status_code == 409
    followed = await api.platform.post(
        f"/v1/groups/{things.group}/members/remove", {"member": "13500135000", "successor": "13600136000"}
    )
    assert followed.status_code == 200


# policy


async def test_a_block_is_made_found_and_lifted(api: World) -> None:
    reader = Reader(api.directory / "bindings.db", api.seal)
    before = reader.changes()
    entry = await created(
        api, "/v1/blocklist", {"kind": "caller", "value": A, "reason": "case 7", "cut": True, "business_user": USER}
    )
    assert reader.changes() != before
    reader.close()
    assert (entry["value"], entry["live"], entry["cut"], entry["by"][:4]) == ("138****8000", True, True, "key:")
    again = await api.operator.post("/v1/blocklist", {"kind": "caller", "value": f"+86{A}", "reason": "x"})
    assert again.status_code == 409
    for value, expected in ((A, 1), ("13900139000", 0)):
        found = await api.auditor.post("/v1/blocklist/search", {"kind": "caller", "value": value})
        assert len(found.json()["items"]) == expected
        assert value not in found.text
    lifted = await api.operator.post(f"/v1/blocklist/{entry['id']}/lift", {"reason": "solved"})
    assert (lifted.json()["live"], lifted.json()["lifted_reason"]) == (False, "solved")
    assert (await api.operator.post(f"/v1/blocklist/{entry['id']}/lift", {"reason": "x"})).status_code == 409
    assert (await api.operator.get("/v1/blocklist?live=true")).json()["items"] == []
    assert len((await api.operator.get("/v1/blocklist?kind=caller")).json()["items"]) == 1
    assert (await api.operator.get("/v1/blocklist/999")).status_code == 404
    assert (await api.operator.get("/v1/blocklist/0")).status_code == 422


@pytest.mark.parametrize("kind", ["x", "block", "binding", "business_user", "provider"])
async def test_what_is_nobodys_number_is_shown_as_it_is(api: World, kind: str) -> None:
    value = {"x": f"{BLOCK}0001", "block": BLOCK}.get(kind, "some-id")
    entry = await created(api, "/v1/blocklist", {"kind": kind, "value": value, "reason": "x"})
    assert entry["value"] == value


async def test_caller_ranges_are_set_and_dropped(api: World) -> None:
    answer = await api.operator("PUT", "/v1/caller-ranges/138", json={"allowed": False, "reason": "order 31"})
    assert (answer.json()["prefix"], answer.json()["allowed"]) == ("138", False)
    assert [each["prefix"] for each in (await api.auditor.get("/v1/caller-ranges")).json()["items"]] == ["138"]
    assert (await api.operator.post("/v1/caller-ranges/138/drop", {"reason": "over"})).status_code == 204
    assert (await api.operator.post("/v1/caller-ranges/138/drop", {"reason": "over"})).status_code == 404
    wrong = await api.operator("PUT", "/v1/caller-ranges/abc", json={"allowed": True, "reason": "x"})
    assert (wrong.status_code, wrong.json()["rule"]) == (422, "R13")


async def test_a_credit_file_is_kept_and_summed(api: World) -> None:
    path = f"/v1/credit/{USER}"
    for times in (3, -1):
        entry = await api.operator.post(
            f"{path}/entries", {"violation": "complaint", "note": "complaint 4711", "times": times, "day": "2026-11-20"}
        )
        assert (entry.status_code, entry.json()["source"]) == (201, "manual")
    assert (await api.platform.get(path)).json()["totals"] == {"complaint": 2}
    assert (await api.platform.get(f"{path}?since_day=2026-11-21")).json()["totals"] == {}
    assert [each["times"] for each in (await api.auditor.get(f"{path}/entries")).json()["items"]] == [-1, 3]
    assert (await api.operator.get("/v1/credit/nobody")).status_code == 404
    assert (await api.platform.get(f"{path}?since_day=yesterday")).status_code == 422


# audit


async def test_every_change_is_in_the_audit_by_whom_it_was_made(api: World) -> None:
    await api.operator.post(f"/v1/blocks/{BLOCK}/freeze", {"reason": "order 31"})
    who = f"key:{api.operator.key[3:15]}"
    (deed,) = (await api.platform.get(f"/v1/audit?kind=block&id={BLOCK}&by={who}")).json()["items"]
    assert (deed["action"], deed["reason"], deed["provider"]) == ("freeze", "order 31", PROVIDER)
    assert deed["detail"] == {"state": ["active", "frozen"]}
    assert (await api.other.get(f"/v1/audit?id={BLOCK}")).json()["items"] == []
