"""All short messages of the switch: which are taken in, which wait, and the confirmations that come back."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from b2bua.call.courier import Courier, Delivery, Letter, Side
from b2bua.call.credentials import Account, Accounts
from b2bua.call.exit import Exit
from b2bua.call.extensions import unsupported
from b2bua.call.leg import Signalling
from b2bua.call.listeners import Listeners
from b2bua.call.message_settings import MessageSettings, SmsSender
from b2bua.call.origins import Origins
from b2bua.call.payload import ACCEPTED, ACCEPTED_WITHOUT_SMS, Kind, read_payload, relay_of
from b2bua.call.privacy import claimed_caller
from b2bua.call.recent import ACCEPTED as ACCEPTED_BEFORE
from b2bua.call.recent import SEEN, Recent
from b2bua.call.refusals import Local, Outcome
from b2bua.call.settings import SwitchSettings
from b2bua.call.short_message import ShortMessage, Stage
from b2bua.call.statistics import Statistics
from b2bua.call.stored import Kept, Mark, Stored, Write
from b2bua.call.trunk_load import TrunkLoad
from b2bua.call.trunk_state import TargetState, TrunkStates
from b2bua.sip.endpoint import LARGEST_UDP_REQUEST
from b2bua.sip.errors import ParseError
from b2bua.sip.gsm import spellings
from b2bua.sip.message import Request
from b2bua.sip.sms import RelayKind, acknowledgement, format_relay
from b2bua.sip.transaction import Flow, ServerTransaction
from b2bua.sip.uri import dialled_user, parse_uri
from cdr import record
from routing.binding import Binding
from routing.content import Finding, is_service_sender
from routing.decide import Query, Refusal, Route
from routing.numbers import bare_digits, format_middle, format_subscriber, mask, parse_middle, parse_subscriber
from routing.targets import Target, uri_host
from routing.trunks import Trunk, choose

__all__ = ["LiveMessage", "MessageInterior", "Messages"]

DEFAULT_MAX_FORWARDS = 70
# What our headers take of a MESSAGE at most; Call-ID, branch and tag are ours, host names bounded by their grammar.
HEADERS: Final = 700
MARK_ALL: Final = 256  # references of the relay layer


class LiveMessage(NamedTuple):
    """A message as the operator sees it: real numbers masked, nothing of its text. Times are UTC milliseconds."""

    id: str
    state: str
    x: str
    ingress: str
    caller: str
    callee: str
    tries: int
    since_ms: int
    due_ms: int
    expires_ms: int
    provider: str
    business_user: str
    order_id: str
    binding_id: str


class MessageInterior(Protocol):
    """What messages need of the switch around them."""

    @property
    def limits(self) -> SwitchSettings: ...
    @property
    def node(self) -> str: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def draining(self) -> bool: ...
    @property
    def journal_failure(self) -> str: ...
    @property
    def notices(self) -> list[tuple[str, str]]: ...

    def write(self, event: record.Event) -> None: ...
    def put_query(self, query: Query) -> None: ...
    def park(self, state: TargetState, seconds: float) -> None: ...
    def silent(self, state: TargetState) -> None: ...
    def call_over(self, handle: int) -> None: ...


class Messages:
    """``orders`` are for the disk: the shell takes them after the journal has its records, and answers with
    ``on_disk``."""

    def __init__(
        self,
        interior: MessageInterior,
        signalling: Signalling,
        listeners: Listeners,
        states: TrunkStates,
        origins: Origins,
        exit_: Exit,
        trunk_load: TrunkLoad,
        accounts: Accounts,
        pick: Callable[[], float],
    ) -> None:
        self._interior = interior
        self._signalling = signalling
        self._listeners = listeners
        self._states = states
        self._origins = origins
        self._exit = exit_
        self._trunk_load = trunk_load
        self._accounts = accounts
        self._pick = pick
        self._messages: dict[int, ShortMessage] = {}
        self._by_id: dict[str, ShortMessage] = {}
        self._orders: list[Write | Mark] = []
        self._known = Recent()
        self._references: dict[tuple[str, int], ShortMessage] = {}
        self._reports: set[_Report] = set()

    # entries

    def enter(
        self, transaction: ServerTransaction, request: Request, trunk: Trunk, handle: int, record_id: str, rated: bool
    ) -> None:
        """A MESSAGE outside of any dialog that has passed the door: ``rated`` says whether it is within the rates."""
        now = self._signalling.now
        known = self._known.get(_key(request), now.monotonic)
        if known == ACCEPTED_BEFORE:
            # its 202 went down with the process before
            self._signalling.answer(transaction, 202)
            return
        interior = self._interior
        message = ShortMessage(self, handle, record_id, trunk.name, request.call_id)
        dialled, uri_error = _dialled(request)
        claimed = claimed_caller(request, trunk)
        message.x = parse_middle(dialled, trunk.accept_zero) or dialled
        message.caller_number = parse_subscriber(claimed) or claimed
        message.key = _key(request)
        message.take(transaction)
        self._messages[handle] = message
        self._by_id[record_id] = message
        interior.statistics.message_attempts[trunk.name] += 1
        if not self._settings_allow(message, trunk, rated, known):
            return
        if uri_error is not None:
            message.reject(uri_error)
            return
        refusal = self._admit(message, request)
        if refusal is not None:
            message.reject(refusal)
            return
        if not self._read(message, request, trunk, claimed):
            return
        message.await_decision()
        interior.put_query(Query(handle, trunk.name, message.x, message.caller_number, trunk.accept_zero, "message"))

    def take_report(self, transaction: ServerTransaction, request: Request, trunk: Trunk) -> bool:
        """A confirmation of a short message that we have sent; False when the MESSAGE is none. It is answered 200 even
        where nobody waits for it, so that it does not come again."""
        if not self.settings.sms:
            return False
        try:
            relay = relay_of(request)
        except ParseError:
            return False  # the usual way finds that out, and has a record of it
        if relay is None or relay.kind is RelayKind.DATA:
            return False
        self._signalling.answer(transaction, 200)
        sender = parse_subscriber(claimed_caller(request, trunk))
        message = self._references.get((sender or "", relay.reference))
        if message is None or relay.kind is RelayKind.MEMORY_AVAILABLE or not message.confirmed(relay):
            self._interior.statistics.drops["stray_report"] += 1
        return True

    def decided(self, query: Query, decision: Route | Refusal, verification: str) -> None:
        """Routing's answer; ignored when the message is over meanwhile."""
        message = self._messages.get(query.call)
        if message is not None and message.stage is Stage.WAITING and query.callee:
            message.judged(decision)
            return
        if message is None or message.stage is not Stage.DECIDING:
            return
        message.verification = verification
        if isinstance(decision, Refusal):
            message.refuse(decision)
        else:
            message.accept(decision)

    def record_of(self, handle: int) -> str:
        """The record id of the message that a query is for, '' when it is over."""
        message = self._messages.get(handle)
        return message.record_id if message is not None and message.stage is Stage.DECIDING else ""

    def on_disk(self, record_id: str, done: bool) -> None:
        """What was asked of the disk for this message is done, or could not be."""
        message = self._by_id.get(record_id)
        if message is not None:
            message.on_disk(done)

    def resume(self, kept: Sequence[Kept]) -> None:
        """Take up what the process before has left; once, before anything else."""
        now = self._signalling.now.monotonic
        place = 0
        for each in kept:
            self._known.add(each.message.key, ACCEPTED_BEFORE, now)
            if each.state is Stored.DONE:
                continue
            message = ShortMessage(
                self, each.message.handle, each.message.record_id, each.message.ingress, each.message.ingress_call_id
            )
            # handles of this process begin anew: those of the one before are told from them by their sign
            message.handle = -1 - place
            self._messages[message.handle] = message
            self._by_id[message.record_id] = message
            self._interior.statistics.message_attempts[message.ingress] += 1
            message.resume(each, place)
            place += 1

    def unwritten(self, handle: int) -> None:
        """The record of this message is in memory alone: it is refused, and the disk is asked nothing."""
        message = self._messages.get(handle)
        if message is None or message.stage is not Stage.STORING:
            return
        self._orders = [order for order in self._orders if _id_of(order) != message.record_id]
        message.kept = False
        message.release(Local.JOURNAL_FAILED)

    def cut(self, ends: Callable[[Binding, str, str, int], bool]) -> int:
        """End those that wait and of which ``ends(binding, caller, callee, utc_ms)`` says so (R12); how many. What is
        under way gets no other try."""
        utc_ms = self._signalling.now.utc_ms
        found = [
            message
            for message in self._messages.values()
            if message.binding is not None
            and ends(message.binding, message.caller_number, message.callee_number, utc_ms)
        ]
        return sum([message.block() for message in found])

    def discard(self, record_id: str) -> bool:
        """End one message that waits, for the operator; False when none of that id does."""
        message = self._by_id.get(record_id)
        if message is None or message.stage is not Stage.WAITING:
            return False
        message.release(Local.HUNG_UP)
        return True

    def leave(self) -> None:
        """The process ends: what is not accepted yet is refused, what is on disk stays there."""
        for message in list(self._messages.values()):
            if message.stage in (Stage.DECIDING, Stage.STORING):
                message.release(Local.SHUTDOWN)
            else:
                message.leave()
        self._messages.clear()
        self._by_id.clear()

    # what the shell takes

    def take_orders(self) -> list[Write | Mark]:
        """What the disk is to do, in order; to be asked after the records were written."""
        orders = self._orders
        if orders:
            self._orders = []
        return orders

    # what the operator sees

    def live(self) -> list[LiveMessage]:
        """All messages that are not over, masked."""
        return [_view(message) for message in self._messages.values()]

    @property
    def under_way(self) -> int:
        """How many are between two words of the disk or of the callee's side: a process that ends waits for them."""
        return sum(1 for message in self._messages.values() if message.stage is not Stage.WAITING)

    def oldest_ms(self) -> int:
        """When the oldest that waits has come, UTC milliseconds; 0 when none does."""
        return min((message.arrived_ms for message in self._messages.values()), default=0)

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def reports(self) -> int:
        """How many acknowledgements of ours are under way."""
        return len(self._reports)

    def over_trunks(self, names: set[str]) -> set[int]:
        """The handles of messages under way to one of these trunks, or that wait for their answer from there."""
        found = set()
        for message in self._messages.values():
            courier = message.courier
            at = courier.egress if courier is not None else message.ingress if message.transaction is not None else ""
            if at in names:
                found.add(message.handle)
        return found

    # what a message needs (its MessageExchange)

    @property
    def signalling(self) -> Signalling:
        """The endpoint, and the time of this step."""
        return self._signalling

    @property
    def settings(self) -> MessageSettings:
        """Those in force."""
        return self._interior.limits.messages

    @property
    def patience(self) -> float:
        """So long routing, and then the disk, may take; seconds."""
        return self._interior.limits.decision_seconds

    @property
    def node(self) -> str:
        """Our name in records."""
        return self._interior.node

    @property
    def draining(self) -> bool:
        """Whether the process is about to end."""
        return self._interior.draining

    def write(self, event: record.Event) -> None:
        """Put an event on its way to the journal."""
        self._interior.write(event)

    def ask(self, query: Query) -> None:
        """Put a question on its way to routing."""
        self._interior.put_query(query)

    def keep(self, order: Write | Mark) -> None:
        """Put an order on its way to the disk."""
        self._orders.append(order)

    def targets_for(self, callee: str) -> list[TargetState]:
        """Where a message to this subscriber can go at the moment, in the order to try."""
        now = self._signalling.now.monotonic
        trunks = list(self._origins.trunks.values())
        down = self._states.down(now)
        names = choose(trunks, callee, down, self._pick) or choose(trunks, callee, (), self._pick)
        return self._states.route(names, now)

    def carries(self, targets: list[TargetState], size: int) -> bool:
        """Whether any of these can take a text of so many octets (RFC 3428 §8)."""
        if size + HEADERS <= LARGEST_UDP_REQUEST or not targets:
            return True
        return any(
            state.target.transport != "UDP"
            or (state.trunk.large_over_tcp and self._listeners.reaches("TCP", state.target.host))
            for state in targets
        )

    def room(self) -> bool:
        """Whether one more may be kept."""
        return len(self._messages) <= self.settings.most

    def draw_reference(self, message: ShortMessage) -> int:
        """A relay reference that no other message to the same subscriber has at the moment."""
        first = int(self._signalling.endpoint.token()[:2], 16)
        for step in range(MARK_ALL):
            key = (message.callee_number, (first + step) % MARK_ALL)
            if key not in self._references:
                self._references[key] = message
                return key[1]
        return first  # 256 at one time to one telephone: the confirmations of some go astray

    def drop_reference(self, message: ShortMessage) -> None:
        """Its confirmation is not waited for any more."""
        if message.reference >= 0:
            key = (message.callee_number, message.reference)
            if self._references.get(key) is message:
                del self._references[key]
            message.reference = -1

    def report(self, message: ShortMessage, cause: int) -> None:
        """Confirm a short message to its sender, or say why it has failed; nothing for other kinds."""
        payload = message.payload
        if payload.kind is not Kind.SMS or payload.reference < 0:
            return
        trunk = self._origins.trunks.get(message.ingress)
        if trunk is None:
            return
        targets = self._states.route((trunk.name,), self._signalling.now.monotonic)
        body = format_relay(acknowledgement(payload.relay(), cause))
        report = _Report(self, self._signalling, message, body)
        self._reports.add(report)
        callee = bare_digits(message.callee_number)
        own = (message.shown, message.x, bare_digits(message.caller_number), message.ingress_call_id)
        report.send(Courier(self, report, targets, Side(callee.encode(), own, spellings(callee))))

    def reported(self, report: "_Report") -> None:
        """A confirmation of ours has reached its end, one way or the other: nothing depends on it."""
        self._reports.discard(report)
        report.courier = None

    def over(self, message: ShortMessage, outcome: str, reason: str) -> None:
        """A message has its record. One that was not accepted may be tried again by another way (RFC 3263 §4.3)."""
        if outcome in (Outcome.REFUSED, Outcome.DROPPED):
            self._known.forget(message.key)
        self._messages.pop(message.handle, None)
        self._by_id.pop(message.record_id, None)
        statistics = self._interior.statistics
        statistics.message_outcomes[message.ingress, outcome] += 1
        if reason:
            statistics.refusals[message.ingress, reason] += 1
            if reason == Local.TRIPWIRE:
                self._interior.notices.append(("tripwire", message.ingress))
        self._interior.call_over(message.handle)

    # what a courier needs (its Roads)

    def flow_to(self, target: Target) -> Flow:
        """How to reach a target."""
        return self._exit.flow_to(target)

    def barred(self, state: TargetState) -> str:
        """Why nothing may go there now, '' when it may."""
        if not self._states.current(state):
            return "removed"
        if not state.target.host:
            return "dns"
        return "" if self._trunk_load.take_out(state.trunk, self._signalling.now.monotonic) else "rate"

    def park(self, state: TargetState, seconds: float) -> None:
        """Leave a target alone for so long."""
        self._interior.park(state, seconds)

    def silent(self, state: TargetState) -> None:
        """Nothing came back from there."""
        self._interior.silent(state)

    def account_at(self, trunk: str) -> Account | None:
        """Who we are there."""
        return self._accounts.at(trunk)

    # admission

    def _settings_allow(self, message: ShortMessage, trunk: Trunk, rated: bool, known: int) -> bool:
        interior = self._interior
        reason: Local | None = None
        if interior.draining:
            reason = Local.DRAINING
        elif interior.journal_failure:
            reason = Local.JOURNAL_FAILED
        elif not self._origins.present(trunk):
            reason = Local.TRUNK_REMOVED
        elif not rated:
            reason = Local.CALL_RATE
        elif known == SEEN:
            reason = Local.MERGED  # RFC 3261 §8.2.2.2
        if reason is not None:
            message.key = ""  # another's, or never remembered
            message.reject(reason)
            return False
        self._known.add(message.key, SEEN, self._signalling.now.monotonic)
        return True

    def _admit(self, message: ShortMessage, request: Request) -> Local | None:
        """What is wrong with the request as such."""
        hops = request.get("max-forwards")
        if hops is not None:
            if not (hops.isascii() and hops.isdigit() and len(hops) <= 3):
                return Local.BAD_REQUEST
            message.max_forwards = min(int(hops), DEFAULT_MAX_FORWARDS)
            if message.max_forwards == 0:
                return Local.MAX_FORWARDS
        required = unsupported(request, None)
        if required:
            message.refusal_lines = (f"Unsupported: {', '.join(required)}",)
            return Local.BAD_EXTENSION
        if len(request.body) > self.settings.longest_bytes:
            return Local.MESSAGE_TOO_LARGE
        return None

    def _read(self, message: ShortMessage, request: Request, trunk: Trunk, claimed: str) -> bool:
        """Its body, and with it who sends it to whom and how long it may take. False: that was its end."""
        settings = self.settings
        now_ms = self._signalling.now.utc_ms
        accepted = (ACCEPTED if settings.sms else ACCEPTED_WITHOUT_SMS,)
        try:
            payload = read_payload(request, now_ms)
        except ParseError as error:
            if error.status == 415:
                message.refusal_lines = accepted
            message.reject(Local.BAD_MEDIA_TYPE if error.status == 415 else Local.BAD_REQUEST)
            return False
        message.payload = payload
        message.facts = payload.kind.value
        sender = claimed
        if payload.kind is Kind.SMS:
            if not settings.sms:
                message.refusal_lines = accepted
                message.reject(Local.BAD_MEDIA_TYPE)
                return False
            assert payload.party is not None
            if not payload.to_phone:
                wrong = _readdress(message, payload.party.number, trunk)
            elif payload.party.alphanumeric or is_service_sender(payload.party.number):
                message.drop(Finding.SERVICE_SENDER)
                return False
            elif settings.sms_sender is SmsSender.TPDU:
                sender = payload.party.number
                message.caller_number = parse_subscriber(sender) or sender
                wrong = False
            else:
                wrong = parse_subscriber(payload.party.number) != parse_subscriber(claimed)
            if wrong:
                message.reject(Local.SENDER_MISMATCH)
                return False
        if is_service_sender(sender):
            message.drop(Finding.SERVICE_SENDER)
            return False
        message.expires_ms = now_ms + round(_lifetime(request, payload.validity_seconds, settings) * 1000)
        return True


