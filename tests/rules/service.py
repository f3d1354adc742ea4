"""The whole service as its users meet it: `x700 run`, its HTTP API, telephones on both sides, and the records."""

import itertools
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from routing.trunks import Peer
from tests.system.node import Node, Process, Stored, until
from tests.system.phones import Call, Manner, Phones, now_ms
from tests.system.wire import Message, read, request
from tests.webhooks.receiver import Receiver

__all__ = ["DAY_MS", "Client", "Service", "Someone"]

DAY_MS = 86_400_000
OVER_SECONDS = 20.0
# Nobody else's: its range stands in clear.
CANARY = "15100001111"
CANARY_RANGE = CANARY[:7]


class Everybody(dict[str, Manner]):
    """How the callee takes a call: at once, but for the numbers in it."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, Manner())


class Client:
    """The HTTP API with one key. What it is told without asking for real numbers goes into ``told``."""

    def __init__(self, address: Peer, secret: str, told: list[bytes]) -> None:
        self._told = told
        headers = {"Authorization": f"Bearer {secret}"}
        self._http = httpx.Client(base_url=f"http://{address.host}:{address.port}", headers=headers, timeout=30.0)

    def ask(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        """Any request; its answer."""
        if body is not None:
            more["json"] = body
        answer = self._http.request(method, path, **more)
        if "reveal" not in str(answer.request.url):
            self._told.append(answer.content)
        assert answer.status_code < 500, answer.text
        return answer

    def get(self, path: str, **query: Any) -> Any:
        """What stands at a path."""
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def items(self, path: str, **query: Any) -> list[Any]:
        """All items of a list, page by page."""
        found, cursor = [], ""
        while True:
            page = self.get(path, **query, limit=100, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next"]
            if not cursor:
                return found

    def post(self, path: str, body: object = None, **more: Any) -> Any:
        """Do something that succeeds."""
        answer = self.ask("POST", path, {} if body is None else body, **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def change(self, path: str, **fields: Any) -> Any:
        """PATCH of whatever revision there is."""
        answer = self.ask("PATCH", path, fields, headers={"If-Match": "*"})
        assert answer.is_success, answer.text
        return answer.json()

    def refused(self, path: str, body: object, *, method: str = "POST") -> tuple[int, str, str]:
        """Do something that fails: (status, field, rule)."""
        answer = self.ask(method, path, body)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["detail"]
        return answer.status_code, problem["field"], problem["rule"]

    def close(self) -> None:
        self._http.close()


class Someone:
    """A business user with its provider's key, a block and a scenario, all made through the API."""

    def __init__(self, service: "Service", name: str, provider: str, block: str) -> None:
        self.service, self.name, self.provider_id, self.block = service, name, provider, block
        self.provider = service.provider(provider)
        self._line = itertools.count(1)

    def number(self) -> str:
        """A middle number of its block that nobody has."""
        return f"{self.block}{next(self._line):04d}"

    def wish(self, a: str, b: str, **more: Any) -> dict[str, Any]:
        """The body of a binding of a day."""
        return {
            "a": a,
            "b": b,
            "x": self.number(),
            "business_user": self.name,
            "scenario": "delivery",
            "order_id": f"order-{uuid4().hex[:8]}",
            "real_name": "rn-1",
            "consent": "c-1",
            "expires_ms": now_ms() + DAY_MS,
            **more,
        }

    def bind(self, a: str, b: str, **more: Any) -> dict[str, Any]:
        """A binding."""
        made: dict[str, Any] = self.provider.post("/v1/bindings", self.wish(a, b, **more))
        return made

    def scenario(self, name: str, **terms: Any) -> None:
        """One more scenario, on the switch."""
        self.service.operator.post("/v1/scenarios", {"business_user": self.name, "name": name, **terms})
        self.service.follow()


