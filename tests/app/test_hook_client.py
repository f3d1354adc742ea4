"""What the verification hook is asked, and what of its answers is taken for one, over real connections."""

import base64
import hashlib
import hmac
import json
import queue
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from b2bua.app.config_hooks import Verification
from b2bua.app.hook_client import Heard, HookClient, HookError, parse_answer, signature_headers
from tests.app.certificates import Authority
from tests.app.hook import Hook, answer, drip, hang, raw, reset, shut

BODY = b'{"id":"1"}'
PATIENCE = 10.0
QUICK: dict[str, Any] = {"timeout_ms": 300, "deadline_ms": 1000, "retry_percent": 0}


class Asker:
    """A client and what it tells."""

    def __init__(self, url: str, secret: str = "", **settings: Any) -> None:
        self._told: queue.Queue[tuple[int, Heard]] = queue.Queue()
        self.client = HookClient(
            Verification(url=url, **QUICK | settings), secret, lambda number, heard: self._told.put((number, heard))
        )

    def ask(self) -> Heard:
        self.client.ask(7, "record-1", BODY)
        number, heard = self._told.get(timeout=PATIENCE)
        assert number == 7
        return heard

    def ask_many(self, count: int) -> list[Heard]:
        for number in range(count):
            self.client.ask(number, f"record-{number}", BODY)
        told = dict(self._told.get(timeout=PATIENCE) for _ in range(count))
        assert sorted(told) == list(range(count))
        return list(told.values())


@contextmanager
def asking(hook: Hook, secret: str = "", **settings: Any) -> Iterator[Asker]:
    asker = Asker(hook.url, secret, **settings)
    try:
        with hook:
            yield asker
    finally:
        asker.client.stop()
        asker.client.join(PATIENCE)
        assert not asker.client._thread.is_alive()


@pytest.mark.parametrize(
    ("body", "allow"),
    [
        (b'{"allow": true}', True),
        (b'{"allow": false}', False),
        (b'{"allow": false, "reason": "order_closed"}', False),
        (b' \n{"reason":"","allow":true} ', True),
    ],
)
def test_an_answer_is_one_of_two_words(body: bytes, allow: bool) -> None:
    assert parse_answer(body) is allow


@pytest.mark.parametrize(
    "body",
    [
        b"", b"true", b"null", b"[]", b"{}", b'{"allow": 1}', b'{"allow": "true"}', b'{"allow": null}',
        b'{"allow": tru', b'{"Allow": true}',
        b'{"allow": true, "callee": "13900139000"}', b'{"allow": true, "reason": 5}',
        b'{"allow": true, "reason": "two words"}', b'{"allow": true} {}', b"<html>", b"\xff\xfe", b"[" * 4000,
        b'{"allow": true, "reason": "' + b"x" * 65 + b'"}',
    ],
)  # fmt: skip
def test_anything_else_is_a_failure(body: bytes) -> None:
    with pytest.raises(HookError, match="answer"):
        parse_answer(body)


def test_what_is_asked() -> None:
    hook = Hook()
    with asking(hook) as asker:
        heard = asker.ask()
    assert (heard.allow, heard.failures, heard.tries) == (True, (), 1)
    (told,) = hook.told
    assert told.line == "POST /verify?v=1 HTTP/1.1"
    assert told.body == BODY
    assert told.headers == {
        "host": f"127.0.0.1:{hook.port}",
        "user-agent": "x700",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
    }