class _Report:
    """An RP-ACK or RP-ERROR of ours on its way to the sender of a short message; it is tried over the targets of the
    trunk that the message came by, once, and nothing depends on it."""

    __slots__ = ("_body", "_call_id", "_caller", "_messages", "_signalling", "_x", "courier")

    def __init__(self, messages: Messages, signalling: Signalling, message: ShortMessage, body: bytes) -> None:
        self._messages = messages
        self._signalling = signalling
        self._caller = message.caller_number
        self._x = message.x
        self._call_id = message.ingress_call_id
        self._body = body
        self.courier: Courier | None = None

    def send(self, courier: Courier) -> None:
        """Let it go."""
        self.courier = courier
        courier.start()

    def compose(self, trunk: Trunk, target: Target, flow: Flow) -> Letter:
        """From the number dialled to who dialled it. In-Reply-To (3GPP TS 24.341 §5.3.2.4) holds what he said
        himself."""
        signalling = self._signalling
        host = signalling.sent_by(flow).rpartition(":")[0]
        sender = f"sip:{format_middle(self._x, trunk.number_form)}@{host}"
        uri = f"sip:{format_subscriber(self._caller, trunk.number_form)}@{uri_host(target.peer)}"
        extra: tuple[str, ...] = (f"In-Reply-To: {self._call_id}", f"User-Agent: {signalling.agent}")
        if trunk.send_identity:
            extra = (*extra, f"P-Asserted-Identity: <{sender}>")
        return Letter(uri, f"<{sender}>", f"<{uri}>", extra, Kind.SMS.value, self._body)

    def settled(self, delivery: Delivery) -> None:
        """It has come to its end."""
        self._messages.reported(self)

    def stopped(self) -> None:
        """The tripwire has stopped it."""
        self._messages.reported(self)


