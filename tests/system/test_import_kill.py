"""The API process is killed in the middle of a bulk import: no half binding at any instant, and in the end exactly what
the file says, with the switch and its calls going on beside it."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from typing import Any

import httpx

from cdr.seal import Seal
from routing.access import Role
from routing.plan import Block, BlockState
from routing.store.sqlite import Store
from tests.system.node import ANSWERED, BUSINESS, CALLER, DAY_MS, Node, Process, until
from tests.system.phones import now_ms

LINES = 9_000
KILLS = 3
BLOCKS = tuple(f"7001234567{digit}" for digit in (1, 2))
# Every so many lines one that is refused: no number of ours, no consent, no JSON, a key that an earlier line has.
WRONG = 97


def wish(line: int) -> dict[str, Any]:
    """The binding of a line; every third leaves its number to the store."""
    x = "" if line % 3 == 0 else f"{BLOCKS[line % 2]}{line // 2:04d}"
    return {
        "x": x, "a": f"136{line:08d}", "b": f"137{line:08d}", "business_user": BUSINESS, "scenario": "delivery",
        "order_id": f"import-{line}", "real_name": "rn", "consent": "cs", "expires_ms": now_ms() + DAY_MS,
    }  # fmt: skip


def text_of(line: int) -> tuple[str, str]:
    """A line of the file and the rule that it breaks, '' for none."""
    body = wish(line)
    if line % WRONG:
        return json.dumps(body), ""
    kind = line // WRONG % 4
    if kind == 0:
        return json.dumps(body | {"x": "7009999999900"}), "R3"
    if kind == 1:
        return json.dumps(body | {"consent": ""}), "R16"
    if kind == 2:
        return '{"x": ', "form"
    return json.dumps(body | {"x": ANSWERED.x, "a": CALLER}), "key"


def halves(node: Node) -> list[str]:
    """What is there of a binding and not the rest of it, at this very instant."""
    wanted = {
        "bindings without both keys": "SELECT count(*) FROM bindings WHERE number NOT IN"
        " (SELECT binding FROM keys GROUP BY binding HAVING count(*) = 2)",
        "keys without a binding": "SELECT count(*) FROM keys WHERE binding NOT IN (SELECT number FROM bindings)",
        "bindings without their line in the ledger": "SELECT count(*) FROM bindings WHERE id NOT IN"
        " (SELECT binding FROM ledger WHERE event = 'bound')",
        "lines in the ledger without a binding": "SELECT count(*) FROM ledger WHERE event = 'bound'"
        " AND binding NOT IN (SELECT id FROM bindings)",
        "numbers that are bound to nobody's knowledge": "SELECT count(*) FROM bindings"
        " WHERE CAST(x AS INTEGER) NOT IN (SELECT x FROM numbers WHERE bound_until_ms >= expires_ms)",
        "bindings that the import does not count": "SELECT abs((SELECT count(*) FROM bindings WHERE order_id LIKE"
        " 'import-%') - (SELECT total(bound) FROM imports))",
    }
    with closing(sqlite3.connect(f"file:{node.data / 'bindings.db'}?mode=ro", uri=True)) as file:
        file.execute("BEGIN")
        found = {what: file.execute(sql).fetchone()[0] for what, sql in wanted.items()}
    return [f"{number} {what}" for what, number in found.items() if number]


def pid_of(supervisor: Process, child: str) -> int:
    """The newest process of a child."""
    (*_, newest) = [entry["pid"] for entry in supervisor.events("child_started") if entry["child"] == child]
    assert isinstance(newest, int)
    return newest


async def _provide(node: Node) -> str:
    async with await node.store() as store:
        for prefix in BLOCKS:
            await store.blocks.add(Block(prefix, "provider-1", BUSINESS, BlockState.ACTIVE), now_ms(), by="test")
        _, secret = await store.keys.add("import", Role.PROVIDER, "provider-1", now_ms=now_ms(), by="test")
        return secret


async def _bound(node: Node, seal: Seal) -> dict[str, tuple[str, str, str]]:
    """(x, a, b) of each order of the file; AssertionError when one is there twice."""
    found: dict[str, tuple[str, str, str]] = {}
    async with await Store.open(node.data / "bindings.db", seal) as store:
        after = ""
        while page := await store.bindings.list(after, 1000):
            for one in page:
                assert one.order_id not in found
                found[one.order_id] = (one.x, one.a, one.b)
            after = page[-1].id
    return {order: parts for order, parts in found.items() if order.startswith("import-")}


def test_an_import_survives_every_kill_of_the_api_and_binds_exactly_the_file(node: Node) -> None:
    secret = asyncio.run(_provide(node))
    texts = [text_of(line) for line in range(1, LINES + 1)]
    supervisor = node.start("run").wait_ready()
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"http://{node.api.host}:{node.api.port}", headers=headers, timeout=30) as client:
        content = "\n".join(text for text, _ in texts).encode()
        made = client.post("/v1/imports", content=content, headers={"Content-Type": "application/x-ndjson"})
        assert made.status_code == 202, made.text
        path = f"/v1/imports/{made.json()['id']}"

        def job() -> dict[str, Any]:
            try:
                answer = client.get(path)
            except httpx.TransportError:
                return {}
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found

        seen = []
        for kill in range(KILLS):
            until(lambda: job().get("line", 0) >= kill * LINES // (KILLS + 2), "the import to go on")  # noqa: B023
            time.sleep(random.uniform(0.0, 0.3))
            seen.append(job()["line"])
            ready = len(supervisor.events("child_ready"))
            os.kill(pid_of(supervisor, "api"), signal.SIGKILL)
            assert halves(node) == []
            call = node.phones.place(ANSWERED.x, CALLER)
            until(lambda: len(supervisor.events("child_ready")) > ready, "the API to be back")  # noqa: B023
            until(call.over.is_set, "a call beside it")
            assert call.final == 200
        assert any(0 < line < LINES for line in seen), "no kill came into the middle"
        done = until(lambda: (now := job()).get("state") == "done" and now, "the import to end", 120.0)
        wrong = {line: rule for line, (_, rule) in enumerate(texts, 1) if rule}
        assert (done["line"], done["bound"], done["refused"]) == (LINES, LINES - len(wrong), len(wrong))
        errors = [json.loads(line) for line in client.get(f"{path}/errors").text.splitlines()]
        assert {error["line"]: error["rule"] for error in errors} == wrong
        assert len(errors) == len(wrong)
    assert halves(node) == []
    bound = asyncio.run(_bound(node, node.seal))
    asked = {body["order_id"]: body for line in range(1, LINES + 1) if line not in wrong and (body := wish(line))}
    assert bound.keys() == asked.keys()
    for order, (x, a, b) in bound.items():
        assert (a, b) == (f"+86{asked[order]['a']}", f"+86{asked[order]['b']}")
        assert x == asked[order]["x"] or not asked[order]["x"]
    x, a, _ = bound[f"import-{LINES}"]
    call = node.phones.place(x, a)
    until(call.over.is_set, "a call on an imported binding")
    assert call.final in (200, 404), "the callee's phone knows no such number"
    assert node.phones.taken(call)
    assert supervisor.stop() == 0


def test_a_file_that_was_cut_off_while_it_came_is_no_import(node: Node) -> None:
    secret = asyncio.run(_provide(node))
    supervisor = node.start("run").wait_ready()
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/x-ndjson"}

    def slowly() -> Any:
        for line in range(1, 2001):
            if line == 2000:
                until(lambda: [*(node.data / "imports").glob("*.part")], "the file to come")
                os.kill(pid_of(supervisor, "api"), signal.SIGKILL)
            yield f"{json.dumps(wish(line))}\n".encode()

    ready = len(supervisor.events("child_ready"))
    with httpx.Client(base_url=f"http://{node.api.host}:{node.api.port}", headers=headers, timeout=30) as client:
        try:
            answered = client.post("/v1/imports", content=slowly()).status_code
        except httpx.TransportError:
            answered = 0
        assert answered == 0
        until(lambda: len(supervisor.events("child_ready")) > ready, "the API to be back")
        assert until(lambda: client.get("/v1/imports"), "the API").json()["items"] == []
        until(lambda: not [*(node.data / "imports").iterdir()], "what had come to be removed")
    assert halves(node) == []
    assert supervisor.stop() == 0
