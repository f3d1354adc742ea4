"""Every endpoint × every role × another provider's object.

The table says what each of them gets; an endpoint that the application has and the table has not fails.
"""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from b2bua.api.app import roles_of, routes
from cdr.store.sqlite import RecordStore
from tests.api.test_calls import CALL
from tests.api.test_records import record
from tests.api.things import Things, binding, provide
from tests.api.world import NOW, PROVIDER, USER, Client, World, world

REASON = {"reason": "test"}
EVERYBODY = frozenset({"provider", "operator", "auditor"})
OWNER = frozenset({"provider", "operator"})
OPERATOR = frozenset({"operator"})
WATCHER = frozenset({"operator", "auditor"})


class Row(NamedTuple):
    """Who may, what a request needs, what success looks like, and what another provider is answered."""

    roles: frozenset[str]
    success: int
    other: int
    body: object = None
    match: bool = False
    fill: str = ""


HIDDEN, EMPTY, REFUSED = 404, 200, 422
CSV = "a,b,business_user,scenario,order_id,real_name,consent,expires_ms\n"

ROWS: dict[str, Row] = {
    "GET /v1/bindings": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/bindings": Row(OWNER, 201, REFUSED, binding()),
    "POST /v1/bindings/batch": Row(OWNER, 200, EMPTY, {"items": [binding()]}),
    "GET /v1/bindings/export": Row(EVERYBODY, 200, EMPTY),
    "GET /v1/bindings/{id}": Row(EVERYBODY, 200, HIDDEN),
    "PATCH /v1/bindings/{id}": Row(OWNER, 200, HIDDEN, {"most_calls": 3}, match=True),
    "POST /v1/bindings/{id}/extend": Row(OWNER, 200, HIDDEN, {"expires_ms": NOW + 2 * 86_400_000}),
    "POST /v1/bindings/{id}/end": Row(OWNER, 200, HIDDEN),
    "POST /v1/bindings/{id}/parties": Row(OWNER, 200, HIDDEN, {"b": "13700137000", "real_name": "r", "consent": "c"}),
    "POST /v1/imports": Row(OWNER, 202, 202, CSV),
    "GET /v1/imports": Row(EVERYBODY, 200, EMPTY),
    "GET /v1/imports/{id}": Row(EVERYBODY, 200, HIDDEN),
    "GET /v1/imports/{id}/errors": Row(EVERYBODY, 200, HIDDEN),
    "POST /v1/imports/{id}/cancel": Row(OWNER, 200, HIDDEN, REASON),
    "GET /v1/groups": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/groups": Row(OWNER, 201, REFUSED, {"business_user": USER, "name": "more"}),
    "GET /v1/groups/{id}": Row(EVERYBODY, 200, HIDDEN),
    "PATCH /v1/groups/{id}": Row(OWNER, 200, HIDDEN, {"name": "others"}, match=True),
    "DELETE /v1/groups/{id}": Row(OWNER, 204, HIDDEN),
    "POST /v1/groups/{id}/members": Row(OWNER, 200, HIDDEN, {"members": ["13400134000"]}),
    "POST /v1/groups/{id}/members/remove": Row(OWNER, 200, HIDDEN, {"member": "13500135000"}),
    "GET /v1/numbers/{x}": Row(EVERYBODY, 200, HIDDEN),
    "GET /v1/numbers/{x}/ledger": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/numbers/{x}/holders": Row(EVERYBODY, 200, EMPTY, {"at_ms": NOW, "purpose": "test"}),
    "GET /v1/blocks": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/blocks": Row(OPERATOR, 201, 403, {"prefix": "70055555555", "provider": PROVIDER, "business_user": USER}),
    "GET /v1/blocks/{prefix}": Row(EVERYBODY, 200, HIDDEN),
    "POST /v1/blocks/{prefix}/{deed}": Row(OPERATOR, 200, 403, REASON, fill="freeze"),
    "GET /v1/providers": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/providers": Row(OPERATOR, 201, 403, {"id": "platform-3", "name": "third"}),
    "GET /v1/providers/{id}": Row(EVERYBODY, 200, HIDDEN),
    "PATCH /v1/providers/{id}": Row(OPERATOR, 200, 403, {"name": "other"}, match=True),
    "POST /v1/providers/{id}/{deed}": Row(OPERATOR, 200, 403, REASON, fill="suspend"),
    "GET /v1/business-users": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/business-users": Row(OWNER, 201, REFUSED, {"id": "shop-3", "name": "third", "provider": PROVIDER}),
    "GET /v1/business-users/{id}": Row(EVERYBODY, 200, HIDDEN),
    "PATCH /v1/business-users/{id}": Row(OWNER, 200, HIDDEN, {"name": "other"}, match=True),
    "POST /v1/business-users/{id}/{deed}": Row(OPERATOR, 200, 403, REASON, fill="suspend"),
    "GET /v1/contracts": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/contracts": Row(
        OWNER, 201, REFUSED, {"id": "c-3", "business_user": USER, "reference": "r", "provider": PROVIDER}
    ),
    "GET /v1/contracts/{id}": Row(EVERYBODY, 200, HIDDEN),
    "PATCH /v1/contracts/{id}": Row(OWNER, 200, HIDDEN, {"reference": "other"}, match=True),
    "POST /v1/contracts/{id}/{deed}": Row(OPERATOR, 200, 403, REASON, fill="suspend"),
    "GET /v1/scenarios": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/scenarios": Row(OPERATOR, 201, 403, {"business_user": USER, "name": "ride"}),
    "GET /v1/scenarios/{business_user}/{name}": Row(EVERYBODY, 200, HIDDEN),
    "PATCH /v1/scenarios/{business_user}/{name}": Row(OPERATOR, 200, 403, {"title": "other"}, match=True),
    "POST /v1/scenarios/{business_user}/{name}/{deed}": Row(OPERATOR, 200, 403, REASON, fill="suspend"),
    "GET /v1/blocklist": Row(WATCHER, 200, 403),
    "POST /v1/blocklist/search": Row(WATCHER, 200, 403, {"kind": "caller", "value": "13300133000"}),
    "POST /v1/blocklist": Row(OPERATOR, 201, 403, {"kind": "callee", "value": "13300133000", "reason": "test"}),
    "GET /v1/blocklist/{id}": Row(WATCHER, 200, 403),
    "POST /v1/blocklist/{id}/lift": Row(OPERATOR, 200, 403, REASON),
    "GET /v1/caller-ranges": Row(WATCHER, 200, 403),
    "PUT /v1/caller-ranges/{prefix}": Row(OPERATOR, 200, 403, {"allowed": False, "reason": "test"}),
    "POST /v1/caller-ranges/{prefix}/drop": Row(OPERATOR, 204, 403, REASON),
    "GET /v1/credit/{business_user}": Row(EVERYBODY, 200, HIDDEN),
    "GET /v1/credit/{business_user}/entries": Row(EVERYBODY, 200, HIDDEN),
    "POST /v1/credit/{business_user}/entries": Row(OPERATOR, 201, 403, {"violation": "complaint", "note": "test"}),
    "GET /v1/calls": Row(EVERYBODY, 200, EMPTY),
    "GET /v1/calls/{id}": Row(EVERYBODY, 200, HIDDEN),
    "POST /v1/calls/{id}/hang-up": Row(OWNER, 204, HIDDEN),
    "GET /v1/records": Row(EVERYBODY, 200, EMPTY),
    "GET /v1/records/{id}": Row(EVERYBODY, 200, HIDDEN),
    "GET /v1/webhooks": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/webhooks": Row(OWNER, 201, HIDDEN, {"url": "https://hooks.example.net/", "provider": PROVIDER}),
    "GET /v1/webhooks/{id}": Row(EVERYBODY, 200, HIDDEN),
    "PATCH /v1/webhooks/{id}": Row(OWNER, 200, HIDDEN, {"active": False}, match=True),
    "DELETE /v1/webhooks/{id}": Row(OWNER, 204, HIDDEN),
    "POST /v1/webhooks/{id}/rotate": Row(OWNER, 201, HIDDEN),
    "GET /v1/webhooks/{id}/dead-letters": Row(EVERYBODY, 200, HIDDEN),
    "POST /v1/webhooks/{id}/redeliver": Row(OWNER, 200, HIDDEN),
    "POST /v1/webhooks/{id}/test": Row(OWNER, 200, HIDDEN),
    "GET /v1/reports/use": Row(EVERYBODY, 200, EMPTY),
    "GET /v1/reports/activations": Row(EVERYBODY, 200, EMPTY),
    "GET /v1/audit": Row(EVERYBODY, 200, EMPTY),
    "GET /v1/keys": Row(EVERYBODY, 200, EMPTY),
    "POST /v1/keys": Row(OPERATOR, 201, 403, {"name": "new", "role": "provider", "provider": PROVIDER}),
    "GET /v1/keys/{id}": Row(EVERYBODY, 200, HIDDEN),
    "POST /v1/keys/{id}/rotate": Row(OWNER, 201, HIDDEN),
    "POST /v1/keys/{id}/revoke": Row(OWNER, 200, HIDDEN, REASON),
}
ENDPOINTS = {f"{method} {route.path_format}": route for route in routes() for method in route.methods or ()}


