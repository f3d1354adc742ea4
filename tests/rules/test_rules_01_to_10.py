"""Rules R1 to R10, each through the real API, real SIP and the record it leaves."""

import sqlite3
from contextlib import closing

import pytest

from routing.numbers import bare_digits
from tests.call.invariants import reveals
from tests.rules.conftest import ALLOW
from tests.rules.service import DAY_MS, Service
from tests.system.node import until
from tests.system.phones import Call, Manner, now_ms
from tests.system.wire import ask, request

HOUR_MS = 3_600_000
DENY = (200, {"Content-Type": "application/json"}, b'{"allow": false, "reason": "order-closed"}')


def sides(service: Service, call: Call) -> tuple[bytes, bytes]:
    """Everything that the caller's and the callee's phone were told in one call."""
    phones = service.phones
    (taken,) = phones.taken(call)
    heard = phones.caller.heard[call.call_id], phones.callee.heard[taken.invite.value("call-id")]
    return b"\n".join(heard[0]), b"\n".join(heard[1])


def test_r01_nothing_is_admitted_unless_everything_is_in_order(service: Service) -> None:
    gate = service.someone("gate")
    gate.scenario("asked", verify=True)
    a, b = service.person(), service.person()
    waiting = service.block()
    block = {"prefix": waiting, "provider": "platform-1", "business_user": "gate"}
    service.operator.post("/v1/blocks", block)
    short = gate.bind(a, b, expires_ms=now_ms() + 2000)
    ended = gate.bind(a, b)
    gate.provider.post(f"/v1/bindings/{ended['id']}/end")
    once = gate.bind(a, b, most_calls=1)["x"]
    assert service.call(a, once).final == 200
    blocked, asked = gate.bind(a, b), gate.bind(a, b, scenario="asked")["x"]
    service.operator.post("/v1/blocklist", {"kind": "binding", "value": blocked["id"], "reason": "case 1"})
    service.follow()
    service.hook.answer = lambda number: DENY
    good = gate.bind(a, b)["x"]
    until(lambda: now_ms() > short["expires_ms"], "the end of the short binding")
    cases: dict[str, tuple[str, str, int]] = {
        "number_malformed": (a, "7001234", 404),
        "block_unknown": (a, "700999999990001", 404),
        "block_inactive": (a, gate.bind(a, b, x=f"{waiting}0001")["x"], 403),
        "caller_anonymous": ("anonymous", good, 433),
        "caller_foreign": ("+14155550123", good, 403),
        "loop": (gate.number(), good, 482),
        "caller_unbound": (service.person(), good, 403),
        "binding_not_started": (a, gate.bind(a, b, starts_ms=now_ms() + HOUR_MS)["x"], 403),
        "binding_expired": (a, short["x"], 403),
        "binding_ended": (a, ended["x"], 403),
        "direction_barred": (b, gate.bind(a, b, direction="a_to_b")["x"], 403),
        "binding_blocked": (a, blocked["x"], 403),
        "calls_used_up": (a, once, 403),
        "verification_refused": (a, asked, 403),
    }
    told = {reason: service.refusal(caller, dialled) for reason, (caller, dialled, _) in cases.items()}
    service.hook.answer = lambda number: ALLOW
    assert told == {reason: (status, reason) for reason, (_, _, status) in cases.items()}
    # the trunk is the first thing that is asked: a stranger gets no word
    before = service.node.count("x700_drops", cause="unknown_source")
    me = "127.0.0.9:5060"
    uri = f"sip:{good}@{service.node.sip.host}"
    invite = request(
        "INVITE", uri, me, f"<sip:{a}@{me}>;tag=1", f"<{uri}>", "stranger", 1,
        extra=[("Contact", f"<sip:{me}>"), ("P-Asserted-Identity", f"<sip:{a}@{me}>")],
    )  # fmt: skip
    assert ask(service.node.sip, invite, "127.0.0.9", seconds=0.5, times=1) is None
    assert service.node.count("x700_drops", cause="unknown_source") == before + 1
    # messages pass the same gate
    status, call_id = service.text(service.person(), good, "from a stranger")
    assert (status, service.record(call_id)["reason"]) == (403, "caller_unbound")
    assert service.texts("from a stranger") == []
    assert service.call(a, good).final == 200


