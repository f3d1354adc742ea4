"""Where requests without a dialog come in: what is turned away unread, what gets its answer here, and the calls that
begin."""

from typing import Protocol

from b2bua.call.admission import LoadController, TokenBucket
from b2bua.call.call import Call, Exchange
from b2bua.call.caller import CallerLeg
from b2bua.call.credentials import Accounts
from b2bua.call.extensions import unsupported
from b2bua.call.leg import ACCEPT, ALLOW, SUPPORTED, Signalling, cause_line
from b2bua.call.listeners import asks_secure, contact_uri
from b2bua.call.messages import Messages
from b2bua.call.origins import Origins
from b2bua.call.payload import ACCEPTED, ACCEPTED_WITHOUT_SMS
from b2bua.call.privacy import claimed_caller
from b2bua.call.refusals import Local, verdict_of
from b2bua.call.session import session_description
from b2bua.call.settings import SwitchSettings
from b2bua.call.statistics import Statistics
from b2bua.call.trunk_load import TrunkLoad
from b2bua.sip.errors import ParseError
from b2bua.sip.message import Request
from b2bua.sip.transaction import ServerTransaction
from b2bua.sip.uri import dialled_user, parse_uri
from routing.decide import Query
from routing.numbers import format_middle, parse_middle, parse_subscriber
from routing.trunks import Trunk

__all__ = ["TURNED_AWAY", "Entrance", "Interior"]

DEFAULT_MAX_FORWARDS = 70

# Methods that we know and do not take, and the answer that ends each one's business (sip-level refusal, nothing
# forwarded)
REFUSED_METHODS = {
    "REGISTER": 405,
    "MESSAGE": 405,
    "UPDATE": 481,
    "PUBLISH": 489,
    "SUBSCRIBE": 489,
    "NOTIFY": 481,
    "PRACK": 481,
    "REFER": 603,
    "BYE": 481,
    "INFO": 481,
}
# Requests, besides INVITE, that something new may begin with: closed while no call is taken
OPENING_METHODS = frozenset(("OPTIONS", "MESSAGE"))

# How the To tags begin that refusals for overload carry: the ACK of one is known by it.
TURNED_AWAY_TAG = "full-"
TURNED_AWAY = f";tag={TURNED_AWAY_TAG}".encode()


class Interior(Exchange, Protocol):
    """What the entrance needs of the switch that lies behind it, besides what its calls will need."""

    @property
    def limits(self) -> SwitchSettings: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def notices(self) -> list[tuple[str, str]]: ...
    @property
    def draining(self) -> bool: ...
    @property
    def journal_failure(self) -> str: ...
    @property
    def journal_tight(self) -> bool: ...
    @property
    def active_calls(self) -> int: ...
    @property
    def messages(self) -> Messages: ...

    def begin(self, call: Call) -> None: ...
    def ask(self, call: Call, query: Query) -> None: ...


