"""The switch's counters in the Prometheus exposition format. Labels hold trunk names and our own words, never a
number."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from b2bua.app.hook_metrics import HookFigures, hook_families, hook_figures
from b2bua.app.message_metrics import MessageFigures, message_families, message_figures
from b2bua.app.policy_metrics import PolicyFigures, policy_families, policy_figures
from b2bua.app.reloader import Reloads
from b2bua.app.service_metrics import ServiceFigures, service_families, service_figures
from b2bua.app.shell import Shell
from b2bua.app.trunk_metrics import trunk_families
from b2bua.call.statistics import Histogram
from b2bua.call.trunk_state import TargetView
from cdr.journal import Position
from cdr.store.segments import WriterStats
from cdr.store.state import Status, read_status

__all__ = ["Snapshot", "SwitchCollector", "snapshot"]


class Snapshot(NamedTuple):
    """Everything a scrape needs, copied in one step of the event loop."""

    attempts: Mapping[str, int]
    outcomes: Mapping[tuple[str, str], int]
    refusals: Mapping[tuple[str, str], int]
    drops: Mapping[str, int]
    received: Mapping[str, int]
    sent: Mapping[str, int]
    trunk_calls: Mapping[str, int]
    tables: Mapping[str, int]
    setup: Mapping[str, tuple[tuple[float, ...], tuple[int, ...], float]]
    answer: Mapping[str, tuple[tuple[float, ...], tuple[int, ...], float]]
    targets: Sequence[TargetView]
    retransmissions_in: int
    retransmissions_out: int
    send_failures: int
    waiting: int
    defects: int
    tripwire: int
    refreshes_sent: int
    refreshes_received: int
    sessions_expired: int
    challenges: int
    challenges_answered: Mapping[str, int]
    authentication_failures: Mapping[tuple[str, str], int]
    ignored_sources: int
    journal: WriterStats
    journal_failed: bool
    store_failed: bool
    draining: bool
    lag_bytes: int
    recorder: Status
    service: ServiceFigures
    hooks: HookFigures
    messages: MessageFigures
    policy: PolicyFigures


def snapshot(shell: Shell, records_directory: Path, reloads: Reloads) -> Snapshot:
    """Copy the counters; to be called in the switch's own thread."""
    switch, endpoint, statistics = shell.switch, shell.switch.endpoint, shell.switch.statistics
    sockets = shell.doors.udp.values()
    status = read_status(records_directory)
    return Snapshot(
        dict(statistics.attempts),
        dict(statistics.outcomes),
        dict(statistics.refusals),
        {**statistics.drops, **endpoint.drops, "queue_full": sum(udp.waiting.dropped for udp in sockets)},
        dict(endpoint.received),
        dict(endpoint.sent),
        dict(switch.trunk_calls()),
        switch.tables(),
        {trunk: _frozen(histogram) for trunk, histogram in statistics.setup.items()},
        {trunk: _frozen(histogram) for trunk, histogram in statistics.answer.items()},
        switch.trunk_view(shell.now()),
        endpoint.retransmissions_in,
        endpoint.retransmissions_out,
        sum(udp.send_failures for udp in sockets),
        sum(len(udp.waiting) for udp in sockets) + shell.streams.waiting(),
        shell.defects,
        statistics.tripwire,
        statistics.refreshes_sent,
        statistics.refreshes_received,
        statistics.sessions_expired,
        statistics.challenges,
        dict(statistics.challenges_answered),
        dict(statistics.authentication_failures),
        switch.authentication.ignored(),
        shell.journal.stats,
        bool(shell.journal.failed),
        bool(shell.store_failure),
        switch.draining,
        shell.journal.backlog(Position(status.segment, status.offset)),
        status,
        service_figures(shell, reloads),
        hook_figures(shell),
        message_figures(shell),
        policy_figures(shell),
    )


def _frozen(histogram: Histogram) -> tuple[tuple[float, ...], tuple[int, ...], float]:
    return histogram.bounds, tuple(histogram.counts), histogram.total


