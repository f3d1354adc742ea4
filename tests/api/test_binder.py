"""Bindings asked for one by one at the same time: one transaction, an answer each."""

import asyncio
from typing import Any

import pytest

from b2bua.api import binder as module
from b2bua.api.binder import Binder
from routing.binding import BindingRequest
from routing.errors import BindingError, StoreError
from tests.api.things import binding
from tests.api.world import World


def request(number: int, **changes: Any) -> BindingRequest:
    return BindingRequest(x="", **{**binding(a=f"138{number:08}", order_id=f"order-{number}"), **changes})


class Counted:
    """The room of bindings, and how many it was asked for each time."""

    def __init__(self, api: World) -> None:
        self.sizes: list[tuple[str, int]] = []
        self.failures: list[Exception] = []
        self._bind = api.store.bindings.bind_many
        api.store.bindings.bind_many = self.bind_many  # type: ignore[method-assign]

    async def bind_many(self, requests: Any, now_ms: int, *, by: str) -> Any:
        self.sizes.append((by, len(requests)))
        if self.failures:
            raise self.failures.pop(0)
        return await self._bind(requests, now_ms, by=by)


async def test_those_that_come_meanwhile_share_a_transaction(api: World) -> None:
    counted, binder = Counted(api), Binder(api.store.bindings, api.clock)
    made = await asyncio.gather(*(binder.bind(request(number), "key:a") for number in range(20)))
    assert counted.sizes == [("key:a", 20)]
    assert [each.order_id for each in made] == [f"order-{number}" for number in range(20)]


async def test_each_has_its_own_answer(api: World) -> None:
    binder = Binder(api.store.bindings, api.clock)
    answers = await asyncio.gather(
        binder.bind(request(1), "key:a"),
        binder.bind(request(2, a="120"), "key:a"),
        binder.bind(request(3), "key:a"),
        return_exceptions=True,
    )
    assert isinstance(answers[1], BindingError)
    assert answers[1].rule == "R13"
    assert [each.order_id for each in await api.store.bindings.list()] == ["order-3", "order-1"]


async def test_keys_are_not_mixed_and_none_waits_for_all_of_another(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    counted, binder = Counted(api), Binder(api.store.bindings, api.clock)
    await asyncio.gather(*(binder.bind(request(number), f"key:{'a' if number < 5 else 'b'}") for number in range(6)))
    assert counted.sizes == [("key:a", 2), ("key:b", 1), ("key:a", 2), ("key:a", 1)]
    assert {deed.by for deed in await api.store.audit.list(kind="binding")} <= {"key:a", "key:b"}


@pytest.mark.parametrize("error", [StoreError("locked"), RuntimeError("a defect")])
async def test_a_failure_is_told_to_each_and_the_next_are_served(api: World, error: Exception) -> None:
    counted, binder = Counted(api), Binder(api.store.bindings, api.clock)
    counted.failures.append(error)
    answers = await asyncio.gather(
        *(binder.bind(request(number), "key:a") for number in range(3)), return_exceptions=True
    )
    assert answers == [error] * 3
    assert (await binder.bind(request(4), "key:a")).order_id == "order-4"


@pytest.mark.parametrize("fails", [False, True])
async def test_one_that_has_gone_keeps_nobody_from_an_answer(api: World, fails: bool) -> None:
    counted, binder = Counted(api), Binder(api.store.bindings, api.clock)
    if fails:
        counted.failures.append(StoreError("locked"))
    gone = asyncio.create_task(binder.bind(request(1), "key:a"))
    stays = asyncio.create_task(binder.bind(request(2), "key:a"))
    await asyncio.sleep(0)
    gone.cancel()
    if fails:
        with pytest.raises(StoreError):
            await stays
    else:
        assert (await stays).order_id == "order-2"
