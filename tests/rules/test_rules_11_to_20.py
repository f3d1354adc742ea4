"""Rules R11 to R20, each through the real API, real SIP and the record it leaves."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.rules.conftest import ALLOW
from tests.rules.service import DAY_MS, Service
from tests.system.node import until
from tests.system.phones import now_ms

HOUR_MS = 3_600_000
CHINA = timezone(timedelta(hours=8))
DENY = (200, {"Content-Type": "application/json"}, b'{"allow": false, "reason": "order-closed"}')


def test_r11_who_was_behind_a_number_at_an_instant(service: Service) -> None:
    shop, other = service.someone("traced", "platform-11"), service.someone("curious", "platform-11b")
    a, b, c, d = (service.person() for _ in range(4))
    x = shop.number()
    first = shop.bind(a, b, x=x, industrial_id="700.100.1/11")
    before = service.record(service.call(a, x))
    shop.provider.post(f"/v1/bindings/{first['id']}/end")
    second = shop.bind(c, d, x=x)
    after = service.record(service.call(d, x))

    def holders(client: Any, at_ms: int, purpose: str, **more: Any) -> list[tuple[str, str, str]]:
        question = {"at_ms": at_ms, "purpose": purpose}
        answer = client.post(f"/v1/numbers/{x}/holders", question, params=more)
        return [(each["order_id"], each["a"], each["b"]) for each in answer["items"]]

    masked = [tuple(f"{number[:3]}****{number[-4:]}" for number in pair) for pair in ((a, b), (c, d))]
    for client in (service.operator, service.auditor, shop.provider):
        assert holders(client, before["arrived_ms"], "case 11") == [(first["order_id"], *masked[0])]
        assert holders(client, after["arrived_ms"], "case 11") == [(second["order_id"], *masked[1])]
    assert holders(service.operator, before["arrived_ms"] - HOUR_MS, "case 11") == []
    assert holders(other.provider, after["arrived_ms"], "curiosity") == []
    whole = holders(shop.provider, after["arrived_ms"], "case 11", reveal="true")
    assert whole == [(second["order_id"], f"+86{c}", f"+86{d}")]
    # reading needs a purpose and a right, and is itself written down
    path = f"/v1/numbers/{x}/holders"
    assert service.operator.refused(path, {"at_ms": now_ms(), "purpose": ""})[0] == 422
    assert service.operator.refused(path, {"at_ms": now_ms()})[:2] == (422, "purpose")
    deeds = service.auditor.items("/v1/audit", id=x)
    assert len([deed for deed in deeds if "case 11" in (deed["reason"], *map(str, deed["detail"].values()))]) == 8
    assert all(deed["by"].startswith("key:") for deed in deeds)
    # with the calls: all of the number, whoever held it, each under its order
    listed = service.auditor.items("/v1/records", x=x)
    assert [(each["record_id"], each["order_id"]) for each in listed] == [
        (after["record_id"], second["order_id"]),
        (before["record_id"], first["order_id"]),
    ]
    assert other.provider.items("/v1/records", x=x) == []


def test_r12_whatever_is_blocked_calls_no_more(service: Service) -> None:
    shop = service.someone("ordinary")
    owners = {
        "block": service.someone("of-block"),
        "business_user": service.someone("culprit"),
        "provider": service.someone("customer", "platform-12"),
    }
    lines = {}
    for kind in ("caller", "callee", "number", "x", "block", "binding", "business_user", "provider"):
        owner = owners.get(kind, shop)
        a, b = service.person(), service.person()
        bound = owner.bind(a, b)
        values = {"caller": a, "callee": b, "number": a, "x": bound["x"], "block": owner.block, "binding": bound["id"]}
        values |= {"business_user": "culprit", "provider": "platform-12"}
        lines[kind] = (a, b, bound["x"], values[kind])
    a, b, x, _ = lines["x"]
    up = service.call(a, x, None)
    assert up.answered.is_set()
    entries = {
        kind: service.operator.post(
            "/v1/blocklist", {"kind": kind, "value": value, "reason": f"case 12 {kind}", "cut": kind == "x"}
        )
        for kind, (_, _, _, value) in lines.items()
    }
    rested = service.person()
    resting = shop.bind(rested, service.person())["x"]
    rest = {"kind": "caller", "value": rested, "reason": "a short rest", "expires_ms": now_ms() + 6000}
    service.operator.post("/v1/blocklist", rest)
    service.follow()
    assert service.refusal(rested, resting) == (403, "caller_blocked")
    assert up.over.wait(10.0), "the call that was up goes on"
    record = service.record(up)
    assert (record["outcome"], record["ended_by"], record["reason"]) == ("answered", "switch", "blocked")
    reasons = {kind: f"{kind}_blocked" for kind in lines}
    reasons |= {"number": "caller_blocked", "x": "number_blocked", "business_user": "user_blocked"}
    for kind, (caller, _, dialled, _) in lines.items():
        assert service.refusal(caller, dialled) == (403, reasons[kind])
    # back from the callee's side: who is blocked as a caller may still be called, and the other way round
    told = {kind: service.call(callee, dialled).final for kind, (_, callee, dialled, _) in lines.items()}
    assert {kind for kind, final in told.items() if final == 200} == {"caller", "callee"}
    for kind, entry in entries.items():
        service.operator.post(f"/v1/blocklist/{entry['id']}/lift", {"reason": f"cleared {kind}"})
    service.follow()
    for caller, _, dialled, _ in lines.values():
        assert service.call(caller, dialled).final == 200
    until(lambda: now_ms() > rest["expires_ms"], "the end of the rest")
    assert service.call(rested, resting).final == 200
    deeds = service.auditor.items("/v1/audit", kind="blocklist", id=str(entries["x"]["id"]))
    assert [(deed["action"], deed["reason"]) for deed in deeds] == [("lift", "cleared x"), ("block", "case 12 x")]


def test_r13_only_subscribers_of_china_call_and_only_from_allowed_ranges(service: Service) -> None:
    shop = service.someone("ranged")
    a, b = service.person(), service.person()
    x = shop.bind(a, b)["x"]
    for caller, status, reason in (
        ("+14155550123", 403, "caller_foreign"),
        ("0085223456789", 403, "caller_foreign"),
        ("10086", 403, "caller_foreign"),
        ("4001234567", 403, "caller_foreign"),
        (a[:-1], 403, "caller_foreign"),
        ("anonymous", 433, "caller_anonymous"),
        ("Restricted", 433, "caller_anonymous"),
    ):
        assert service.refusal(caller, x) == (status, reason), caller
        assert service.text(caller, x, "out of range")[0] == status, caller
    for spelling in (a, f"+86{a}", f"86{a}", f"0086{a}", f"{a};noa=national"):
        assert service.call(spelling, x).final == 200, spelling
    for field, number in (("a", "+14155550123"), ("b", "10086"), ("a", "12345")):
        wish = shop.wish(**{"a": a, "b": b, field: number})
        assert shop.provider.refused("/v1/bindings", wish) == (422, field, "R13")
    virtual, landline = "17055550113", "01087650013"
    bound = {caller: shop.bind(caller, b)["x"] for caller in (virtual, landline)}
    setting = {"allowed": False, "reason": "virtual operator"}
    service.operator.ask("PUT", "/v1/caller-ranges/170", setting).raise_for_status()
    service.follow()
    assert service.refusal(virtual, bound[virtual]) == (403, "caller_barred")
    assert service.call(landline, bound[landline]).final == 200
    assert service.call(b, bound[virtual]).final == 200, "he may still be called"
    service.operator.post("/v1/caller-ranges/170/drop", {"reason": "over"})
    service.follow()
    assert service.call(virtual, bound[virtual]).final == 200


def test_r14_caps_end_what_looks_like_marketing(service: Service) -> None:
    shop = service.someone("busy")
    shop.scenario("caller", caps={"caller": {"per_day": 2}})
    shop.scenario("binding", caps={"binding": {"per_hour": 1}})
    shop.scenario("number", caps={"number": {"concurrent": 1}})
    shop.scenario("total", caps={"total": {"per_day": 2}})
    shop.scenario("spread", caps={"caller": {"distinct_x": 1}})
    capped = service.someone("capped")
    service.operator.change("/v1/business-users/capped", caps={"per_day": 2})
    service.follow()

    def bound(scenario: str, a: str = "") -> tuple[str, str]:
        caller = a or service.person()
        owner = capped if scenario == "delivery" else shop
        return caller, owner.bind(caller, service.person(), scenario=scenario)["x"]

    line = bound("caller")
    assert [service.call(*line).final for _ in range(2)] == [200, 200]
    assert service.refusal(*line) == (403, "caller_cap")
    assert service.refusal(*bound("caller", line[0])) == (403, "caller_cap")
    line = bound("binding")
    assert service.call(*line).final == 200
    assert service.refusal(*line) == (403, "binding_cap")
    line = bound("number")
    up = service.call(*line, talk_seconds=None)
    assert service.refusal(*line) == (403, "number_cap")
    service.phones.hang_up(up)
    assert up.over.wait(10.0)
    assert service.call(*line).final == 200
    assert [service.call(*bound("total")).final for _ in range(2)] == [200, 200]
    assert service.refusal(*bound("total")) == (403, "scenario_cap")
    assert [service.call(*bound("delivery")).final for _ in range(2)] == [200, 200]
    assert service.refusal(*bound("delivery")) == (403, "user_cap")
    caller, first = bound("spread")
    assert [service.call(caller, first).final for _ in range(2)] == [200, 200]
    assert service.refusal(*bound("spread", caller)) == (403, "fan_out")
    # fan-out: the fourth middle number of one caller is told of, noted, and blocks the caller
    caller = service.person()
    for _ in range(4):
        _, x = bound("binding", caller)
        assert service.call(caller, x).final == 200

    def switch_blocked() -> list[Any]:
        return [each for each in service.operator.items("/v1/blocklist", kind="caller") if each["by"] == "switch"]

    (entry,) = until(switch_blocked, "the block of who dials too many numbers")
    assert entry["business_user"] == "busy"
    service.follow()
    assert service.refusal(caller, x) == (403, "caller_blocked")
    assert service.operator.get("/v1/credit/busy")["totals"]["fan_out"] == 1


def test_r15_codes_and_services_get_no_message_through(service: Service) -> None:
    shop = service.someone("talkative")
    a, b = service.person(), service.person()
    x = shop.bind(a, b)["x"]
    for sender, words, reason in (
        (a, "【某应用】您的验证码是483920,5分钟内有效", "verification_code"),
        (b, "Your verification code is 483921", "verification_code"),
        ("106575257", "快递已到 15", "service_sender"),
        ("95588", "余额 15", "service_sender"),
        ("12306", "车票 15", "service_sender"),
    ):
        status, call_id = service.text(sender, x, words)
        record = service.record(call_id)
        assert (status, record["kind"], record["reason"]) == (403, "message", reason), words
        assert record["outcome"] == "dropped"
        assert service.texts(words) == []
    status, call_id = service.text(a, x, "门口的快递柜, 谢谢")
    assert (status, service.record(call_id)["outcome"]) == (202, "delivered")


def test_r16_a_binding_states_real_name_and_consent(service: Service) -> None:
    shop = service.someone("consenting")
    a, b, c = (service.person() for _ in range(3))
    for field in ("real_name", "consent"):
        for value in ("", "   "):
            wish = shop.wish(a, b, **{field: value})
            assert shop.provider.refused("/v1/bindings", wish) == (422, field, "R16")
            assert service.refusal(a, wish["x"]) == (403, "caller_unbound")
        wish = shop.wish(a, b)
        del wish[field]
        assert shop.provider.refused("/v1/bindings", wish)[:2] == (422, field)
    bound = shop.bind(a, b, real_name="rn-16", consent="c-16")
    kept = shop.provider.get(f"/v1/bindings/{bound['id']}")
    assert (kept["real_name"], kept["consent"]) == ("rn-16", "c-16")
    # another party is another person: with references of its own
    parties = f"/v1/bindings/{bound['id']}/parties"
    for field in ("real_name", "consent"):
        change = {"a": c, "real_name": "rn-c", "consent": "c-c", field: ""}
        assert shop.provider.refused(parties, change) == (422, field, "R16")
    shop.provider.post(parties, {"a": c, "real_name": "rn-c", "consent": "c-c"})
    assert service.call(c, bound["x"]).final == 200
    assert service.refusal(a, bound["x"]) == (403, "caller_unbound")


def test_r17_a_binding_names_a_registered_scenario_and_keeps_to_it(service: Service) -> None:
    shop, other = service.someone("scenic"), service.someone("neighbour")
    other.scenario("his-own")
    hour = datetime.now(CHINA).hour
    shop.scenario("one-way", direction="a_to_b", longest_days=1, ring_seconds=20)
    shop.scenario("by-night", windows=[f"{(hour + 11) % 24:02}:00-{(hour + 13) % 24:02}:00"])
    shop.scenario("voice-only", messages=False)
    a, b = service.person(), service.person()

    def refused(**more: Any) -> tuple[int, str, str]:
        return shop.provider.refused("/v1/bindings", shop.wish(a, b, **more))

    assert refused(scenario="unheard-of") == (422, "scenario", "R17")
    assert refused(scenario="his-own") == (422, "scenario", "R17")
    day = {"expires_ms": now_ms() + DAY_MS + HOUR_MS, "direction": "a_to_b"}
    assert refused(scenario="one-way", **day) == (422, "expires_ms", "R17")
    assert refused(scenario="one-way", expires_ms=now_ms() + HOUR_MS) == (422, "direction", "R17")
    short = {"expires_ms": now_ms() + HOUR_MS, "direction": "a_to_b"}
    assert refused(scenario="one-way", ring_seconds=21, **short) == (422, "ring_seconds", "R17")
    assert refused(expires_ms=now_ms() + 91 * DAY_MS) == (422, "expires_ms", "R17")
    one_way = shop.bind(a, b, scenario="one-way", **short)
    assert (service.call(a, one_way["x"]).final, service.refusal(b, one_way["x"])) == (200, (403, "direction_barred"))
    assert service.refusal(a, shop.bind(a, b, scenario="by-night")["x"]) == (403, "outside_hours")
    voice = shop.bind(a, b, scenario="voice-only")["x"]
    status, call_id = service.text(a, voice, "not in this scenario")
    assert (status, service.record(call_id)["reason"]) == (403, "messages_barred")
    call = service.call(a, voice)
    assert (call.final, service.record(call)["scenario"]) == (200, "voice-only")
    # a change of the scenario is a change of what its live bindings may do
    service.operator.change("/v1/scenarios/scenic/voice-only", direction="b_to_a")
    service.follow()
    assert service.refusal(a, voice) == (403, "direction_barred")


def test_r18_blocks_and_numbers_have_a_life_that_is_kept_and_reported(service: Service) -> None:
    service.provider("platform-18")
    service.register("lifelong", "platform-18")
    shop = service.someone("short-lived", "platform-18")
    operator, prefix = service.operator, service.block()
    block = {"prefix": prefix, "provider": "platform-18", "business_user": "short-lived"}
    assert operator.post("/v1/blocks", block)["state"] == "allocated"
    waiting = operator.items("/v1/reports/activations", provider="platform-18")
    assert [(each["prefix"], each["due_ms"] > now_ms()) for each in waiting] == [(prefix, True)]
    a, b = service.person(), service.person()
    ahead = shop.bind(a, b, x=f"{prefix}0001")
    service.follow()
    assert service.refusal(a, ahead["x"]) == (403, "block_inactive")
    move = f"/v1/blocks/{prefix}"
    operator.post(f"{move}/activate")
    service.follow()
    assert service.call(a, ahead["x"]).final == 200
    assert operator.items("/v1/reports/activations", provider="platform-18") == []

    def use() -> tuple[str, int, int, int]:
        listed = operator.items("/v1/reports/use", provider="platform-18")
        (found,) = [each for each in listed if each["block"]["prefix"] == prefix]
        return found["block"]["state"], found["bound"], found["quarantined"], found["free"]

    def state_of(x: str) -> str:
        return str(shop.provider.get(f"/v1/numbers/{x}")["state"])

    assert (use(), state_of(ahead["x"])) == (("active", 1, 0, 9999), "bound")
    assert operator.refused(f"{move}/return", {"reason": "over"}) == (409, "state", "R18")
    operator.post(f"{move}/freeze", {"reason": "order of the ministry"})
    service.follow()
    assert service.refusal(a, ahead["x"]) == (403, "block_inactive")
    status, _, rule = shop.provider.refused("/v1/bindings", shop.wish(a, b, x=f"{prefix}0002"))
    assert (status, rule) == (422, "R18")
    assert operator.refused(f"{move}/return", {"reason": "over"}) == (409, "state", "R7"), (
        "an order would lose its calls"
    )
    shop.provider.post(f"/v1/bindings/{ahead['id']}/end")
    assert (use(), state_of(ahead["x"])) == (("frozen", 0, 1, 9999), "quarantined")
    assert state_of(f"{prefix}0003") == "free"
    assert operator.post(f"{move}/return", {"reason": "over"})["state"] == "returned"
    service.follow()
    assert service.refusal(a, ahead["x"]) == (403, "block_inactive")
    assert operator.refused(f"{move}/activate", {}) == (409, "state", "R18")
    deeds = operator.items("/v1/audit", kind="block", id=prefix)
    assert [deed["action"] for deed in deeds] == ["return", "freeze", "activate", "add"]
    life = operator.get(move)
    assert 0 < life["allocated_ms"] <= life["activated_ms"] <= life["returned_ms"]


def test_r19_a_credit_file_counts_what_a_business_user_did(service: Service) -> None:
    shop, other = service.someone("doubtful"), service.someone("onlooker", "platform-19")
    operator, credit = service.operator, "/v1/credit/doubtful"
    a, b = service.person(), service.person()
    bound = shop.bind(a, b)
    entry = operator.post("/v1/blocklist", {"kind": "binding", "value": bound["id"], "reason": "complaint 4711"})
    complaint = {"violation": "complaint", "note": "complaint 4711, confirmed"}
    operator.post(f"{credit}/entries", complaint)
    operator.post(f"{credit}/entries", complaint | {"note": "entered twice"})
    operator.post(f"{credit}/entries", complaint | {"note": "takes back the second", "times": -1})
    for client in (operator, service.auditor, shop.provider):
        assert client.get(credit)["totals"] == {"blocked": 1, "complaint": 1}
    entries = shop.provider.items(f"{credit}/entries")
    assert [(each["violation"], each["times"], each["source"]) for each in entries] == [
        ("complaint", -1, "manual"),
        ("complaint", 1, "manual"),
        ("complaint", 1, "manual"),
        ("blocked", 1, "block"),
    ]
    assert str(entry["id"]) in entries[-1]["note"]
    assert other.provider.refused(credit, None, method="GET")[0] == 404
    assert shop.provider.refused(f"{credit}/entries", complaint)[0] == 403
    service.follow()
    refused = service.call(a, bound["x"])
    assert service.record(refused)["reason"] == "binding_blocked"
    today = datetime.now(CHINA).date().isoformat()
    assert operator.get(credit, since_day=today, until_day=today)["totals"]["blocked"] == 1
    exported = service.command("credit", "export", "doubtful")
    assert '"complaint"' in exported
    assert "complaint 4711, confirmed" in exported


def test_r20_order_and_industrial_id_are_in_the_record_and_the_hook_has_a_say(service: Service) -> None:
    shop = service.someone("verified")
    shop.scenario("asked", verify=True)
    a, b = service.person(), service.person()
    bound = shop.bind(a, b, scenario="asked", order_id="order-20", industrial_id="700.100.1/12345678")
    hook = service.hook

    def call(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, Any]]:
        hook.answer = lambda number: answer
        try:
            made = service.call(a, bound["x"])
        finally:
            hook.answer = lambda number: ALLOW
        return made.final, service.record(made)

    asked = len(hook.got)
    final, record = call(ALLOW)
    assert (final, record["verification"]) == (200, "passed")
    assert (record["order_id"], record["industrial_id"]) == ("order-20", "700.100.1/12345678")
    (question,) = [json.loads(got.body) for got in hook.got[asked:]]
    assert (question["id"], question["order_id"]) == (record["record_id"], "order-20")
    assert (question["x"], question["industrial_id"]) == (bound["x"], "700.100.1/12345678")
    assert (question["caller"], question["callee"]) == tuple(f"{each[:3]}****{each[-4:]}" for each in (a, b))
    final, record = call(DENY)
    assert (final, record["reason"], record["verification"]) == (403, "verification_refused", "refused")
    final, record = call((500, {}, b""))
    assert (final, record["reason"], record["verification"]) == (503, "verification_failed", "failed_closed")
    asked = len(hook.got)
    unasked = service.call(a, shop.bind(a, b)["x"])
    assert (unasked.final, service.record(unasked)["verification"]) == (200, "skipped")
    assert len(hook.got) == asked
    service.text(a, bound["x"], "verified too")
    assert until(lambda: service.texts("verified too"), "the message")
    assert json.loads(hook.got[-1].body)["kind"] == "message"
