"""/v1/webhooks: made, changed, rotated, removed; dead letters; and what only an operator may allow."""

import base64
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from cdr.journal import seal_attempt
from cdr.outbox import notices_of
from cdr.store.outbox import DAMAGED_NAME, OUTBOX_NAME, Outbox, Result, State
from routing.webhooks import EVENTS, MOST_WEBHOOKS
from tests.api.world import OTHER, PROVIDER, Client, World, world
from tests.cdr.story import attempted
from tests.webhooks.receiver import receiving

URL = "https://hooks.example.net/x700"


async def made(client: Client, **body: object) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", {"url": URL, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_provider_makes_a_webhook_and_sees_its_secret_once(api: World) -> None:
    webhook = await made(api.platform, events=["call.ended", "call.attempted"])
    secret = webhook.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert webhook["provider"] == PROVIDER
    assert webhook["events"] == ["call.attempted", "call.ended"]
    assert (webhook["active"], webhook["reveal"]) == (True, False)
    answer = await api.platform.get(f"/v1/webhooks/{webhook['id']}")
    assert answer.json() == webhook | {"waiting": 0, "dead": 0, "lost": 0, "oldest_ms": 0, "error": ""}
    assert answer.headers["etag"] == '"1"'
    assert (await api.platform.get("/v1/webhooks")).json() == {"items": [webhook], "next": None}
    assert secret not in (api.directory / "bindings.db").read_bytes().decode("latin-1")


async def test_without_a_choice_it_is_told_everything(api: World) -> None:
    assert (await made(api.platform))["events"] == list(EVENTS)


async def test_every_deed_is_in_the_audit(api: World) -> None:
    webhook = await made(api.platform)
    path = f"/v1/webhooks/{webhook['id']}"
    await api.platform.patch(path, {"active": False})
    await api.platform.post(f"{path}/rotate")
    await api.platform.delete(path)
    deeds = await api.store.audit.list(kind="webhook", provider=PROVIDER)
    assert [deed.action for deed in deeds] == ["remove", "rotate", "change", "add"]
    assert {deed.by.partition(":")[0] for deed in deeds} == {"key"}
    assert URL not in str(deeds)


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ({"url": "ftp://x/"}, "url", "form"),
        ({"url": "https://"}, "url", "form"),
        ({"url": "nothing"}, "url", "form"),
        ({"url": "https://a b/"}, "url", "form"),
        ({"url": "https://x:99999/"}, "url", "form"),
        ({"url": "https://[::1/"}, "url", "form"),
        ({"url": "https://user:word@x/"}, "url", "form"),
        ({"url": "https://x/#part"}, "url", "form"),
        ({"url": "https://x/" + "y" * 2000}, "url", "form"),
        ({"url": URL, "events": ["call.began"]}, "events", "form"),
        ({"url": URL, "color": "red"}, "color", "form"),
        ({}, "url", "form"),
    ],
)
async def test_what_is_wrong_is_named(api: World, body: dict[str, object], field: str, rule: str) -> None:
    answer = await api.platform.post("/v1/webhooks", body)
    assert answer.status_code == 422
    assert (answer.json()["field"], answer.json()["rule"]) == (field, rule)


async def test_a_webhook_belongs_to_a_registered_provider(api: World) -> None:
    answer = await api.operator.post("/v1/webhooks", {"url": URL})
    assert (answer.status_code, answer.json()["rule"]) == (422, "R6")
    answer = await api.operator.post("/v1/webhooks", {"url": URL, "provider": "nobody"})
    assert (answer.status_code, answer.json()["rule"]) == (422, "R6")
    assert (await made(api.operator, provider=OTHER))["provider"] == OTHER


async def test_a_provider_has_so_many_at_most(api: World) -> None:
    for _ in range(MOST_WEBHOOKS):
        await made(api.platform)
    answer = await api.platform.post("/v1/webhooks", {"url": URL})
    assert answer.status_code == 409
    await made(api.other)


