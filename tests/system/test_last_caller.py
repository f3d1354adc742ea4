"""Who of a group called last is known after kill -9, whether it was written down or stands in the journal alone."""

import asyncio
import random
import re
import time
from dataclasses import replace

import pytest

from routing.binding import Mode
from tests.system.node import BLOCK, BUSINESS, Node, binding, until
from tests.system.phones import Call, now_ms

B = "13900139001"  # takes calls in the tests' phones
MEMBERS = ("13800138011", "13800138012", "13800138013")
X, Y = f"{BLOCK}0070", f"{BLOCK}0071"


async def _provide(node: Node, mode: Mode) -> None:
    async with await node.store() as store:
        group = await store.groups.add(BUSINESS, "riders", MEMBERS, now_ms(), by="test")
        request = replace(binding(X, B, MEMBERS[0]), mode=mode, group=group.id, y=Y if mode is Mode.GXYB else "")
        await store.bindings.bind(request, now_ms(), by="test")


async def _leave(node: Node, member: str) -> None:
    async with await node.store() as store:
        (group,) = await store.groups.list()
        await store.groups.remove_member(group.id, member, now_ms(), by="test")


def over(node: Node, caller: str, dialled: str) -> Call:
    """A call that is hung up as soon as it is answered."""
    call = node.phones.place(dialled, caller)
    until(call.over.is_set, "the call to end")
    return call


def reached(node: Node, dialled: str) -> str:
    """Whom B reaches by dialling a number."""
    (taken,) = node.phones.taken(over(node, B, dialled))
    found = re.match(r"INVITE sip:(\d+)@", taken.invite.first)
    assert found
    return found[1]


@pytest.mark.parametrize("mode", [Mode.GXB, Mode.GXYB])
def test_b_reaches_the_last_caller_whatever_kills_the_switch(node: Node, mode: Mode) -> None:
    asyncio.run(_provide(node, mode))
    dialled = Y if mode is Mode.GXYB else X
    switch = node.switch()
    assert reached(node, dialled) == MEMBERS[0], "nobody has called yet: the default"
    for written in (True, False):
        member = random.choice(MEMBERS[1:])
        assert over(node, MEMBERS[0], X).final == 200
        assert over(node, member, X).final == 200
        assert reached(node, dialled) == member
        if written:
            time.sleep(1.5)  # about once a second it is written down
        switch.kill()
        switch = node.switch()
        assert reached(node, dialled) == member
    asyncio.run(_leave(node, member))
    assert reached(node, dialled) == MEMBERS[0], "who has left the group is called no more"
    assert switch.stop() == 0
