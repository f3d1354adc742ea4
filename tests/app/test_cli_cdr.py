"""`x700 cdr` on a real record store."""

import asyncio
from pathlib import Path

import pytest

from b2bua.app.cli_common import Exit
from b2bua.app.config import Settings
from cdr.record import NUMBER_HASH_BYTES, Parties, Record, format_parties
from cdr.store.sqlite import RecordStore
from tests.app.conftest import Command, parsed

A, B, X = "+8613800138000", "+8613900139000", "700123456780001"
START_MS = 1_795_288_800_000  # 2026-11-21 19:20:00Z


@pytest.fixture
def records(settings: Settings) -> list[str]:
    """Ids of five records, a minute apart, the third of a refused attempt."""
    seal = settings.seal()

    def record(number: int) -> Record:
        record_id = f"record-{number}"
        refused = number == 2
        parties = Parties(A, "" if refused else B, B[3:] if refused else "", f"call-of-{A[3:]}")
        return Record(
            record_id=record_id,
            node="x700-1",
            sequence=number,
            kind="call",
            x="" if refused else X,
            order_id="" if refused else f"order-{number}",
            calling="" if refused else "a",
            a_hash=seal.hash(A)[:NUMBER_HASH_BYTES],
            b_hash=b"" if refused else seal.hash(B)[:NUMBER_HASH_BYTES],
            sealed=seal.seal(format_parties(parties), record_id),
            arrived_ms=START_MS + number * 60_000,
            ended_ms=START_MS + number * 60_000 + 5_000,
            talk_ms=0 if refused else 4_000,
            status=404 if refused else 200,
            outcome="refused" if refused else "answered",
            reason="number_malformed" if refused else "",
            routes=() if refused else ("carrier-a:200",),
        )

    async def store() -> None:
        store = RecordStore(settings.records.directory)
        await store.add(record(number) for number in range(5))
        await store.close()

    asyncio.run(store())
    return [f"record-{number}" for number in range(5)]


def ids(x700: Command, *words: str) -> list[object]:
    answer = parsed(x700("cdr", "list", *words, "--json"))
    assert isinstance(answer, list)
    return [row["record_id"] for row in answer]


def test_records_are_listed_newest_first_and_masked(x700: Command, records: list[str]) -> None:
    assert ids(x700) == records[::-1]
    table = x700("cdr", "list").stdout
    assert "2026-11-21 19:21:00.000Z" in table
    assert "138****8000" in table
    assert A[3:] not in table
    assert B[3:] not in table
    assert A in x700("cdr", "list", "--reveal").stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--since", "2026-11-21T19:22:00"), [4, 3, 2]),
        (("--until", "2026-11-21T19:22:00Z"), [1, 0]),
        (("--outcome", "refused"), [2]),
        (("--order", "order-1"), [1]),
        (("--number", "13900139000"), [4, 3, 1, 0]),
        (("--number", "+8613800138000", "--outcome", "refused"), [2]),
        (("--x", f"+86{X}"), [4, 3, 1, 0]),
        (("--x", "700999999990001"), []),
        (("--limit", "2"), [4, 3]),
        (("--limit", "0"), [4, 3, 2, 1, 0]),
    ],
)
def test_records_are_found(x700: Command, records: list[str], words: tuple[str, ...], found: list[int]) -> None:
    assert ids(x700, *words) == [records[number] for number in found]


def test_a_list_that_broke_off_goes_on(x700: Command, records: list[str]) -> None:
    result = x700("cdr", "list", "--limit", "2", "--json")
    cursor = result.stderr.strip().removeprefix("there are more: --after ")
    assert ids(x700, "--after", cursor) == [records[2], records[1], records[0]]
    assert x700("cdr", "list", "--after", "nonsense").exit_code == Exit.USAGE


def test_one_record_is_shown_whole(x700: Command, records: list[str]) -> None:
    answer = parsed(x700("cdr", "show", records[0], "--json"))
    assert isinstance(answer, dict)
    assert (answer["a"], answer["b"], answer["x"]) == ("138****8000", "139****9000", X)
    assert answer["ingress_call_id"] == "call-of-138****8000"
    assert answer["routes"] == ["carrier-a:200"]
    assert answer.keys() >= set(Record.__struct_fields__) - {"sealed", "a_hash", "b_hash"}
    revealed = parsed(x700("cdr", "show", records[0], "--reveal", "--json"))
    assert isinstance(revealed, dict)
    assert (revealed["a"], revealed["b"], revealed["ingress_call_id"]) == (A, B, f"call-of-{A[3:]}")
    assert "carrier-a:200" in x700("cdr", "show", records[0]).stdout


def test_what_was_dialled_instead_of_a_middle_number_is_masked(x700: Command, records: list[str]) -> None:
    answer = parsed(x700("cdr", "show", records[2], "--json"))
    assert isinstance(answer, dict)
    assert answer["x"] == "139****9000"


def test_records_are_counted_by_outcome(x700: Command, records: list[str]) -> None:
    assert parsed(x700("cdr", "count", "--json")) == {"total": 5, "outcomes": {"answered": 4, "refused": 1}}
    assert parsed(x700("cdr", "count", "--order", "order-1", "--json")) == {"total": 1, "outcomes": {"answered": 1}}
    assert "answered" in x700("cdr", "count").stdout


def test_what_is_not_there_ends_with_1(x700: Command) -> None:
    result = x700("cdr", "show", "nothing")
    assert result.exit_code == Exit.FAILED
    assert result.stderr == "no record nothing\n"
    assert parsed(x700("cdr", "list", "--json")) == []
    assert parsed(x700("cdr", "count", "--json")) == {"total": 0, "outcomes": {}}


@pytest.mark.parametrize("words", [("--x", "138"), ("--number", "110"), ("--since", "yesterday")])
def test_a_filter_that_means_nothing_is_refused(x700: Command, words: tuple[str, ...]) -> None:
    assert x700("cdr", "list", *words).exit_code == Exit.USAGE


def test_records_of_other_keys_are_told_plainly(x700: Command, records: list[str], config: Path) -> None:
    keyring = config.parent / "keyring"
    keyring.unlink()
    x700("keygen", str(keyring))
    result = x700("cdr", "show", records[0])
    assert result.exit_code == Exit.FAILED
    assert "another key" in result.stderr