async def test_lists_come_in_pages(api: World) -> None:
    ids = [(await made(api.platform))["id"] for _ in range(5)]
    await made(api.other)
    first = (await api.platform.get("/v1/webhooks?limit=3")).json()
    second = (await api.platform.get(f"/v1/webhooks?limit=3&cursor={first['next']}")).json()
    assert [each["id"] for each in (*first["items"], *second["items"])] == ids
    assert second["next"] is None
    assert len((await api.operator.get("/v1/webhooks")).json()["items"]) == 6
    assert len((await api.auditor.get(f"/v1/webhooks?provider={OTHER}")).json()["items"]) == 1


# --- real numbers ---


async def test_only_an_operator_allows_real_numbers(api: World) -> None:
    answer = await api.platform.post("/v1/webhooks", {"url": URL, "reveal": True})
    assert (answer.status_code, answer.json()["field"]) == (403, "reveal")
    webhook = await made(api.platform)
    path = f"/v1/webhooks/{webhook['id']}"
    assert (await api.platform.patch(path, {"reveal": True})).status_code == 403
    assert (await api.operator.patch(path, {"reveal": True})).json()["reveal"] is True
    assert (await made(api.operator, provider=PROVIDER, reveal=True))["reveal"] is True
    assert (await api.platform.patch(path, {"active": False})).json()["reveal"] is True
    assert (await api.platform.patch(path, {"reveal": False})).json()["reveal"] is False


async def test_real_numbers_were_allowed_for_one_address(api: World) -> None:
    webhook = await made(api.operator, provider=PROVIDER, reveal=True)
    path = f"/v1/webhooks/{webhook['id']}"
    assert (await api.platform.patch(path, {"url": URL})).json()["reveal"] is True
    assert (await api.platform.patch(path, {"url": "https://elsewhere.example.net/"})).json()["reveal"] is False


async def test_real_numbers_go_over_tls_only(api: World) -> None:
    body = {"url": "http://hooks.example.net/", "provider": PROVIDER, "reveal": True}
    answer = await api.operator.post("/v1/webhooks", body)
    assert (answer.status_code, answer.json()["field"], answer.json()["rule"]) == (422, "reveal", "R2")
    webhook = await made(api.operator, provider=PROVIDER, reveal=True)
    change = {"url": "http://hooks.example.net/", "reveal": True}
    assert (await api.operator.patch(f"/v1/webhooks/{webhook['id']}", change)).status_code == 422
    assert (await made(api.operator, provider=PROVIDER, url="http://127.0.0.1:9/", reveal=True))["reveal"] is True


# --- changes ---


async def test_a_change_names_what_it_changes_and_leaves_the_rest(api: World) -> None:
    webhook = await made(api.platform, events=["call.ended"])
    webhook.pop("secret")
    api.clock.now_ms += 1000
    answer = await api.platform.patch(f"/v1/webhooks/{webhook['id']}", {"active": False})
    assert answer.json() == webhook | {"active": False, "revision": 2, "changed_ms": api.clock()}
    answer = await api.platform.patch(f"/v1/webhooks/{webhook['id']}", {"events": []})
    assert answer.json()["events"] == list(EVENTS)


async def test_a_change_of_what_was_changed_meanwhile_is_refused(api: World) -> None:
    path = f"/v1/webhooks/{(await made(api.platform))['id']}"
    old = {"If-Match": '"1"'}
    assert (await api.platform.patch(path, {"active": False}, headers=old)).headers["etag"] == '"2"'
    assert (await api.platform.patch(path, {"active": True}, headers=old)).status_code == 412
    assert (await api.platform.delete(path, headers=old)).status_code == 412
    assert (await api.platform.delete(path, headers={"If-Match": '"2"'})).status_code == 204
    assert (await api.platform.get(path)).status_code == 404


