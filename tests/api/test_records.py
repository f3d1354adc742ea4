"""/v1/records: every attempt, by whose it is, with numbers masked."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from cdr.journal import seal_attempt
from cdr.record import Record
from cdr.recorder import OpenAttempt, join
from cdr.store.sqlite import RecordStore
from tests.api.world import NOW, OTHER, PROVIDER, World
from tests.cdr.story import CALL_ID, CALLEE, CALLER, MIDDLE, answered, attempted, ended, new_seal


def record(api: World, number: int, **changes: object) -> Record:
    record_id = f"r-{number}"
    changes = {"arrived_ms": NOW + number, "provider": PROVIDER, "business_user": "shop-1"} | changes
    outcome = str(changes.pop("outcome", "answered"))
    head = seal_attempt(attempted(record_id, **changes), api.seal)
    return join(OpenAttempt(record_id, head.arrived_ms, head, answered(record_id)), ended(record_id, outcome=outcome))


@pytest.fixture
async def records(api: World) -> AsyncIterator[RecordStore]:
    store = RecordStore(api.context.records)
    await store.add(
        [
            record(api, 1),
            record(api, 2, kind="message", outcome="delivered"),
            record(api, 3, order_id="order-3", x="700123456789333", business_user="shop-9"),
            record(api, 4, provider=OTHER),
            record(api, 5, provider="", calling="", callee="", x="13700137000", outcome="refused"),
        ]
    )
    yield store
    await store.close()


async def ids(client: object, query: str = "") -> list[str]:
    answer = await client.get(f"/v1/records{query}")  # type: ignore[attr-defined]
    assert answer.status_code == 200, answer.text
    return [each["record_id"] for each in answer.json()["items"]]


async def test_a_provider_sees_its_own_and_an_operator_all(api: World, records: RecordStore) -> None:
    assert await ids(api.platform) == ["r-3", "r-2", "r-1"]
    assert await ids(api.platform, f"?provider={OTHER}") == ["r-3", "r-2", "r-1"]
    assert await ids(api.other) == ["r-4"]
    assert await ids(api.operator) == ["r-5", "r-4", "r-3", "r-2", "r-1"]
    assert await ids(api.auditor, f"?provider={OTHER}") == ["r-4"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"?since_ms={NOW + 2}", ["r-3", "r-2"]),
        (f"?until_ms={NOW + 2}", ["r-1"]),
        ("?x=700123456789333", ["r-3"]),
        ("?x=%2B86700123456789333", ["r-3"]),
        ("?order_id=order-3", ["r-3"]),
        ("?business_user=shop-9", ["r-3"]),
        ("?outcome=delivered", ["r-2"]),
        ("?kind=message", ["r-2"]),
        ("?kind=call&business_user=shop-1", ["r-1"]),
    ],
)
async def test_filters(api: World, records: RecordStore, query: str, expected: list[str]) -> None:
    assert await ids(api.platform, query) == expected


async def test_lists_come_in_pages(api: World, records: RecordStore) -> None:
    first = (await api.platform.get("/v1/records?limit=2")).json()
    second = (await api.platform.get(f"/v1/records?limit=2&cursor={first['next']}")).json()
    assert [each["record_id"] for each in (*first["items"], *second["items"])] == ["r-3", "r-2", "r-1"]
    assert second["next"] is None


@pytest.mark.parametrize("place", ["nonsense", "x:r-1", "9" * 40 + ":r-1", "1"])
async def test_a_cursor_that_no_list_has_given_is_refused(api: World, records: RecordStore, place: str) -> None:
    cursor = base64.urlsafe_b64encode(f"/v1/records\n{place}".encode()).decode().rstrip("=")
    answer = await api.platform.get(f"/v1/records?cursor={cursor}")
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("query", "field"), [("?x=13800138000", "x"), ("?kind=fax", "kind"), ("?since_ms=-1", "since_ms")]
)
async def test_a_filter_that_is_wrong_is_named_and_not_repeated(api: World, query: str, field: str) -> None:
    answer = await api.platform.get(f"/v1/records{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert "13800138000" not in answer.text


async def test_no_number_and_no_call_id_is_in_any_answer(api: World, records: RecordStore) -> None:
    for client in (api.platform, api.operator, api.auditor):
        for path in ("/v1/records", "/v1/records/r-1"):
            text = (await client.get(path)).text
            assert [each for each in (CALLER[3:], CALLEE[3:], "13700137000", CALL_ID) if each in text] == []
    assert (await api.operator.get("/v1/records/r-5")).json()["x"] == "137****7000"


async def test_one_record_with_all_its_fields(api: World, records: RecordStore) -> None:
    found = (await api.platform.get("/v1/records/r-1")).json()
    assert (found["a"], found["b"], found["x"]) == ("138****8000", "139****9000", MIDDLE)
    assert (found["outcome"], found["talk_ms"], found["order_id"]) == ("answered", 37_000, "order-20261118-00012345")
    assert (found["ingress"], found["egress"], found["routes"]) == ("", "", [])
    found = (await api.operator.get("/v1/records/r-1")).json()
    assert (found["ingress"], found["egress"]) == ("carrier-a", "carrier-b")
    assert found["routes"] == ["carrier-c:503", "carrier-b:200"]


async def test_anothers_record_is_not_there(api: World, records: RecordStore) -> None:
    anothers = await api.other.get("/v1/records/r-1")
    assert anothers.status_code == 404
    assert anothers.json() == (await api.other.get("/v1/records/r-99")).json()


async def test_without_records_the_list_is_empty(api: World) -> None:
    assert await ids(api.operator) == []


async def test_numbers_that_do_not_open_are_hidden(api: World, records: RecordStore) -> None:
    sealed = new_seal(9).seal("x", "r-6")
    await records.add([msgspec.structs.replace(record(api, 6), sealed=sealed)])
    found = (await api.platform.get("/v1/records/r-6")).json()
    assert (found["a"], found["b"], found["x"]) == ("****", "****", MIDDLE)


async def test_records_that_cannot_be_read_are_a_503(api: World, records: RecordStore) -> None:
    await records.close()
    (path,) = list_files(api.context.records)
    path.write_bytes(b"rubbish" * 1000)
    answer = await api.platform.get("/v1/records")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def list_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("records-*.db"))
