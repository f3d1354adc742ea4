"""Who speaks on a connection: as the settings are when it speaks, whatever they were when it was made."""

from dataclasses import replace

import pytest

from b2bua.call.origins import Origins
from b2bua.call.trunk_state import TrunkStates
from b2bua.sip.endpoint import Endpoint
from b2bua.sip.timers import TimerValues
from routing.trunks import Peer, Trunk

NONE: frozenset[str] = frozenset()
SHOWN = frozenset(("a.example",))
HERE, THERE = ("192.0.2.1", 5060), ("192.0.2.9", 5060)
A = Trunk("a", (Peer(*HERE), Peer(*THERE)), transport="tls")
NAMED = replace(A, certificate_names=("a.example",))
LEFT = replace(A, peers=(Peer(*HERE),))


def origins(*trunks: Trunk, calls: bool = True) -> Origins:
    states = TrunkStates(trunks, lambda: 0.5)
    endpoint = Endpoint(TimerValues(), lambda: "t", {"main": "192.0.2.2:5060"})
    return Origins(trunks, states, endpoint, lambda names: {1} if calls else set(), lambda name: None)


@pytest.mark.parametrize(
    ("before", "after", "address", "names", "told"),
    [
        (A, [replace(A, max_calls=1)], THERE, NONE, "present"),
        (A, [LEFT], HERE, NONE, "present"),
        (A, [LEFT], THERE, NONE, "former"),
        (A, [], THERE, NONE, "former"),
        (A, [NAMED], HERE, NONE, "former"),
        (A, [NAMED], HERE, SHOWN, "present"),
        (NAMED, [LEFT], THERE, SHOWN, "former"),
        (NAMED, [replace(NAMED, peers=())], ("192.0.2.77", 9), SHOWN, "present"),
        (NAMED, [replace(NAMED, certificate_names=("new.example",))], HERE, SHOWN, "former"),
        (A, [LEFT, Trunk("b", (Peer(*THERE),))], THERE, NONE, "b"),
        (A, [LEFT, Trunk("b", (), certificate_names=("a.example",))], THERE, SHOWN, "b"),
    ],
)
def test_a_change_counts_for_connections_that_are_open(
    before: Trunk, after: list[Trunk], address: tuple[str, int], names: frozenset[str], told: str
) -> None:
    known = origins(before)
    assert known.speaker("a", address, names) is before
    known.replace(after, 0.0)
    trunk = known.speaker("a", address, names)
    assert trunk is not None
    assert trunk.name == ("b" if told == "b" else "a")
    assert known.present(trunk) is (told != "former")


def test_who_was_never_known_is_nobody_and_so_is_who_is_forgotten() -> None:
    known = origins(A, calls=False)
    assert known.speaker("", HERE, NONE) is None
    known.replace([], 0.0)
    (former,) = known._former
    former.fire(99.0)
    assert known.speaker("a", HERE, NONE) is None


@pytest.mark.parametrize(
    ("peer", "host", "names"),
    [
        ("2001:DB8:0::1", "2001:db8:0:0::1", {"2001:db8::1"}),
        ("SIP.Carrier.example", "192.0.2.1", {"192.0.2.1"}),
        ("192.0.2.1", "192.0.2.1", {"192.0.2.1"}),
    ],
)
def test_an_address_is_expected_in_one_way_of_writing(peer: str, host: str, names: set[str]) -> None:
    assert origins(Trunk("a", (Peer(peer, 5061),))).expects(host, 5061)[1] == names
