"""Bindings in files: lines become requests, requests bindings, bindings lines, and every fault is told of."""

import csv
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr.seal import Seal
from routing.binding import BindingDetail, BindingRequest, BindingState, Direction, Mode
from routing.bulk import (
    COLUMNS,
    LONGEST_LINE,
    Fault,
    FileFormat,
    Lines,
    export_header,
    export_line,
    fault_header,
    fault_line,
    row_of,
)
from routing.errors import BindingError, StoreError
from routing.store.bindings import Bindings
from routing.store.bulk import BATCH, Import, Tally, exported
from routing.store.sqlite import Store
from tests.routing.samples import BINDING, HOUR, NOW, PREFIX, REQUEST, A, B, X, provide, request

CSV, JSONL = FileFormat.CSV, FileFormat.JSONL
DETAIL = BindingDetail(BINDING, "proof-1", "consent-1", "", NOW, "", 1)


def asked(one: BindingRequest) -> dict[str, Any]:
    """A request as an object of a JSON line."""
    return {field.name: getattr(one, field.name) for field in fields(one)}


def json_line(**changes: Any) -> str:
    return json.dumps(asked(request()) | changes)


def fault_of(line: str, form: FileFormat = JSONL, header: str = "") -> tuple[str, str]:
    lines = Lines(form)
    if header:
        assert lines.read(header) is None
    with pytest.raises(BindingError) as caught:
        lines.read(line)
    assert "13800138000" not in str(caught.value)
    return caught.value.field, caught.value.rule


# --- reading ---


def test_a_json_line_is_a_request() -> None:
    assert Lines(JSONL).read(json_line()) == REQUEST
    assert Lines(JSONL).read(json_line(mode="GXB", direction="a_to_b", most_calls=3) + "\r\n") == replace(
        REQUEST, mode=Mode.GXB, direction=Direction.A_TO_B, most_calls=3
    )


def test_a_csv_line_is_a_request_and_an_empty_cell_the_default() -> None:
    lines = Lines(CSV)
    header = "\ufeffx,a,b, business_user ,scenario,order_id,real_name,consent,expires_ms,ring_seconds,mode"
    assert lines.read(header) is None
    line = f'{X},138 0013 8000,(010) 8765-4321,shop,delivery,order-1,proof-1,"consent-1",{NOW + HOUR},,AXB\r\n'
    assert lines.read(line) == REQUEST
    assert lines.read(f'{X},1,2,"shop, ""north""",s,o,r,c,7,20,') == BindingRequest(
        X, "1", "2", 'shop, "north"', "s", "o", "r", "c", 7, ring_seconds=20
    )


@pytest.mark.parametrize("form", FileFormat)
def test_an_empty_line_holds_nothing(form: FileFormat) -> None:
    lines = Lines(form)
    assert lines.read("") is lines.read(" \t\n") is lines.read("\ufeff\r\n") is None


@pytest.mark.parametrize(
    ("line", "field", "rule"),
    [
        ("not JSON 13800138000", "line", "form"),
        ("[]", "line", "form"),
        ('"13800138000"', "line", "form"),
        ("[" * 5000, "line", "form"),
        ("{" + " " * LONGEST_LINE, "line", "form"),
        (json_line(colour="red"), "colour", "form"),
        (json_line(**{"13800138000": 1}), "a name that is none", "form"),
        (json_line(a13800138000=1), "a name that is none", "form"),
        (json_line(a=13800138000), "a", "form"),
        (json_line(order_id=None), "order_id", "form"),
        (json_line(expires_ms="soon"), "expires_ms", "form"),
        (json_line(expires_ms=1.5), "expires_ms", "form"),
        (json_line(expires_ms=True), "expires_ms", "form"),
        (json_line(expires_ms=2**53 + 1), "expires_ms", "form"),
        (json_line(mode="AX"), "mode", "form"),
        (json_line(mode=1), "mode", "form"),
        (json_line(direction="c_to_d"), "direction", "form"),
        ("{}", "expires_ms", "form"),
    ],
)
def test_a_line_that_is_no_request_is_told_of(line: str, field: str, rule: str) -> None:
    assert fault_of(line) == (field, rule)


def test_what_a_line_does_not_name_is_for_the_gate_to_miss() -> None:
    assert Lines(JSONL).read('{"expires_ms": 5}') == BindingRequest("", "", "", "", "", "", "", "", 5)


HEADER = ",".join(field.name for field in fields(BindingRequest) if field.default is MISSING)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,b,colour", "'colour' is no field of a binding"),
        (f"{HEADER},a", "names a column twice"),
        ("x,a,b", "lacks business_user, scenario, order_id, real_name, consent, expires_ms"),
        (f"{HEADER},", "'a name that is none' is no field of a binding"),
    ],
)
def test_a_header_that_cannot_be_is_told_of_at_once(header: str, message: str) -> None:
    with pytest.raises(BindingError) as caught:
        Lines(CSV).read(header)
    assert (caught.value.field, caught.value.message) == ("header", message)