def test_r02_each_side_sees_middle_numbers_and_nothing_else(service: Service) -> None:
    shop = service.someone("seen")
    for mode in ("AXB", "AXYB", "GXB", "GXYB"):
        a, b = service.person(), service.person()
        more = {"y": shop.number()} if "Y" in mode else {}
        if mode[0] == "G":
            group = {"business_user": "seen", "name": "riders", "members": [service.person(), a]}
            more["group"] = shop.provider.post("/v1/groups", group)["id"]
        bound = shop.bind(a, b, mode=mode, **more)
        x, y = bound["x"], bound["y"] or bound["x"]
        for caller, callee, dialled, shown in ((a, b, x, y), (b, a, y, x)):
            call = service.call(caller, dialled)
            assert call.final == 200
            to_caller, to_callee = sides(service, call)
            assert not reveals(to_caller, bare_digits(f"+86{callee}"))
            assert not reveals(to_callee, bare_digits(f"+86{caller}"))
            assert shown.encode() in to_callee
            invite = service.invite(call)
            assert invite.value("from").startswith(f"<sip:{shown}@")
            assert (shown == dialled) or dialled.encode() not in to_callee
            record = service.record(call)
            assert (record["mode"], record["x"], record["y"]) == (mode, x, bound["y"])
            assert record["calling"] == ("a" if caller == a else "b")


def test_r03_nothing_but_numbers_of_assigned_700_blocks_is_a_middle_number(service: Service) -> None:
    shop = service.someone("numbers")
    a, b = service.person(), service.person()
    for wrong in ("400123456780001", "95013123456789", "70012345678", "7001234567800012", a):
        assert shop.provider.refused("/v1/bindings", shop.wish(a, b, x=wrong)) == (422, "x", "R3"), wrong
        assert service.refusal(a, wrong) == (404, "number_malformed")
    nobody = "700888888880001"
    assert shop.provider.refused("/v1/bindings", shop.wish(a, b, x=nobody)) == (422, "x", "R3")
    assert service.refusal(a, nobody) == (404, "block_unknown")
    assert shop.provider.refused("/v1/bindings", shop.wish(a, shop.number())) == (422, "b", "R3")
    block = {"prefix": "40012345678", "provider": "platform-1", "business_user": "numbers"}
    assert service.operator.refused("/v1/blocks", block) == (422, "prefix", "R3")
    drawn = shop.bind(a, b, x="")["x"]
    assert drawn.startswith(shop.block)
    call = service.call(a, f"+86{drawn}")
    assert (call.final, service.record(call)["x"]) == (200, drawn)


def test_r04_a_caller_is_rewritten_under_a_live_binding_or_refused(service: Service) -> None:
    shop = service.someone("identity")
    a, b, stranger = (service.person() for _ in range(3))
    bound = shop.bind(a, b)
    claims = [
        ("P-Preferred-Identity", f"<sip:{a}@192.0.2.1>"),
        ("Remote-Party-ID", f"<sip:{a}@192.0.2.1>;party=calling"),
        ("Diversion", f"<sip:{a}@192.0.2.1>"),
        ("Referred-By", f"<sip:{a}@192.0.2.1>"),
    ]
    pretender = service.call(stranger, bound["x"], extra=claims)
    assert (pretender.final, service.phones.taken(pretender)) == (403, [])
    assert service.record(pretender)["reason"] == "caller_unbound"
    call = service.call(a, bound["x"], extra=[("P-Preferred-Identity", f"<sip:{stranger}@192.0.2.1>")])
    assert call.final == 200
    assert service.invite(call).value("p-asserted-identity").startswith(f"<sip:{bound['x']}@")
    # a member of a group is one as long as he is in it
    member, first = service.person(), service.person()
    group = shop.provider.post("/v1/groups", {"business_user": "identity", "name": "g", "members": [first, member]})
    x = shop.bind(first, service.person(), mode="GXB", group=group["id"])["x"]
    assert service.call(member, x).final == 200
    shop.provider.post(f"/v1/groups/{group['id']}/members/remove", {"member": member})
    assert service.refusal(member, x) == (403, "caller_unbound")
    shop.provider.post(f"/v1/bindings/{bound['id']}/end", {"reason": "delivered"})
    assert service.refusal(a, bound["x"]) == (403, "binding_ended")
    assert service.stored(pretender.call_id).parties.a == f"+86{stranger}"


