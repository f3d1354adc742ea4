"""Metrics of the service around the calls: connections, reloads, overload, forced writes of the journal."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from b2bua.app.reloader import Reloads
from b2bua.app.shell import Shell
from cdr.store.segments import SYNC_BOUNDS, WriterStats

__all__ = ["ServiceFigures", "service_families", "service_figures"]


class ServiceFigures(NamedTuple):
    """Copied in the switch's own thread."""

    reloads: Reloads
    overloaded: bool
    journal: WriterStats
    connections: Mapping[tuple[str, str], int]
    endings: Mapping[str, int]


def service_figures(shell: Shell, reloads: Reloads) -> ServiceFigures:
    """What is to be shown; to be called in the switch's own thread."""
    return ServiceFigures(
        reloads,
        shell.switch.load.overloaded,
        shell.journal.stats,
        shell.streams.open_connections(),
        dict(shell.streams.endings),
    )


def service_families(figures: ServiceFigures) -> Iterable[Metric]:
    """All families, for one scrape."""
    reloads = CounterMetricFamily("x700_reloads", "Settings read again, by result", labels=("result",))
    reloads.add_metric(("ok",), figures.reloads.done)
    reloads.add_metric(("failed",), figures.reloads.failed)
    yield reloads
    yield GaugeMetricFamily(
        "x700_settings_good_timestamp_seconds", "When settings were last read and right", figures.reloads.good_at
    )
    yield GaugeMetricFamily(
        "x700_settings_pending", "Changed keys that wait for a restart since the last reload", figures.reloads.pending
    )
    yield GaugeMetricFamily(
        "x700_overloaded", "1 while new calls are turned away for want of time", int(figures.overloaded)
    )
    connections = GaugeMetricFamily(
        "x700_connections",
        "TCP and TLS connections, by transport and direction",
        labels=("transport", "direction"),
    )
    for labels, count in figures.connections.items():
        connections.add_metric(labels, count)
    yield connections
    endings = CounterMetricFamily(
        "x700_connections_closed", "Connections that have ended or were not let in, by reason", labels=("reason",)
    )
    for reason, count in figures.endings.items():
        endings.add_metric((reason,), count)
    yield endings
    journal = figures.journal
    buckets: list[tuple[str, float]] = []
    running = 0
    for bound, count in zip((*map(str, SYNC_BOUNDS), "+Inf"), journal.sync_counts, strict=True):
        running += count
        buckets.append((bound, running))
    yield HistogramMetricFamily(
        "x700_journal_sync_seconds", "Length of forced writes to disk", buckets, journal.sync_seconds
    )