@pytest.mark.parametrize("line", ["1,2", "1," * 12, 'x,"open', '"a"b,c,d,e,f,g,h,i,j', "\0"])
def test_a_csv_line_of_another_shape_is_told_of(line: str) -> None:
    assert fault_of(line, CSV, HEADER) == ("line", "form")


@given(st.text(), st.sampled_from(FileFormat), st.booleans())
def test_any_text_is_a_request_nothing_or_a_fault(text: str, form: FileFormat, headed: bool) -> None:
    lines = Lines(form)
    if headed and form is CSV:
        lines.read(HEADER)
    with suppress(BindingError):  # and nothing else
        assert isinstance(lines.read(text), BindingRequest | None)


# --- writing ---

words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20)
details = st.builds(
    lambda binding, real_name, consent, token: BindingDetail(binding, real_name, consent, token, NOW, "", 1),
    st.builds(
        replace,
        st.just(BINDING),
        mode=st.sampled_from(Mode),
        direction=st.sampled_from(Direction),
        order_id=words,
        industrial_id=words,
        most_calls=st.integers(0, 100),
        ring_seconds=st.integers(0, 180),
    ),
    words,
    words,
    words,
)


@given(details, st.sampled_from(FileFormat))
def test_what_is_exported_reads_back_as_the_request_for_it(detail: BindingDetail, form: FileFormat) -> None:
    lines = Lines(form)
    header = export_header(form)
    assert lines.read(header) is None
    line = export_line(row_of(detail, NOW, reveal=True), form)
    assert line.count("\n") == 1
    again = lines.read(line)
    assert again is not None
    one = detail.binding
    assert (again.x, again.a, again.b, again.mode, again.direction) == (one.x, one.a, one.b, one.mode, one.direction)
    assert (again.order_id, again.real_name, again.client_token) == (
        one.order_id,
        detail.real_name,
        detail.client_token,
    )
    assert (again.starts_ms, again.expires_ms, again.most_calls) == (one.starts_ms, one.expires_ms, one.most_calls)


def test_a_row_has_every_column_in_order_and_no_real_number_unless_told() -> None:
    row = row_of(DETAIL, NOW, reveal=False)
    assert tuple(row) == COLUMNS
    assert (row["a"], row["b"], row["state"]) == ("138****8000", "108***4321", "live")
    assert row_of(DETAIL, NOW, reveal=True)["a"] == A


def test_faults_are_written_in_the_form_of_their_file() -> None:
    fault = Fault(7, "a", "R13", 'not "a" number')
    assert fault_header(JSONL) == ""
    assert json.loads(fault_line(fault, JSONL)) == {
        "line": 7,
        "field": "a",
        "rule": "R13",
        "message": 'not "a" number',
    }
    (row,) = csv.DictReader([fault_header(CSV), fault_line(fault, CSV)])
    assert row == {"line": "7", "field": "a", "rule": "R13", "message": 'not "a" number'}


# --- into the store ---


class Run:
    """One import and what it tells."""

    def __init__(
        self, store: Store, seal: Seal, form: FileFormat = JSONL, source: str = "file", **options: Any
    ) -> None:
        self.faults: list[Fault] = []
        self.progress: list[Tally] = []
        self.work = Import(
            store.bindings,
            seal.hash,
            form,
            by="test",
            source=source,
            clock=lambda: NOW,
            refused=self.faults.append,
            progress=self.progress.append,
            **options,
        )

    async def of(self, lines: Iterable[str]) -> Tally:
        for line in lines:
            await self.work.feed(line)
        return await self.work.close()


def many(count: int, **changes: Any) -> list[str]:
    return [
        json_line(
            **({"x": f"{PREFIX}{number % 10_000:04d}", "b": f"139{number:08d}", "order_id": f"o-{number}"} | changes)
        )
        for number in range(count)
    ]


async def test_a_file_is_bound_in_batches_with_progress(store: Store, seal: Seal) -> None:
    run = Run(store, seal)
    assert await run.of(many(BATCH + 30)) == Tally(BATCH + 30, BATCH + 30, 0)
    assert run.progress == [Tally(BATCH, BATCH, 0), Tally(BATCH + 30, BATCH + 30, 0)]
    assert len(await store.bindings.list(limit=1000)) == BATCH + 30


