"""Announcements: a refused caller hears why, as early media of a media server (RFC 4240 §3), and then gets the refusal.

The media server is asked for a call of its own, with the caller's offer and nothing that tells of anybody. Whatever
becomes of that call, the caller's ends with the refusal it would have got without: status, cause and record.
"""

from enum import IntEnum
from typing import Final, Protocol
from urllib.parse import quote

from b2bua.call.bridge import cross
from b2bua.call.callee import CalleeLeg
from b2bua.call.caller import CallerLeg
from b2bua.call.events import Answered, Cancelled, Ended, LegEvent, PrackMissing, Progress, Refused, Trying
from b2bua.call.leg import ALLOW, CallControl, Leg, Signalling
from b2bua.call.listeners import Listeners, contact_uri
from b2bua.call.privacy import Invitation
from b2bua.call.settings import PromptSettings
from b2bua.call.statistics import Statistics
from routing.numbers import bare_digits, parse_subscriber
from routing.targets import Target
from routing.trunks import Peer, Trunk, format_peer

__all__ = ["MEDIA_SERVER", "Prompt", "Prompts", "announcement_uri", "media_trunk"]

# What the media server is called where trunks have names; none of theirs holds a blank.
MEDIA_SERVER: Final = "media server"
USER: Final = "x700"  # who asks the media server
# RFC 3261 §25.1: what paramchar leaves unescaped beside letters and digits. A '?' or ';' in the prompt's own URL would
# end the parameter.
PARAMETER_SAFE: Final = "-_.!~*'()[]/:&+$"
MAX_FORWARDS: Final = 70
# So many calls in a row that the media server did not take, and refused callers no longer wait for it for a while.
MOST_FAILURES: Final = 5
REST_SECONDS: Final = 30.0


class Stage(IntEnum):
    """ASKED until the media server takes the call, then PLAYING until somebody has had enough."""

    ASKED = 0
    PLAYING = 1


class Refusing(CallControl, Protocol):
    """What an announcement needs of the refused call."""

    caller: CallerLeg | None
    caller_number: str
    offer: bytes

    def listen(self, seconds: float) -> None: ...
    def dismiss(self, reason: str, status: int = 0) -> None: ...


class Prompt:
    """The announcement to one caller, between the two legs that hear of it. ``leg`` is the media server's."""

    __slots__ = ("_call", "_caller", "_prompts", "_reason", "_settings", "_stage", "leg")

    def __init__(
        self,
        prompts: "Prompts",
        call: Refusing,
        caller: CallerLeg,
        leg: CalleeLeg,
        reason: str,
        settings: PromptSettings,
    ) -> None:
        self.leg = leg
        self._prompts = prompts
        self._call = call
        self._caller = caller
        self._reason = reason
        self._settings = settings
        self._stage = Stage.ASKED

    @property
    def answer_seconds(self) -> float:
        """So long the caller waits for the media server."""
        return self._settings.answer_seconds

    def heard(self, leg: Leg, event: LegEvent) -> None:
        """What the call hears of its legs."""
        if leg is self.leg:
            self._from_media_server(event)
        else:
            self._from_caller(event)

    def expired(self) -> None:
        """The media server has not taken the call in time, or the caller has listened long enough."""
        self._end("unanswered" if self._stage is Stage.ASKED else "cut")

    def stop(self) -> None:
        """The switch has other reasons to end it."""
        self._end("cut")

    def _from_media_server(self, event: LegEvent) -> None:
        match event:
            case Trying() | Progress():
                pass  # nobody has to be told that an announcement is about to come
            case Answered(sdp) if sdp:
                self._stage = Stage.PLAYING
                self._prompts.failures = 0
                self._call.listen(self._settings.longest_seconds)
                self._caller.progress(183, sdp)
            case Answered():
                self._end("failed")
            case Refused(_, _, _, lost):
                self._end("unanswered" if lost else "failed")
            case Ended():
                self._end("played")
            case _:
                cross(event, self._caller)

    def _from_caller(self, event: LegEvent) -> None:
        match event:
            case Cancelled() | PrackMissing():
                self._end("left")
            case Ended(_, lost):
                self._end("left", 0 if lost else 487)  # by BYE in the early dialog, which answers its INVITE so
            case _:
                cross(event, self.leg)

    def _end(self, how: str, status: int = 0) -> None:
        self._prompts.ended(how)
        self._call.dismiss(self._reason, status)