@pytest.mark.parametrize(
    ("manner", "failure"),
    [
        (hang, "timeout"),
        (drip(0.05), "timeout"),
        (shut, "broken"),
        (reset, "broken"),
        (answer(status="500 Oops"), "status"),
        (answer(status="204 No Content"), "status"),
        (answer(b"", "302 Found", "Location: http://127.0.0.1:1/"), "status"),
        (answer(b"<html>no</html>"), "answer"),
        (answer(b'{"allow": true}', "200 OK", "Content-Encoding: gzip", "Set-Cookie: a=b"), ""),
        (answer(b" " * 3_000_000 + b'{"allow": true}'), "too_long"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000), "broken"),
        (raw(b"SIP/2.0 200 OK\r\n\r\n"), "broken"),
        (raw(b"\x00\xff" * 5000), "broken"),
        (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"allow": true}'), "broken"),
        (raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 3000), "broken"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "broken"),
    ],
    ids=[
        "hangs", "drips", "hangs_up", "resets", "500", "204", "redirects", "html", "odd_headers", "3_MB",
        "endless_headers", "sip", "noise", "cut_short", "endless_100", "bad_chunk",
    ],
)  # fmt: skip
def test_whatever_the_hook_does_is_an_answer_or_a_failure_in_time(manner: Callable[..., None], failure: str) -> None:
    with asking(Hook(manner)) as asker:
        heard = asker.ask()
        assert heard.failures == ((failure,) if failure else ())
        assert heard.allow is (None if failure else True)
        assert heard.seconds < 3.0
        asker_again = asker.ask()
        assert asker_again.allow is heard.allow


def test_a_hook_that_is_not_there() -> None:
    hook = Hook()
    hook.close()
    asker = Asker(hook.url)
    heard = asker.ask()
    asker.client.stop()
    asker.client.join(PATIENCE)
    assert heard.failures == ("connect",)


def test_what_failed_is_tried_again_within_the_budget() -> None:
    hook = Hook(reset, answer())
    with asking(hook, retry_percent=10) as asker:
        heard = asker.ask()
        assert (heard.allow, heard.failures, heard.tries) == (True, ("broken",), 2)
        hook.behave(answer(status="503 Busy"))
        tries = sum(heard.tries for heard in asker.ask_many(100))
    assert 100 < tries <= 100 + 5 + 10
    assert len({told.body for told in hook.told}) == 1


def test_all_tries_together_keep_to_the_deadline() -> None:
    with asking(Hook(hang), retry_percent=100, timeout_ms=300, deadline_ms=700) as asker:
        heard = asker.ask()
    assert heard.allow is None
    assert heard.failures == ("timeout", "timeout", "timeout")
    assert 0.6 < heard.seconds < 3.0


def test_connections_are_kept_and_bounded() -> None:
    hook = Hook()
    with asking(hook, connections=4) as asker:
        for _ in range(5):
            asker.ask()
        assert hook.connections == 1
        heard = asker.ask_many(60)
    assert all(each.allow for each in heard)
    assert hook.most <= 4


def test_an_idle_connection_that_the_hook_closes_does_not_cost_a_verification() -> None:
    def once(connection: Any, told: Any) -> None:
        answer()(connection, told)
        connection.close()

    with asking(Hook(once)) as asker:
        assert [asker.ask().allow for _ in range(3)] == [True, True, True]


def test_stopping_gives_up_what_is_under_way() -> None:
    with asking(Hook(hang), timeout_ms=10_000, deadline_ms=10_000) as asker:
        asker.client.ask(1, "record-1", BODY)


def test_the_hook_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("hook", "127.0.0.1"))
    with asking(Hook(context=context), ca=authority.file) as asker:
        assert asker.ask().allow is True
    with asking(Hook(context=context)) as asker:  # of an authority that we do not know
        assert asker.ask().failures == ("connect",)
    with asking(Hook(context=context), ca=tmp_path / "gone.pem") as asker:
        assert asker.ask().failures == ("broken",)


@pytest.mark.parametrize("secret", ["open sesame, please", "whsec_" + base64.b64encode(b"k" * 32).decode()])
def test_the_signature_is_that_of_standard_webhooks(secret: str) -> None:
    hook = Hook()
    with asking(hook, secret) as asker:
        asker.ask()
    headers = hook.told[0].headers
    key = b"k" * 32 if secret.startswith("whsec_") else secret.encode()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + hook.told[0].body
    proof = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-id"] == "record-1"
    assert headers["webhook-signature"] == f"v1,{proof}"
    assert secret not in json.dumps(headers)


def test_without_a_secret_nothing_is_signed() -> None:
    assert signature_headers("", "record-1", 1, BODY) == []
