"""One request: signed as documented, bounded, and nothing of what a receiver does is believed or repeated."""

import asyncio
import base64
import logging
import socket
import time
from collections.abc import AsyncIterator

import pytest

from b2bua.api import webhook_sender
from b2bua.api.webhook_message import headers_of, signature_of, trial_body
from b2bua.api.webhook_sender import Answer, Send, sender
from b2bua.app.logs import configure
from tests.webhooks.receiver import receiving

NOW = 1_795_000_000_123
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
BODY = b'{"id":"r-1-ended"}'


@pytest.fixture
async def send() -> AsyncIterator[Send]:
    async with sender(5.0) as made:
        yield made


def test_a_signature_is_that_of_the_published_example() -> None:
    """The example of the Standard Webhooks specification."""
    made = signature_of(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_headers_say_which_event_when_and_who() -> None:
    assert headers_of("r-1-ended", NOW, BODY, (SECRET,)) == {
        "content-type": "application/json",
        "webhook-id": "r-1-ended",
        "webhook-timestamp": "1795000000",
        "webhook-signature": signature_of(SECRET, "r-1-ended", 1_795_000_000, BODY),
    }


def test_while_a_secret_is_replaced_both_sign() -> None:
    one, other = headers_of("r-1-ended", NOW, BODY, (SECRET, OTHER))["webhook-signature"].split(" ")
    assert one == signature_of(SECRET, "r-1-ended", NOW // 1000, BODY)
    assert other == signature_of(OTHER, "r-1-ended", NOW // 1000, BODY)


def test_any_change_is_another_signature() -> None:
    made = {
        signature_of(secret, identifier, seconds, body)
        for secret in (SECRET, OTHER)
        for identifier in ("r-1-ended", "r-2-ended")
        for seconds in (1, 2)
        for body in (BODY, BODY + b" ")
    }
    assert len(made) == 16


def test_a_trial_has_no_data() -> None:
    assert trial_body("test-1", 5) == b'{"id":"test-1","type":"webhook.test","at_ms":5,"data":{}}'


async def test_what_is_sent_arrives(send: Send) -> None:
    with receiving("/hook?tenant=7") as receiver:
        assert await send(receiver.url, BODY, headers_of("r-1-ended", NOW, BODY, (SECRET,))) == Answer(200, "")
    (got,) = receiver.got
    assert (got.path, got.body) == ("/hook?tenant=7", BODY)
    assert got.headers["webhook-id"] == "r-1-ended"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"] == "x700"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_yes(send: Send, status: int) -> None:
    with receiving() as receiver:
        receiver.answer = lambda number: status
        assert await send(receiver.url, BODY, {}) == Answer(status, "")


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
async def test_every_other_answer_is_a_no_in_our_words(send: Send, status: int) -> None:
    with receiving() as receiver:
        receiver.answer = lambda number: (status, {"X-Echo": "13800138000"}, b"13800138000")
        assert await send(receiver.url, BODY, {}) == Answer(status, f"answered {status}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(send: Send, status: int) -> None:
    with receiving() as receiver:
        receiver.answer = lambda number: (status, {"Location": f"{receiver.url}/elsewhere"}, b"")
        assert await send(receiver.url, BODY, {}) == Answer(status, f"answered {status}: redirects are not followed")
        assert len(receiver.got) == 1


async def test_cookies_are_not_kept(send: Send) -> None:
    with receiving() as receiver:
        receiver.answer = lambda number: (200, {"Set-Cookie": "a=b; Path=/"}, b"")
        await send(receiver.url, BODY, {})
        await send(receiver.url, BODY, {})
    assert [got for got in receiver.got if "cookie" in got.headers] == []


async def test_a_connection_serves_again_but_not_after_an_answer_without_end(send: Send) -> None:
    with receiving() as receiver:
        receiver.answer = lambda number: (200, {}, b"x" * (webhook_sender.LONGEST_ANSWER * 50))
        assert await send(receiver.url, BODY, {}) == Answer(200, "")
        receiver.answer = lambda number: 200
        assert await send(receiver.url, BODY, {}) == Answer(200, "")


async def test_a_packed_answer_is_not_unpacked(send: Send) -> None:
    with receiving() as receiver:
        receiver.answer = lambda number: (200, {"Content-Encoding": "gzip"}, b"no gzip at all")
        assert await send(receiver.url, BODY, {}) == Answer(200, "")


async def test_a_receiver_that_does_not_answer_in_time_is_left() -> None:
    with receiving() as receiver:
        receiver.delay = 1.0
        async with sender(0.1) as send:
            began = time.monotonic()
            assert await send(receiver.url, BODY, {}) == Answer(0, "no answer within 0.1 s")
            assert time.monotonic() - began < 0.9


async def test_a_receiver_that_drips_is_left_in_time_too() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server, sender(0.2) as send:
        port = server.sockets[0].getsockname()[1]
        assert await send(f"http://127.0.0.1:{port}/", BODY, {}) == Answer(0, "no answer within 0.2 s")
        await asyncio.sleep(0.1)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/", "http://no-such-host.invalid/", "https://127.0.0.1:{port}/"]
)
async def test_nobody_there_is_said(send: Send, url: str) -> None:
    assert await send(url.format(port=free_port()), BODY, {}) == Answer(0, "cannot be connected to")


async def test_a_certificate_that_nobody_vouches_for_is_refused(send: Send) -> None:
    with receiving() as receiver:
        answer = await send(receiver.url.replace("http:", "https:"), BODY, {})
    assert answer == Answer(0, "cannot be connected to")


@pytest.mark.parametrize("text", [b"HELLO 13800138000\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
async def test_what_is_no_answer_is_a_no(send: Send, text: bytes) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await send(f"http://127.0.0.1:{port}/", BODY, {})
    assert answer == Answer(0, "broke off, or does not speak HTTP")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[::1", "nothing", "http://a b/"])
async def test_an_address_that_is_none_does_not_raise(send: Send, url: str) -> None:
    answer = await send(url, BODY, {})
    assert answer.status == 0
    assert answer.error


async def test_a_proxy_of_the_environment_is_not_used(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with sender(5.0) as fresh:
        with receiving() as receiver:
            assert await fresh(receiver.url, BODY, {}) == Answer(200, "")


async def test_addresses_are_not_logged(send: Send, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.root.handlers[:], logging.root.level
    configure("debug", "json")
    try:
        with receiving("/hook?token=hidden") as receiver:
            await send(receiver.url, BODY, {})
    finally:
        logging.root.handlers[:], level = before
        logging.root.setLevel(level)
    assert "hidden" not in capsys.readouterr().err
