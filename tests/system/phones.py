"""A caller and a callee on two sockets, in a thread of their own: they place calls and remember what each side saw."""

import asyncio
import itertools
import re
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, cast
from uuid import uuid4

from routing.trunks import Peer
from tests.system.wire import Lines, Message, read, request, response

__all__ = ["Call", "Manner", "Phones", "now_ms"]

Value = TypeVar("Value")
T1, T2 = 0.5, 4.0
RINGING_SECONDS = 5.0  # a caller waits so long for a final answer
BYE_SECONDS = 10.0
START_SECONDS = 20.0
# Media goes nowhere: the address in the SDP is the number of the call, and crosses to the callee.
NETWORK = "10"
_CONNECTION = re.compile(rb"c=IN IP4 10\.(\d+)\.(\d+)\.(\d+)")


def now_ms() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


class Manner(NamedTuple):
    """How a callee takes a call: rings so long, gives this status, and hangs up after so long (None: never)."""

    status: int = 200
    ring_seconds: float = 0.0
    talk_seconds: float | None = None


@dataclass(eq=False)
class Call:
    """One call as its caller saw it; instants are UTC ms, 0 for never."""

    index: int
    call_id: str
    number: str
    sent_ms: list[int] = field(default_factory=list)  # each time that the INVITE went out
    statuses: list[int] = field(default_factory=list)  # every answer to it, repetitions too
    answer: Message | None = None  # the final one
    final_ms: int = 0
    bye_sent_ms: int = 0
    bye_status: int = 0
    bye_ms: int = 0  # when that came
    bye_received_ms: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)

    @property
    def final(self) -> int:
        """Status of the final answer, 0 when none came."""
        return self.answer.status if self.answer else 0


@dataclass(eq=False)
class Taken:
    """One call as its callee saw it."""

    index: int
    ms: int
    invite: Message
    tag: str = ""
    acked: bool = False
    answer: bytes = b""
    bye_received_ms: int = 0
    bye_status: int = 0
    cancelled: bool = False


class _Phone(asyncio.DatagramProtocol):
    """A socket, and requests of ours that are repeated until they are answered."""

    def __init__(self) -> None:
        self.me = ""
        self.address = Peer("", 0)
        self._transport: asyncio.DatagramTransport | None = None
        self._inboxes: dict[tuple[str, str], asyncio.Queue[Message]] = {}
        self.heard: dict[str, list[bytes]] = {}  # whatever came, by Call-ID

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = Peer(*transport.get_extra_info("sockname"))
        self.me = f"{self.address.host}:{self.address.port}"

    def error_received(self, exc: Exception) -> None:
        """The switch is not there at the moment: what is lost is sent again."""

    def send(self, wire: bytes, to: Peer) -> None:
        assert self._transport is not None
        self._transport.sendto(wire, to)

    async def transact(
        self, wire: bytes, to: Peer, call_id: str, method: str, seconds: float, sent: Callable[[], None] = lambda: None
    ) -> Message | None:
        """The final answer to a request, None when none came in time."""
        inbox = self._inboxes[call_id, method] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        end, pause, provisional = loop.time() + seconds, T1, False
        try:
            sent()
            self.send(wire, to)
            while (left := end - loop.time()) > 0:
                try:
                    message = await asyncio.wait_for(inbox.get(), left if provisional else min(pause, left))
                except TimeoutError:
                    if not provisional and loop.time() < end:
                        sent()
                        self.send(wire, to)
                        pause = min(2 * pause, T2)
                    continue
                if message.status >= 200:
                    return message
                provisional = method == "INVITE"
            return None
        finally:
            del self._inboxes[call_id, method]

    def deliver(self, message: Message) -> None:
        """An answer to whoever waits for it."""
        inbox = self._inboxes.get((message.value("call-id"), message.method))
        if inbox is not None:
            inbox.put_nowait(message)


Phone = TypeVar("Phone", bound=_Phone)


