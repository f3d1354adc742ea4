"""What a call has held is free as soon as it is over: a collector that walks seldom would let it pile up."""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from b2bua.sip.sms import SMS
from tests.call.flows import FLOWS, Flow
from tests.call.texts import HELLO, Inbox, send, sms_body, submit
from tests.call.world import TRUNKS, World, X


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What only the collector would find, filled by `gc.collect`."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
def test_a_call_that_is_over_leaves_nothing_to_the_collector(flow: Flow, garbage: list[object]) -> None:
    world = World()
    flow.start(world)
    world.finish()
    gc.collect()
    left = Counter(type(thing).__name__ for thing in garbage if type(thing).__module__.startswith("b2bua."))
    assert not left


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(HELLO, "text/plain"), ("验证码 123456", "text/plain"), (sms_body(submit(HELLO, X)), SMS), ("x", "text/html")],
)
def test_a_message_that_is_over_leaves_nothing_either(
    body: str | bytes, content_type: str, garbage: list[object]
) -> None:
    world = World(trunks=TRUNKS[:2])
    Inbox(world.caller)
    Inbox(world.callee, [503, 200], confirms="ack")
    send(world.caller, X, body, content_type)
    world.finish()
    gc.collect()
    left = Counter(type(thing).__name__ for thing in garbage if type(thing).__module__.startswith("b2bua."))
    assert not left
