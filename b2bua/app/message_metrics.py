"""Metrics of short messages."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from b2bua.app.shell import Shell

__all__ = ["MessageFigures", "message_families", "message_figures"]


class MessageFigures(NamedTuple):
    """Copied in the switch's own thread."""

    attempts: Mapping[str, int]
    outcomes: Mapping[tuple[str, str], int]
    waiting: int
    oldest_seconds: float
    store_failed: bool


def message_figures(shell: Shell) -> MessageFigures:
    """What is to be shown; to be called in the switch's own thread."""
    messages, statistics = shell.switch.messages, shell.switch.statistics
    oldest_ms = messages.oldest_ms()
    return MessageFigures(
        dict(statistics.message_attempts),
        dict(statistics.message_outcomes),
        len(messages),
        max(0.0, (shell.now().utc_ms - oldest_ms) / 1000) if oldest_ms else 0.0,
        bool(shell.message_store.failure),
    )


def message_families(figures: MessageFigures) -> Iterable[Metric]:
    """All families, for one scrape."""
    attempts = CounterMetricFamily("x700_short_message_attempts", "Short messages, by ingress trunk", labels=("trunk",))
    for trunk, count in figures.attempts.items():
        attempts.add_metric((trunk,), count)
    yield attempts
    outcomes = CounterMetricFamily(
        "x700_short_messages", "Ended short messages, by ingress trunk and outcome", labels=("trunk", "outcome")
    )
    for labels, count in figures.outcomes.items():
        outcomes.add_metric(labels, count)
    yield outcomes
    yield GaugeMetricFamily("x700_short_messages_waiting", "Short messages not delivered yet", figures.waiting)
    yield GaugeMetricFamily(
        "x700_short_messages_oldest_seconds",
        "Age of the oldest short message not delivered yet",
        figures.oldest_seconds,
    )
    yield GaugeMetricFamily(
        "x700_message_store_failed", "1 while short messages cannot be stored", int(figures.store_failed)
    )