class Caller(_Phone):
    """Dials middle numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.target = Peer("", 0)
        self.calls: dict[str, Call] = {}
        self._confirmed: dict[str, bytes] = {}  # the ACK by Call-ID, for a 2xx that comes again
        self._hang_up: dict[str, asyncio.Event] = {}
        self._numbers = itertools.count(1)

    def new(self, number: str, padding: int) -> Call:
        index = next(self._numbers)
        call = Call(index, f"{index}-{uuid4().hex}{'-' * padding}", number)
        self.calls[call.call_id] = call
        return call

    async def run(self, call: Call, caller: str, talk_seconds: float | None, extra: Lines) -> None:
        """From the INVITE to the end. `talk_seconds` None: until somebody hangs up."""
        host = f"{self.target.host}:{self.target.port}"
        to_value = f"<sip:{call.number}@{host}>"
        from_value = f"<sip:{caller}@{self.me}>;tag={uuid4().hex[:10]}"
        contact = ("Contact", f"<sip:{caller}@{self.me}>")
        branch = f"z9hG4bK{uuid4().hex}"
        headers = [contact, ("P-Asserted-Identity", f"<sip:{caller}@{self.me}>"), *extra]
        invite = request(
            "INVITE", f"sip:{call.number}@{host}", self.me, from_value, to_value, call.call_id, 1,
            branch=branch, extra=headers, body=session(call.index),
        )  # fmt: skip
        hung_up = self._hang_up[call.call_id] = asyncio.Event()
        try:
            call.answer = await self.transact(
                invite, self.target, call.call_id, "INVITE", RINGING_SECONDS, lambda: call.sent_ms.append(now_ms())
            )
            if call.answer is None:
                return
            to_value = call.answer.value("to")
            good = call.final < 300
            uri = call.answer.contact if good else f"sip:{call.number}@{host}"
            ack = request(
                "ACK",
                uri,
                self.me,
                from_value,
                to_value,
                call.call_id,
                1,
                branch="" if good else branch,
                extra=[contact],
            )
            self._confirmed[call.call_id] = ack
            self.send(ack, self.target)
            if not good:
                return
            call.answered.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(hung_up.wait(), talk_seconds)
            if not call.bye_received_ms:
                bye = request("BYE", uri, self.me, from_value, to_value, call.call_id, 2)
                call.bye_sent_ms = now_ms()
                answer = await self.transact(bye, self.target, call.call_id, "BYE", BYE_SECONDS)
                if answer is not None:
                    call.bye_status, call.bye_ms = answer.status, now_ms()
        finally:
            call.over.set()

    def hang_up(self, call: Call) -> None:
        """End a call that is up."""
        self._hang_up[call.call_id].set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = read(data)
        self.heard.setdefault(message.value("call-id"), []).append(data)
        call = self.calls[message.value("call-id")]
        if not message.status:
            if message.method == "BYE":
                call.bye_received_ms = call.bye_received_ms or now_ms()
                self._hang_up[call.call_id].set()
            self.send(response(200, message), Peer(*addr))
            return
        if message.method == "INVITE":
            call.statuses.append(message.status)
            if message.status >= 200:
                call.final_ms = call.final_ms or now_ms()
                if ack := self._confirmed.get(call.call_id):
                    self.send(ack, Peer(*addr))
        self.deliver(message)


class Callee(_Phone):
    """Takes every call as the number dialled has it in `manners`."""

    def __init__(self, manners: Mapping[str, Manner]) -> None:
        super().__init__()
        self.manners = manners
        self.taken: dict[str, Taken] = {}
        self.texts: list[Message] = []
        self.deaf = False  # whether it leaves texts without an answer
        self._tasks: set[asyncio.Task[None]] = set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message, peer = read(data), Peer(*addr)
        self.heard.setdefault(message.value("call-id"), []).append(data)
        if message.status:
            self.deliver(message)
            return
        if message.method == "MESSAGE":
            self.texts.append(message)
            if self.deaf:
                return
            self.send(response(200, message, uuid4().hex[:10]), peer)
            return
        taken = self.taken.get(message.value("call-id"))
        if message.method == "INVITE":
            if taken is None:
                taken = Taken(index_of(message.body), now_ms(), message, uuid4().hex[:10])
                self.taken[message.value("call-id")] = taken
                self._start(self._take(taken, peer))
            elif taken.answer:
                self.send(taken.answer, peer)
        elif message.method == "ACK":
            if taken is not None:
                taken.acked = True
        elif taken is None:
            self.send(response(481, message), peer)
        else:
            self.send(response(200, message), peer)
            if message.method == "BYE":
                taken.bye_received_ms = taken.bye_received_ms or now_ms()
            elif message.method == "CANCEL" and not taken.answer:
                taken.cancelled = True
                taken.answer = response(487, taken.invite, taken.tag)
                self.send(taken.answer, peer)

    async def _take(self, taken: Taken, peer: Peer) -> None:
        user = re.split("[:@;]", taken.invite.first.split(" ")[1])[1]
        manner = self.manners.get(user, Manner(404))
        contact = ("Contact", f"<sip:{self.me}>")
        self.send(response(180, taken.invite, taken.tag, [contact]), peer)
        await asyncio.sleep(manner.ring_seconds)
        if taken.cancelled:
            return
        body = session(taken.index) if manner.status < 300 else b""
        taken.answer = response(manner.status, taken.invite, taken.tag, [contact], body)
        pause = T1
        for _ in range(6):
            self.send(taken.answer, peer)
            await asyncio.sleep(pause)
            if taken.acked:
                break
            pause = min(2 * pause, T2)
        if manner.status < 300 and manner.talk_seconds is not None:
            await asyncio.sleep(manner.talk_seconds)
            if not taken.bye_received_ms:
                await self._hang_up(taken, peer)

    async def _hang_up(self, taken: Taken, peer: Peer) -> None:
        invite = taken.invite
        call_id, from_value = invite.value("call-id"), f"{invite.value('to')};tag={taken.tag}"
        bye = request("BYE", invite.contact, self.me, from_value, invite.value("from"), call_id, 1)
        answer = await self.transact(bye, peer, call_id, "BYE", BYE_SECONDS)
        taken.bye_status = answer.status if answer else 0

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Phones:
    """Both phones. `place` may be called from any thread; what they saw can be read at any time."""

    def __init__(self, manners: Mapping[str, Manner], host: str = "127.0.0.1") -> None:
        self._loop = asyncio.new_event_loop()
        self._faults: list[object] = []
        self._loop.set_exception_handler(lambda loop, context: self._faults.append(context))
        self._thread = threading.Thread(target=self._loop.run_forever, name="phones", daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self.caller = self._run(self._open(Caller(), host))
        self.callee = self._run(self._open(Callee(manners), host))

    async def _open(self, phone: Phone, host: str) -> Phone:
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: phone,
            local_addr=(host, 0),
        )
        return phone

    def _run(self, work: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    def place(
        self, number: str, caller: str, talk_seconds: float | None = 0.0, extra: Lines = (), padding: int = 0
    ) -> Call:
        """Begin a call and return at once. The Call-ID is `padding` bytes longer than need be."""
        call = self.caller.new(number, padding)

        def begin() -> None:
            task = self._loop.create_task(self.caller.run(call, caller, talk_seconds, extra))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(begin)
        return call

    def hang_up(self, call: Call) -> None:
        """The caller ends a call that is up."""
        self._loop.call_soon_threadsafe(self.caller.hang_up, call)

    def taken(self, call: Call) -> list[Taken]:
        """What the callee saw of a call: nothing, one attempt, or several."""
        return [taken for taken in list(self.callee.taken.values()) if taken.index == call.index]

    def close(self) -> None:
        """Drop every call and both sockets. AssertionError when a phone could make no sense of what it got."""

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for phone in (self.caller, self.callee):
                assert phone._transport is not None
                phone._transport.close()

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not self._faults, self._faults

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def session(index: int) -> bytes:
    """A session description whose address tells the number of the call."""
    address = f"{NETWORK}.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0", "m=audio 20000 RTP/AVP 8"]
    return "".join(f"{line}\r\n" for line in [*lines, "a=rtpmap:8 PCMA/8000"]).encode()


def index_of(body: bytes) -> int:
    """The number of the call that a session description tells."""
    found = _CONNECTION.search(body)
    assert found is not None, body
    first, second, third = map(int, found.groups())
    return first << 16 | second << 8 | third
