"""Any history of binding, ending and passing time, against a model that is only a list: who may call whom?"""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdr.seal import Seal
from routing.binding import Binding, BindingRequest, Direction
from routing.decide import Query, Reason, Refusal, Route, decide
from routing.errors import BindingError
from routing.plan import Block, BlockState
from routing.store.reader import Reader
from routing.store.sqlite import Store
from routing.trunks import Trunk
from tests.routing.samples import NOW, provide

PARTIES = ("+8613800138000", "+8613900139000", "+861012345678", "+867551234567")
TRUNKS = (Trunk("east", ()),)
DEAD = {Reason.BINDING_ENDED, Reason.BINDING_EXPIRED, Reason.BINDING_NOT_STARTED}


class Bind(NamedTuple):
    line: int
    a: str
    b: str
    direction: Direction
    starts_in: int
    lasts: int


class End(NamedTuple):
    which: int


class Pass(NamedTuple):
    ms: int


binds = st.builds(
    Bind,
    st.integers(0, 1),
    st.sampled_from(PARTIES),
    st.sampled_from(PARTIES),
    st.sampled_from(Direction),
    st.sampled_from([0, 0, 0, 5]),
    st.integers(1, 20),
)
histories = st.lists(st.one_of(binds, binds, st.builds(End, st.integers(0, 9)), st.builds(Pass, st.integers(1, 12))))


class World:
    """The real store and its reader, driven from a synchronous test; every history gets a block of its own."""

    def __init__(self, runner: asyncio.Runner, store: Store, reader: Reader) -> None:
        self.runner = runner
        self.store = store
        self.reader = reader
        self.serial = itertools.count()

    def new_prefix(self) -> str:
        prefix = f"700{next(self.serial):08d}"
        self.runner.run(provide(self.store, Block(prefix, "provider", "shop", BlockState.ACTIVE)))
        return prefix


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, seal: Seal) -> Iterator[World]:
    path: Path = tmp_path_factory.mktemp("history") / "bindings.db"
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(path, seal))
        reader = Reader(path, seal)
        yield World(runner, store, reader)
        reader.close()
        runner.run(store.close())


def may_call(bindings: list[Binding], x: str, caller: str, now_ms: int) -> set[str]:
    """The model: everyone whom a live binding lets this caller reach through this number."""
    reached = set()
    for one in bindings:
        if one.x != x or one.ended_ms or not one.starts_ms <= now_ms < one.expires_ms:
            continue
        if caller == one.a and one.direction != "b_to_a":
            reached.add(one.b)
        if caller == one.b and one.direction != "a_to_b":
            reached.add(one.a)
    return reached


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories)
def test_store_and_decision_never_disagree_with_the_model_about_who_may_call_whom(
    world: World, history: list[Bind | End | Pass]
) -> None:
    prefix = world.new_prefix()
    plan = world.reader.plan()
    now_ms = NOW
    model: list[Binding] = []

    def bind(step: Bind) -> None:
        x = f"{prefix}000{step.line}"
        asked = BindingRequest(
            x=x,
            a=step.a,
            b=step.b,
            business_user="shop",
            scenario="delivery",
            order_id="order",
            real_name="proof",
            consent="consent",
            starts_ms=now_ms + step.starts_in,
            expires_ms=now_ms + step.starts_in + step.lasts,
            direction=step.direction,
        )
        taken = any(
            one.x == x and not one.ended_ms and now_ms < one.expires_ms and {one.a, one.b} & {step.a, step.b}
            for one in model
        )
        try:
            model.append(world.runner.run(world.store.bindings.bind(asked, now_ms, by="test")))
        except BindingError:
            assert taken or step.a == step.b
        else:
            assert not taken
            assert step.a != step.b

    for step in history:
        if isinstance(step, Pass):
            now_ms += step.ms
        elif isinstance(step, Bind):
            bind(step)
        elif step.which < len(model):
            model[step.which] = world.runner.run(world.store.bindings.end(model[step.which].id, now_ms, by="test"))

        for line, caller in itertools.product(range(2), PARTIES):
            x = f"{prefix}000{line}"
            answer = decide(
                Query(1, "east", x, caller, False), plan, world.reader.find, TRUNKS, (), now_ms, lambda: 0.0
            )
            expected = may_call(model, x, caller, now_ms)
            assert len(expected) <= 1, "two live bindings on one key"
            assert ({answer.callee} if isinstance(answer, Route) else set()) == expected
            if isinstance(answer, Refusal):
                ever = any(one.x == x and caller in (one.a, one.b) for one in model)
                assert (answer.reason is Reason.CALLER_UNBOUND) is not ever
                if answer.reason in DEAD:
                    assert answer.binding in model
