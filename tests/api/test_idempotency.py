"""POST with an Idempotency-Key: done once, answered alike, and the answer is kept with its effect or not at all."""

import sqlite3

import pytest

from routing.access import Role
from routing.errors import StoreError
from routing.store.answers import KEPT_MS
from tests.api.things import binding
from tests.api.world import NOW, OTHER, PROVIDER, USER, World

ONCE = {"Idempotency-Key": "order-4711"}
GROUP = {"business_user": USER, "name": "couriers", "members": ["13800138000"]}


async def groups(api: World) -> int:
    return len(await api.store.groups.list())


async def test_the_second_answer_is_the_first_one(api: World) -> None:
    first = await api.platform.post("/v1/groups", GROUP, headers=ONCE)
    second = await api.platform.post("/v1/groups", GROUP, headers=ONCE)
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    for name in ("etag", "location", "content-type"):
        assert first.headers[name] == second.headers[name]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert await groups(api) == 1


async def test_without_the_header_each_is_its_own(api: World) -> None:
    for _ in range(2):
        await api.platform.post("/v1/groups", GROUP)
    assert await groups(api) == 2


async def test_another_request_with_the_same_key_is_a_conflict(api: World) -> None:
    await api.platform.post("/v1/groups", GROUP, headers=ONCE)
    for path, body in (
        ("/v1/groups", {**GROUP, "name": "other"}),
        ("/v1/groups?reveal=true", GROUP),
        ("/v1/contracts", GROUP),
    ):
        answer = await api.platform.post(path, body, headers=ONCE)
        assert (answer.status_code, answer.json()["field"]) == (409, "Idempotency-Key")
    assert await groups(api) == 1


async def test_an_action_on_a_binding_is_done_once(api: World) -> None:
    made = (await api.platform.post("/v1/bindings", binding())).json()
    path, body = f"/v1/bindings/{made['id']}/extend", {"expires_ms": NOW + 2 * 86_400_000}
    first = await api.platform.post(path, body, headers=ONCE)
    second = await api.platform.post(path, body, headers=ONCE)
    assert (first.status_code, first.content) == (200, second.content)
    assert (await api.platform.post(path, body)).status_code == 422


async def test_keys_of_the_api_do_not_share_them(api: World) -> None:
    for client in (api.platform, api.operator):
        assert (await client.post("/v1/groups", GROUP, headers=ONCE)).status_code == 201
    assert await groups(api) == 2


async def test_the_keys_of_a_provider_share_them(api: World) -> None:
    """So that what was begun with a key may be asked again with the one that follows it."""
    later = api.client(await api.key(Role.PROVIDER, PROVIDER))
    batch = {"items": [binding(a="13800138009", order_id="o-9")]}
    for path, body in (("/v1/groups", GROUP), ("/v1/bindings", binding()), ("/v1/bindings/batch", batch)):
        once = {"Idempotency-Key": f"order-{path.rpartition('/')[2]}"}
        first = await api.platform.post(path, body, headers=once)
        assert (await later.post(path, body, headers=once)).json() == first.json()
    assert await groups(api) == 1
    assert len(await api.store.bindings.list()) == 2
    kind = {**ONCE, "Content-Type": "text/csv"}
    files = [await client("POST", "/v1/imports", content=b"", headers=kind) for client in (api.platform, later)]
    assert files[0].json()["id"] == files[1].json()["id"]
    theirs = await api.other("POST", "/v1/imports", content=b"", headers=kind)
    assert theirs.json()["id"] != files[0].json()["id"]


async def test_who_was_behind_a_number_is_noted_each_time(api: World) -> None:
    x = (await api.platform.post("/v1/bindings", binding())).json()["x"]
    for _ in range(2):
        body = {"at_ms": NOW, "purpose": "case"}
        answer = await api.platform.post(f"/v1/numbers/{x}/holders?reveal=true", body, headers=ONCE)
        assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, False)
    deeds = await api.store.audit.list(kind="number", provider=PROVIDER)
    assert [(deed.action, deed.id) for deed in deeds] == [("trace", x), ("trace", x)]


async def test_what_was_refused_may_be_asked_again(api: World) -> None:
    body = {"id": "platform-3", "name": "third"}
    await api.store.registry.enrol("platform-4", "shop-4", "delivery", now_ms=NOW, by="test")
    user = {"id": "shop-5", "name": "fifth", "provider": "platform-3"}
    refused = await api.operator.post("/v1/business-users", user, headers=ONCE)
    assert refused.status_code == 422
    assert (await api.operator.post("/v1/providers", body)).status_code == 201
    assert (await api.operator.post("/v1/business-users", user, headers=ONCE)).status_code == 201


