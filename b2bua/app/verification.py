"""The verification hook (R20): a server of the platform has a last word on each attempt that the rules admit.

The signalling loop puts a question and goes on; the answer comes back to it as an event of its own. What the hook
cannot answer in time is decided by the settings: closed or open.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

import msgspec
from pydantic import SecretStr

from b2bua.app.breaker import Breaker, State
from b2bua.app.config_hooks import Verification
from b2bua.app.hook_client import Heard, HookClient
from b2bua.call.statistics import Histogram
from routing.decide import Route
from routing.numbers import mask

__all__ = [
    "FAILED_CLOSED",
    "FAILED_OPEN",
    "PASSED",
    "REFUSED",
    "SKIPPED",
    "VerificationFigures",
    "Verifier",
    "question",
]

# what the record says of it
PASSED = "passed"
REFUSED = "refused"
FAILED_OPEN = "failed_open"
FAILED_CLOSED = "failed_closed"
SKIPPED = "skipped"  # there is a hook, and this scenario does not ask for it

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
STOP_SECONDS = 2.0


class Question(msgspec.Struct, frozen=True):
    """What the hook is told. Real numbers are masked; ``calling`` is the party of the binding that dialled, a or b."""

    id: str
    kind: str
    x: str
    y: str
    binding_id: str
    order_id: str
    industrial_id: str
    mode: str
    provider: str
    business_user: str
    scenario: str
    calling: str
    caller: str
    callee: str
    time: str


def question(record_id: str, kind: str, route: Route, utc_ms: int) -> bytes:
    """The body of the request: JSON."""
    binding = route.binding
    at = datetime.fromtimestamp(utc_ms / 1000, UTC)
    return msgspec.json.encode(
        Question(
            id=record_id,
            kind=kind,
            x=binding.x,
            y=binding.y,
            binding_id=binding.id,
            order_id=binding.order_id,
            industrial_id=binding.industrial_id,
            mode=binding.mode.value,
            provider=binding.provider,
            business_user=binding.business_user,
            scenario=binding.scenario,
            calling=route.calling,
            caller=mask(route.caller),
            callee=mask(route.callee),
            time=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
    )


class VerificationFigures:
    """What is counted, from one reload to the next. Keys are our own words."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()  # of single tries, and of what was not tried, by cause
        self.tries = 0
        self.seconds = Histogram(BOUNDS)  # of the verifications that were tried
        self.waiting = 0
        self.state = State.CLOSED


class Verifier:
    """One hook with one set of settings. Belongs to the signalling loop; ``log`` is told when the hook is given up and
    taken up again."""

    def __init__(
        self,
        settings: Verification,
        secret: SecretStr,
        figures: VerificationFigures,
        log: Callable[..., None],
    ) -> None:
        self.everything = settings.scope == "all"
        self._settings = settings
        self._figures = figures
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_seconds)
        self._waiting: dict[int, Callable[[str], None]] = {}
        self._numbers = itertools.count()
        self._retired = False
        self._client = HookClient(settings, secret.get_secret_value(), self._tell)
        figures.state = State.CLOSED

    def ask(self, record_id: str, body: bytes, done: Callable[[str], None]) -> str:
        """Put a question. Returns '' when the answer is to come by ``done``, on this loop and within the deadline; else
        the answer, for a hook that is not to be asked at the moment."""
        if len(self._waiting) >= self._settings.connections:
            return self._failed("busy")
        if not self._breaker.admits(monotonic()):
            return self._failed("breaker")
        self._figures.state = self._breaker.state
        number = next(self._numbers)
        self._waiting[number] = done
        self._figures.waiting += 1
        self._client.ask(number, record_id, body)
        return ""

    def retire(self) -> None:
        """Other settings are in force: answer what was asked, then stop."""
        self._retired = True
        if not self._waiting:
            self._client.stop()

    def close(self) -> None:
        """Stop at once, and wait for the thread. Nobody waits for an answer any more."""
        if not self._retired or self._waiting:
            self._client.stop()
        self._client.join(STOP_SECONDS)

    # what the client tells

    def _tell(self, number: int, heard: Heard) -> None:
        try:
            self._loop.call_soon_threadsafe(self._heard, number, heard)
        except RuntimeError:
            return  # the loop is closed: nobody waits

    def _heard(self, number: int, heard: Heard) -> None:
        done = self._waiting.pop(number)
        figures = self._figures
        figures.waiting -= 1
        figures.tries += heard.tries
        figures.failures.update(heard.failures)
        figures.seconds.observe(heard.seconds)
        if heard.allow is None:
            if self._breaker.failed(monotonic()):
                self._log("verification_suspended", cause=heard.failures[-1], seconds=self._settings.breaker_seconds)
            word = self._failed("")
        else:
            if self._breaker.succeeded():
                self._log("verification_resumed")
            word = PASSED if heard.allow else REFUSED
            figures.results[word] += 1
        if not self._retired:
            figures.state = self._breaker.state
        elif not self._waiting:
            self._client.stop()
        done(word)

    def _failed(self, cause: str) -> str:
        word = FAILED_OPEN if self._settings.on_failure == "open" else FAILED_CLOSED
        self._figures.results[word] += 1
        if cause:
            self._figures.failures[cause] += 1
        return word
