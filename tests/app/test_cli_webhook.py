"""`x700 webhook`, over the stores of a node of its own."""

import asyncio
import json
from collections.abc import Callable

import pytest

from b2bua.app.cli_common import Exit
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from cdr.journal import seal_attempt
from cdr.outbox import notices_of
from cdr.store.outbox import Outbox, Result, State
from routing.webhooks import EVENTS
from tests.app.conftest import Command, parsed
from tests.cdr.story import NOVEMBER, attempted
from tests.webhooks.receiver import receiving

URL = "https://hooks.example.net/x700"


@pytest.fixture(autouse=True)
def provider(settings: Settings) -> None:
    async def enrol() -> None:
        async with binding_store(settings) as store:
            await store.registry.enrol("platform-1", "shop-1", "delivery", now_ms=1, by="test")

    asyncio.run(enrol())


@pytest.fixture
def add(x700: Command) -> Callable[..., dict[str, object]]:
    def run(*words: str, url: str = URL) -> dict[str, object]:
        result = x700("webhook", "add", "platform-1", url, *words, "--json")
        assert result.exit_code == Exit.DONE, result.stderr
        found = parsed(result)
        assert isinstance(found, dict)
        return found

    return run


Add = Callable[..., dict[str, object]]


def dead_letters(settings: Settings, webhook: object, *record_ids: str) -> None:
    async def fill() -> None:
        outbox = Outbox(settings.records.directory, durable=True)
        seal = settings.seal()
        heads = [seal_attempt(attempted(record_id), seal) for record_id in record_ids]
        await outbox.add([(str(webhook), notice) for head in heads for notice in notices_of(head, None, [])], NOVEMBER)
        items = await outbox.due(str(webhook), NOVEMBER, 100)
        await outbox.settle([Result(each.number, State.DEAD, 0, 500, "answered 500") for each in items], NOVEMBER)
        await outbox.close()

    asyncio.run(fill())


def test_a_webhook_is_made_and_its_secret_shown_once(x700: Command, add: Add) -> None:
    webhook = add("--event", "call.ended", "--event", "call.attempted")
    assert str(webhook.pop("secret")).startswith("whsec_")
    assert webhook["events"] == ["call.attempted", "call.ended"]
    assert parsed(x700("webhook", "list", "--json")) == [webhook]
    assert parsed(x700("webhook", "list", "--provider", "platform-2", "--json")) == []
    shown = parsed(x700("webhook", "show", str(webhook["id"]), "--json"))
    assert shown == webhook | {"waiting": 0, "dead": 0, "lost": 0, "oldest_ms": 0, "error": ""}
    assert "secret" not in x700("webhook", "show", str(webhook["id"])).stdout


def test_the_table_is_for_people(x700: Command, add: Add) -> None:
    add()
    assert "hooks.example.net" in x700("webhook", "list").stdout


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("add", "nobody", URL), Exit.REFUSED, "R6"),
        (("add", "platform-1", "ftp://x/"), Exit.REFUSED, "url"),
        (("add", "platform-1", "http://x/", "--reveal"), Exit.REFUSED, "R2"),
        (("add", "platform-1", URL, "--event", "call.began"), Exit.REFUSED, "events"),
        (("show", "nothing"), Exit.FAILED, "no webhook nothing"),
        (("change", "nothing", "--paused"), Exit.FAILED, "no such webhook"),
        (("rotate", "nothing"), Exit.FAILED, "no such webhook"),
        (("rotate", "nothing", "--overlap", "-1"), Exit.REFUSED, "overlap_seconds"),
        (("remove", "nothing"), Exit.FAILED, "no such webhook"),
        (("dead", "nothing"), Exit.FAILED, "no webhook nothing"),
        (("test", "nothing"), Exit.FAILED, "no webhook nothing"),
        (("redeliver", "nothing", "--all"), Exit.FAILED, "no webhook nothing"),
        (("redeliver", "nothing"), Exit.USAGE, "--all"),
        (("redeliver", "nothing", "r-1-ended", "--all"), Exit.USAGE, "--all"),
        (("redeliver", "nothing", "r-1"), Exit.USAGE, "an event's id"),
    ],
)
def test_what_is_wrong_is_said(x700: Command, words: tuple[str, ...], code: Exit, text: str) -> None:
    result = x700("webhook", *words)
    assert result.exit_code == code
    assert text in result.stderr


def test_a_webhook_is_changed_in_what_is_given(x700: Command, add: Add) -> None:
    webhook = str(add("--event", "call.ended")["id"])
    changed = parsed(x700("webhook", "change", webhook, "--paused", "--reveal", "--json"))
    assert isinstance(changed, dict)
    assert (changed["active"], changed["reveal"], changed["events"]) == (False, True, ["call.ended"])
    changed = parsed(x700("webhook", "change", webhook, "--url", "https://other.example.net/", "--active", "--json"))
    assert isinstance(changed, dict)
    assert (changed["active"], changed["reveal"], changed["url"]) == (True, False, "https://other.example.net/")


def test_a_secret_is_replaced_and_a_webhook_removed(x700: Command, add: Add) -> None:
    webhook = add()
    fresh = parsed(x700("webhook", "rotate", str(webhook["id"]), "--overlap", "60", "--json"))
    assert isinstance(fresh, dict)
    assert fresh["secret"] != webhook["secret"]
    assert fresh["old_until_ms"] > webhook["created_ms"]
    assert x700("webhook", "remove", str(webhook["id"])).exit_code == Exit.DONE
    assert parsed(x700("webhook", "list", "--json")) == []


def test_dead_letters_are_listed_and_told_again(x700: Command, settings: Settings, add: Add) -> None:
    webhook = str(add()["id"])
    dead_letters(settings, webhook, "r-1", "r-2", "r-3")
    letters = parsed(x700("webhook", "dead", webhook, "--json"))
    assert isinstance(letters, list)
    assert [letter["id"] for letter in letters] == ["r-1-attempted", "r-2-attempted", "r-3-attempted"]
    assert "answered 500" in x700("webhook", "dead", webhook, "--limit", "1").stdout
    answer = parsed(x700("webhook", "redeliver", webhook, "r-2-attempted", "--json"))
    assert answer == {"id": webhook, "events": 1}
    assert parsed(x700("webhook", "redeliver", webhook, "--all", "--json")) == {"id": webhook, "events": 2}
    shown = parsed(x700("webhook", "show", webhook, "--json"))
    assert isinstance(shown, dict)
    assert (shown["waiting"], shown["dead"]) == (3, 0)


def test_a_webhook_is_tried_out(x700: Command, add: Add) -> None:
    with receiving() as receiver:
        webhook = str(add(url=receiver.url)["id"])
        result = x700("webhook", "test", webhook, "--json")
        assert (result.exit_code, parsed(result)) == (
            Exit.DONE,
            {"id": webhook, "ok": True, "status": 200, "error": ""},
        )
        receiver.answer = lambda number: 503
        result = x700("webhook", "test", webhook)
        assert result.exit_code == Exit.FAILED
        assert "answered 503" in result.stdout
    assert json.loads(receiver.got[0].body)["type"] == "webhook.test"


def test_every_event_can_be_asked_for(add: Add) -> None:
    assert add()["events"] == list(EVENTS)
