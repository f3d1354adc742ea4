"""Metrics of what other servers are asked about single calls: the verification hook, and announcements."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from b2bua.app.breaker import State
from b2bua.app.shell import Shell

__all__ = ["HookFigures", "hook_families", "hook_figures"]


class HookFigures(NamedTuple):
    """Copied in the switch's own thread."""

    results: Mapping[str, int]
    failures: Mapping[str, int]
    tries: int
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    seconds: float
    waiting: int
    suspended: bool
    prompts: Mapping[str, int]


def hook_figures(shell: Shell) -> HookFigures:
    """What is to be shown; to be called in the switch's own thread."""
    figures = shell.verification
    return HookFigures(
        dict(figures.results),
        dict(figures.failures),
        figures.tries,
        figures.seconds.bounds,
        tuple(figures.seconds.counts),
        figures.seconds.total,
        figures.waiting,
        figures.state is not State.CLOSED,
        dict(shell.switch.statistics.prompts),
    )


def hook_families(figures: HookFigures) -> Iterable[Metric]:
    """All families, for one scrape."""
    yield _counter("x700_verifications", "Attempts put to the hook, by what it came to", "result", figures.results)
    yield _counter(
        "x700_verification_failures", "Tries of the hook that gave no answer, by cause", "cause", figures.failures
    )
    yield CounterMetricFamily("x700_verification_tries", "Requests to the hook, repeated ones too", figures.tries)
    buckets: list[tuple[str, float]] = []
    running = 0
    for bound, count in zip((*map(str, figures.bounds), "+Inf"), figures.counts, strict=True):
        running += count
        buckets.append((bound, running))
    yield HistogramMetricFamily(
        "x700_verification_seconds", "From the question to the answer or the failure", buckets, figures.seconds
    )
    yield GaugeMetricFamily("x700_verifications_waiting", "Attempts that wait for the hook", figures.waiting)
    yield GaugeMetricFamily(
        "x700_verification_suspended", "1 while the hook is not asked because it failed", int(figures.suspended)
    )
    yield _counter(
        "x700_prompts", "Announcements to refused callers, by what became of them", "result", figures.prompts
    )


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