async def test_every_fault_is_told_of_with_its_line_and_in_order(store: Store, seal: Seal) -> None:
    lines = many(8)
    lines[1] = json_line(x=X, consent="")
    lines[2] = "13800138000"
    lines[4] = ""
    lines[6] = json_line(x=f"{PREFIX}0000", b="13500135000")
    run = Run(store, seal)
    assert await run.of(lines) == Tally(8, 4, 3)
    assert [(fault.line, fault.field, fault.rule) for fault in run.faults] == [
        (2, "consent", "R16"),
        (3, "line", "form"),
        (7, "x", "key"),
    ]


async def test_importing_again_changes_nothing(store: Store, seal: Seal) -> None:
    lines = [*many(20), json_line(x="", order_id="drawn")]
    await Run(store, seal).of(lines)
    before = await store.bindings.list(limit=1000)
    assert await Run(store, seal).of([*lines[::-1], lines[0]]) == Tally(22, 22, 0)
    assert await store.bindings.list(limit=1000) == before


async def test_a_corrected_file_adds_what_was_missing(store: Store, seal: Seal) -> None:
    lines = many(5)
    assert (await Run(store, seal).of([*lines[:2], "wrong", *lines[3:]])).refused == 1
    assert await Run(store, seal).of(lines) == Tally(5, 5, 0)
    assert len(await store.bindings.list()) == 5


async def test_another_file_of_the_same_lines_is_other_bindings(store: Store, seal: Seal) -> None:
    line = json_line(x="", order_id="drawn")
    await Run(store, seal, source="monday").of([line])
    await Run(store, seal, source="tuesday").of([line])
    assert len(await store.bindings.list()) == 2


async def test_a_client_token_of_a_line_goes_before_its_file(store: Store, seal: Seal) -> None:
    line = json_line(x="", client_token="mine")
    await Run(store, seal, source="monday").of([line])
    await Run(store, seal, source="tuesday").of([line])
    (one,) = await store.bindings.details()
    assert one.client_token == "mine"


async def test_an_import_cut_off_in_the_middle_goes_on_when_it_is_run_again(
    store: Store, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = many(3 * BATCH)
    bind_many = Bindings.bind_many
    batches = 0

    async def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise StoreError("binding store: disk full")
        return await bind_many(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Bindings, "bind_many", failing)
        with pytest.raises(StoreError):
            await Run(store, seal).of(lines)
    assert len(await store.bindings.list(limit=1000)) == BATCH
    assert await Run(store, seal).of(lines) == Tally(3 * BATCH, 3 * BATCH, 0)
    listed = await store.bindings.list(limit=1000)
    assert len({one.x for one in (*listed, *await store.bindings.list(listed[-1].id, 1000))}) == 3 * BATCH


async def test_a_provider_imports_only_its_own(store: Store, seal: Seal) -> None:
    run = Run(store, seal, provider="provider")
    assert await run.of([json_line(provider="another"), json_line(provider=""), *many(1)]) == Tally(3, 2, 1)
    assert [(fault.line, fault.field, fault.rule) for fault in run.faults] == [(1, "provider", "R6")]


async def test_a_wrong_header_stops_the_import(store: Store, seal: Seal) -> None:
    with pytest.raises(BindingError) as caught:
        await Run(store, seal, CSV).of(["colour\n", "red\n"])
    assert caught.value.field == "header"


@pytest.mark.parametrize("form", FileFormat)
async def test_an_export_comes_back_whole(store: Store, seal: Seal, path: Path, form: FileFormat) -> None:
    await Run(store, seal).of(many(1200))
    text = "".join([part async for part in exported(store.bindings, form, NOW, reveal=True)])
    lines = text.splitlines(keepends=True)
    assert len(lines) == 1200 + (form is CSV)
    async with await Store.open(path.with_name("other.db"), seal) as other:
        await provide(other)
        assert await Run(other, seal, form).of(lines) == Tally(len(lines), 1200, 0)
        again = "".join([part async for part in exported(other.bindings, form, NOW, reveal=True)])
    # all but the ids, which stand before the first number
    kept = [sorted(line.partition(PREFIX)[2] for line in whole.splitlines()) for whole in (text, again)]
    assert kept[0] == kept[1]
    assert "13900000000" in text


async def test_an_export_can_be_narrowed_and_masks(store: Store, seal: Seal) -> None:
    await Run(store, seal).of(many(3))
    (one, *_) = await store.bindings.list()
    await store.bindings.end(one.id, NOW, by="test")
    values = {"x": one.x, "order_id": one.order_id, "business_user": "shop", "provider": "provider"}
    parts = [
        part
        async for part in exported(
            store.bindings,
            JSONL,
            NOW,
            reveal=False,
            state=BindingState.ENDED,
            **values,
        )
    ]
    row = json.loads("".join(parts))
    assert (row["id"], row["state"], row["b"]) == (one.id, "ended", "139****0002")
    assert [part async for part in exported(store.bindings, JSONL, NOW, reveal=True, group="none")] == []
    assert B not in "".join(parts)