def test_every_endpoint_has_its_row() -> None:
    assert ENDPOINTS.keys() == ROWS.keys()


async def test_the_document_knows_every_endpoint_and_its_roles(api: World) -> None:
    documented = {
        f"{method.upper()} {path}": operation["x-roles"]
        for path, operations in api.app.openapi()["paths"].items()
        for method, operation in operations.items()
    }
    assert documented == {name: sorted(row.roles) for name, row in ROWS.items()}


@pytest.mark.parametrize("endpoint", ROWS)
def test_roles_are_those_of_the_table(endpoint: str) -> None:
    assert roles_of(ENDPOINTS[endpoint]) == ROWS[endpoint].roles


async def ask(client: Client, endpoint: str, row: Row, things: Things) -> Any:
    method, _, path = endpoint.partition(" ")
    headers = {"If-Match": "*"} if row.match else {}
    if isinstance(row.body, str):
        return await client(method, path, content=row.body, headers={**headers, "Content-Type": "text/csv"})
    request: dict[str, Any] = {} if row.body is None else {"json": row.body}
    return await client(method, things.fill(path).replace("{deed}", row.fill), headers=headers, **request)


async def call_and_record(api: World) -> None:
    """A record and a live call of the first provider, and a switch that answers as the real one does."""
    store = RecordStore(api.context.records)
    await store.add([record(api, 1)])
    await store.close()

    def answer(request: dict[str, object]) -> dict[str, object]:
        own = request["provider"] in ("", PROVIDER)
        return {"ok": own, "calls": [CALL] if own else []}

    api.switch.answer = answer


