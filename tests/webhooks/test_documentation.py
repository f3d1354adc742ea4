"""What the README tells platforms is so: its code verifies what is sent, its ladder and bounds are the real ones."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from b2bua.api.context import ApiSettings
from b2bua.api.webhook_message import TEST_EVENT, headers_of
from b2bua.api.webhook_sender import sender
from b2bua.api.webhooks import LADDER_MS
from cdr.store.outbox import DEAD_KEPT_MS, MOST_DEAD, MOST_WAITING
from routing.store.webhooks import OVERLAP_SECONDS
from routing.webhooks import EVENTS
from tests.webhooks.receiver import receiving

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("### For a platform: being told of calls and messages\n")[2].partition("\n## ")[0]
SECRET, OLD = "whsec_" + "A" * 43 + "=", "whsec_" + "B" * 43 + "="
BODY = b'{"id":"r-1-ended","type":"call.ended"}'

Verifier = Callable[[str, Mapping[str, str], bytes], bool]


@pytest.fixture
def is_genuine() -> Verifier:
    (code,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    names: dict[str, Verifier] = {}
    exec(code, names)
    return names["is_genuine"]


async def test_the_code_takes_what_is_sent_and_nothing_else(is_genuine: Verifier) -> None:
    now_ms = int(time.time() * 1000)
    with receiving() as receiver:
        async with sender(5.0) as send:
            await send(receiver.url, BODY, headers_of("r-1-ended", now_ms, BODY, (SECRET, OLD)))
    (got,) = receiver.got
    assert is_genuine(SECRET, got.headers, got.body)
    assert is_genuine(OLD, got.headers, got.body)
    assert not is_genuine("whsec_" + "C" * 43 + "=", got.headers, got.body)
    assert not is_genuine(SECRET, got.headers, got.body + b" ")
    assert not is_genuine(SECRET, {**got.headers, "webhook-id": "r-2-ended"}, got.body)
    later = str(int(got.headers["webhook-timestamp"]) + 1)
    assert not is_genuine(SECRET, {**got.headers, "webhook-timestamp": later}, got.body)


@pytest.mark.parametrize(("minutes", "taken"), [(0, True), (4, True), (-4, True), (6, False), (-6, False)])
def test_the_code_takes_no_old_request(is_genuine: Verifier, minutes: int, taken: bool) -> None:
    sent_ms = int(time.time() * 1000) + minutes * 60_000
    assert is_genuine(SECRET, headers_of("r-1-ended", sent_ms, BODY, (SECRET,)), BODY) is taken


def test_every_event_is_in_the_table() -> None:
    table = {name for row in SECTION.splitlines() if row.startswith("| `") for name in re.findall(r"`([a-z.]+)`", row)}
    assert {*EVENTS, TEST_EVENT} <= table


def test_the_figures_are_those_of_the_program() -> None:
    text = " ".join(SECTION.split())
    assert (
        f"after {', '.join(str(step // 60_000) for step in LADDER_MS[:-1])} and {LADDER_MS[-1] // 60_000} min" in text
    )
    assert f"At most {MOST_WAITING:,} events wait for one webhook and {MOST_DEAD:,} are dead" in text
    assert f"for {DEAD_KEPT_MS // 86_400_000} days" in text
    assert f"`api.webhook_parallel` ({ApiSettings().webhook_parallel})" in text
    assert f"`api.webhook_seconds` ({ApiSettings().webhook_seconds:g})" in text
    assert OVERLAP_SECONDS == 86_400
    assert "`overlap_seconds` (a day)" in text
