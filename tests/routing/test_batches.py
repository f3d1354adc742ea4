"""Many requests in one transaction, client tokens, and what both say about each request alone."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdr.seal import Seal
from routing.binding import Binding, BindingRequest, Mode
from routing.errors import BindingError, Conflict
from routing.plan import Block, BlockState
from routing.store.bindings import MOST_AT_ONCE
from routing.store.reader import Reader
from routing.store.sqlite import Store
from tests.routing.samples import HOUR, NOW, PREFIX, STRANGER, A, B, X, provide, request

Y = f"{PREFIX}0002"
C, D = "+8613700137000", "+8613600136000"


async def bind_all(store: Store, *requests: BindingRequest, now_ms: int = NOW) -> list[Binding | tuple[str, str]]:
    """Each request's binding, or the field and the rule."""
    answers = await store.bindings.bind_many(requests, now_ms, by="test")
    return [answer if isinstance(answer, Binding) else (answer.field, answer.rule) for answer in answers]


async def test_every_request_of_a_batch_has_its_own_answer_in_its_place(store: Store, reader: Reader) -> None:
    answers = await bind_all(
        store,
        request(),
        request(x="13800138000"),
        request(x=Y, consent=""),
        request(x=Y, scenario="marketing"),
        request(x="700999999990001"),
        request(x=Y),
    )
    assert answers[1:5] == [("x", "R3"), ("consent", "R16"), ("scenario", "R17"), ("x", "R3")]
    assert [answers[0], answers[5]] == [reader.find(X, A), reader.find(Y, B)]
    assert len(await store.bindings.list()) == 2


async def test_one_key_goes_to_one_request_of_a_batch(store: Store, reader: Reader) -> None:
    answers = await bind_all(store, request(), request(a=C), request(b=C), request(a=C, b=D))
    assert answers[1:3] == [("x", "key"), ("x", "key")]
    assert reader.find(X, A) == answers[0]
    assert reader.find(X, C) == answers[3]


async def test_a_request_that_is_refused_takes_no_key_from_the_next(store: Store) -> None:
    assert isinstance((await bind_all(store, request(b="95588"), request()))[1], Binding)


async def test_a_batch_of_every_mode(store: Store, reader: Reader) -> None:
    group = await store.groups.add("shop", "couriers", (A, C), NOW, by="test")
    answers = await bind_all(
        store,
        request(),
        request(x=Y, y=f"{PREFIX}0003", mode=Mode.AXYB),
        request(x=f"{PREFIX}0004", mode=Mode.GXB, group=group.id),
        request(x=f"{PREFIX}0005", y=f"{PREFIX}0006", mode=Mode.GXYB, group=group.id, a=C),
        request(x=f"{PREFIX}0007", mode=Mode.GXB, group="none"),
    )
    assert answers[4] == ("group", "form")
    for number, caller, index in (("0001", B, 0), ("0003", B, 1), ("0004", A, 2), ("0005", C, 3), ("0006", B, 3)):
        assert reader.find(f"{PREFIX}{number}", caller) == answers[index]


async def test_a_batch_is_bounded(store: Store) -> None:
    with pytest.raises(BindingError) as caught:
        await store.bindings.bind_many([request()] * (MOST_AT_ONCE + 1), NOW, by="test")
    assert caught.value.field == "bindings"
    assert await store.bindings.bind_many([], NOW, by="test") == ()


async def test_a_batch_is_one_line_of_the_audit_for_each_provider(store: Store) -> None:
    await store.registry.enrol("provider-2", "taxi", "delivery", now_ms=NOW, by="test")
    await store.blocks.add(Block("70012345679", "provider-2", "taxi", BlockState.ACTIVE), NOW, by="test")
    taxi = request(x="700123456790001", business_user="taxi")
    answers = await bind_all(store, request(), request(x=Y), taxi, request(x="1"))
    ids = [answer.id for answer in answers if isinstance(answer, Binding)]
    deeds = await store.audit.list(kind="binding")
    assert [(deed.id, deed.provider, deed.detail) for deed in reversed(deeds)] == [
        (ids[0], "provider", {"bindings": 2, "last": ids[1]}),
        (ids[2], "provider-2", {}),
    ]
    assert [entry.binding for x in (X, Y, taxi.x) for entry in await store.ledger.list(x)] == ids


# --- client tokens ---


async def test_the_same_token_and_request_is_the_same_binding(store: Store) -> None:
    first = await store.bindings.bind(request(client_token="token"), NOW, by="test")
    again = await store.bindings.bind(request(client_token="token", a="+8613800138000"), NOW + 5, by="test")
    assert again == first
    assert await store.bindings.list() == (first,)
    assert len(await store.ledger.list(X)) == 1