async def test_a_refusal_leaves_nothing_behind(api: World) -> None:
    before = len(await api.store.audit.list())
    bad = {**GROUP, "members": ["13800138000", "nobody"]}
    assert (await api.platform.post("/v1/groups", bad, headers=ONCE)).status_code == 422
    assert await groups(api) == 0
    assert len(await api.store.audit.list()) == before


async def test_an_answer_is_kept_with_its_effect_or_neither_is(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(api.store.answers, "keep", fail)
        answer = await api.platform.post("/v1/groups", GROUP, headers=ONCE)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert await groups(api) == 0
    assert (await api.platform.post("/v1/groups", GROUP, headers=ONCE)).status_code == 201
    assert await groups(api) == 1


async def test_an_answer_is_kept_for_a_day(api: World) -> None:
    await api.platform.post("/v1/groups", GROUP, headers=ONCE)
    api.clock.now_ms = NOW + KEPT_MS
    assert (await api.platform.post("/v1/groups", GROUP, headers=ONCE)).status_code == 201
    assert await groups(api) == 2


async def test_old_answers_make_room(api: World) -> None:
    for number in range(3):
        await api.platform.post("/v1/groups", GROUP, headers={"Idempotency-Key": f"old-{number}"})
    api.clock.now_ms = NOW + KEPT_MS
    await api.platform.post("/v1/groups", GROUP, headers=ONCE)
    connection = sqlite3.connect(api.directory / "bindings.db")
    assert connection.execute("SELECT idempotency_key FROM answers").fetchall() == [("order-4711",)]
    connection.close()


async def test_kept_answers_hold_no_number_and_no_secret_in_clear(api: World) -> None:
    await api.platform.post("/v1/groups?reveal=true", GROUP, headers=ONCE)
    made = await api.operator.post(
        "/v1/keys", {"name": "n", "role": "provider", "provider": PROVIDER}, headers={"Idempotency-Key": "key-1"}
    )
    connection = sqlite3.connect(api.directory / "bindings.db")
    answers = connection.execute("SELECT answer FROM answers").fetchall()
    connection.close()
    assert len(answers) == 2
    for (blob,) in answers:
        assert b"13800138000" not in blob
        assert made.json()["secret"].encode() not in blob
        assert made.json()["secret"] not in api.seal.open(blob)


async def test_a_secret_is_shown_once_even_so(api: World) -> None:
    body = {"name": "n", "role": "provider", "provider": PROVIDER}
    first = await api.operator.post("/v1/keys", body, headers=ONCE)
    second = await api.operator.post("/v1/keys", body, headers=ONCE)
    assert second.status_code == 201
    assert second.json() == {**first.json(), "secret": None}


@pytest.mark.parametrize("key", ["k" * 65, "täg"])
async def test_a_key_that_is_too_long_is_refused(api: World, key: str) -> None:
    answer = await api.platform.post("/v1/groups", GROUP, headers={"Idempotency-Key": key.encode()})
    expected = 422 if len(key) > 64 else 201
    assert answer.status_code == expected


# bindings: the token is kept with the binding itself


async def test_a_binding_is_made_once(api: World) -> None:
    first = await api.platform.post("/v1/bindings", binding(), headers=ONCE)
    second = await api.platform.post("/v1/bindings", binding(), headers=ONCE)
    assert first.json() == second.json()
    assert len(await api.store.bindings.list()) == 1
    other = await api.platform.post("/v1/bindings", binding(order_id="other"), headers=ONCE)
    assert (other.status_code, other.json()["rule"]) == (409, "token")


async def test_a_token_of_ones_own_goes_first(api: World) -> None:
    body = binding(client_token="mine")
    first = await api.platform.post("/v1/bindings", body, headers=ONCE)
    second = await api.platform.post("/v1/bindings", body)
    assert first.json()["id"] == second.json()["id"]


async def test_a_batch_is_made_once_item_by_item(api: World) -> None:
    body = {"items": [binding(order_id=f"o-{number}", a=f"1380013800{number}") for number in range(3)]}
    first = await api.platform.post("/v1/bindings/batch", body, headers=ONCE)
    second = await api.platform.post("/v1/bindings/batch", body, headers=ONCE)
    assert first.json() == second.json()
    assert first.json()["made"] == 3
    assert len(await api.store.bindings.list()) == 3


async def test_another_providers_token_is_another_token(api: World) -> None:
    mine = await api.platform.post("/v1/bindings", binding(client_token="t"))
    theirs = await api.other.post("/v1/bindings", binding(client_token="t", business_user="shop-2", provider=OTHER))
    assert (mine.status_code, theirs.status_code) == (201, 201)
