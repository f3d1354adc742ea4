"""`x700 blocklist`, `range` and `credit` on a real store."""

import asyncio
import csv
import io
import json
from pathlib import Path

import pytest

from b2bua.app.cli_common import Exit, now_ms
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from cdr.record import Record
from cdr.store.sqlite import RecordStore
from routing.credit import china_day, day_start_ms
from tests.app.conftest import Command, parsed

A = "13800138000"
HOUR_MS = 3_600_000


@pytest.fixture
def shop(x700: Command, settings: Settings) -> Command:
    """The commands, with a business user registered."""

    async def work() -> None:
        async with binding_store(settings) as store:
            await store.registry.enrol("platform-1", "shop-1", "delivery", now_ms=now_ms(), by="test")

    asyncio.run(work())
    return x700


def one(x700: Command, *words: str) -> dict[str, object]:
    result = x700(*words, "--json")
    assert result.exit_code == 0, result.stderr
    answer = parsed(result)
    assert isinstance(answer, dict)
    return answer


def rows(x700: Command, *words: str) -> list[dict[str, object]]:
    result = x700(*words, "--json")
    assert result.exit_code == 0, result.stderr
    answer = parsed(result)
    assert isinstance(answer, list)
    return answer


def test_a_number_is_blocked_listed_masked_and_lifted(shop: Command) -> None:
    words = ("blocklist", "add", "caller", A, "--reason", "complaints", "--hours", "2", "--cut", "--user", "shop-1")
    before = now_ms()
    entry = one(shop, *words)
    assert (entry["kind"], entry["value"], entry["cut"], entry["business_user"]) == (
        "caller",
        "138****8000",
        True,
        "shop-1",
    )
    expires_ms = entry["expires_ms"]
    assert isinstance(expires_ms, int)
    assert 0 <= expires_ms - before - 2 * HOUR_MS < 60_000
    assert [each["id"] for each in rows(shop, "blocklist", "list", "--kind", "caller", "--value", A)] == [entry["id"]]
    assert one(shop, "blocklist", "show", str(entry["id"]), "--reveal")["value"] == f"+86{A}"
    assert shop("blocklist", "add", "caller", A, "--reason", "again").exit_code == Exit.REFUSED
    lifted = one(shop, "blocklist", "lift", str(entry["id"]), "--reason", "a mistake")
    assert lifted["lifted_reason"] == "a mistake"
    assert rows(shop, "blocklist", "list") == []
    assert len(rows(shop, "blocklist", "list", "--all")) == 1


def test_a_block_without_end_or_until_a_time(shop: Command) -> None:
    assert one(shop, "blocklist", "add", "business_user", "shop-1", "--reason", "fraud")["expires_ms"] == 0
    entry = one(shop, "blocklist", "add", "provider", "platform-1", "--reason", "so", "--until", "2099-01-01")
    assert entry["expires_ms"] == 4_070_908_800_000
    both = shop("blocklist", "add", "x", "700123456780001", "--reason", "so", "--until", "2099-01-01", "--hours", "1")
    assert both.exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("blocklist", "add", "caller", A), "reason", Exit.REFUSED),
        (("blocklist", "add", "caller", "+14155550123", "--reason", "so"), "value", Exit.REFUSED),
        (("blocklist", "add", "everybody", A, "--reason", "so"), "everybody", Exit.USAGE),
        (("blocklist", "show", "99"), "no entry 99", Exit.FAILED),
        (("blocklist", "lift", "99", "--reason", "so"), "no such entry", Exit.FAILED),
        (("range", "deny", "abc", "--reason", "so"), "prefix", Exit.REFUSED),
        (("range", "drop", "138", "--reason", "so"), "no such range", Exit.FAILED),
        (("credit", "show", "nobody"), "no such business user", Exit.FAILED),
        (("credit", "add", "shop-1", "other", ""), "note", Exit.REFUSED),
        (("credit", "export", "shop-1", "--since", "today"), "since_day", Exit.REFUSED),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(shop: Command, words: tuple[str, ...], said: str, code: Exit) -> None:
    result = shop(*words)
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert A not in result.stderr


def test_ranges_are_set_and_dropped(shop: Command) -> None:
    assert one(shop, "range", "deny", "170", "--reason", "virtual")["allowed"] is False
    assert one(shop, "range", "allow", "1705", "--reason", "ours")["allowed"] is True
    assert [each["prefix"] for each in rows(shop, "range", "list")] == ["170", "1705"]
    assert one(shop, "range", "drop", "170", "--reason", "over") == {"prefix": "170", "dropped": True}
    assert "1705" in shop("range", "list").stdout


def test_a_credit_file_is_shown_and_exported(shop: Command) -> None:
    one(shop, "credit", "add", "shop-1", "complaint", "called at night", "--times", "3", "--day", "2026-11-20")
    one(shop, "credit", "add", "shop-1", "complaint", "one was another's", "--times", "-1")
    shown = one(shop, "credit", "show", "shop-1")
    assert shown["totals"] == {"complaint": 2}
    assert "called at night" in shop("credit", "show", "shop-1").stdout
    exported = shop("credit", "export", "shop-1")
    assert json.loads(exported.stdout) == shown
    table = list(csv.DictReader(io.StringIO(shop("credit", "export", "shop-1", "--format", "csv").stdout)))
    assert [(each["business_user"], each["day"], each["times"]) for each in table][-1] == ("shop-1", "2026-11-20", "3")
    only = one(shop, "credit", "show", "shop-1", "--until", "2026-11-20")
    assert only["totals"] == {"complaint": 3}


def test_the_records_of_past_days_are_settled_once(shop: Command, settings: Settings, tmp_path: Path) -> None:
    yesterday_ms = day_start_ms(china_day(now_ms())) - 12 * HOUR_MS

    def record(identifier: str, reason: str, arrived_ms: int, outcome: str = "refused") -> Record:
        return Record(
            record_id=identifier, arrived_ms=arrived_ms, business_user="shop-1", reason=reason, outcome=outcome
        )

    async def store() -> None:
        records = RecordStore(settings.records.directory)
        await records.add(
            [
                record("1", "caller_cap", yesterday_ms),
                record("2", "binding_cap", yesterday_ms + 1),
                record("3", "keyword", yesterday_ms, "dropped"),
                record("4", "caller_cap", yesterday_ms, "answered"),
                record("5", "caller_cap", now_ms()),
                record("6", "direction_barred", yesterday_ms),
            ]
        )
        await records.close()

    asyncio.run(store())
    settled = {each["day"]: each["entries"] for each in rows(shop, "credit", "settle")}
    assert settled[china_day(yesterday_ms)] == 2
    assert sum(int(str(count)) for count in settled.values()) == 2
    assert one(shop, "credit", "show", "shop-1")["totals"] == {"cap": 2, "content": 1}
    assert rows(shop, "credit", "settle") == []
