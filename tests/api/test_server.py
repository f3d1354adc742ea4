"""The API as a process: it starts, is told to stop, is killed, and goes on."""

import asyncio
import json
import os
import random
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from b2bua.api import server
from routing.store.sqlite import Store
from tests.api.node import ApiNode
from tests.api.things import binding
from tests.api.world import World
from tests.app.certificates import Authority
from tests.system.node import until

Make = Callable[..., ApiNode]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ApiNode] = []

    def node(**how: str) -> ApiNode:
        made.append(ApiNode(tmp_path, **how))
        return made[-1]

    yield node
    for each in made:
        each.close()


def body(number: int = 0, **changes: object) -> dict[str, object]:
    hour = int(time.time() * 1000) + 3_600_000
    return {**binding(a=f"138{number:08}", order_id=f"order-{number}", expires_ms=hour), **changes}


def test_it_starts_answers_and_stops_in_order(make: Make) -> None:
    node = make()
    process = node.ready()
    with node.client() as client:
        assert client.get("/v1/bindings").json() == {"items": [], "next": None}
        made = client.post("/v1/bindings", json=body())
        assert made.status_code == 201, made.text
        assert "server" not in made.headers
    assert process.stop() == 0
    assert "STOPPING=1" in process.told()
    assert process.events("stopped")
    assert not any("13800000000" in line for line in process.lines)


def test_it_takes_over_how_to_log_and_goes_on_when_settings_are_wrong(make: Make) -> None:
    node = make()
    process, right = node.ready(), node.config.read_text()
    process.signal(signal.SIGHUP)
    until(lambda: process.events("settings_read"), "the settings")
    node.config.write_text("nothing")
    process.signal(signal.SIGHUP)
    until(lambda: process.events("settings_not_read"), "the refusal")
    node.config.write_text(f'{right}[log]\nlevel = "warning"\n')
    process.signal(signal.SIGHUP)
    with node.client() as client:
        assert client.get("/v1/bindings").status_code == 200
    assert process.stop() == 0
    assert not process.events("stopped")


def test_what_the_command_line_does_is_in_force_at_once(make: Make) -> None:
    node = make()
    node.ready()
    with node.client() as client:
        assert client.get("/v1/bindings").status_code == 200
        revoke = node.start("key", "revoke", node.key.split("_")[1], "--reason", "lost")
        assert revoke.wait() == 0
        assert client.get("/v1/bindings").status_code == 401
    revoke.close()
    node.processes.remove(revoke)  # what it has written is for people


def test_what_is_set_wrongly_ends_it(make: Make) -> None:
    node = make(listen="")
    assert node.start().wait() == 2
    assert "api.listen is empty" in node.processes[0].lines[-1]


def test_a_port_that_is_taken_ends_it(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = make(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        assert node.start().wait() == 1
    (event,) = node.processes[0].events("start_failed")
    assert "api.listen" in str(event["reason"])


def test_https_and_a_certificate_that_is_renewed(make: Make, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    authority.issue("api", "127.0.0.1")
    node = make(settings='certificate = "api.crt"\nkey = "api.key"\n')
    process = node.ready()
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    trusting.check_hostname = False
    with node.client(trusting) as client:
        assert client.get("/v1/bindings").status_code == 200
    first = ssl.get_server_certificate(("127.0.0.1", node.port))
    authority.issue("api", "127.0.0.1")
    process.signal(signal.SIGHUP)
    until(lambda: process.events("settings_read"), "the reload")
    assert ssl.get_server_certificate(("127.0.0.1", node.port)) != first
    (tmp_path / "api.crt").write_text("nothing")
    process.signal(signal.SIGHUP)
    until(lambda: process.events("settings_not_read"), "the refusal")
    with node.client(trusting) as client:
        assert client.get("/v1/bindings").status_code == 200
    assert process.stop() == 0


def test_a_kill_in_the_middle_of_an_import_leaves_no_half_binding(make: Make) -> None:
    """Killed again and again at any moment: in the end every line is bound once, with its keys and its ledger."""
    node = make()
    lines = 12_000
    content = "".join(json.dumps(body(number)) + "\n" for number in range(lines)).encode()
    process = node.ready()
    with node.client() as client:
        made = client.post("/v1/imports", content=content, headers={"Content-Type": "application/x-ndjson"})
        assert made.status_code == 202, made.text
        identifier = made.json()["id"]
    for _ in range(3):
        time.sleep(random.uniform(0.05, 0.6))
        process.kill()
        process = node.ready()

    def done() -> bool:
        with node.client() as client:
            state: str = client.get(f"/v1/imports/{identifier}").json()["state"]
        return state == "done"

    until(done, "the import", 180)
    with node.client() as client:
        job = client.get(f"/v1/imports/{identifier}").json()
        assert (job["bound"], job["refused"], job["line"]) == (lines, 0, lines)
    assert process.stop() == 0

    async def count(store: Store) -> list[int]:
        database = store.bindings._database
        async with database.reading():
            return [
                (await database.rows(sql))[0][0]
                for sql in (
                    "SELECT count(*) FROM bindings",
                    "SELECT count(DISTINCT order_id) FROM bindings",
                    "SELECT count(*) FROM keys",
                    "SELECT count(*) FROM ledger",
                    "SELECT count(*) FROM keys JOIN bindings ON number = binding",
                )
            ]

    assert node.store(count) == [lines, lines, 2 * lines, lines, 2 * lines]
    assert [*(node.directory / "imports").iterdir()] == []


def test_a_socket_that_cannot_be_had_is_an_error() -> None:
    with server.listen("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        server.listen("127.0.0.1", taken.getsockname()[1])


def test_an_ipv6_address_is_listened_on() -> None:
    with server.listen("::1", 0) as listener:
        assert listener.family is socket.AF_INET6


# the connection


@asynccontextmanager
async def served(api: World) -> AsyncIterator[tuple[str, int]]:
    """The application of a world on a port of its own, in this process."""
    listener = server.listen("127.0.0.1", 0)
    ready = asyncio.Event()
    told: list[str] = []
    task = asyncio.create_task(
        server.serve(
            api.app, listener, None, ready=ready.set, stopping=lambda: told.append("stopping"), renew=lambda: None
        )
    )
    await ready.wait()
    yield listener.getsockname()[:2]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task
    assert told == ["stopping"]


async def test_a_head_that_does_not_come_in_time_ends_the_connection(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.1)
    async with served(api) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /v1/bindings HTTP/1.1\r\nHost: x\r\n")
        assert await reader.read() == b""
        writer.close()


async def test_a_head_without_end_ends_the_connection(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LONGEST_HEAD", 4096)
    async with served(api) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /v1/bindings HTTP/1.1\r\nX: ")
        writer.write(b"x" * 100_000)
        assert await reader.read() == b""
        writer.close()


async def test_a_connection_serves_many_requests_however_long_it_rests(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    async with served(api) as address:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(2):
            writer.write(b"GET /v1/bindings HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 401 " in await reader.readline()
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            await asyncio.sleep(0.4)
        writer.close()