def test_r05_a_block_is_one_business_users_and_the_ledger_says_who_held_its_numbers(service: Service) -> None:
    shop, other = service.someone("owner"), service.someone("envious")
    again = {"prefix": shop.block, "provider": "platform-1", "business_user": "envious", "state": "active"}
    assert service.operator.refused("/v1/blocks", again) == (409, "prefix", "R5")
    a, b, c = (service.person() for _ in range(3))
    x = shop.number()
    refused = other.provider.refused("/v1/bindings", other.wish(a, b, x=x))
    assert refused == (422, "business_user", "R5")
    group = other.provider.post("/v1/groups", {"business_user": "envious", "name": "g", "members": [a]})
    wish = shop.wish(a, b, mode="GXB", group=group["id"])
    assert shop.provider.refused("/v1/bindings", wish) == (422, "group", "R5")
    first = shop.bind(a, b, x=x)
    shop.provider.post(f"/v1/bindings/{first['id']}/end", {"reason": "delivered"})
    second = shop.bind(c, b, x=x)
    assert service.record(service.call(c, x))["order_id"] == second["order_id"]
    entries = shop.provider.items(f"/v1/numbers/{x}/ledger")
    told = [(each["event"], each["order_id"], each["business_user"]) for each in entries]
    assert told == [
        ("bound", second["order_id"], "owner"),
        ("ended", first["order_id"], "owner"),
        ("bound", first["order_id"], "owner"),
    ]
    assert all(each["by"].startswith("key:") and each["at_ms"] for each in entries)
    assert entries[1]["reason"] == "delivered"
    with closing(sqlite3.connect(service.node.data / "bindings.db")) as file:
        for change in ("DELETE FROM ledger", "UPDATE ledger SET order_id = ''"):
            with pytest.raises(sqlite3.DatabaseError):
                file.execute(change)


def test_r06_nobody_unregistered_or_without_a_contract_holds_or_binds(service: Service) -> None:
    operator = service.operator
    user = {"id": "stray", "provider": "unheard-of", "name": "Stray"}
    assert operator.refused("/v1/business-users", user) == (422, "provider", "R6")
    prefix = service.block()
    block = {"prefix": prefix, "provider": "platform-1", "business_user": "stray", "state": "active"}
    service.provider("platform-1")
    assert operator.refused("/v1/blocks", block) == (422, "business_user", "R6")
    operator.post("/v1/business-users", user | {"provider": "platform-1"})
    assert operator.refused("/v1/blocks", block) == (422, "business_user", "R6"), "no contract yet"
    contract = {"id": "stray.1", "provider": "platform-1", "business_user": "stray", "reference": "paper"}
    operator.post("/v1/contracts", contract)
    operator.post("/v1/blocks", block)
    operator.post("/v1/scenarios", {"business_user": "stray", "name": "delivery"})
    service.follow()
    a, b = service.person(), service.person()
    shop = service.someone("registered")
    unknown = shop.wish(a, b, business_user="nobody-at-all")
    assert shop.provider.refused("/v1/bindings", unknown) == (422, "business_user", "R6")
    wish = shop.wish(a, b, x=f"{prefix}0001", business_user="stray")
    bound = shop.provider.post("/v1/bindings", wish)
    operator.post("/v1/contracts/stray.1/suspend", {"reason": "under review"})
    assert shop.provider.refused("/v1/bindings", wish | {"x": f"{prefix}0002"}) == (422, "business_user", "R6")
    record = service.record(service.call(a, bound["x"]))
    assert (record["provider"], record["business_user"], record["status"]) == ("platform-1", "stray", 200)


def test_r07_who_is_suspended_binds_no_more_and_live_bindings_go_on(service: Service) -> None:
    for kind, name, platform in (
        ("business-users", "paused", "platform-7a"),
        ("providers", "paused-too", "platform-7b"),
    ):
        shop = service.someone(name, platform)
        identifier = name if kind == "business-users" else platform
        a, b = service.person(), service.person()
        bound = shop.bind(a, b)
        longer = {"expires_ms": bound["expires_ms"] + DAY_MS}
        extend = f"/v1/bindings/{bound['id']}/extend"
        for deed in ("suspend", "terminate"):
            service.operator.post(f"/v1/{kind}/{identifier}/{deed}", {"reason": "order of the ministry"})
            service.follow()
            status, _, rule = shop.provider.refused("/v1/bindings", shop.wish(a, service.person()))
            assert (status, rule) == (422, "R7")
            status, _, rule = shop.provider.refused(extend, longer)
            assert (status, rule) == (422, "R7")
            call = service.call(a, bound["x"])
            assert (call.final, service.record(call)["binding_id"]) == (200, bound["id"])
            assert service.text(b, bound["x"], f"{name} {deed}")[0] == 202
            if deed == "suspend":
                service.operator.post(f"/v1/{kind}/{identifier}/resume", {"reason": "cleared"})
                assert shop.provider.post(extend, longer)["expires_ms"] == longer["expires_ms"]