def _key(request: Request) -> str:
    return f"{request.call_id} {request.from_tag} {request.cseq}"


def _id_of(order: Write | Mark) -> str:
    return order.message.record_id if isinstance(order, Write) else order.record_id


def _dialled(request: Request) -> tuple[str, Local | None]:
    try:
        return dialled_user(parse_uri(request.uri)), None
    except ParseError as error:
        return "", Local.URI_SCHEME if error.status == 416 else Local.BAD_REQUEST


def _readdress(message: ShortMessage, destination: str, trunk: Trunk) -> bool:
    """Of an SMS-SUBMIT the request URI may name the carrier's service centre; TP-DA then says whom it is for. True:
    they name two middle numbers, or none."""
    x = parse_middle(destination, trunk.accept_zero)
    if parse_middle(message.x) is None:
        message.x = x or message.x
        return False
    return x is not None and x != message.x


def _lifetime(request: Request, validity_seconds: int, settings: MessageSettings) -> float:
    """Seconds until it is given up: the shortest of what sender, phone and operator want (RFC 3428 §5, TP-VP)."""
    seconds = settings.longest_seconds
    expires = (request.get("expires") or "").strip()
    if expires.isascii() and expires.isdigit() and len(expires) < 10:
        seconds = min(seconds, float(expires))
    return min(seconds, float(validity_seconds)) if validity_seconds else seconds


def _view(message: ShortMessage) -> LiveMessage:
    binding = message.binding
    return LiveMessage(
        message.record_id,
        message.stage.name.lower(),
        message.x if parse_middle(message.x) else mask(message.x),
        message.ingress,
        mask(message.caller_number),
        mask(message.callee_number),
        message.tries,
        message.arrived_ms,
        message.due_ms,
        message.expires_ms,
        binding.provider if binding else "",
        binding.business_user if binding else "",
        binding.order_id if binding else "",
        binding.id if binding else "",
    )