class SwitchCollector(Collector):
    """Turns a snapshot into metric families. ``take`` returns a fresh one."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def collect(self) -> Iterable[Metric]:
        """All families, for one scrape."""
        now = self._take()
        yield _counter(
            "x700_attempts", "Call attempts, by ingress trunk", ("trunk",), {(k,): v for k, v in now.attempts.items()}
        )
        yield _counter("x700_calls", "Ended attempts, by ingress trunk and outcome", ("trunk", "outcome"), now.outcomes)
        yield _counter(
            "x700_refusals",
            "Attempts and calls the switch ended, by ingress trunk and reason",
            ("trunk", "reason"),
            now.refusals,
        )
        yield _counter(
            "x700_messages_sent", "Messages by method or class", ("kind",), {(k,): v for k, v in now.sent.items()}
        )
        yield _counter(
            "x700_messages_received",
            "Messages by method or class",
            ("kind",),
            {(k,): v for k, v in now.received.items()},
        )
        yield _counter("x700_drops", "Datagrams dropped, by cause", ("cause",), {(k,): v for k, v in now.drops.items()})
        yield _counter(
            "x700_retransmissions",
            "Repeated messages, by direction",
            ("direction",),
            {("in",): now.retransmissions_in, ("out",): now.retransmissions_out},
        )
        yield _counter("x700_send_failures", "Datagrams the kernel refused", (), {(): now.send_failures})
        yield _counter(
            "x700_tripwire_hits", "Messages stopped because they held a number; must stay 0", (), {(): now.tripwire}
        )
        yield _counter(
            "x700_session_refreshes",
            "Refreshes of session timers, by direction",
            ("direction",),
            {("in",): now.refreshes_received, ("out",): now.refreshes_sent},
        )
        yield _counter(
            "x700_sessions_expired", "Calls ended because a side was no longer heard of", (), {(): now.sessions_expired}
        )
        yield _gauge("x700_waiting_messages", "Messages that wait for the turn of their source", (), {(): now.waiting})
        yield _counter("x700_defects", "Bugs of ours met in service; must stay 0", (), {(): now.defects})
        yield _gauge("x700_active_calls", "Calls up or being set up", (), {(): now.tables["calls"]})
        yield _gauge(
            "x700_trunk_calls",
            "Legs up or being set up, by trunk",
            ("trunk",),
            {(k,): v for k, v in now.trunk_calls.items()},
        )
        yield _gauge(
            "x700_table_entries", "Entries of each table", ("table",), {(k,): v for k, v in now.tables.items()}
        )
        yield _histogram("x700_setup_seconds", "From INVITE to ringing, by egress trunk", now.setup)
        yield _histogram("x700_answer_seconds", "From INVITE to answer, by egress trunk", now.answer)
        yield from trunk_families(now.targets)
        yield _counter("x700_challenges_sent", "Requests that were asked who sends them", (), {(): now.challenges})
        yield _counter(
            "x700_challenges_answered",
            "Challenges to requests of ours that were answered, by trunk",
            ("trunk",),
            {(k,): v for k, v in now.challenges_answered.items()},
        )
        yield _counter(
            "x700_authentication_failures",
            "Proofs that did not count, by trunk (empty: none is known) and reason",
            ("trunk", "reason"),
            now.authentication_failures,
        )
        yield _gauge(
            "x700_ignored_sources", "Sources not answered because of wrong passwords", (), {(): now.ignored_sources}
        )
        yield _counter("x700_journal_bytes", "Bytes written to the journal", (), {(): now.journal.bytes})
        yield _counter("x700_journal_lines", "Lines written to the journal", (), {(): now.journal.lines})
        yield _counter(
            "x700_journal_lost_lines", "Lines lost because disk and queue were full", (), {(): now.journal.lost}
        )
        yield _counter("x700_journal_syncs", "Forced writes to disk", (), {(): now.journal.syncs})
        yield _counter("x700_journal_sync_failures", "Forced writes that failed", (), {(): now.journal.sync_failures})
        yield from service_families(now.service)
        yield from hook_families(now.hooks)
        yield from message_families(now.messages)
        yield from policy_families(now.policy)
        yield _gauge("x700_journal_queued", "Writes waiting in memory for the disk", (), {(): now.journal.queued})
        yield _gauge("x700_journal_failed", "1 while records cannot be written", (), {(): int(now.journal_failed)})
        yield _gauge("x700_journal_lag_bytes", "Journal bytes the recorder has not stored yet", (), {(): now.lag_bytes})
        yield _gauge("x700_store_failed", "1 while the binding store cannot be read", (), {(): int(now.store_failed)})
        yield _gauge("x700_draining", "1 while no new calls are taken", (), {(): int(now.draining)})
        yield _gauge(
            "x700_recorder_failed", "1 while the recorder cannot store", (), {(): int(bool(now.recorder.error))}
        )
        yield _gauge("x700_recorder_open_attempts", "Attempts the recorder has seen begin", (), {(): now.recorder.open})


_Values = Mapping[Any, float]


def _counter(name: str, text: str, labels: tuple[str, ...], values: _Values) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], values: _Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, text: str, values: Mapping[str, tuple[tuple[float, ...], tuple[int, ...], float]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=("trunk",))
    for trunk, (bounds, counts, total) in values.items():
        running = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
            running += count
            buckets.append((bound, running))
        family.add_metric([trunk], buckets, total)
    return family