class Entrance:
    """``attempts`` are the calls by Call-ID and caller's tag, to know one INVITE that came two ways. ``load`` tells how
    many new calls are taken while messages have to wait."""

    __slots__ = (
        "_accounts",
        "_answer_lines",
        "_instance",
        "_interior",
        "_origins",
        "_rate",
        "_sequence",
        "_signalling",
        "_trunk_load",
        "attempts",
        "load",
    )

    def __init__(
        self,
        interior: Interior,
        settings: SwitchSettings,
        signalling: Signalling,
        origins: Origins,
        trunk_load: TrunkLoad,
        accounts: Accounts,
    ) -> None:
        self._interior = interior
        self._signalling = signalling
        self._origins = origins
        self._trunk_load = trunk_load
        self._accounts = accounts
        self._instance = signalling.endpoint.token()
        self._sequence = 0
        self._rate = TokenBucket(settings.calls_per_second, settings.calls_per_second)
        self._answer_lines = _answer_lines(settings)
        self.load = LoadController(settings.overload_seconds, settings.timers.timeout)
        self.attempts: dict[str, Call] = {}

    def reconfigure(self, settings: SwitchSettings, now: float) -> None:
        """Other limits from now on; what was counted stays counted."""
        self._rate.change(settings.calls_per_second, settings.calls_per_second, now)
        self._answer_lines = _answer_lines(settings)
        self.load.bound = settings.overload_seconds

    def over(self, call: Call) -> None:
        """A call has ended: its INVITE is not known any more, and its ingress trunk carries one leg less."""
        if self.attempts.get(call.key) is call:
            del self.attempts[call.key]
        self._trunk_load.legs[call.ingress.name] -= 1

    def enter(self, transaction: ServerTransaction, request: Request, trunk: Trunk) -> None:
        """A request outside of any dialog."""
        if request.method == "INVITE":
            self._on_invite(transaction, request, trunk)
        elif request.method == "MESSAGE" and self._interior.limits.messages.enabled:
            self._on_message(transaction, request, trunk)
        elif self._origins.present(trunk):
            self.answer(transaction, request)
        else:
            self._signalling.answer(transaction, 403)

    def answer(self, transaction: ServerTransaction, request: Request) -> None:
        """Requests that start nothing: each gets its final answer here."""
        answer = self._signalling.answer
        method = request.method
        if method not in REFUSED_METHODS and method != "OPTIONS":
            answer(transaction, 501, (ALLOW,))
            return
        try:
            parse_uri(request.uri)
        except ParseError as error:
            answer(transaction, error.status)
            return
        required = unsupported(request, self._signalling.session_timers.terms)
        if required:
            answer(transaction, 420, (f"Unsupported: {', '.join(required)}",))
        elif method in OPENING_METHODS and (self._interior.draining or self._interior.journal_failure):
            answer(transaction, 503, ("Retry-After: 30",))
        elif method == "OPTIONS":
            answer(transaction, 200, self._answer_lines)
        else:
            status = REFUSED_METHODS[method]
            answer(transaction, status, (ALLOW,) if status == 405 else ("Allow-Events:",) if status == 489 else ())

    # a new call

    def _on_invite(self, transaction: ServerTransaction, request: Request, trunk: Trunk) -> None:
        if self._turned_away(transaction, trunk) or self._unrecordable(transaction, trunk):
            return
        interior, signalling = self._interior, self._signalling
        self._sequence += 1
        call = Call(interior, self._sequence, f"{self._instance}{self._sequence:08x}", trunk, request.call_id)
        dialled, uri_error = _dialled(request)
        x = parse_middle(dialled, trunk.accept_zero)
        claimed = claimed_caller(request, trunk)
        # in the one form that records are searched by, should routing never come to say it
        call.x = x or dialled
        call.caller_number = parse_subscriber(claimed) or claimed
        flow = transaction.flow
        user = format_middle(x, trunk.number_form) if x else ""
        contact = contact_uri(flow, signalling.sent_by(flow), user, asks_secure(request))
        call.caller = CallerLeg(signalling, call, transaction, request, contact)
        call.caller.account = self._accounts.at(trunk.name)
        if not trunk.session_timers:
            call.caller.terms = None
        interior.begin(call)
        interior.statistics.attempts[trunk.name] += 1
        refusal = self._admit(call, request, uri_error)
        self._trunk_load.legs[trunk.name] += 1
        if refusal is not None:
            call.reject(refusal)
            return
        timestamp = request.get("timestamp")
        if timestamp:
            call.caller.own = (*call.caller.own, timestamp)
        signalling.answer(transaction, 100, (f"Timestamp: {timestamp}",) if timestamp else ())
        interior.ask(call, Query(call.handle, trunk.name, call.x, call.caller_number, trunk.accept_zero))

    def _on_message(self, transaction: ServerTransaction, request: Request, trunk: Trunk) -> None:
        """A short message, or the confirmation of one."""
        messages = self._interior.messages
        if messages.take_report(transaction, request, trunk):
            return
        if self._turned_away(transaction, trunk) or self._unrecordable(transaction, trunk):
            return
        self._sequence += 1
        now = self._signalling.now.monotonic
        rated = self._trunk_load.take_in(trunk, now) and self._rate.take(now)
        record_id = f"{self._instance}{self._sequence:08x}"
        messages.enter(transaction, request, trunk, self._sequence, record_id, rated)

    def _unrecordable(self, transaction: ServerTransaction, trunk: Trunk) -> bool:
        """The room that is left for records is for the ends of live calls: 503, only counted."""
        interior = self._interior
        if not (interior.journal_failure and interior.journal_tight):
            return False
        verdict = verdict_of(Local.JOURNAL_FAILED)
        lines = (f"Retry-After: {verdict.retry_after}", cause_line(verdict.q850, verdict.text))
        self._signalling.answer(transaction, verdict.status, lines)
        interior.statistics.refusals[trunk.name, Local.JOURNAL_FAILED] += 1
        return True

    def _turned_away(self, transaction: ServerTransaction, trunk: Trunk) -> bool:
        """Overload: 503 before any work, neither recorded nor repeated, and the same again for the same INVITE."""
        load = self.load
        now = self._signalling.now.monotonic
        tag = load.remembered(transaction.key, now)
        if not tag:
            if load.takes():
                return False
            tag = f"{TURNED_AWAY_TAG}{self._signalling.endpoint.token()}"
            self._interior.statistics.refusals[trunk.name, Local.OVERLOAD] += 1
            if load.refused(transaction.key, tag, now):
                self._interior.notices.append(("overload_began", trunk.name))
        verdict = verdict_of(Local.OVERLOAD)
        lines = (f"Retry-After: {verdict.retry_after}", cause_line(verdict.q850, verdict.text))
        self._signalling.endpoint.respond_once(transaction, verdict.status, tag, now, extra=lines)
        return True

    def _admit(self, call: Call, request: Request, uri_error: Local | None) -> Local | None:
        """State, limits, then the request itself; what a call needs of the request is taken on the way."""
        assert call.caller is not None
        interior = self._interior
        trunk = call.ingress
        now = self._signalling.now.monotonic
        if interior.draining:
            return Local.DRAINING
        if interior.journal_failure:
            return Local.JOURNAL_FAILED
        if not self._origins.present(trunk):
            return Local.TRUNK_REMOVED
        if interior.limits.max_calls and interior.active_calls > interior.limits.max_calls:
            return Local.TOTAL_LIMIT
        if self._trunk_load.full(trunk):
            return Local.TRUNK_LIMIT
        if not self._trunk_load.take_in(trunk, now) or not self._rate.take(now):  # its own share first, then the node's
            return Local.CALL_RATE
        key = f"{request.call_id} {request.from_tag}"
        if key in self.attempts:
            return Local.MERGED  # §8.2.2.2
        call.key = key
        self.attempts[key] = call
        if not call.caller.usable:
            return Local.BAD_REQUEST
        hops = request.get("max-forwards")
        if hops is not None:
            if not (hops.isascii() and hops.isdigit() and len(hops) <= 3):
                return Local.BAD_REQUEST
            call.max_forwards = min(int(hops), DEFAULT_MAX_FORWARDS)
            if call.max_forwards == 0:
                return Local.MAX_FORWARDS
        required = unsupported(request, call.caller.terms)
        if required:
            call.caller.refusal_lines = (f"Unsupported: {', '.join(required)}",)
            return Local.BAD_EXTENSION
        if call.caller.interval_too_small():
            return Local.SESSION_INTERVAL
        if uri_error is not None:
            return uri_error
        try:
            call.offer = session_description(request)
        except ParseError as error:
            if error.status == 415:
                call.caller.refusal_lines = (ACCEPT,)
                return Local.BAD_MEDIA_TYPE
            return Local.BAD_SESSION if error.status == 488 else Local.BAD_REQUEST
        return None


def _answer_lines(settings: SwitchSettings) -> tuple[str, ...]:
    server = f"Server: {settings.product}"
    if not settings.messages.enabled:
        return (ALLOW, ACCEPT, SUPPORTED, server)
    bodies = ACCEPTED if settings.messages.sms else ACCEPTED_WITHOUT_SMS
    return (f"{ALLOW}, MESSAGE", ACCEPT, bodies, SUPPORTED, server)


def _dialled(request: Request) -> tuple[str, Local | None]:
    """(the number dialled, nothing) or ('', what is wrong with the request URI)."""
    try:
        return dialled_user(parse_uri(request.uri)), None
    except ParseError as error:
        return "", Local.URI_SCHEME if error.status == 416 else Local.BAD_REQUEST
