"""Refused calls that hear an announcement, as scripts of the users alone."""

from functools import partial

from tests.call.phone import PhoneCall
from tests.call.world import ADDRESS_M, World, announce

__all__ = ["PROMPT_FLOWS", "UNBOUND"]

UNBOUND = "700123456780000"


def prompt(world: World) -> None:
    world.media_server()
    world.caller.dial(UNBOUND)


def prompt_heard_reliably(world: World) -> None:
    world.media_server()
    world.caller.reliable = "Require: 100rel"
    world.caller.dial(UNBOUND)


def prompt_cut_short(world: World) -> None:
    world.media_server(longest_seconds=5.0).on_call = partial(announce, seconds=60.0)
    world.caller.dial(UNBOUND)


def prompt_cancelled(world: World) -> None:
    world.media_server().on_call = partial(announce, seconds=60.0)
    call = world.caller.dial(UNBOUND)
    world.network.later(6.0, call.cancel)


def prompt_refused(world: World) -> None:
    world.media_server().on_call = lambda call: call.refuse(404)
    world.caller.dial(UNBOUND)


def prompt_unanswered(world: World) -> None:
    world.media_server().on_call = PhoneCall.ring
    world.caller.dial(UNBOUND)


def prompt_of_nobody(world: World) -> None:
    world.media_server()
    world.phones.pop()
    world.script(ADDRESS_M)
    world.caller.dial(UNBOUND)


PROMPT_FLOWS = (
    prompt,
    prompt_heard_reliably,
    prompt_cut_short,
    prompt_cancelled,
    prompt_refused,
    prompt_unanswered,
    prompt_of_nobody,
)
