"""Announcements to refused callers (RFC 4240 §3): what the media server is asked, what the caller hears, and that the
refusal is the same as without."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from urllib.parse import unquote

import pytest

from b2bua.call.prompt import announcement_uri, media_trunk
from b2bua.call.settings import PromptSettings
from b2bua.sip.message import Request
from b2bua.sip.uri import SipUri, parse_uri
from cdr import record
from routing.binding import Direction
from routing.numbers import bare_digits
from routing.targets import Target
from routing.trunks import Peer
from tests.call.filler import Filler
from tests.call.invariants import Story, reveals
from tests.call.phone import PhoneCall
from tests.call.prompt_flows import UNBOUND
from tests.call.test_identity import own_number, spelt
from tests.call.test_unwritten import broken_for
from tests.call.world import ADDRESS_B, ADDRESS_M, NUMBER_A, World, X, announce
from tests.wire import SWITCH, answer_text, lose, request_text

ENDLESS = partial(announce, seconds=600.0)


def plain(ended: record.Ended) -> record.Ended:
    """What the record says, its time left out."""
    return record.Ended(
        **{
            name: 0 if name in ("ended_ms", "total_ms") else "" if name == "record_id" else getattr(ended, name)
            for name in record.Ended.__struct_fields__
        }
    )


def without_a_prompt() -> Story:
    """The same refusal where nothing is announced."""
    world = World()
    world.caller.dial(UNBOUND)
    (story,) = world.finish()
    return story


def refused(world: World) -> Story:
    """The one record, which must be that of a refusal without an announcement."""
    (story,) = world.finish()
    assert plain(story.ended) == plain(without_a_prompt().ended)
    return story


def test_the_announcement_is_early_media_and_then_the_call_is_refused() -> None:
    world = World()
    media = world.media_server()
    call = world.caller.dial(UNBOUND)
    story = refused(world)
    assert call.statuses == [100, 183, 403]
    progress, refusal = call.responses[1:]
    assert b"c=IN IP4 198.51.100.40" in progress.body
    assert refusal.get("reason") == 'Q.850;cause=21;text="caller not bound to this number"'
    assert media.call.heard == ["INVITE", "ACK", "BYE 200"]
    assert 3000 < story.ended.total_ms < 3200
    assert world.real.statistics.prompts == {"played": 1}
    assert world.callee.calls == []


def test_what_the_media_server_is_asked() -> None:
    world = World()
    media = world.media_server(url="https://prompts.example/x700/", repeat=2)
    world.caller.dial(UNBOUND)
    world.finish()
    invite = media.call.requests[0]
    assert invite.uri == (
        "sip:annc@192.0.2.40:5060;play=https://prompts.example/x700/unbound.wav;repeat=2;duration=20000"
    )
    assert invite.from_value.startswith("<sip:x700@192.0.2.1>;tag=")
    assert invite.to_value == "<sip:annc@192.0.2.40:5060>"
    assert invite.get("contact") == "<sip:x700@192.0.2.1:5060>"
    assert invite.get("max-forwards") == "70"
    assert sorted(invite.first) == [
        "allow", "call-id", "contact", "content-length", "content-type", "cseq", "from", "max-forwards", "to",
        "user-agent", "via",
    ]  # fmt: skip
    assert b"c=IN IP4 198.51.100.10" in invite.body  # the media go straight from server to caller
    assert b"o=phone" not in invite.body


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("file:///prompts/", "unbound.wav"),
        ("http://host:8080/a/", "b.wav?voice=f&lang=zh;x#y"),
        ("http://[2001:db8::1]/", "a@b,c.wav"),
        ("/provisioned/", "7"),
        ("http://host/100%25/", "%41.wav"),
        ('http://host/"<>', "\\^`{|}.wav"),
    ],
)
def test_the_prompt_is_escaped_so_that_the_uri_says_it_back(url: str, file: str) -> None:
    target = Target("UDP", "2001:db8::9", 5070, Peer("2001:db8::9", 5070))
    text = announcement_uri(PromptSettings(target, url, {}, longest_seconds=7.5), file)
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    assert (uri.user, uri.host, uri.port) == ("annc", "[2001:db8::9]", 5070)
    assert unquote(uri.params.pop("play")) == url + file
    assert uri.params == {"duration": "7500"}
    assert uri.headers == ""


def test_a_caller_who_wants_it_reliable_confirms_the_announcement() -> None:
    world = World()
    world.media_server()
    world.caller.reliable = "Require: 100rel"
    call = world.caller.dial(UNBOUND)
    refused(world)
    assert call.heard == ["100", "183", "PRACK 200", "403"]
    assert call.responses[1].get("require") == "100rel"


def test_nobody_listens_longer_than_the_settings_say() -> None:
    world = World()
    media = world.media_server(longest_seconds=5.0)
    media.on_call = ENDLESS
    call = world.caller.dial(UNBOUND)
    story = refused(world)
    assert call.statuses[-1] == 403
    assert media.call.heard == ["INVITE", "ACK", "BYE"]
    assert 5000 < story.ended.total_ms < 5400
    assert world.real.statistics.prompts == {"cut": 1}


def test_a_caller_who_hangs_up_meanwhile_is_refused_all_the_same() -> None:
    world = World()
    media = world.media_server()
    media.on_call = ENDLESS
    call = world.caller.dial(UNBOUND)
    world.network.later(2.0, call.cancel)
    refused(world)
    assert call.heard == ["100", "183", "CANCEL 200", "403"]
    assert media.call.heard[-1] == "BYE"
    assert world.real.statistics.prompts == {"left": 1}


def test_a_caller_who_hangs_up_before_the_media_server_has_answered() -> None:
    world = World()
    media = world.media_server()
    media.on_call = PhoneCall.ring
    call = world.caller.dial(UNBOUND)
    world.network.later(1.0, call.cancel)
    refused(world)
    assert call.statuses == [100, 403]
    assert media.call.heard == ["INVITE", "CANCEL"]


def test_a_bye_in_the_early_dialog_is_answered_as_such() -> None:
    """The INVITE got its 487 with it, and the record says what the caller has seen."""
    world = World()
    media = world.media_server()
    media.on_call = ENDLESS
    call = world.caller.dial(UNBOUND)
    world.run(1.0)
    call.request("BYE")
    world.caller.flush()
    (story,) = world.finish()
    assert call.statuses == [100, 183, 487]
    assert (story.ended.outcome, story.ended.reason, story.ended.status) == ("refused", "caller_unbound", 487)
    assert media.call.heard[-1] == "BYE"


def test_an_announcement_that_is_never_confirmed_ends_in_the_refusal() -> None:
    world = World()
    media = world.media_server(longest_seconds=100.0)
    media.on_call = ENDLESS
    world.caller.reliable, world.caller.pracks = "Supported: 100rel", False
    call = world.caller.dial(UNBOUND)
    story = refused(world)
    assert call.statuses[-1] == 403
    assert 31_000 < story.ended.total_ms < 34_000
    assert media.call.heard[-1] == "BYE"


# what goes wrong at the media server


def says(body: bytes | None) -> Callable[[PhoneCall], None]:
    return lambda call: call.accept(sdp=body)


@pytest.mark.parametrize(
    ("take", "last"),
    [
        (lambda call: call.refuse(404), "INVITE"),
        (lambda call: call.refuse(302, "Contact: <sip:elsewhere@192.0.2.77>"), "INVITE"),
        (lambda call: call.refuse(500), "INVITE"),
        (says(b""), "BYE"),
        (says(b"no description"), "BYE"),
    ],
    ids=["404", "302", "500", "no_session", "nonsense"],
)
def test_without_an_announcement_the_refusal_comes_at_once(take: Callable[[PhoneCall], None], last: str) -> None:
    world = World()
    media = world.media_server()
    media.on_call = take
    call = world.caller.dial(UNBOUND)
    story = refused(world)
    assert call.statuses == [100, 403]
    assert story.ended.total_ms < 100
    assert media.call.heard[-1] == last
    assert world.real.statistics.prompts == {"failed": 1}


def test_a_media_server_that_rings_is_not_waited_for() -> None:
    world = World()
    media = world.media_server(answer_seconds=1.5)
    media.on_call = lambda call: call.ring(183, call.phone.sdp())
    call = world.caller.dial(UNBOUND)
    story = refused(world)
    assert call.statuses == [100, 403]
    assert 1500 <= story.ended.total_ms < 1900
    assert media.call.heard == ["INVITE", "CANCEL"]


def test_a_media_server_that_takes_the_call_too_late_is_hung_up_on() -> None:
    world = World()
    media = world.media_server()
    media.on_call = lambda call: world.network.later(2.005, call.accept)
    call = world.caller.dial(UNBOUND)
    refused(world)
    assert call.statuses == [100, 403]
    assert media.call.heard[-1] == "BYE"


def test_a_media_server_that_is_not_there_is_left_alone_for_a_while() -> None:
    world = World()
    world.media_server()
    world.phones.pop()
    script = world.script(ADDRESS_M)
    calls = []
    for number in range(7):
        world.network.later(3.0 * number, lambda: calls.append(world.caller.dial(UNBOUND)))
    world.network.later(60.0, lambda: calls.append(world.caller.dial(UNBOUND)))
    told = world.finish()
    assert [call.statuses for call in calls] == [[100, 403]] * 8
    waits = [story.ended.total_ms // 1000 for story in told]
    assert waits == [2] * 5 + [0, 0, 2]
    assert world.real.statistics.prompts == {"unanswered": 6, "busy": 2}
    assert script.words[-1] == "INVITE"


def test_an_announcement_that_works_clears_the_count_of_failures() -> None:
    world = World()
    media = world.media_server()

    def take(call: PhoneCall) -> None:
        if len(media.calls) % 5:
            call.refuse(404)
        else:
            announce(call)

    media.on_call = take
    for number in range(12):
        world.network.later(5.0 * number, lambda: world.caller.dial(UNBOUND))
    world.finish()
    assert len(media.calls) == 12
    assert world.real.statistics.prompts == {"failed": 10, "played": 2}


def test_so_many_at_one_time_and_no_more() -> None:
    world = World()
    world.media_server(most=2)
    calls = [world.caller.dial(UNBOUND) for _ in range(3)]
    world.network.later(10.0, lambda: calls.append(world.caller.dial(UNBOUND)))
    world.finish()
    assert [183 in call.statuses for call in calls] == [True, True, False, True]
    assert [call.statuses[-1] for call in calls] == [403] * 4


# who hears none


def test_a_caller_without_an_offer_is_refused_at_once() -> None:
    world = World()
    media = world.media_server()
    call = world.caller.dial(UNBOUND, sdp=b"")
    refused(world)
    assert call.statuses == [100, 403]
    assert media.calls == []


def test_a_reason_without_a_prompt_is_told_at_once() -> None:
    world = World(binding={"ended_ms": 1})
    media = world.media_server()
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert (call.statuses, story.ended.reason) == ([100, 403], "binding_ended")
    assert media.calls == []


def test_limits_are_told_at_once_whatever_the_settings_say() -> None:
    world = World()
    media = world.media_server(files={"call_rate": "busy.wav", "draining": "draining.wav"})
    world.reconfigure(calls_per_second=0.5)
    world.caller.dial(UNBOUND)
    world.caller.dial(UNBOUND)
    world.run(1.0)
    world.switch.enter(world.real.drain)
    world.caller.dial(UNBOUND)
    told = world.finish()
    assert [story.ended.reason for story in told] == ["caller_unbound", "call_rate", "draining"]
    assert media.calls == []


def test_a_refused_call_that_names_its_binding_still_does() -> None:
    world = World(binding={"direction": Direction.B_TO_A})
    media = world.media_server()
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert (story.attempted.binding_id, story.ended.reason) == ("binding-1", "direction_barred")
    assert call.statuses == [100, 183, 403]
    assert media.call.requests[0].uri.startswith("sip:annc@192.0.2.40:5060;play=file:///prompts/barred.wav;")


# the media server as a source


def test_the_media_server_begins_nothing() -> None:
    world = World()
    world.media_server()
    world.phones.pop()
    script = world.script(ADDRESS_M)
    for method in ("INVITE", "OPTIONS", "MESSAGE"):
        script.send(request_text(method, f"sip:{X}@{SWITCH[0]}", ADDRESS_M))
    assert world.finish() == []
    assert len(script.words) > 3  # the INVITE is told again, for want of an ACK
    assert set(script.words) == {"403"}


def test_without_prompts_nothing_is_heard_of_it() -> None:
    world = World()
    script = world.script(ADDRESS_M)
    script.send(request_text("OPTIONS", f"sip:{SWITCH[0]}", ADDRESS_M))
    world.finish(answers=False)
    assert script.words == []
    assert media_trunk(None) is None


def test_another_media_server_after_a_reload_while_one_still_plays() -> None:
    world = World()
    media = world.media_server()
    settings = world.real.limits.prompts
    assert settings is not None
    call = world.caller.dial(UNBOUND)
    world.run(1.0)
    elsewhere = Target("UDP", "192.0.2.41", 5060, Peer("192.0.2.41", 5060))
    world.reconfigure(prompts=replace(settings, target=elsewhere))
    world.reconfigure(prompts=None)
    second = world.caller.dial(UNBOUND)
    world.finish()
    assert media.call.heard == ["INVITE", "ACK", "BYE 200"]  # and not a BYE that nobody answers
    assert call.statuses == [100, 183, 403]
    assert second.statuses == [100, 403]
    assert world.real.statistics.prompts == {"played": 1}


def test_other_prompts_of_the_same_server_after_a_reload() -> None:
    world = World()
    media = world.media_server()
    settings = world.real.limits.prompts
    assert settings is not None
    world.reconfigure(prompts=replace(settings, files={"caller_unbound": "other.wav"}))
    world.caller.dial(UNBOUND)
    world.finish()
    assert ";play=file:///prompts/other.wav;" in media.call.requests[0].uri


def test_a_connection_of_the_media_server_is_its_own() -> None:
    world = World()
    world.media_server()
    origins = world.real.origins
    name = origins.trunk_for(*ADDRESS_M, frozenset())
    speaker = origins.speaker(name, ADDRESS_M, frozenset())
    assert speaker is not None
    assert not origins.present(speaker)
    assert origins.knows(ADDRESS_M[0])
    assert not origins.knows("192.0.2.99")
    assert origins.expects(*ADDRESS_M) == (name, frozenset((ADDRESS_M[0],)))
    assert origins.speaker("carrier-a", ("192.0.2.10", 5060), frozenset()) is world.trunks[0]
    world.reconfigure(prompts=None)
    world.run(40.0)
    assert not origins.knows(ADDRESS_M[0])
    assert origins.speaker(name, ADDRESS_M, frozenset()) is None
    world.finish()


# while it plays


def playing(world: World) -> PhoneCall:
    world.media_server().on_call = ENDLESS
    call = world.caller.dial(UNBOUND)
    world.run(1.0)
    return call


def test_the_operator_sees_it_and_may_end_it() -> None:
    world = World()
    call = playing(world)
    (live,) = world.real.live_calls()
    assert (live.state, live.callee) == ("prompt", "")
    world.switch.enter(lambda now: world.real.hang_up(live.id, now))
    refused(world)
    assert call.statuses[-1] == 403
    assert world.real.statistics.prompts == {"cut": 1}


def test_a_stop_and_a_withdrawn_block_end_it_in_the_same_refusal() -> None:
    for entry in ("release_all", "end_withdrawn"):
        world = World()
        call = playing(world)
        if entry == "release_all":
            world.switch.enter(world.real.release_all)
        else:
            world.switch.enter(lambda now: world.real.end_withdrawn(lambda x: False, now))  # noqa: B023
        refused(world)
        assert call.statuses[-1] == 403


def test_an_attempt_that_cannot_be_written_hears_nothing() -> None:
    world = World()
    media = world.media_server()
    world.switch.disk = broken_for(record.Attempted)
    call = world.caller.dial(UNBOUND)
    refused(world)
    assert call.statuses == [100, 403]
    assert media.calls == []


def test_the_caller_may_put_the_announcement_on_hold() -> None:
    world = World()
    media = world.media_server()
    media.on_call = ENDLESS
    world.caller.reliable, world.caller.updates, media.updates = "Supported: 100rel", True, True
    call = world.caller.dial(UNBOUND)
    world.network.later(2.0, lambda: call.update(world.caller.sdp(direction="sendonly")))
    refused(world)
    assert "UPDATE 200" in call.heard
    assert b"a=sendonly" in media.call.requests[2].body
    assert media.call.heard == ["INVITE", "ACK", "UPDATE", "BYE"]


def test_the_media_server_cannot_ask_a_caller_who_has_no_answer_yet() -> None:
    world = World()
    media = world.media_server()
    media.on_call = lambda call: (announce(call, 60.0), call.on("ACK", call.hold, after=1.0))[0]
    call = world.caller.dial(UNBOUND)
    refused(world)
    assert "504" in media.call.heard
    assert call.statuses == [100, 183, 403]


def test_a_media_server_that_forks_is_heard_once() -> None:
    world = World()
    world.media_server()
    world.phones.pop()
    script = world.script(ADDRESS_M)
    call = world.caller.dial(UNBOUND)
    world.run(0.1)
    invite = script.last("INVITE")
    assert isinstance(invite, Request)
    body = world.callee.sdp().decode()
    for tag in ("one", "two"):
        script.send(answer_text(invite, 200, ADDRESS_M, tag=tag, body=body))
    script.react = lambda data: data.startswith(b"BYE") and script.send(answer_text(script.last("BYE"), 200, ADDRESS_M))
    refused(world)
    assert call.statuses == [100, 183, 403]
    assert script.words.count("ACK") == 2
    assert script.words.count("BYE") >= 2


# privacy


@pytest.mark.parametrize("real", [False, True], ids=["a_number_each", "the_real_number"])
def test_neither_side_learns_anything_of_the_other(real: bool) -> None:
    world = World()
    media = world.media_server()
    fillers = {
        "a": Filler("a", spelt(NUMBER_A) if real else own_number("a")),
        "m": Filler("m", spelt("+8615512345678") if real else own_number("b")),
    }
    for phone, side in ((world.caller, "a"), (media, "m")):
        phone.disguise, phone.lens = fillers[side].disguise, fillers[side].lens
    call = world.caller.dial(
        UNBOUND,
        from_value='"13876543210" <sip:13876543210@a-side.example;x=13876543210>',
        call_id="13876543210@a-side.example",
    )
    world.finish()
    assert call.statuses == [100, 183, 403]
    for side, other in (("a", "m"), ("m", "a")):
        crossed = b"\n".join(datagram.data for datagram in world.network.toward(other))
        assert crossed
        assert fillers[side].host.encode() not in crossed
        for (message, place), text in fillers[side].numbers.items():
            if text.isdigit() and len(text) == 11:
                assert not reveals(crossed, text), f"{place} of {message} reached {other}"
    assert not reveals(b"\n".join(d.data for d in world.network.toward("m")), bare_digits(NUMBER_A))


def test_a_media_server_that_would_be_told_the_caller_is_told_nothing_at_all() -> None:
    """The tripwire stands below the announcement, too; the refusal stands."""
    world = World()
    media = world.media_server(url=f"file:///{bare_digits(NUMBER_A)}/")
    call = world.caller.dial(UNBOUND)
    (story,) = world.finish(tripped=1)
    assert plain(story.ended) == plain(without_a_prompt().ended)
    assert call.statuses == [100, 403]
    assert media.calls == []


def test_a_caller_of_no_plan_names_no_digits_to_look_for() -> None:
    """What it claims may stand in every message: 5060, say."""
    world = World()
    media = world.media_server(files={"caller_foreign": "foreign.wav"})
    call = world.caller.dial(X, identity="<sip:5060@192.0.2.10>")
    (story,) = world.finish(private=False)
    assert (story.ended.reason, call.statuses) == ("caller_foreign", [100, 183, 403])
    assert len(media.calls) == 1


# loss


@pytest.mark.parametrize(
    ("way", "word"), [(">m", "INVITE"), ("m>", "200"), (">m", "ACK"), ("m>", "BYE"), (">m", "200")]
)
def test_what_is_lost_on_the_way_to_the_media_server_is_said_again(way: str, word: str) -> None:
    world = World()
    media = world.media_server()
    world.network.conditions.drop = lose(1, way, word)
    call = world.caller.dial(UNBOUND)
    refused(world)
    assert call.statuses == [100, 183, 403]
    assert [call.was_up for call in media.calls] == [True]


def test_the_callee_is_not_disturbed_by_any_of_this() -> None:
    world = World()
    world.media_server()
    silent = world.script(ADDRESS_B)
    world.caller.dial(UNBOUND)
    world.finish()
    assert silent.inbox == []