def test_r08_voice_and_short_messages_go_both_ways_under_one_binding(service: Service) -> None:
    shop = service.someone("both")
    a, b = service.person(), service.person()
    bound = shop.bind(a, b, mode="AXYB", y=shop.number())
    for caller, callee, dialled, shown in ((a, b, bound["x"], bound["y"]), (b, a, bound["y"], bound["x"])):
        call = service.call(caller, dialled)
        words = f"我到楼下了 {call.call_id}"
        status, call_id = service.text(caller, dialled, words)
        assert (call.final, status) == (200, 202)
        (text,) = until(lambda: service.texts(words), "the message")  # noqa: B023
        assert text.first == f"MESSAGE sip:{callee}@{service.phones.callee.me} SIP/2.0"
        assert text.value("from").startswith(f"<sip:{shown}@")
        assert text.body.decode() == words
        spoken, written = service.record(call), service.record(call_id)
        assert (spoken["kind"], spoken["outcome"]) == ("call", "answered")
        assert (written["kind"], written["outcome"], written["status"]) == ("message", "delivered", 200)
        assert spoken["order_id"] == written["order_id"] == bound["order_id"]


def test_r09_every_attempt_leaves_one_record(service: Service) -> None:
    shop = service.someone("counted")
    a, b, busy, away = (service.person() for _ in range(4))
    service.phones.callee.manners |= {busy: Manner(486), away: Manner(480, ring_seconds=0.2)}
    x, at_work, out = (shop.bind(a, callee)["x"] for callee in (b, busy, away))
    began = now_ms()
    calls = [
        service.call(caller, dialled)
        for caller, dialled in ((a, x), (b, x), (a, at_work), (a, out), (busy, x), (a, "7001"), ("anonymous", x))
    ]
    texts = [service.text(a, x, "counted"), service.text(busy, x, "not let in"), service.text(b, x, "counted too")]
    call_ids = [*(call.call_id for call in calls), *(call_id for _, call_id in texts)]
    records = [service.record(call_id) for call_id in call_ids]
    assert [record["outcome"] for record in records] == [
        *("answered", "answered", "busy", "rejected", "refused", "refused", "refused"),
        *("delivered", "refused", "delivered"),
    ]
    assert [record["status"] for record in records[:7]] == [call.final for call in calls]
    listed = service.operator.items("/v1/records", since_ms=began)
    assert sorted(each["record_id"] for each in listed) == sorted(record["record_id"] for record in records)
    for record in records:
        assert began <= record["arrived_ms"] <= record["ended_ms"] <= now_ms()
    # the switch numbers its attempts: none is missing, none there twice
    sequences = sorted(each.record.sequence for each in service.node.stored())
    assert sequences == list(range(1, len(sequences) + 1))


def test_r10_records_are_kept_for_two_years_and_nobody_can_say_otherwise(service: Service) -> None:
    shop = service.someone("kept")
    a, b = service.person(), service.person()
    record = service.record(service.call(a, shop.bind(a, b)["x"]))
    path = f"/v1/records/{record['record_id']}"
    for client in (service.operator, service.auditor, shop.provider):
        for method in ("DELETE", "PUT", "PATCH", "POST"):
            assert client.ask(method, path, {}).status_code == 405
    assert [days for days in (730, 731) if accepted(service, days)] == [731]
    assert service.operator.get(path) == record


def accepted(service: Service, days: int) -> bool:
    """Whether `x700 check-config` has nothing against records that are kept for so many days; else it names R10."""
    config = service.node.directory / f"kept-{days}.toml"
    config.write_text(f"[records]\nretention_days = {days}\n{service.node.config.read_text()}")
    said = service.command("check-config", config=config, code=0 if days >= 731 else 2)
    assert days >= 731 or "R10" in said
    return days >= 731