class Service:
    """One node for many tests; each takes people and numbers of its own."""

    def __init__(self, directory: Path, phones: Phones, hook: Receiver, settings: Mapping[str, Any]) -> None:
        self.phones = phones
        self.hook = hook
        self.node = Node(directory, phones, settings)
        self.run: Process = self.node.start("run").wait_ready()
        self._clients: dict[str, Client] = {}
        self._people = itertools.count(1)
        self._blocks = itertools.count(1)
        self.told: list[bytes] = []
        made = self.command("key", "add", "--role", "operator", "--name", "first", "--json")
        secret = json.loads(made[made.index("{") :])["secret"]
        self.operator = self._client("operator", secret)
        self.auditor = self._client("auditor", self._key("auditor"))
        self.people: list[str] = []
        self._canary: tuple[str, str] | None = None
        self._allowed = True
        self._release_canary()

    def command(self, *words: str, config: Path | None = None, code: int = 0) -> str:
        """What `x700 WORDS` says, ending with this exit code."""
        process = self.node.start(*words, config=config)
        assert process.wait() == code, process.lines
        self.node.processes.remove(process)  # what it says is no log
        process.close()
        return "\n".join(process.lines)

    def _key(self, role: str, provider: str = "") -> str:
        made = self.operator.post("/v1/keys", {"name": role, "role": role, "provider": provider})
        return str(made["secret"])

    def _client(self, name: str, secret: str) -> Client:
        self._clients[name] = Client(self.node.api, secret, self.told)
        return self._clients[name]

    def provider(self, name: str) -> Client:
        """The client of a provider, which is registered if it is not yet."""
        if name not in self._clients:
            self.operator.post("/v1/providers", {"id": name, "name": name})
            self._client(name, self._key("provider", name))
        return self._clients[name]

    def person(self) -> str:
        """The number of a person who is in no other test: 11 digits that stand for nothing else."""
        number = f"13876{next(self._people) * 7919 % 1_000_000:06d}"
        self.people.append(number)
        return number

    def block(self) -> str:
        """The prefix of a block that nobody has."""
        return f"7001{next(self._blocks):07d}"

    def someone(self, name: str, provider: str = "platform-1", **more: Any) -> Someone:
        """A business user, registered, under contract, with an active block and the scenario `delivery`."""
        self.provider(provider)
        self.register(name, provider)
        prefix = self.block()
        block = {"prefix": prefix, "provider": provider, "business_user": name, "state": "active"}
        self.operator.post("/v1/blocks", block)
        self.operator.post("/v1/scenarios", {"business_user": name, "name": "delivery", **more})
        self.follow()
        return Someone(self, name, provider, prefix)

    def register(self, name: str, provider: str = "platform-1", **more: Any) -> None:
        """A business user with a contract, and nothing else."""
        self.provider(provider)
        self.operator.post("/v1/business-users", {"id": name, "provider": provider, "name": name, **more})
        contract = {"id": f"{name}.1", "provider": provider, "business_user": name, "reference": "paper"}
        self.operator.post("/v1/contracts", contract)

    def follow(self) -> None:
        """Return when the switch has taken over whatever was changed until now.

        A range of its own is denied and allowed in turn, after everything else: once its owner is told so, the
        switch has read all that came before.
        """
        if self._canary is None:
            return
        self._allowed = not self._allowed
        caller, dialled = self._canary
        setting = {"allowed": self._allowed, "reason": "canary"}
        self.operator.ask("PUT", f"/v1/caller-ranges/{CANARY_RANGE}", setting).raise_for_status()
        wanted = 200 if self._allowed else 403
        until(lambda: self.call(caller, dialled).final == wanted, "the switch to follow", OVER_SECONDS)

    def _release_canary(self) -> None:
        """Register the one whose range tells whether the switch has followed."""
        canary = self.someone("canary", "canary")
        caller = CANARY
        dialled = canary.bind(caller, self.person())["x"]
        # an allowed range bars everybody outside of it: these let in all
        for prefix in ("0", "1"):
            setting = {"allowed": True, "reason": "everybody"}
            self.operator.ask("PUT", f"/v1/caller-ranges/{prefix}", setting).raise_for_status()
        until(lambda: self.call(caller, dialled).final == 200, "the first call", OVER_SECONDS)
        self._canary = (caller, dialled)

    # people

    def call(self, caller: str, dialled: str, talk_seconds: float | None = 0.0, **more: Any) -> Call:
        """A call that is over when this returns; with `talk_seconds` None one that is up, or over."""
        call = self.phones.place(dialled, caller, talk_seconds, **more)
        if talk_seconds is None:
            until(lambda: call.answered.is_set() or call.over.is_set(), "an answer", OVER_SECONDS)
        else:
            assert call.over.wait(OVER_SECONDS)
        return call

    def refusal(self, caller: str, dialled: str) -> tuple[int, str]:
        """A call that the switch refuses: (status, reason of its record). Nobody is reached."""
        call = self.call(caller, dialled)
        assert self.phones.taken(call) == []
        record = self.record(call)
        assert record["outcome"] == "refused"
        assert record["status"] == call.final
        assert record["ended_by"] == "switch"
        return call.final, record["reason"]

    def text(self, sender: str, dialled: str, words: str, source: str = "127.0.0.1") -> tuple[int, str]:
        """A short message: (status of its answer, Call-ID)."""
        switch, call_id = self.node.sip, uuid4().hex
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.bind((source, 0))
            channel.settimeout(2.0)
            host, port = channel.getsockname()
            uri = f"sip:{dialled}@{switch.host}:{switch.port}"
            identity = f"<sip:{sender}@{host}>"
            wire = request(
                "MESSAGE", uri, f"{host}:{port}", f"{identity};tag=1", f"<{uri}>", call_id, 1,
                extra=[("P-Asserted-Identity", identity), ("Content-Type", "text/plain;charset=UTF-8")],
            ).replace(b"Content-Length: 0", b"Content-Length: %d" % len(words.encode())) + words.encode()  # fmt: skip
            for _ in range(5):
                channel.sendto(wire, switch)
                try:
                    return read(channel.recv(65_535)).status, call_id
                except TimeoutError:
                    continue
        raise AssertionError("no answer to a MESSAGE")

    def texts(self, words: str) -> list[Message]:
        """Messages with these words that the callee's phone has got."""
        return [text for text in list(self.phones.callee.texts) if words.encode() in text.body]

    # what it leaves behind

    def stored(self, call_id: str) -> Stored:
        """The one record of a call or message, once it is there, with what is sealed in it."""

        def found() -> list[Stored]:
            return [each for each in self.node.stored() if each.parties.ingress_call_id == call_id]

        (one,) = until(found, f"the record of {call_id}", OVER_SECONDS)
        return one

    def record(self, call: Call | str) -> dict[str, Any]:
        """The same as the API shows it to the operator."""
        call_id = call if isinstance(call, str) else call.call_id
        identifier = self.stored(call_id).record.record_id
        shown: dict[str, Any] = self.operator.get(f"/v1/records/{identifier}")
        return shown

    def invite(self, call: Call) -> Message:
        """The INVITE that the callee got."""
        (taken,) = self.phones.taken(call)
        return taken.invite

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self.node.close()
