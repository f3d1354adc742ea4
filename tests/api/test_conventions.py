"""What holds for every resource: pages, ETags, limits, errors that name field and rule and repeat nothing."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.requests import ClientDisconnect

from b2bua.api import routers
from b2bua.api.limits import Buckets
from tests.api.things import binding, provide
from tests.api.world import NOW, PROVIDER, USER, Client, World, world

# pages


async def pages(api: World, path: str) -> list[list[Any]]:
    found, cursor = [], ""
    while True:
        answer = (await api.operator.get(path + (f"&cursor={cursor}" if cursor else ""))).json()
        found.append(answer["items"])
        cursor = answer["next"]
        if not cursor:
            return found


async def test_pages_show_everything_once_in_order(api: World) -> None:
    for number in range(5):
        await api.platform.post("/v1/bindings", binding(a=f"1380013800{number}", order_id=f"o-{number}"))
    found = await pages(api, "/v1/bindings?limit=2")
    assert [len(page) for page in found] == [2, 2, 1]
    assert [item["order_id"] for page in found for item in page] == ["o-4", "o-3", "o-2", "o-1", "o-0"]


async def test_the_last_full_page_has_no_next(api: World) -> None:
    for number in range(2):
        await api.platform.post("/v1/bindings", binding(a=f"1380013800{number}"))
    assert [len(page) for page in await pages(api, "/v1/bindings?limit=2")] == [2]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/providers", "/v1/business-users", "/v1/contracts", "/v1/scenarios", "/v1/blocks", "/v1/keys",
        "/v1/audit", "/v1/groups", "/v1/blocklist", "/v1/reports/use", "/v1/imports",
    ],
)  # fmt: skip
async def test_every_list_comes_in_pages(api: World, path: str) -> None:
    for _ in range(2):
        await api.store.groups.add(USER, "g", (), NOW, by="test")
    await provide(api)
    whole = (await api.operator.get(f"{path}?limit=500")).json()["items"]
    found = await pages(api, f"{path}?limit=1")
    assert [page[0] for page in found if page] == whole


@pytest.mark.parametrize("cursor", ["x", "%00", "AAAA", "L3YxL2dyb3Vwcwph", "4pyT"])
async def test_a_cursor_of_another_list_is_none(api: World, cursor: str) -> None:
    answer = await api.operator.get(f"/v1/bindings?cursor={cursor}")
    assert (answer.status_code, answer.json()["field"], answer.json()["rule"]) == (422, "cursor", "form")


async def test_a_cursor_of_another_provider_leads_nowhere(api: World) -> None:
    for number in range(2):
        await api.platform.post("/v1/bindings", binding(a=f"1380013800{number}"))
    cursor = (await api.platform.get("/v1/bindings?limit=1")).json()["next"]
    answer = await api.other.get(f"/v1/bindings?cursor={cursor}")
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


@pytest.mark.parametrize("limit", ["0", "501", "many"])
async def test_a_page_has_bounds(api: World, limit: str) -> None:
    answer = await api.operator.get(f"/v1/bindings?limit={limit}")
    assert (answer.status_code, answer.json()["field"]) == (422, "limit")


# ETags

CHANGES = [
    ("/v1/providers/{id}", {"name": "new"}),
    ("/v1/business-users/{id}", {"name": "new"}),
    ("/v1/contracts/{id}", {"reference": "new"}),
    ("/v1/scenarios/{business_user}/{name}", {"title": "new"}),
    ("/v1/groups/{id}", {"name": "new"}),
    ("/v1/bindings/{id}", {"most_calls": 7}),
]


@pytest.mark.parametrize(("path", "body"), CHANGES)
async def test_a_change_says_what_it_was_decided_on(api: World, path: str, body: dict[str, object]) -> None:
    target = (await provide(api)).fill(path)
    tag = (await api.operator.get(target)).headers["etag"]
    missing = await api.operator.patch(target, body)
    assert (missing.status_code, missing.json()["field"]) == (428, "If-Match")
    assert (await api.operator.patch(target, body, headers={"If-Match": tag})).status_code == 200
    stale = await api.operator.patch(target, body, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["rule"]) == (412, "revision")
    assert (await api.operator.get(target)).headers["etag"] != tag
    assert (await api.operator.patch(target, body, headers={"If-Match": "*"})).status_code == 200


@pytest.mark.parametrize("tag", ['"x"', 'W/"1"', "1", '"0"', '"99999999999999999"', ""])
async def test_a_tag_of_another_form_fits_nothing(api: World, tag: str) -> None:
    target = (await provide(api)).fill("/v1/groups/{id}")
    answer = await api.operator.patch(target, {"name": "new"}, headers={"If-Match": tag})
    assert answer.status_code == 412


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/blocks/{prefix}/freeze", {"reason": "x"}),
        ("/v1/providers/{id}/suspend", {"reason": "x"}),
        ("/v1/bindings/{id}/end", {"reason": "x"}),
        ("/v1/groups/{id}/members", {"members": ["13400134000"]}),
    ],
)
async def test_an_action_may_say_it_too(api: World, path: str, body: dict[str, object]) -> None:
    target = (await provide(api)).fill(path)
    stale = await api.operator.post(target, body, headers={"If-Match": '"9"'})
    assert stale.status_code == 412
    assert (await api.operator.post(target, body, headers={"If-Match": '"1"'})).status_code == 200


# limits


async def test_a_key_may_ask_so_often(tmp_path: Path) -> None:
    async with world(tmp_path, requests_per_second=2.0) as api:
        answers = [await api.platform.get("/v1/bindings") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].headers["retry-after"] == "1"
        assert (await api.other.get("/v1/bindings")).status_code == 200
        api.clock.now_ms += 500
        answers = [await api.platform.get("/v1/bindings") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]


def test_a_bucket_tells_how_long_to_wait() -> None:
    buckets = Buckets(0.5)
    assert buckets.take("k", 100.0) == 0
    assert buckets.take("k", 100.0) == 2.0
    assert buckets.take("k", 101.0) == 1.0
    assert buckets.take("k", 102.0) == 0
    assert buckets.take("k", 103.0) == 1.0


def test_no_rate_is_no_limit() -> None:
    assert not any(Buckets(0.0).take("k", 1.0) for _ in range(1000))


@pytest.mark.parametrize("whole", [True, False])
async def test_a_body_that_is_too_long_is_refused(tmp_path: Path, whole: bool) -> None:
    """With its length told before, or coming in parts without one."""

    async def parts() -> Any:
        for _ in range(5):
            yield b" " * 1000

    async with world(tmp_path, body_bytes=4096) as api:
        content = b" " * 5000 if whole else parts()
        answer = await api.platform("POST", "/v1/groups", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_a_body_of_another_kind_is_refused(api: World, headers: dict[str, str]) -> None:
    answer = await api.platform("POST", "/v1/groups", content=b"{}", headers=headers)
    assert answer.status_code == 415


async def test_json_may_name_its_character_set(api: World) -> None:
    answer = await api.platform(
        "POST",
        "/v1/groups",
        content=b'{"business_user": "shop-1", "name": "g"}',
        headers={"Content-Type": "Application/JSON; charset=utf-8"},
    )
    assert answer.status_code == 201


# errors


def is_problem(answer: Any) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body.keys() == {"type", "title", "status", "detail", "field", "rule", "errors"}
    assert body["status"] == answer.status_code
    assert body["type"].startswith("urn:x700:problem:")
    return body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1", 404),
        ("PUT", "/v1/bindings", 405),
        ("DELETE", "/v1/audit", 405),
        ("TRACE", "/v1/bindings", 405),
    ],
)
async def test_paths_and_methods_there_are_none_of(api: World, method: str, path: str, status: int) -> None:
    answer = await api.operator(method, path)
    assert answer.status_code == status
    is_problem(answer)
    if status == 405:
        assert "GET" in answer.headers["allow"]
    stranger = await api.nobody(method, path)
    assert stranger.status_code == 401
    is_problem(stranger)


@pytest.mark.parametrize("path", ["/v1/bindings/", "/v1bindings", "/"])
async def test_a_path_is_right_or_wrong(api: World, path: str) -> None:
    for method in ("GET", "POST"):
        answer = await api.operator(method, path, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 404
        is_problem(answer)


@pytest.mark.parametrize("path", ["/v1/bindings/{id}/end", "/v1/imports"])
async def test_who_hangs_up_in_the_middle_has_asked_for_nothing(api: World, path: str) -> None:
    things = await provide(api)
    kind = b"text/csv" if path == "/v1/imports" else b"application/json"
    path = things.fill(path)
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b'{"a', "more_body": True}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: object) -> None:
        pass

    headers = [(b"authorization", f"Bearer {api.platform.key}".encode()), (b"content-type", kind)]
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
    }  # fmt: skip
    with suppress(ClientDisconnect):
        await api.app(scope, receive, send)
    assert (await api.operator.get(f"/v1/bindings/{things.binding}")).json()["state"] == "live"
    assert [job.id for job in await api.store.imports.list()] == [things.imported]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"null", b'"x"', b"{" * 100_000])
async def test_rubbish_is_refused(api: World, content: bytes) -> None:
    answer = await api.platform("POST", "/v1/groups", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    is_problem(answer)


async def test_several_faults_are_told_together(api: World) -> None:
    answer = await api.platform.post("/v1/groups", {"name": 7, "members": "x", "colour": "red"})
    body = is_problem(answer)
    assert {fault["field"] for fault in body["errors"]} == {"business_user", "name", "members", "colour"}
    assert {fault["rule"] for fault in body["errors"]} == {"form"}


NUMBER = "13812345678"


@pytest.mark.parametrize(
    "body",
    [
        {NUMBER: 1},
        {"138-1234-5678": 1, "(138)12345678": 1, "%31%33812345678": 1, "a.138.1234.5678": 1},
        {"a": NUMBER, "b": NUMBER},
        binding(a=NUMBER, b=NUMBER),
        binding(a=f"{NUMBER}9", b=NUMBER),
        binding(a=NUMBER, order_id=7),
        binding(a=NUMBER, group=NUMBER),
        binding(a=NUMBER, x=NUMBER),
        binding(a=NUMBER, direction=NUMBER),
        binding(a=NUMBER, provider=NUMBER),
        binding(a=NUMBER, expires_ms=10**40),
        [NUMBER],
    ],
)
async def test_no_error_repeats_a_number(api: World, body: object) -> None:
    for path, sent in (("/v1/bindings", body), ("/v1/bindings/batch", {"items": [body]})):
        answer = await api.platform.post(path, sent)
        assert answer.status_code in (200, 422), answer.text
        assert answer.json().get("made", 0) == 0
        assert NUMBER not in answer.text
        assert NUMBER[:9] not in answer.text
        assert "5678" not in answer.text


async def test_no_error_repeats_a_number_of_a_path(api: World) -> None:
    for path in (f"/v1/numbers/{NUMBER}", f"/v1/bindings/{NUMBER}", f"/v1/blocklist/{NUMBER}", f"/v1/{NUMBER}"):
        assert NUMBER not in (await api.operator.get(path)).text
    assert NUMBER not in (await api.operator.get(f"/v1/bindings?{NUMBER}={NUMBER}")).text


async def test_what_a_route_does_not_know_is_refused(api: World) -> None:
    answer = await api.operator.get("/v1/bindings?ordre_id=1")
    assert (answer.status_code, is_problem(answer)["field"]) == (422, "ordre_id")


async def test_a_taken_key_is_a_conflict_that_names_who_has_it(api: World) -> None:
    first = (await api.platform.post("/v1/bindings", binding())).json()
    answer = await api.platform.post("/v1/bindings", binding(x=first["x"]))
    body = is_problem(answer)
    assert (body["status"], body["field"], body["rule"]) == (409, "x", "key")
    assert first["id"] in body["detail"]


async def test_a_defect_is_a_500_without_a_word_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    router = APIRouter()

    @router.get("/v1/defect")
    async def defect() -> None:
        raise RuntimeError(NUMBER)

    monkeypatch.setattr("b2bua.api.app.ROUTERS", (*routers.ROUTERS, router))
    async with world(tmp_path) as api:
        answer = await Client(api.app, api.operator.key, raising=False).get("/v1/defect")
        body = is_problem(answer)
        assert (body["status"], body["type"]) == (500, "urn:x700:problem:defect")
        assert NUMBER not in answer.text


async def test_a_switch_that_is_away_is_a_503(api: World) -> None:
    api.switch.answer = None
    answer = await api.operator.get("/v1/calls")
    assert (is_problem(answer)["status"], answer.headers["retry-after"]) == (503, "1")


async def test_the_page_of_the_document_needs_nothing_from_elsewhere(api: World) -> None:
    answer = await api.nobody.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "//" not in answer.text.replace("// One step", "")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_the_document_is_there_for_everybody(api: World) -> None:
    answer = await api.nobody.get("/openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            assert operation["tags"], (method, path)
            assert {"401", "403", "422", "429", "503"} <= operation["responses"].keys()
    assert PROVIDER
