"""What the shell does for the policy: the switch's counts get their file, what the block list says to cut is cut, and
fan-outs are told of and acted on."""

from collections.abc import Callable
from typing import Final

from b2bua.app.config import Settings
from b2bua.app.config_policy import policy_settings
from b2bua.app.enforcer import Enforcer, Order
from b2bua.app.memory import NAME, Batch, Memory
from b2bua.call.call import Call
from b2bua.call.switch import Now, Switch
from cdr.journal import Position
from cdr.seal import Seal
from routing.counters import Counters
from routing.last_callers import LastCallers
from routing.numbers import mask
from routing.policy import NO_POLICY, Cut, Policy

__all__ = ["MEMORY_SECONDS", "Policing"]

# How often what was counted is written down; so much of the journal is counted again after a kill.
MEMORY_SECONDS: Final = 1.0
# Live calls looked at between two turns of the loop: some 2 ms. 40,000 calls are through in a tenth of a second.
CUT_AT_ONCE: Final = 1000


class Policing:
    """Belongs to the loop of the switch. ``enter`` lets something into the switch, ``soon`` calls after others had
    their turn."""

    def __init__(
        self,
        settings: Settings,
        seal: Seal,
        switch: Switch,
        log: Callable[..., None],
        enter: Callable[[Callable[[Now], object]], None],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.settings = policy_settings(settings.policy)
        self.policy = NO_POLICY
        self.cut_calls = 0
        self.memory: Memory | None = None
        self._path = settings.node.data_dir / NAME
        self._journal = settings.journal.directory
        self._seal = seal
        self._switch = switch
        self._log = log
        self._enter = enter
        self._soon = soon
        self._enforcer = Enforcer(settings.routing.store, seal, log)

    def start(self, policy: Policy, now_ms: int) -> None:
        """Take over what was counted before this process, from the file and from the journal behind it."""
        memory = self.memory = Memory(self._path, self._seal, self._log, now_ms)
        counters, last_callers = Counters(memory.total), LastCallers(memory.last_caller)
        done = memory.restore(counters, last_callers, policy, self._journal, now_ms)
        self._switch.counters, self._switch.last_callers = counters, last_callers
        if done.lines:
            self._log("counts_restored", lines=done.lines, attempts=done.attempts)

    def remember(self, position: Position, now_ms: int) -> None:
        """Have written down what has changed; everything counted so far stands in the journal before ``position``, but
        for what is still undecided."""
        switch, memory = self._switch, self.memory
        counters, last_callers = switch.counters, switch.last_callers
        counters.tidy()
        if memory is None or memory.busy:
            return
        counters.written()
        last_callers.written()
        if memory.lost:
            memory.lost = False
            counters.touch()
            last_callers.touch()
        memory.save(Batch(counters.changes(), last_callers.changes(), position, switch.undecided(), now_ms))

    def heed(self, now_ms: int) -> None:
        """Tell of fan-outs, and have them acted on."""
        alerts = self._switch.counters.alerts
        for alert in alerts:
            self._log(
                "fan_out",
                caller=mask(alert.caller),
                numbers=alert.numbers,
                business_user=alert.business_user,
                scenario=alert.scenario,
            )
            self._enforcer.put(Order(alert, self.settings.fan_out_block_seconds, now_ms))
        if alerts:
            alerts.clear()

    def take(self, policy: Policy) -> None:
        """A new policy is in force: end the live calls that new entries of the block list are to end (R12), a part of
        them at each turn."""
        self.policy = policy
        if policy.fresh_cuts:
            cut = Cut(policy, policy.fresh_cuts)
            self._cut_part(cut, self._switch.live_handles(), 0)
            self._enter(lambda now: self._switch.cut_messages(cut.ends, now))

    def _cut_part(self, cut: Cut, handles: list[int], start: int) -> None:
        end = start + CUT_AT_ONCE

        def ends(call: Call, utc_ms: int) -> bool:
            binding = call.binding
            return binding is not None and cut.ends(binding, call.caller_number, call.callee_number, utc_ms)

        def step(now: Now) -> None:
            self.cut_calls += self._switch.cut(handles[start:end], ends, now)

        self._enter(step)
        if end < len(handles):
            self._soon(lambda: self._cut_part(cut, handles, end))

    def close(self) -> None:
        """Write what is left, and stop. To be called in a thread: it waits."""
        self._enforcer.close()
        if self.memory is not None:
            self.memory.close()
