"""The leak test from end to end: no answer of the API, no log, no question to a hook, no webhook and no file says a
real number in any spelling, whatever place a number is put into."""

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.call.invariants import reveals
from tests.call.test_identity import spellings
from tests.rules.service import DAY_MS, Client, Service, Someone
from tests.system.node import until
from tests.system.phones import now_ms
from tests.webhooks.receiver import receiving

NUMBER = "13987604321"
FIXED = "01087604321"
# Nobody is registered under this one, as some are under the others once they were tried as ids.
IMPORTED = "13987604322"


@pytest.fixture(scope="module")
def shop(service: Service) -> Someone:
    return service.someone("said")


def bodies(shop: Someone) -> dict[str, dict[str, Any]]:
    """A body for every path that takes one; each text in it is to be replaced."""
    x = shop.number()
    return {
        "/v1/bindings": shop.wish("13812345678", "13912345678", x=x, provider="platform-1", group="g", y=x),
        "/v1/bindings/batch": {"items": [shop.wish("13812345678", "13912345678", x=x)]},
        "/v1/bindings/nothing/extend": {"expires_ms": 1},
        "/v1/bindings/nothing/end": {"reason": "why"},
        "/v1/bindings/nothing/parties": {"a": "13812345678", "b": "", "real_name": "r", "consent": "c"},
        "/v1/groups": {"business_user": "said", "name": "riders", "members": ["13812345678"]},
        "/v1/groups/nothing/members": {"members": ["13812345678"]},
        "/v1/groups/nothing/members/remove": {"member": "13812345678", "successor": ""},
        f"/v1/numbers/{x}/holders": {"at_ms": 1, "purpose": "why"},
        "/v1/blocks": {"prefix": "70099999999", "provider": "p", "business_user": "u", "state": "active"},
        "/v1/providers": {"id": "platform-1", "name": "P", "licence": "L"},
        "/v1/business-users": {"id": "said", "provider": "platform-1", "name": "P", "credit_code": ""},
        "/v1/contracts": {"id": "said.1", "provider": "platform-1", "business_user": "said", "reference": "paper"},
        "/v1/scenarios": {"business_user": "said", "name": "delivery", "windows": ["08:00-09:00"], "direction": "both"},
        "/v1/blocklist": {"kind": "caller", "value": "13812345678", "reason": "why", "business_user": "said"},
        "/v1/blocklist/search": {"kind": "caller", "value": "13812345678"},
        "/v1/blocklist/1/lift": {"reason": "why"},
        "/v1/caller-ranges/138/drop": {"reason": "why"},
        "/v1/credit/said/entries": {"violation": "complaint", "note": "n", "day": ""},
        "/v1/webhooks": {"url": "https://192.0.2.1/hook", "events": ["call.ended"], "provider": "platform-1"},
        "/v1/keys": {"name": "n", "role": "provider", "provider": "platform-1"},
    }


