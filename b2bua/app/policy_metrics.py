"""Metrics of the policy: the block list, fan-outs, cut calls, and what is counted. No label holds a number."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from b2bua.app.shell import Shell

__all__ = ["PolicyFigures", "policy_families", "policy_figures"]


class PolicyFigures(NamedTuple):
    """Copied in the switch's own thread. ``blocked`` are entries by kind, those included that expired lately."""

    blocked: Mapping[str, int]
    fan_outs: int
    cut_calls: int
    counted_keys: int
    uncounted: int
    memory_failed: bool


def policy_figures(shell: Shell) -> PolicyFigures:
    """What is to be shown; to be called in the switch's own thread."""
    policing, counters = shell.policing, shell.switch.counters
    return PolicyFigures(
        {kind.value: len(entries) for kind, entries in policing.policy.blocked.items()},
        counters.fan_outs,
        policing.cut_calls,
        len(counters),
        counters.uncounted,
        policing.memory is not None and bool(policing.memory.failure),
    )


def policy_families(figures: PolicyFigures) -> Iterable[Metric]:
    """All families, for one scrape."""
    blocked = GaugeMetricFamily(
        "x700_blocklist_entries", "Entries of the block list that the switch knows, by kind", labels=("kind",)
    )
    for kind, entries in figures.blocked.items():
        blocked.add_metric((kind,), entries)
    yield blocked
    yield CounterMetricFamily(
        "x700_fan_out",
        "Times that a caller dialled more middle numbers, or as many more, than is natural",
        figures.fan_outs,
    )
    yield CounterMetricFamily("x700_cut_calls", "Live calls ended by new entries of the block list", figures.cut_calls)
    yield GaugeMetricFamily("x700_counted_keys", "Entries of the tables that caps are counted in", figures.counted_keys)
    yield CounterMetricFamily(
        "x700_uncounted_attempts", "Attempts that no cap could count because the tables were full", figures.uncounted
    )
    yield GaugeMetricFamily(
        "x700_switch_memory_failed", "1 while counts cannot be written down", int(figures.memory_failed)
    )