async def test_that_is_so_when_the_binding_is_over_and_when_nothing_new_may_be_bound(store: Store) -> None:
    first = await store.bindings.bind(request(client_token="token"), NOW, by="test")
    await store.bindings.end(first.id, NOW + 1, by="test")
    await store.blocks.move(PREFIX, BlockState.FROZEN, NOW, by="test", reason="inspection")
    again = await store.bindings.bind(request(client_token="token"), NOW + 2 * HOUR, by="test")
    assert again == replace(first, ended_ms=NOW + 1)


async def test_a_number_is_drawn_once_for_a_token(store: Store) -> None:
    first = await store.bindings.bind(request(x="", client_token="token"), NOW, by="test")
    assert (await store.bindings.bind(request(x="", client_token="token"), NOW, by="test")).x == first.x


async def test_a_token_for_another_request_is_refused(store: Store) -> None:
    await store.bindings.bind(request(client_token="token"), NOW, by="test")
    for changes in ({"x": Y}, {"a": C}, {"order_id": "order-2"}, {"most_calls": 1}):
        with pytest.raises(Conflict) as caught:
            await store.bindings.bind(request(client_token="token", **changes), NOW, by="test")
        assert (caught.value.field, caught.value.rule) == ("client_token", "token")


async def test_tokens_are_each_providers_own(store: Store) -> None:
    await store.registry.enrol("provider-2", "taxi", "delivery", now_ms=NOW, by="test")
    await store.blocks.add(Block("70012345679", "provider-2", "taxi", BlockState.ACTIVE), NOW, by="test")
    first = await store.bindings.bind(request(client_token="token"), NOW, by="test")
    second = await store.bindings.bind(
        request(client_token="token", x="700123456790001", business_user="taxi"), NOW, by="test"
    )
    assert first.id != second.id


async def test_a_token_of_a_request_that_was_refused_is_still_free(store: Store) -> None:
    with pytest.raises(BindingError):
        await store.bindings.bind(request(client_token="token", consent=""), NOW, by="test")
    await store.bindings.bind(request(client_token="token"), NOW, by="test")


async def test_tokens_within_a_batch(store: Store) -> None:
    one = request(client_token="token")
    answers = await bind_all(store, one, one, replace(one, x=Y), replace(one, client_token="other", x=Y))
    assert answers[0] == answers[1]
    assert answers[2] == ("client_token", "token")
    assert isinstance(answers[3], Binding)
    assert (await bind_all(store, one, replace(one, x=Y)))[0] == answers[0]
    wrong = request(client_token="wrong", b="95588")
    assert await bind_all(store, wrong, wrong) == [("b", "R13")] * 2


# --- a batch says of each request what it would be told alone ---

NUMBERS = (X, Y, "", "700999999990001", "nonsense")
PARTIES = (A, B, C, D, STRANGER, "95588", X)
requests = st.builds(
    request,
    x=st.sampled_from(NUMBERS),
    y=st.sampled_from(("", "", Y, f"{PREFIX}0003")),
    a=st.sampled_from(PARTIES),
    b=st.sampled_from(PARTIES),
    mode=st.sampled_from((Mode.AXB, Mode.AXB, Mode.AXYB)),
    scenario=st.sampled_from(("delivery", "delivery", "delivery", "none")),
    client_token=st.sampled_from(("", "", "token-1", "token-2")),
    order_id=st.sampled_from(("order-1", "order-2")),
    starts_ms=st.sampled_from((0, NOW + 5)),
    expires_ms=st.sampled_from((NOW + 10, NOW + HOUR, NOW)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(requests, max_size=8))
def test_a_batch_answers_as_one_by_one(tmp_path_factory: pytest.TempPathFactory, seal: Seal, asked: list[Any]) -> None:
    async def both() -> None:
        directory: Path = tmp_path_factory.mktemp("batch")
        async with (
            await Store.open(directory / "many.db", seal) as many,
            await Store.open(directory / "single.db", seal) as single,
        ):
            await provide(many)
            await provide(single)
            together = await bind_all(many, *asked)
            alone = [(await bind_all(single, one))[0] for one in asked]
            for one, joint, own in zip(asked, together, alone, strict=True):
                assert without_chance(one, joint) == without_chance(one, own), one

    asyncio.run(both())


def without_chance(one: BindingRequest, answer: Binding | tuple[str, str]) -> object:
    """An answer without its id and without the numbers that were drawn for it."""
    if not isinstance(answer, Binding):
        return answer
    return replace(answer, id="", x=answer.x if one.x else "", y=answer.y if one.y else "")
