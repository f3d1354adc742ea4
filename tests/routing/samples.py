"""A small world for the tests of routing: one active block, one order, its two parties."""

from dataclasses import replace
from typing import Any

from routing.binding import Binding, BindingRequest, Direction, Mode
from routing.plan import Block, BlockState
from routing.store.sqlite import Store

NOW = 1_800_000_000_000
HOUR = 3_600_000

PREFIX = "70012345678"
X = f"{PREFIX}0001"
A = "+8613800138000"
B = "+861087654321"
STRANGER = "+8615012345678"

BLOCK = Block(PREFIX, "provider", "shop", BlockState.ACTIVE)

BINDING = Binding(
    id="binding",
    mode=Mode.AXB,
    x=X,
    y="",
    a=A,
    b=B,
    direction=Direction.BOTH,
    provider="provider",
    business_user="shop",
    scenario="delivery",
    order_id="order-1",
    industrial_id="700.100.1/12345678",
    starts_ms=NOW,
    expires_ms=NOW + HOUR,
    ended_ms=0,
)

REQUEST = BindingRequest(
    x=X,
    a="138 0013 8000",
    b="(010) 8765-4321",
    business_user="shop",
    scenario="delivery",
    order_id="order-1",
    real_name="proof-1",
    consent="consent-1",
    expires_ms=NOW + HOUR,
)


async def provide(store: Store, block: Block = BLOCK, now_ms: int = 0) -> None:
    """Register who holds a block, and the block."""
    await store.registry.enrol(block.provider, block.business_user, "delivery", now_ms=now_ms, by="test")
    await store.blocks.add(block, now_ms, by="test")


def binding(**changes: Any) -> Binding:
    """Return the sample binding with some fields changed."""
    return replace(BINDING, **changes)


def request(**changes: Any) -> BindingRequest:
    """Return the sample request with some fields changed."""
    return replace(REQUEST, **changes)