def rounds(endpoint: str, row: Row) -> list[list[str]]:
    """Who asks in one world, in this order: a change that succeeds needs one of its own."""
    refused, allowed = sorted(EVERYBODY - row.roles), sorted(row.roles)
    if endpoint.startswith("GET "):
        return [refused + allowed]
    return [[*refused, allowed[0]], *([role] for role in allowed[1:])]


@pytest.mark.parametrize("endpoint", ROWS)
async def test_who_may_and_who_may_not(endpoint: str, tmp_path: Path) -> None:
    row = ROWS[endpoint]
    for number, roles in enumerate(rounds(endpoint, row)):
        directory = tmp_path / str(number)
        directory.mkdir()
        async with world(directory) as api:
            things = await provide(api)
            await call_and_record(api)

            # who has no key, or a wrong one, is told nothing, not even whether there is such a path
            unknown = api.client(f"x7_{'0' * 12}_{'0' * 64}")
            strangers = [await ask(client, endpoint, row, things) for client in (api.nobody, unknown)]
            assert [answer.status_code for answer in strangers] == [401, 401]
            assert len({answer.text for answer in strangers}) == 1

            # what is another provider's is not there, in no list either
            other = await ask(api.other, endpoint, row, things)
            assert other.status_code == row.other, other.text
            for mark in (f'"{PROVIDER}"', f'"{USER}"', things.binding, things.group, things.key, things.webhook):
                assert mark not in other.text, other.text

            clients = {"provider": api.platform, "operator": api.operator, "auditor": api.auditor}
            for role in roles:
                answer = await ask(clients[role], endpoint, row, things)
                expected = row.success if role in row.roles else 403
                assert answer.status_code == expected, answer.text
                if expected == 403:
                    assert answer.json()["rule"] == "role"