async def test_a_new_secret_signs_beside_the_old_one_for_a_time(api: World) -> None:
    webhook = await made(api.platform)
    answer = await api.platform.post(f"/v1/webhooks/{webhook['id']}/rotate", {"overlap_seconds": 60})
    assert answer.status_code == 201
    fresh = answer.json()["secret"]
    room = api.store.webhooks
    assert await room.secrets(webhook["id"], api.clock() + 59_999) == (fresh, webhook["secret"])
    assert await room.secrets(webhook["id"], api.clock() + 60_000) == (fresh,)
    assert answer.json()["old_until_ms"] == api.clock() + 60_000
    answer = await api.platform.post(f"/v1/webhooks/{webhook['id']}/rotate", {"overlap_seconds": 0})
    assert await room.secrets(webhook["id"], api.clock()) == (answer.json()["secret"],)
    answer = await api.platform.post(f"/v1/webhooks/{webhook['id']}/rotate", {"overlap_seconds": -1})
    assert answer.status_code == 422


async def test_an_answer_that_is_repeated_shows_no_secret(api: World) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await api.platform.post("/v1/webhooks", {"url": URL}, headers=headers)
    again = await api.platform.post("/v1/webhooks", {"url": URL}, headers=headers)
    assert (first.json()["id"], again.json()["secret"]) == (again.json()["id"], None)
    assert len((await api.platform.get("/v1/webhooks")).json()["items"]) == 1


# --- others' webhooks ---


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"active": False}),
        ("DELETE", "", None),
        ("POST", "/rotate", {}),
        ("GET", "/dead-letters", None),
        ("POST", "/redeliver", {}),
        ("POST", "/test", None),
    ],
)
async def test_anothers_webhook_is_not_there(api: World, method: str, path: str, body: object) -> None:
    webhook = await made(api.platform)
    request = {} if body is None else {"json": body}
    answer = await api.other(method, f"/v1/webhooks/{webhook['id']}{path}", **request)
    assert (answer.status_code, answer.json()["detail"]) == (404, "no such webhook")
    nowhere = await api.other(method, f"/v1/webhooks/nowhere{path}", **request)
    assert nowhere.json() == answer.json()
    if method != "GET":
        assert (await api.auditor(method, f"/v1/webhooks/{webhook['id']}{path}", **request)).status_code == 403


async def test_a_provider_makes_none_for_another(api: World) -> None:
    answer = await api.platform.post("/v1/webhooks", {"url": URL, "provider": OTHER})
    assert answer.status_code == 404
    assert (await api.auditor.post("/v1/webhooks", {"url": URL})).status_code == 403


# --- dead letters ---


async def fill(api: World, webhook: str, *record_ids: str, dead: bool) -> None:
    outbox = Outbox(api.context.records, durable=True)
    rows = [
        (webhook, notice)
        for record_id in record_ids
        for notice in notices_of(seal_attempt(attempted(record_id), api.seal), None, [])
    ]
    await outbox.add(rows, api.clock())
    if dead:
        items = await outbox.due(webhook, api.clock(), 1000)
        results = [Result(item.number, State.DEAD, 0, 500, "answered 500") for item in items]
        await outbox.settle(results, api.clock())
    await outbox.close()


async def test_dead_letters_are_shown_in_pages_and_told_again(api: World) -> None:
    with receiving() as receiver:
        webhook = await made(api.platform, url=receiver.url, active=False)
        path = f"/v1/webhooks/{webhook['id']}"
        await fill(api, webhook["id"], "r-1", "r-2", "r-3", dead=True)
        first = (await api.platform.get(f"{path}/dead-letters?limit=2")).json()
        second = (await api.platform.get(f"{path}/dead-letters?limit=2&cursor={first['next']}")).json()
        assert [each["id"] for each in (*first["items"], *second["items"])] == [f"r-{n}-attempted" for n in (1, 2, 3)]
        assert first["items"][0]["error"] == "answered 500"
        assert (await api.platform.get(path)).json()["dead"] == 3
        answer = await api.platform.post(f"{path}/redeliver", {"events": ["r-1-attempted", "r-9-ended"]})
        assert answer.json() == {"events": 1}
        assert (await api.platform.post(f"{path}/redeliver", {})).json() == {"events": 2}
        state = (await api.platform.get(path)).json()
        assert (state["waiting"], state["dead"]) == (3, 0)
        answer = await api.platform.post(f"{path}/redeliver", {"events": ["nonsense"]})
        assert (answer.status_code, answer.json()["field"]) == (422, "events")


