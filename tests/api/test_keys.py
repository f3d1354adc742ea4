"""Keys: made once, shown once, rotated, revoked; each request asks anew."""

import sqlite3
from typing import Any

import pytest

from routing.access import Role, digest_of, parse_key
from routing.errors import StoreError
from tests.api.world import DAY, HOUR, NOW, PROVIDER, World

NEW = {"name": "orders", "role": "provider", "provider": PROVIDER}


async def made(api: World, **changes: object) -> dict[str, Any]:
    answer = await api.operator.post("/v1/keys", {**NEW, **changes})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_key_opens_what_its_role_may(api: World) -> None:
    key = await made(api)
    client = api.client(key["secret"])
    assert (await client.get("/v1/bindings")).status_code == 200
    assert (await client.post("/v1/keys", NEW)).status_code == 403
    assert (key["role"], key["provider"], key["created_ms"], key["used_ms"]) == ("provider", PROVIDER, NOW, 0)


async def test_a_secret_is_shown_once_and_kept_nowhere(api: World) -> None:
    answer = await api.operator.post("/v1/keys", NEW)
    key = answer.json()
    assert answer.headers["location"] == f"/v1/keys/{key['id']}"
    assert answer.headers["cache-control"] == "no-store"
    parts = parse_key(key["secret"])
    assert parts is not None
    assert parts[0] == key["id"]
    for path in (f"/v1/keys/{key['id']}", "/v1/keys"):
        shown = (await api.operator.get(path)).text
        assert key["id"] in shown
        assert parts[1] not in shown
        assert "secret" not in shown
    await api.store.keys.used({key["id"]: NOW})
    for file in api.directory.iterdir():
        if file.is_file():
            content = file.read_bytes()
            assert parts[1].encode() not in content
            assert bytes.fromhex(parts[1]) not in content
    with sqlite3.connect(api.directory / "bindings.db") as connection:
        ((digest,),) = connection.execute("SELECT hash FROM api_keys WHERE id = ?", (key["id"],))
    connection.close()
    assert digest == digest_of(parts[1])


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"provider": ""}, "provider", "form"),
        ({"role": "operator"}, "provider", "form"),
        ({"provider": "platform-9"}, "provider", "R6"),
        ({"expires_ms": NOW}, "expires_ms", "form"),
        ({"name": "a\nb"}, "name", "form"),
        ({"role": "root"}, "role", "form"),
        ({"colour": "red"}, "colour", "form"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(api: World, changes: dict[str, object], field: str, rule: str) -> None:
    answer = await api.operator.post("/v1/keys", {**NEW, **changes})
    assert answer.status_code == 422
    assert (answer.json()["field"], answer.json()["rule"]) == (field, rule)


async def test_a_key_ends_with_its_time(api: World) -> None:
    client = api.client((await made(api, expires_ms=NOW + HOUR))["secret"])
    assert (await client.get("/v1/bindings")).status_code == 200
    api.clock.now_ms = NOW + HOUR
    assert (await client.get("/v1/bindings")).status_code == 401


async def test_a_revoked_key_is_dead_for_the_next_request(api: World) -> None:
    key = await made(api)
    client = api.client(key["secret"])
    answer = await api.operator.post(f"/v1/keys/{key['id']}/revoke", {"reason": "lost"})
    assert (answer.json()["revoked_ms"], answer.json()["reason"]) == (NOW, "lost")
    assert (await client.get("/v1/bindings")).status_code == 401
    again = await api.operator.post(f"/v1/keys/{key['id']}/revoke", {"reason": "lost"})
    assert again.status_code == 409


async def test_a_revocation_says_why(api: World) -> None:
    key = await made(api)
    answer = await api.operator.post(f"/v1/keys/{key['id']}/revoke", {"reason": " "})
    assert (answer.status_code, answer.json()["field"]) == (422, "reason")


async def test_two_keys_are_good_while_one_follows_the_other(api: World) -> None:
    first = await made(api)
    answer = await api.client(first["secret"]).post(f"/v1/keys/{first['id']}/rotate", {"overlap_ms": HOUR})
    assert answer.status_code == 201
    second = answer.json()
    assert (second["replaces"], second["role"], second["provider"]) == (first["id"], "provider", PROVIDER)
    old, new = api.client(first["secret"]), api.client(second["secret"])
    assert [(await client.get("/v1/bindings")).status_code for client in (old, new)] == [200, 200]
    api.clock.now_ms = NOW + HOUR
    assert [(await client.get("/v1/bindings")).status_code for client in (old, new)] == [401, 200]


async def test_a_key_has_one_successor_and_no_more_than_two_are_good(api: World) -> None:
    first = await made(api)
    second = (await api.operator.post(f"/v1/keys/{first['id']}/rotate")).json()
    again = await api.operator.post(f"/v1/keys/{first['id']}/rotate")
    assert (again.status_code, again.json()["rule"]) == (409, "key")
    third = (await api.operator.post(f"/v1/keys/{second['id']}/rotate")).json()
    answers = [(await api.client(key["secret"]).get("/v1/keys")).status_code for key in (first, second, third)]
    assert answers == [401, 200, 200]


async def test_a_successor_whose_key_was_revoked_may_be_made_anew(api: World) -> None:
    first = await made(api)
    second = (await api.operator.post(f"/v1/keys/{first['id']}/rotate")).json()
    await api.operator.post(f"/v1/keys/{second['id']}/revoke", {"reason": "never arrived"})
    assert (await api.operator.post(f"/v1/keys/{first['id']}/rotate")).status_code == 201


async def test_rotation_makes_no_key_live_longer(api: World) -> None:
    key = await made(api, expires_ms=NOW + HOUR)
    successor = (await api.operator.post(f"/v1/keys/{key['id']}/rotate", {"overlap_ms": DAY})).json()
    assert successor["expires_ms"] == NOW + HOUR
    assert (await api.operator.get(f"/v1/keys/{key['id']}")).json()["expires_ms"] == NOW + HOUR


async def test_a_successor_made_anew_lives_as_long_as_its_key_was_to_and_all_that_ended_is_noted(api: World) -> None:
    for expires in (0, NOW + 9 * DAY):
        first = await made(api, expires_ms=expires)
        second = (await api.operator.post(f"/v1/keys/{first['id']}/rotate", {"overlap_ms": HOUR})).json()
        await api.operator.post(f"/v1/keys/{second['id']}/revoke", {"reason": "never arrived"})
        third = (await api.operator.post(f"/v1/keys/{first['id']}/rotate", {"overlap_ms": HOUR})).json()
        assert (second["expires_ms"], third["expires_ms"]) == (expires, expires)
        await api.operator.post(f"/v1/keys/{third['id']}/rotate", {"overlap_ms": HOUR})
        deeds = await api.store.audit.list(kind="key", identifier=first["id"])
        assert [deed.action for deed in deeds] == ["revoke", "rotate", "rotate", "add"]
        assert deeds[-2].detail == {"expires_ms": [expires, NOW + HOUR]}


@pytest.mark.parametrize("overlap", [-1, 91 * DAY])
async def test_an_overlap_has_bounds(api: World, overlap: int) -> None:
    key = await made(api)
    answer = await api.operator.post(f"/v1/keys/{key['id']}/rotate", {"overlap_ms": overlap})
    assert (answer.status_code, answer.json()["field"]) == (422, "overlap_ms")
    with pytest.raises(Exception, match="overlap_ms"):
        await api.store.keys.rotate(key["id"], overlap_ms=overlap, now_ms=NOW, by="test")


async def test_what_is_no_longer_valid_is_not_rotated(api: World) -> None:
    key = await made(api, expires_ms=NOW + HOUR)
    api.clock.now_ms = NOW + HOUR
    assert (await api.operator.post(f"/v1/keys/{key['id']}/rotate")).status_code == 409


async def test_a_provider_sees_and_rotates_its_own_keys(api: World) -> None:
    own, alien = await made(api), await made(api, provider="platform-2")
    listed = (await api.platform.get("/v1/keys?provider=platform-2")).json()["items"]
    assert {key["provider"] for key in listed} == {PROVIDER}
    assert own["id"] in {key["id"] for key in listed}
    assert (await api.platform.get(f"/v1/keys/{alien['id']}")).status_code == 404
    assert (await api.platform.post(f"/v1/keys/{alien['id']}/revoke", {"reason": "x"})).status_code == 404


async def test_the_last_use_is_written_down_now_and_then(api: World) -> None:
    key = await made(api)
    await api.client(key["secret"]).get("/v1/bindings")
    await api.usage.write()
    assert (await api.operator.get(f"/v1/keys/{key['id']}")).json()["used_ms"] == NOW


async def test_a_use_that_cannot_be_written_is_kept(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await made(api)
    await api.client(key["secret"]).get("/v1/bindings")

    async def fail(_: object) -> None:
        raise StoreError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(api.store.keys, "used", fail)
        await api.usage.write()
    await api.usage.write()
    assert (await api.operator.get(f"/v1/keys/{key['id']}")).json()["used_ms"] == NOW


async def test_keys_are_in_the_audit(api: World) -> None:
    key = await made(api)
    await api.operator.post(f"/v1/keys/{key['id']}/revoke", {"reason": "lost"})
    deeds = (await api.platform.get("/v1/audit?kind=key")).json()["items"]
    assert [(deed["action"], deed["reason"]) for deed in deeds if deed["id"] == key["id"]] == [
        ("revoke", "lost"),
        ("add", ""),
    ]
    assert key["secret"] not in str(deeds)


async def test_a_store_that_is_gone_is_a_503_and_comes_back(api: World) -> None:
    path = api.directory / "bindings.db"
    api.context.keys.close()
    path.rename(api.directory / "elsewhere")
    answer = await api.operator.get("/v1/bindings")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert str(path) not in answer.text
    (api.directory / "elsewhere").rename(path)
    assert (await api.operator.get("/v1/bindings")).status_code == 200


@pytest.mark.parametrize(
    "text", ["", "x7__", "x7_0123456789ab", "x7_0123456789AB_" + "0" * 64, " x7_0123456789ab_" + "0" * 64, "x8_1_2"]
)
def test_what_is_no_key_is_none(text: str) -> None:
    assert parse_key(text) is None


async def test_a_key_is_asked_for_by_its_whole_secret(api: World) -> None:
    key = await api.key(Role.OPERATOR)
    for wrong in (key[:-1] + ("0" if key[-1] != "0" else "1"), key.upper(), key + "0"):
        assert (await api.client(wrong).get("/v1/bindings")).status_code == 401
