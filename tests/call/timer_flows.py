"""Calls long enough for their session timers (RFC 4028), refreshed by the switch, by both phones, or by nobody."""

from tests.call.phone import PhoneCall
from tests.call.timers import TimedPhone
from tests.call.world import World, X

__all__ = ["TIMER_FLOWS"]

LONG = 1000.0


def _dial(world: World, updates: bool) -> PhoneCall:
    for phone in (world.caller, world.callee):
        phone.updates = updates
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=LONG)
    return call


def refreshed_by_update(world: World) -> None:
    TimedPhone(world.caller, "uas")
    TimedPhone(world.callee, grants="uac")
    _dial(world, updates=True)


def refreshed_by_reinvite(world: World) -> None:
    TimedPhone(world.caller, "uas")
    TimedPhone(world.callee, grants="uac")
    _dial(world, updates=False)


def peers_refresh_by_update(world: World) -> None:
    TimedPhone(world.caller, "uac")
    TimedPhone(world.callee)
    _dial(world, updates=True)


def peers_refresh_by_reinvite(world: World) -> None:
    TimedPhone(world.caller, "uac")
    TimedPhone(world.callee)
    _dial(world, updates=False)


def nobody_refreshes(world: World) -> None:
    TimedPhone(world.caller, "uac", silent=True)
    TimedPhone(world.callee, silent=True)
    _dial(world, updates=True)


def longer_interval_for_the_callee(world: World) -> None:
    def take(call: PhoneCall) -> None:
        if len(world.callee.calls) == 1:
            call.refuse(422, "Min-SE: 2000")
        else:
            call.accept()

    world.callee.on_call = take
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=20.0)


TIMER_FLOWS = (
    refreshed_by_update,
    refreshed_by_reinvite,
    peers_refresh_by_update,
    peers_refresh_by_reinvite,
    nobody_refreshes,
    longer_interval_for_the_callee,
)