@pytest.mark.parametrize("place", ["x", "-1", "1" * 30])
async def test_a_cursor_that_no_list_has_given_is_refused(api: World, place: str) -> None:
    webhook = await made(api.platform)
    path = f"/v1/webhooks/{webhook['id']}/dead-letters"
    cursor = base64.urlsafe_b64encode(f"{path}\n{place}".encode()).decode().rstrip("=")
    answer = await api.platform.get(f"{path}?cursor={cursor}")
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


async def test_an_outbox_that_does_not_answer_is_a_503(api: World) -> None:
    webhook = await made(api.platform)
    api.context.records.mkdir(exist_ok=True)
    (api.context.records / OUTBOX_NAME).write_bytes(b"rubbish" * 1000)
    answer = await api.platform.get(f"/v1/webhooks/{webhook['id']}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert not (api.context.records / DAMAGED_NAME).exists()


# --- trying one out ---


async def test_a_webhook_is_tried_out(api: World) -> None:
    with receiving() as receiver:
        webhook = await made(api.platform, url=receiver.url)
        answer = await api.platform.post(f"/v1/webhooks/{webhook['id']}/test")
        assert answer.json() == {"ok": True, "status": 200, "error": ""}
        receiver.answer = lambda number: 418
        answer = await api.platform.post(f"/v1/webhooks/{webhook['id']}/test")
        assert answer.json() == {"ok": False, "status": 418, "error": "answered 418"}
    assert [json.loads(got.body)["type"] for got in receiver.got] == ["webhook.test", "webhook.test"]


async def test_a_trial_does_not_hold_the_store_while_it_waits(api: World) -> None:
    """With an idempotency key, other requests are answered within one transaction."""
    with receiving() as receiver:
        webhook = await made(api.platform, url=receiver.url)
        held: list[bool] = []
        receiver.answer = lambda number: held.append(api.store._database.joined()) or 200
        path = f"/v1/webhooks/{webhook['id']}/test"
        for _ in range(2):
            assert (await api.platform.post(path, headers={"Idempotency-Key": "one"})).json()["ok"] is True
    assert len(receiver.got) == 2


# --- where a provider may point one ---

INSIDE = (
    "http://127.0.0.1:9780/",
    "http://127.1/",
    "http://localhost/",
    "https://hooks.localhost./",
    "http://10.1.2.3/",
    "http://192.168.0.1/",
    "http://169.254.169.254/latest/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[fe80::1]/",
    "http://[fd00::1]/",
    "http://224.0.0.1/",
)


@pytest.mark.parametrize("url", INSIDE)
async def test_a_provider_points_no_webhook_inside(tmp_path: Path, url: str) -> None:
    async with world(tmp_path, webhook_private=False) as api:
        answer = await api.platform.post("/v1/webhooks", {"url": url})
        assert (answer.status_code, answer.json()["field"]) == (422, "url")
        own = await made(api.platform)
        path = f"/v1/webhooks/{own['id']}"
        assert (await api.platform.patch(path, {"url": url})).status_code == 422
        assert (await api.platform.patch(path, {"active": False, "url": "https://8.8.8.8/"})).status_code == 200
        assert (await api.operator.patch(path, {"url": url})).status_code == 200


async def test_a_name_that_leads_inside_is_not_tried_out_for_a_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, webhook_private=False) as api:
        with receiving() as receiver:
            port = receiver.url.rpartition(":")[2]
            own = await made(api.platform, url=f"http://inside.example.net:{port}")
            real = socket.getaddrinfo

            def resolve(host: Any, *more: Any, **named: Any) -> Any:
                inside = "inside.example.net" in str(host)
                return real("127.0.0.1" if inside else host, *more, **named)

            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            path = f"/v1/webhooks/{own['id']}/test"
            answer = await api.platform.post(path)
            assert (answer.status_code, answer.json()["field"], receiver.got) == (422, "url", [])
            assert (await api.operator.post(path)).json()["ok"] is True
            assert len(receiver.got) == 1