class Prompts:
    """The media server as the switch sees it. ``playing``: announcements at this moment; ``failures``: calls in a row
    that it did not take."""

    __slots__ = ("_listeners", "_rests_until", "_signalling", "_statistics", "failures", "playing", "settings")

    def __init__(
        self, signalling: Signalling, listeners: Listeners, statistics: Statistics, settings: PromptSettings | None
    ) -> None:
        self.settings = settings
        self.playing = 0
        self.failures = 0
        self._signalling = signalling
        self._listeners = listeners
        self._statistics = statistics
        self._rests_until = 0.0

    def play(self, call: Refusing, reason: str) -> Prompt | None:
        """Ask for the announcement of a refusal; None where there is none to be had, or nobody who could hear it."""
        settings, caller = self.settings, call.caller
        if settings is None or caller is None or not call.offer:
            return None
        file = settings.files.get(reason, "")
        if not file:
            return None
        if self.playing >= settings.most or self._signalling.now.monotonic < self._rests_until:
            self._statistics.prompts["busy"] += 1
            return None
        self.playing += 1
        return Prompt(self, call, caller, self._ask(call, settings, file), reason, settings)

    def ended(self, how: str) -> None:
        """One is over: played, left (by the caller), cut, failed or unanswered."""
        self.playing -= 1
        self._statistics.prompts[how] += 1
        if how in ("failed", "unanswered"):
            self.failures += 1
            if self.failures >= MOST_FAILURES:
                self.failures = 0
                self._rests_until = self._signalling.now.monotonic + REST_SECONDS

    def _ask(self, call: Refusing, settings: PromptSettings, file: str) -> CalleeLeg:
        signalling, target = self._signalling, settings.target
        flow = self._listeners.flow_to(target.transport, target.host, target.port)
        sent_by = signalling.sent_by(flow)
        contact = contact_uri(flow, sent_by, USER)
        invited = Invitation(
            announcement_uri(settings, file),
            f"<sip:{USER}@{sent_by.rpartition(':')[0]}>",
            f"<sip:annc@{_at(target)}>",
            contact,
            (f"Contact: <{contact}>", ALLOW, f"User-Agent: {signalling.agent}"),
            _forbidden(call.caller_number),
            (),
        )
        leg = CalleeLeg(signalling, call, flow, invited, MEDIA_SERVER)
        leg.terms = None  # an announcement is over before any session timer
        leg.invite(invited, call.offer, MAX_FORWARDS)
        return leg


def announcement_uri(settings: PromptSettings, file: str) -> str:
    """The request URI of RFC 4240 §3: play is the prompt, repeat how often, duration the longest, in milliseconds."""
    play = quote(settings.url + file, safe=PARAMETER_SAFE)
    repeat = f";repeat={settings.repeat}" if settings.repeat > 1 else ""
    return f"sip:annc@{_at(settings.target)};play={play}{repeat};duration={round(settings.longest_seconds * 1000)}"


def media_trunk(settings: PromptSettings | None) -> Trunk | None:
    """The media server as a source of messages: what it says belongs to announcements, and begins nothing."""
    if settings is None:
        return None
    target = settings.target
    return Trunk(MEDIA_SERVER, (Peer(target.host, target.port),), transport=target.transport.lower(), prefixes=())


def _at(target: Target) -> str:
    return format_peer(Peer(target.host, target.port))


def _forbidden(caller: str) -> bytes:
    """The digits that the media server must not see; none where the caller is no subscriber of the plan, and may have
    named digits that stand in every message."""
    subscriber = parse_subscriber(caller)
    return bare_digits(subscriber).encode() if subscriber else b""
