"""The state of trunks and their targets as Prometheus families. A target's label is its transport and address."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from b2bua.call.trunk_state import TargetView

__all__ = ["trunk_families"]

LABELS = ("trunk", "target")


def trunk_families(targets: Sequence[TargetView]) -> Iterable[Metric]:
    """All families of trunks and targets. A trunk is up while one of its targets is."""
    trunks = {view.trunk: 0 for view in targets}
    up = GaugeMetricFamily("x700_target_up", "1 while calls are sent to this target of a trunk", labels=LABELS)
    parked = GaugeMetricFamily("x700_target_parked", "Seconds for which it is left alone yet", labels=LABELS)
    trip = GaugeMetricFamily("x700_probe_seconds", "From our last OPTIONS to its answer", labels=LABELS)
    probes = CounterMetricFamily("x700_probes", "OPTIONS sent to ask whether it is there", labels=LABELS)
    failed = CounterMetricFamily("x700_probes_failed", "OPTIONS without a good answer", labels=LABELS)
    for view in targets:
        takes = view.state == "up"
        trunks[view.trunk] |= takes
        labels = (view.trunk, view.target)
        up.add_metric(labels, takes)
        parked.add_metric(labels, view.parked_seconds)
        if view.probes:
            trip.add_metric(labels, view.probe_ms / 1000)
            probes.add_metric(labels, view.probes)
            failed.add_metric(labels, view.probes_failed)
    trunk_up = GaugeMetricFamily("x700_trunk_up", "1 while one of its targets takes calls", labels=("trunk",))
    for name, state in trunks.items():
        trunk_up.add_metric((name,), state)
    yield from (trunk_up, up, parked, trip, probes, failed)
