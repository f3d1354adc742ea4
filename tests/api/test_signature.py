"""Signed requests: the secret stays at home, nothing can be changed on the way, and nothing is taken twice."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from httpx import Response

from b2bua.api.signature import SCHEME, Replays, authorization, parse_claim
from tests.api.things import binding
from tests.api.world import NOW, World, world

WINDOW = 300_000


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[World]:
    """An API that takes signed requests alone."""
    async with world(tmp_path, signature_required=True) as made:
        yield made


async def send(
    api: World,
    method: str = "GET",
    target: str = "/v1/bindings?limit=5",
    body: bytes = b"",
    *,
    at_ms: int = NOW,
    nonce: str = "nonce-0001",
    signed: tuple[str, str, bytes] | None = None,
    key: str = "",
    **headers: str,
) -> Response:
    """A request signed for `signed`, or for what it is."""
    text = authorization(key or api.platform.key, *(signed or (method, target, body)), at_ms, nonce)
    kind = {"Content-Type": "application/json"} if body else {}
    return await api.nobody(method, target, content=body, headers={"Authorization": text, **kind, **headers})


async def test_a_signed_request_is_the_keys_own(strict: World) -> None:
    assert (await send(strict)).status_code == 200
    body = json.dumps(binding()).encode()
    made = await send(strict, "POST", "/v1/bindings", body, nonce="nonce-0002")
    assert made.status_code == 201, made.text
    assert made.json()["provider"] == "platform-1"


async def test_both_ways_are_taken_where_the_settings_say_nothing(api: World) -> None:
    assert (await send(api)).status_code == 200
    assert (await api.platform.get("/v1/bindings")).status_code == 200


async def test_a_key_that_is_shown_is_not_taken_where_signatures_are_required(strict: World) -> None:
    assert (await strict.platform.get("/v1/bindings")).status_code == 401


async def test_the_recipe_of_the_manual_is_enough(strict: World) -> None:
    """Signed by whoever has read nothing but the README."""
    secret = strict.platform.key.split("_")[2]
    target, body = "/v1/groups?reveal=true", b'{"business_user": "shop-1", "name": "g"}'
    signing = hmac.digest(secret.encode(), b"x700 request signature v1", "sha256")
    told = f"X7-HMAC-SHA256\nPOST\n{target}\n{NOW}\nnonce-01\n{hashlib.sha256(body).hexdigest()}"
    signature = hmac.digest(signing, told.encode(), "sha256").hex()
    identifier = strict.platform.key.split("_")[1]
    headers = {
        "Authorization": f"X7-HMAC-SHA256 {identifier}:{NOW}:nonce-01:{signature}",
        "Content-Type": "application/json",
    }
    assert (await strict.nobody("POST", target, content=body, headers=headers)).status_code == 201


TARGET = "/v1/bindings?limit=5"


@pytest.mark.parametrize(
    ("signed", "more"),
    [
        (("POST", TARGET, b""), {}),
        (("GET", "/v1/bindings?limit=6", b""), {}),
        (("GET", "/v1/bindings", b""), {}),
        (("GET", "/v1/groups?limit=5", b""), {}),
        (("GET", TARGET, b"{}"), {}),
        (None, {"at_ms": NOW - WINDOW - 1}),
        (None, {"at_ms": NOW + WINDOW + 1}),
        (None, {"key": f"x7_{'0' * 12}_{'0' * 64}"}),
    ],
)
async def test_every_failure_is_the_same_401(
    strict: World, signed: tuple[str, str, bytes] | None, more: dict[str, object]
) -> None:
    answer = await send(strict, signed=signed, **more)  # type: ignore[arg-type]
    stranger = await strict.nobody.get("/v1/bindings")
    assert answer.status_code == 401
    assert answer.text == stranger.text
    assert answer.headers["www-authenticate"] == stranger.headers["www-authenticate"]


async def test_a_body_that_was_changed_on_the_way_is_refused(strict: World) -> None:
    signed = ("POST", "/v1/groups", b'{"business_user": "shop-1", "name": "a"}')
    answer = await send(strict, *signed[:2], b'{"business_user": "shop-1", "name": "b"}', signed=signed)
    assert answer.status_code == 401


async def test_the_window_has_two_ends(strict: World) -> None:
    for number, at_ms in enumerate((NOW - WINDOW, NOW + WINDOW)):
        assert (await send(strict, at_ms=at_ms, nonce=f"nonce-{number:04}")).status_code == 200


async def test_a_request_is_taken_once(strict: World) -> None:
    assert (await send(strict)).status_code == 200
    assert (await send(strict)).status_code == 401
    assert (await send(strict, nonce="nonce-0002")).status_code == 200


async def test_a_body_that_was_held_back_does_not_make_a_request_new(strict: World) -> None:
    """Its window is over when the body comes, and what was taken within it is forgotten."""
    body = b'{"business_user": "shop-1", "name": "g"}'
    text = authorization(strict.platform.key, "POST", "/v1/groups", body, NOW, "nonce-0001")
    headers = {"Authorization": text, "Content-Type": "application/json"}

    async def late() -> AsyncIterator[bytes]:
        yield body[:10]
        strict.clock.now_ms = NOW + WINDOW + 1
        yield body[10:]

    assert (await strict.nobody("POST", "/v1/groups", content=late(), headers=headers)).status_code == 401
    assert await strict.store.groups.list() == ()


@pytest.mark.parametrize("path", ["/v1/groups", "/v1/imports"])
async def test_a_body_is_waited_for_so_long(api: World, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr("b2bua.api.gate.BODY_SECONDS", 0.05)

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    kind = {"Content-Type": "application/json" if path == "/v1/groups" else "application/x-ndjson"}
    answer = await api.platform("POST", path, content=never(), headers=kind)
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    assert await api.store.imports.list() == ()


async def test_a_failed_try_does_not_use_up_a_signature(strict: World) -> None:
    assert (await send(strict, "GET", "/v1/groups", signed=("GET", TARGET, b""))).status_code == 401
    assert (await send(strict, "GET", TARGET)).status_code == 200


async def test_what_was_signed_before_the_start_is_not_taken(tmp_path: Path) -> None:
    """Signatures that the process before this one has taken are not known."""
    async with world(tmp_path, signature_required=True, replay_seconds=7200.0) as api:
        assert (await send(api, at_ms=api.context.started_ms - 1)).status_code == 401
        assert (await send(api, at_ms=api.context.started_ms)).status_code == 200


async def test_a_revoked_key_signs_nothing(strict: World) -> None:
    key = strict.platform.key
    identifier = key.split("_")[1]
    await strict.store.keys.revoke(identifier, reason="lost", now_ms=NOW, by="test")
    assert (await send(strict, key=key)).status_code == 401


async def test_a_file_is_signed_by_its_content_digest(strict: World) -> None:
    body = b"a,b,business_user,scenario,order_id,real_name,consent,expires_ms\n"
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()

    async def post(sent: bytes, nonce: str, **headers: str) -> Response:
        signed = ("POST", "/v1/imports", body)
        headers = {"Content-Type": "text/csv", **headers}
        return await send(strict, *signed[:2], sent, signed=signed, nonce=nonce, **headers)

    named = {"Content-Digest": f"sha-256=:{digest}:"}
    assert (await post(body, "nonce-0001", **named)).status_code == 202
    assert (await post(body, "nonce-0002")).status_code == 401
    assert (await post(body + b"more", "nonce-0003", **named)).status_code == 401
    assert (await post(body, "nonce-0004", **{"Content-Digest": "sha-256=:AAAA:"})).status_code == 401
    assert len(await strict.store.imports.list()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bearer x",
        f"{SCHEME} ",
        f"{SCHEME} {'0' * 12}:1:short:{'0' * 64}",
        f"{SCHEME} {'0' * 12}:-1:nonce-0001:{'0' * 64}",
        f"{SCHEME} {'0' * 12}:1:nonce-0001:{'0' * 63}",
        f"{SCHEME} {'0' * 12}:1:nonce-0001:{'0' * 64} ",
    ],
)
def test_what_is_no_claim_is_none(text: str) -> None:
    assert parse_claim(text) is None


def test_a_signature_needs_a_key() -> None:
    with pytest.raises(ValueError, match="no key"):
        authorization("secret", "GET", "/", b"", 1, "nonce-0001")


def test_signatures_are_forgotten_when_their_time_is_over() -> None:
    replays = Replays(1.0, 0)
    claim = parse_claim(authorization(f"x7_{'0' * 12}_{'0' * 64}", "GET", "/", b"", 1000, "nonce-0001"))
    assert claim is not None
    assert replays.first(claim, 1000)
    assert not replays.first(claim, 3000)
    assert not replays.fresh(claim.at_ms, 3001)
    assert replays.first(claim, 3001)
