"""SIPp as judge: every scenario of sipp-scenarios/ is a test case, all those of a profile on one fresh switch."""

import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

import pytest

from routing.trunks import Peer

ROOT = Path(__file__).resolve().parent.parent / "sipp-scenarios"
sys.path.insert(0, str(ROOT))

from catalogue import PROFILES, SCENARIOS, Scenario  # noqa: E402
from phones import Sipp  # noqa: E402
from rig import Result, Rig  # noqa: E402
from run import LANES, main, show  # noqa: E402

FILES = sorted(ROOT.glob("ua[cs]_*.xml"))
USED = {f"uac_{s.caller.file}.xml" for s in SCENARIOS} | {
    f"uas_{p.file}.xml" for s in SCENARIOS for p in (*s.callees, s.media) if p is not None
}
PROFILE = pytest.mark.parametrize("profile", PROFILES)


class Running:
    """A switch with its scenarios: all are under way from the start, in lanes, and each test awaits its own."""

    def __init__(self, rig: Rig, lanes: ThreadPoolExecutor, scenarios: Sequence[Scenario]) -> None:
        self.rig = rig
        self.results: dict[str, Future[Result]] = {s.name: lanes.submit(rig.run, s) for s in scenarios}


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Running]]:
    """By profile; only what the session has chosen is run."""
    chosen = [item.callspec.params.get("scenario") for item in request.session.items if hasattr(item, "callspec")]
    with ExitStack() as stack:
        switches = {}
        for profile in PROFILES:
            scenarios = [s for s in SCENARIOS if s in chosen and s.profile == profile]
            rig = Rig(profile, scenarios)
            stack.callback(rig.remove)
            stack.enter_context(rig)
            switches[profile] = Running(rig, stack.enter_context(ThreadPoolExecutor(LANES // 2)), scenarios)
        yield switches


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario_satisfies_both_sides_and_leaves_its_record(
    running: Mapping[str, Running], scenario: Scenario
) -> None:
    result = running[scenario.profile].results[scenario.name].result()
    assert not result.problems, "\n".join([*result.problems, show(result)])


@PROFILE
def test_every_table_of_the_switch_is_empty_afterwards(running: Mapping[str, Running], profile: str) -> None:
    wait(running[profile].results.values())
    assert running[profile].rig.leftovers() == {}


@PROFILE
def test_each_attempt_has_left_one_record_and_nothing_else_has(running: Mapping[str, Running], profile: str) -> None:
    wait(running[profile].results.values())
    assert running[profile].rig.miscounts() == []


@PROFILE
def test_the_switch_reports_no_error_and_no_leak_at_its_tripwire(running: Mapping[str, Running], profile: str) -> None:
    wait(running[profile].results.values())
    assert running[profile].rig.alarms() == []


@PROFILE
def test_no_real_number_stands_in_clear_in_the_files_of_the_switch(
    running: Mapping[str, Running], profile: str
) -> None:
    wait(running[profile].results.values())
    assert running[profile].rig.clear_numbers() == []


def test_without_a_switch_between_them_both_phones_notice_that_real_numbers_cross(tmp_path: Path) -> None:
    keys = {"caller": "13800138000", "callee": "13900139000", "caller_address": "a", "callee_address": "b"}
    common = ["-i", "127.0.0.1", "-mi", "127.0.0.1", "-bind_local", "-nostdin", "-m", "1", "-s", "700123456780001"]
    common += ["-timeout", "10s", "-timeout_error"]
    common += [word for key, value in keys.items() for word in ("-key", key, value)]
    answer = ["sipp", "-sf", str(ROOT / "uas_caller_hangs_up.xml"), "-p", "25071", *common]
    call = ["sipp", "127.0.0.1:25071", "-sf", str(ROOT / "uac_caller_hangs_up.xml"), "-p", "25072", *common]
    callee = Sipp(answer, tmp_path, "callee")
    try:
        callee.await_socket("udp", Peer("127.0.0.1", 25071))
        caller = Sipp(call, tmp_path, "caller")
        deadline = time.monotonic() + 15
        assert (caller.wait(deadline), callee.wait(deadline)) == (1, 1)
    finally:
        callee.stop()
    assert "should not" in callee.complaint()
    assert "should not" in caller.complaint()


def test_every_file_belongs_to_a_scenario_and_every_scenario_has_its_files() -> None:
    assert {path.name for path in FILES} == USED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_message_received_is_searched_for_the_other_party(path: Path) -> None:
    other, agent = ("callee", "Callee-Phone") if path.name.startswith("uac_") else ("caller", "Caller-Phone")
    for block in re.findall(r"<recv .*?</recv>", text := path.read_text(), re.DOTALL):
        assert '<ereg regexp=".*" search_in="msg" assign_to="got"/>' in block
        assert f'value="[{other}] [{other}_address] [$got]"' in block
        assert rf'(\1|\2([^0-9]|$)|{agent})" search_in="var" variable="leaks" check_it_inverse="true"' in block
    assert text.count("<recv ") == text.count("</recv>")


def test_the_table_of_the_readme_names_every_scenario() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(scenario.name for scenario in SCENARIOS)


def test_the_runner_lists_its_scenarios_and_refuses_names_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.split() == [scenario.name for scenario in SCENARIOS]
    assert main(["answered", "no_such_thing"]) == 2
    assert "no_such_thing" in capsys.readouterr().out
