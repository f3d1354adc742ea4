"""What a scrape says of trunks and their targets."""

from b2bua.app.trunk_metrics import trunk_families
from b2bua.call.trunk_state import TargetView


def view(trunk: str, target: str, state: str, **more: float) -> TargetView:
    blank = TargetView(trunk, target, "UDP", state, 0, 0.0, "", 0, 0, 0)
    return blank._replace(**more)  # type: ignore[arg-type]


VIEWS = [
    view("one", "udp:192.0.2.1:5060", "down", probes=7, probes_failed=3, probe_ms=12.5),
    view("one", "udp:192.0.2.2:5060", "up", probes=6, probe_ms=4.0),
    view("two", "udp:192.0.2.3:5060", "parked", parked_seconds=30),
    view("three", "example.net", "dns"),
]


def samples(name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in trunk_families(VIEWS)
        for sample in family.samples
        if sample.name == name
    }


def test_a_trunk_is_up_while_one_of_its_targets_is() -> None:
    assert samples("x700_trunk_up") == {("one",): 1, ("two",): 0, ("three",): 0}


def test_every_target_has_its_state() -> None:
    assert samples("x700_target_up") == {
        ("one", "udp:192.0.2.1:5060"): 0,
        ("one", "udp:192.0.2.2:5060"): 1,
        ("two", "udp:192.0.2.3:5060"): 0,
        ("three", "example.net"): 0,
    }
    assert samples("x700_target_parked")["two", "udp:192.0.2.3:5060"] == 30


def test_probes_are_shown_where_there_were_any() -> None:
    assert samples("x700_probes_total") == {("one", "udp:192.0.2.1:5060"): 7, ("one", "udp:192.0.2.2:5060"): 6}
    assert samples("x700_probes_failed_total") == {("one", "udp:192.0.2.1:5060"): 3, ("one", "udp:192.0.2.2:5060"): 0}
    assert samples("x700_probe_seconds") == {
        ("one", "udp:192.0.2.1:5060"): 0.0125,
        ("one", "udp:192.0.2.2:5060"): 0.004,
    }
