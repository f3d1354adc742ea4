"""Files of bindings: every line bound or told of with its number; nothing in clear on the disk; a restart goes on."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from b2bua.api.imports import MOST_UPLOADS
from b2bua.api.spool import PIECE_BYTES, PIECE_LINES, Spool, read_piece
from routing.bulk import LONGEST_LINE
from routing.errors import StoreError
from routing.store.imports import FORGOTTEN_MS, MOST_RUNNING
from tests.api.things import binding
from tests.api.world import NOW, OTHER, PROVIDER, World, world

FIELDS = ("a", "b", "business_user", "scenario", "order_id", "real_name", "consent", "expires_ms")
CSV = {"Content-Type": "text/csv"}
LINES = {"Content-Type": "application/x-ndjson"}


def row(number: int, **changes: object) -> dict[str, object]:
    return {**binding(a=f"138{number:08}", order_id=f"order-{number}"), **changes}


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in rows).encode()


def table(*rows: dict[str, object]) -> bytes:
    return "\n".join([",".join(FIELDS), *(",".join(str(each[field]) for field in FIELDS) for each in rows)]).encode()


async def post(api: World, content: bytes, kind: dict[str, str] = LINES, **headers: str) -> dict[str, Any]:
    answer = await api.platform("POST", "/v1/imports", content=content, headers={**kind, **headers})
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/imports/{body['id']}"
    return body


async def ended(api: World, identifier: str) -> dict[str, Any]:
    for _ in range(2000):
        body: dict[str, Any] = (await api.platform.get(f"/v1/imports/{identifier}")).json()
        if body["state"] != "running":
            return body
        await asyncio.sleep(0.005)
    raise AssertionError(body)


async def errors(api: World, identifier: str) -> str:
    answer = await api.platform.get(f"/v1/imports/{identifier}/errors")
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(("kind", "written"), [(LINES, lines), (CSV, table)])
async def test_every_line_is_bound(api: World, kind: dict[str, str], written: Any) -> None:
    content = written(*(row(number) for number in range(PIECE_LINES + 7)))
    made = await post(api, content, kind)
    done = await ended(api, made["id"])
    assert (done["state"], done["bound"], done["refused"], done["line"]) == ("done", PIECE_LINES + 7, 0, done["lines"])
    assert (done["provider"], done["bytes"], done["ended_ms"]) == (PROVIDER, len(content), NOW)
    found = await api.store.bindings.list(limit=1000)
    assert {each.order_id for each in found} == {f"order-{number}" for number in range(PIECE_LINES + 7)}
    assert {each.provider for each in found} == {PROVIDER}


async def test_every_line_that_is_wrong_is_told_of_with_its_number(api: World) -> None:
    content = lines(row(1), row(2, expires_ms=1), "x", row(4, colour="red")) + b"\n{\xff\n" + lines(row(7, b="120"))
    made = await post(api, content)
    done = await ended(api, made["id"])
    assert (done["state"], done["bound"], done["refused"], done["lines"]) == ("done", 1, 5, 7)
    faults = [json.loads(line) for line in (await errors(api, made["id"])).splitlines()]
    assert [(fault["line"], fault["field"], fault["rule"]) for fault in faults] == [
        (2, "expires_ms", "form"),
        (3, "line", "form"),
        (4, "colour", "form"),
        (6, "line", "form"),
        (7, "b", "R13"),
    ]


async def test_errors_come_in_the_format_of_the_file(api: World) -> None:
    made = await post(api, table(row(1, scenario="ride")), CSV)
    await ended(api, made["id"])
    answer = await api.platform.get(f"/v1/imports/{made['id']}/errors")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.splitlines()[0] == "line,field,rule,message"
    assert answer.text.splitlines()[1].startswith("2,scenario,R17,")


async def test_many_errors_come_whole(api: World) -> None:
    made = await post(api, lines(*(row(number, scenario="ride") for number in range(1100))))
    await ended(api, made["id"])
    assert [json.loads(line)["line"] for line in (await errors(api, made["id"])).splitlines()] == [*range(1, 1101)]


async def test_a_file_without_a_header_is_none(api: World) -> None:
    made = await post(api, b"a,b,colour\n1,2,3\n", CSV)
    done = await ended(api, made["id"])
    assert (done["state"], done["bound"]) == ("failed", 0)
    assert (await errors(api, made["id"])).splitlines()[1].startswith("1,header,form,")


async def test_an_empty_file_is_done(api: World) -> None:
    done = await ended(api, (await post(api, b"", LINES))["id"])
    assert (done["state"], done["lines"], done["bound"], done["refused"]) == ("done", 0, 0, 0)


async def test_the_lines_of_another_provider_are_refused(api: World) -> None:
    made = await post(api, lines(row(1, provider=OTHER), row(2, provider=PROVIDER), row(3, business_user="shop-2")))
    done = await ended(api, made["id"])
    assert (done["bound"], done["refused"]) == (1, 2)
    assert [json.loads(line)["rule"] for line in (await errors(api, made["id"])).splitlines()] == ["R6", "R6"]


async def test_an_operator_imports_for_anybody(api: World) -> None:
    content = lines(row(1), row(2, business_user="shop-2"))
    answer = await api.operator("POST", "/v1/imports", content=content, headers=LINES)
    await ended_by(api, answer.json()["id"])
    assert {each.provider for each in await api.store.bindings.list()} == {PROVIDER, OTHER}
    assert (await api.platform.get(answer.headers["location"])).status_code == 404


async def ended_by(api: World, identifier: str) -> None:
    for _ in range(2000):
        if (await api.store.imports.get(identifier)).state != "running":
            return
        await asyncio.sleep(0.005)
    raise AssertionError


async def test_nothing_of_a_file_lies_in_clear(api: World) -> None:
    """While it waits, and when it is done nothing at all."""
    api.store.imports.arrived.set = lambda: None  # type: ignore[method-assign]
    await post(api, lines(*(row(number) for number in range(20))))
    files = [*(api.directory / "imports").iterdir()]
    assert [file.suffix for file in files] == [".sealed"]
    assert b"13800000" not in files[0].read_bytes()
    assert files[0].stat().st_mode & 0o777 == 0o600
    del api.store.imports.arrived.set  # type: ignore[method-assign]
    api.store.imports.arrived.set()
    for job in await api.store.imports.list():
        await ended(api, job.id)
    assert [*(api.directory / "imports").iterdir()] == []


async def test_a_file_that_is_too_long_is_refused_and_forgotten(tmp_path: Path) -> None:
    async def parts() -> Any:
        for number in range(40):
            yield lines(row(number))

    async with world(tmp_path, import_bytes=4096) as api:
        for content in (b"x" * 5000, parts()):
            answer = await api.platform("POST", "/v1/imports", content=content, headers=LINES)
            assert answer.status_code == 413
        assert [*(api.directory / "imports").iterdir()] == []
        assert await api.store.imports.list() == ()


async def test_a_file_of_another_kind_is_refused(api: World) -> None:
    answer = await api.platform("POST", "/v1/imports", content=b"x", headers={"Content-Type": "application/json"})
    assert answer.status_code == 415


async def test_the_same_file_with_the_same_key_is_one_import(api: World) -> None:
    first = await post(api, lines(row(1)), **{"Idempotency-Key": "file-1"})
    second = await post(api, lines(row(1)), **{"Idempotency-Key": "file-1"})
    assert first["id"] == second["id"]
    other = await api.platform(
        "POST", "/v1/imports", content=lines(row(2)), headers={**LINES, "Idempotency-Key": "file-1"}
    )
    assert (other.status_code, other.json()["field"]) == (409, "Idempotency-Key")
    await ended(api, first["id"])
    assert len(await api.store.bindings.list()) == 1
    assert [*(api.directory / "imports").iterdir()] == []


async def test_an_import_that_was_cancelled_binds_no_more(api: World) -> None:
    api.store.imports.arrived.set = lambda: None  # type: ignore[method-assign]
    made = await post(api, lines(row(1)))
    answer = await api.platform.post(f"/v1/imports/{made['id']}/cancel", {"reason": "wrong file"})
    assert answer.json()["state"] == "cancelled"
    again = await api.platform.post(f"/v1/imports/{made['id']}/cancel", {"reason": "wrong file"})
    assert again.status_code == 409
    assert await api.store.imports.unfinished() == ()
    assert await api.store.bindings.list() == ()


async def test_what_became_of_files_is_kept_for_a_month(api: World) -> None:
    made = await post(api, lines(row(1, scenario="ride")))
    await ended(api, made["id"])
    api.clock.now_ms = NOW + FORGOTTEN_MS
    await post(api, b"")
    assert (await api.platform.get(f"/v1/imports/{made['id']}")).status_code == 404


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """Cut off between two pieces: nothing is bound twice, nothing is left out, and CSV keeps its header."""
    content = table(*(row(number) for number in range(2 * PIECE_LINES + 3)))
    async with world(tmp_path) as api:
        settle, done = api.store.imports.settle, asyncio.Event()

        async def once(*arguments: Any) -> Any:
            if done.is_set():
                await asyncio.Event().wait()  # never
            job = await settle(*arguments)
            done.set()
            return job

        api.store.imports.settle = once  # type: ignore[method-assign]
        made = await post(api, content, CSV)
        await done.wait()
        seal = api.seal
    async with world(tmp_path, seal=seal) as api:
        await ended_by(api, made["id"])
        job = await api.store.imports.get(made["id"])
        assert (job.state, job.bound, job.refused) == ("done", 2 * PIECE_LINES + 3, 0)
        assert len({each.order_id for each in await everything(api)}) == 2 * PIECE_LINES + 3
        assert len(await everything(api)) == 2 * PIECE_LINES + 3


async def everything(api: World) -> list[Any]:
    found: list[Any] = []
    while page := await api.store.bindings.list(found[-1].id if found else "", 1000):
        found += page
    return found


async def test_leftovers_of_no_import_are_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "imports").mkdir()
    for name in ("a.part", "b.sealed", "kept.txt"):
        (tmp_path / "imports" / name).write_bytes(b"x")
    async with world(tmp_path):
        assert [file.name for file in (tmp_path / "imports").iterdir()] == ["kept.txt"]


@pytest.mark.parametrize("harm", ["gone", "changed"])
async def test_a_file_that_is_lost_or_damaged_fails_and_is_told_of(api: World, harm: str) -> None:
    wake = api.store.imports.arrived.set
    api.store.imports.arrived.set = lambda: None  # type: ignore[method-assign]
    made = await post(api, lines(row(1)))
    (file,) = (api.directory / "imports").iterdir()
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    wake()
    done = await ended(api, made["id"])
    assert (done["state"], done["bound"]) == ("failed", 0)
    assert "send it again" in await errors(api, made["id"])


async def test_a_store_that_is_locked_is_waited_for(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("b2bua.api.import_runner.AGAIN_SECONDS", 0.01)
    settle, failures = api.store.imports.settle, iter([StoreError("locked"), StoreError("locked")])

    async def sometimes(*arguments: Any) -> Any:
        for error in failures:
            raise error
        return await settle(*arguments)

    monkeypatch.setattr(api.store.imports, "settle", sometimes)
    done = await ended(api, (await post(api, lines(row(1))))["id"])
    assert (done["state"], done["bound"]) == ("done", 1)


async def test_a_client_that_hangs_up_leaves_nothing_behind(api: World) -> None:
    async def parts() -> Any:
        yield lines(row(1))
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await api.platform("POST", "/v1/imports", content=parts(), headers=LINES)
    assert [*(api.directory / "imports").iterdir()] == []


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_file_is_read_as_it_was_sent_whatever_its_parts(tmp_path: Path, api_seal: Any, size: int) -> None:
    content = ("\n".join(f"zeile-{number}-ü" for number in range(PIECE_LINES + 3))).encode() + b"\n\xff\xfe\n\nlast"
    spool = Spool(tmp_path / "f.sealed", api_seal)
    for start in range(0, len(content), size):
        spool.write(content[start : start + size])
    spool.finish()
    assert (spool.size, spool.lines) == (len(content), PIECE_LINES + 6)
    found: list[str] = []
    place, last = 0, False
    while not last:
        piece, place, last = read_piece(tmp_path / "f.sealed", place, api_seal)
        assert len(piece) <= PIECE_LINES
        found += piece
    assert "\n".join(found).encode("utf-8", "surrogateescape") == content


def test_a_line_without_end_is_cut(tmp_path: Path, api_seal: Any) -> None:
    spool = Spool(tmp_path / "f.sealed", api_seal)
    for _ in range(20):
        spool.write(b"x" * 10_000)
    spool.write(b"\nshort")
    spool.finish()
    (long, short), _, last = read_piece(tmp_path / "f.sealed", 0, api_seal)
    assert LONGEST_LINE < len(long) <= 4 * (LONGEST_LINE + 1)
    assert (short, last, spool.lines) == ("short", True, 2)


# what a provider's files may take


async def test_so_many_files_of_a_provider_are_under_way_at_most(api: World) -> None:
    api.store.imports.arrived.set = lambda: None  # type: ignore[method-assign]
    first = await post(api, lines(row(0)), **{"Idempotency-Key": "first"})
    for number in range(1, MOST_RUNNING):
        await post(api, lines(row(number)))
    more = await api.platform("POST", "/v1/imports", content=lines(row(9)), headers=LINES)
    assert more.status_code == 409
    assert len([*(api.directory / "imports").iterdir()]) == MOST_RUNNING
    assert (await post(api, lines(row(0)), **{"Idempotency-Key": "first"}))["id"] == first["id"]
    for client in (api.other, api.operator):
        assert (await client("POST", "/v1/imports", content=b"", headers=LINES)).status_code == 202
    await api.platform.post(f"/v1/imports/{first['id']}/cancel", {"reason": "room"})
    await post(api, lines(row(9)))


async def test_so_many_files_of_a_provider_come_in_at_a_time(api: World) -> None:
    go, here = asyncio.Event(), asyncio.Semaphore(0)

    async def slow() -> Any:
        yield lines(row(1))
        here.release()
        await go.wait()

    uploads = [
        asyncio.create_task(api.platform("POST", "/v1/imports", content=slow(), headers=LINES))
        for _ in range(MOST_UPLOADS)
    ]
    for _ in range(MOST_UPLOADS):
        await here.acquire()
    assert (await api.platform("POST", "/v1/imports", content=b"", headers=LINES)).status_code == 409
    assert (await api.other("POST", "/v1/imports", content=b"", headers=LINES)).status_code == 202
    go.set()
    assert {(await upload).status_code for upload in uploads} == {202}
    await post(api, b"")


async def test_a_file_of_nothing_but_errors_is_not_read_to_its_end(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.store.imports.MOST_FAULTS", PIECE_LINES)
    made = await post(api, b"x\n" * (3 * PIECE_LINES))
    done = await ended(api, made["id"])
    assert (done["state"], done["refused"], done["line"]) == ("failed", PIECE_LINES, PIECE_LINES)
    assert done["ended_ms"] == NOW
    told = [json.loads(line) for line in (await errors(api, made["id"])).splitlines()]
    assert len(told) == PIECE_LINES + 1
    assert (told[0]["line"], told[0]["message"]) == (
        0,
        f"{PIECE_LINES} lines are wrong; mend them and send it again from line {PIECE_LINES + 1}",
    )
    assert [*(api.directory / "imports").iterdir()] == []


async def test_a_disk_that_is_nearly_full_takes_no_file(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("b2bua.api.spool.LEAST_FREE", 1 << 62)
    answer = await api.platform("POST", "/v1/imports", content=lines(row(1)), headers=LINES)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert [*(api.directory / "imports").iterdir()] == []
    assert await api.store.imports.list() == ()


def test_a_piece_of_long_lines_ends_early(tmp_path: Path, api_seal: Any) -> None:
    spool = Spool(tmp_path / "f.sealed", api_seal)
    line = b"x" * (PIECE_BYTES // 20)
    for _ in range(45):
        spool.write(line + b"\n")
    spool.finish()
    sizes: list[int] = []
    place, last = 0, False
    while not last:
        piece, place, last = read_piece(tmp_path / "f.sealed", place, api_seal)
        sizes.append(len(piece))
    assert sizes == [21, 21, 3]