def spoilt(value: Any, text: str) -> Iterator[Any]:
    """The value with ``text`` in each of its places in turn, and as a field of its own."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from ({**value, name: changed} for changed in spoilt(inner, text))
        yield {**value, text: 1}
        yield {**value, "unknown": text}
    elif isinstance(value, list):
        yield from ([changed] for inner in value for changed in spoilt(inner, text))
        yield text
    else:
        yield text
        yield f"{text} or so"


def wrong(client: Client, path: str, body: Any, method: str = "POST") -> list[bytes]:
    """The body of the answer, where it is an error."""
    answer = client.ask(method, path, body)
    return [answer.content] if answer.status_code >= 400 else []


def test_no_error_of_the_api_repeats_a_number(service: Service, shop: Someone) -> None:
    errors = []
    clients = itertools.cycle((service.operator, shop.provider))
    for spelling in (*spellings(f"+86{NUMBER}"), FIXED, f"({FIXED[:3]}) {FIXED[3:]}"):
        for path, body in bodies(shop).items():
            errors += [error for changed in spoilt(body, spelling) for error in wrong(next(clients), path, changed)]
        text = quote(spelling, safe="")
        for path in ("bindings", "groups", "numbers", "blocks", "providers", "contracts", "calls", "records", "keys"):
            for below in ("", "/ledger", "/end", "/errors"):
                errors += wrong(service.operator, f"/v1/{path}/{text}{below}", None, "GET")
            for name in ("x", "cursor", "order_id", "business_user", "state", "kind", "limit", text):
                errors += wrong(service.operator, f"/v1/{path}?{name}={text}", None, "GET")
        for path in ("imports/nothing", f"imports/{text}/errors", f"credit/{text}", f"caller-ranges/{text}/drop"):
            errors += wrong(service.operator, f"/v1/{path}", {"reason": "why"})
    assert len(errors) > 1000
    told = sorted({error.decode() for error in errors if reveals(error, NUMBER) or reveals(error, FIXED[1:])})
    assert told == []


def test_no_line_of_a_refused_import_repeats_a_number(service: Service, shop: Someone) -> None:
    wish = shop.wish("13812345678", "13912345678")
    rows = [changed for spelling in spellings(f"+86{IMPORTED}") for changed in spoilt(wish, spelling)]
    lines = [json.dumps(row) for row in rows]
    for spelling in spellings(f"+86{IMPORTED}"):
        lines += [spelling, f'{{"a": {spelling}', f'"{spelling}"', f'[{{"{spelling}": 1}}]']
    answer = shop.provider.ask(
        "POST", "/v1/imports", content="\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
    )
    assert answer.status_code == 202, answer.text
    path = f"/v1/imports/{answer.json()['id']}"
    done = until(lambda: (job := shop.provider.get(path))["state"] != "running" and job, "the import")
    assert done["refused"] > len(lines) / 2
    errors = shop.provider.ask("GET", f"{path}/errors").content
    assert errors.count(b"\n") >= done["refused"]
    told = [line for line in errors.decode().splitlines() if reveals(line.encode(), IMPORTED)]
    assert told == []


def test_webhooks_and_the_hook_are_told_masked_numbers(service: Service) -> None:
    shop = service.someone("told", "platform-told")
    shop.scenario("asked", verify=True)
    with receiving() as receiver:
        hook = {"url": receiver.url, "provider": "platform-told"}
        assert shop.provider.post("/v1/webhooks", hook)["reveal"] is False
        people = []
        asked = len(service.hook.got)
        for mode in ("AXB", "AXYB", "GXB", "GXYB"):
            a, b = service.person(), service.person()
            people += [a, b]
            more = {"y": shop.number()} if "Y" in mode else {}
            if mode[0] == "G":
                group = {"business_user": "told", "name": "riders", "members": [a]}
                more["group"] = shop.provider.post("/v1/groups", group)["id"]
            bound = shop.bind(a, b, mode=mode, scenario="asked", **more)
            for caller, dialled in ((a, bound["x"]), (b, bound["y"] or bound["x"])):
                assert service.call(caller, dialled).final == 200
                assert service.text(caller, dialled, f"call me at {caller}")[0] == 202
        receiver.wait(lambda _: len([got for got in receiver.got if got.event["type"].endswith("delivered")]) >= 8)
        receiver.wait(lambda _: len([got for got in receiver.got if got.event["type"] == "call.ended"]) >= 8)
        bodies = [got.body for got in receiver.got] + [got.body for got in service.hook.got[asked:]]
        heads = [json.dumps([got.path, got.headers]).encode() for got in (*receiver.got, *service.hook.got[asked:])]
    assert len(service.hook.got) - asked == 16
    for person in people:
        masked = f"{person[:3]}****{person[-4:]}".encode()
        assert any(masked in body for body in bodies)
        assert not any(reveals(said, person) for said in (*bodies, *heads))


def test_message_bodies_cross_without_the_parties_numbers(service: Service) -> None:
    shop = service.someone("written")
    for mode in ("AXB", "AXYB"):
        a, b = service.person(), service.person()
        bound = shop.bind(a, b, mode=mode, **({"y": shop.number()} if mode == "AXYB" else {}))
        for caller, callee, dialled in ((a, b, bound["x"]), (b, a, bound["y"] or bound["x"])):
            spelt = spellings(f"+86{caller}")[:6] + spellings(f"+86{callee}")[:6]
            words = f"{mode} {caller[-1]} {'; '.join(spelt)}"
            status, call_id = service.text(caller, dialled, words)
            assert status == 202
            assert service.record(call_id)["outcome"] == "delivered"
            (taken,) = [text for text in service.phones.callee.texts if text.first.startswith(f"MESSAGE sip:{callee}@")]
            (wire,) = service.phones.callee.heard[taken.value("call-id")]
            assert not reveals(wire, caller)
            assert not reveals(taken.body, callee)


def test_neither_logs_nor_files_nor_answers_hold_a_number_of_anybody(service: Service) -> None:
    """Of everybody who was in any test with this service."""
    people = [service.person() for _ in range(2)]
    shop = service.someone("last")
    bound = shop.bind(*people, expires_ms=now_ms() + DAY_MS)
    assert service.call(people[0], bound["x"]).final == 200
    service.record(service.call(people[1], bound["x"]))
    everybody = service.people
    assert set(people) <= set(everybody)
    logs = "\n".join(line for process in service.node.processes for line in process.lines).encode()
    answers = b"\n".join(service.told)
    assert len(logs) > 1000
    assert len(answers) > 1000
    for person in everybody:
        assert not reveals(logs, person), "a log"
        assert not reveals(answers, person), "an answer"
    files = [path for path in service.node.data.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"bindings.db", "switch-memory.db"}
    for path in files:
        content = path.read_bytes().rstrip(b"\0")
        assert [person for person in everybody if person.encode() in content] == [], path.name
