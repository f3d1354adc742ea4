"""Profile §4 item 15: settings read again by a switch that carries calls: by signal, by command, for a whole node."""

import signal
import time
from collections.abc import Mapping

import pytest

from tests.system.node import ANSWERED, CALLER, PATIENCE, Node, Process, until
from tests.system.phones import Call


@pytest.fixture
def switch(node: Node) -> Process:
    return node.switch()


def answered(node: Node) -> Call:
    """A call that is up."""
    call = node.phones.place(ANSWERED.x, CALLER, None)
    assert call.answered.wait(PATIENCE)
    return call


def final(node: Node) -> int:
    """What a short call comes to."""
    call = node.phones.place(ANSWERED.x, CALLER, 0.1)
    assert call.over.wait(PATIENCE)
    return call.final


def reloads(node: Node, result: str) -> float:
    return node.count("x700_reloads", result=result)


def command(node: Node) -> tuple[int, list[str]]:
    """`x700 reload`."""
    process = node.start("reload")
    code = process.wait()
    lines, process.lines[:] = list(process.lines), []
    return code, lines


def test_limits_change_by_signal_and_no_call_is_lost(node: Node, switch: Process) -> None:
    call = answered(node)
    at = time.time()
    node.write_config({"limits": {"max_calls": 1}, "sip": {"listen": "127.0.0.9:5060"}})
    switch.signal(signal.SIGHUP)
    until(lambda: reloads(node, "ok") == 1, "the reload")
    assert final(node) == 503
    assert node.count("x700_settings_good_timestamp_seconds") >= at
    assert node.count("x700_settings_pending") == 1
    (told,) = switch.events("reloaded")
    assert (told["changed"], told["restart"]) == (["limits.max_calls"], ["sip.listen"])
    node.phones.hang_up(call)
    assert call.over.wait(PATIENCE)
    assert call.bye_status == 200
    until(lambda: node.tables()["calls"] == 0, "the end of the call")
    assert final(node) == 200
    assert switch.stop() == 0
    assert [stored.record.reason for stored in node.record()] == ["", "total_limit", ""]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"limits": {"max_calls": -1}}, "limits.max_calls = -1: must be 0 or more; write, for example, max_calls ="),
        ({"limits": {"max_cals": 1}}, "limits.max_cals = 1: unknown key; did you mean max_calls?"),
    ],
)
def test_a_mistake_changes_nothing_and_is_named(
    node: Node, switch: Process, settings: Mapping[str, Mapping[str, object]], words: str
) -> None:
    node.write_config(settings)
    switch.signal(signal.SIGHUP)
    until(lambda: reloads(node, "failed") == 1, "the reload")
    assert words in str(switch.events("reload_failed")[0]["problem"])
    assert reloads(node, "ok") == 0
    assert final(node) == 200
    assert node.ask(command="reload")["ok"] is False
    code, lines = command(node)
    assert code == 2
    assert words in "\n".join(lines)


def test_the_command_says_what_changed_and_what_needs_a_restart(node: Node, switch: Process) -> None:
    assert command(node) == (0, ["nothing has changed"])
    node.write_config(
        {"limits": {"max_calls": 7}, "sip": {"listen": "127.0.0.9:5060"}, "records": {"retention_days": 800}}
    )
    code, lines = command(node)
    assert code == 0
    assert lines == [
        "changed: limits.max_calls",
        "changed but needs a restart: sip.listen",
        "changed for the recorder, which takes it over on SIGHUP: records.retention_days",
    ]


def test_a_trunk_that_is_taken_away_ends_no_call_and_begins_none(node: Node, switch: Process) -> None:
    call = answered(node)
    text = node.config.read_text()
    there = text.index('[[trunk]]\nname = "callee"')
    after = text.index('[[trunk]]\nname = "noisy"')
    node.config.write_text(text[:there] + text[after:])
    assert command(node) == (0, ["changed: trunk[callee] removed"])
    assert final(node) == 500
    (taken,) = node.phones.taken(call)
    node.phones.hang_up(call)
    assert call.over.wait(PATIENCE)
    assert call.bye_status == 200
    until(lambda: taken.bye_received_ms, "the BYE over the trunk that is gone")
    until(lambda: not any(node.tables().values()), "empty tables")  # 64·T1 later the trunk is forgotten
    node.config.write_text(text)
    assert command(node) == (0, ["changed: trunk[callee] added"])
    assert final(node) == 200


def test_the_level_of_the_log_changes_while_it_runs(node: Node, switch: Process) -> None:
    node.write_config({"log": {"level": "error"}})
    assert command(node)[0] == 0
    assert switch.stop() == 0
    assert switch.events("draining") == []


def test_a_whole_node_passes_the_signal_on(node: Node) -> None:
    supervisor = node.start("run").wait_ready()
    call = answered(node)
    node.write_config({"limits": {"max_calls": 1}, "records": {"retention_days": 800}})
    supervisor.signal(signal.SIGHUP)
    until(lambda: len(supervisor.events("reloaded")) == 2, "both to reload")
    assert {event.get("retention_days") for event in supervisor.events("reloaded")} == {None, 800}
    assert final(node) == 503
    node.write_config({"limits": {"max_calls": -1}})
    supervisor.signal(signal.SIGHUP)
    until(lambda: len(supervisor.events("reload_failed")) == 2, "both to refuse")
    node.phones.hang_up(call)
    assert call.over.wait(PATIENCE)
    assert supervisor.stop() == 0
    assert supervisor.events("child_died") == []


def test_reloads_without_pause_lose_no_call(node: Node, switch: Process) -> None:
    calls = list[Call]()
    for number in range(60):
        node.write_config({"limits": {"max_calls": 1000 + number}})
        switch.signal(signal.SIGHUP)
        calls.append(node.phones.place(ANSWERED.x, CALLER, 0.2))
        time.sleep(0.02)
    assert all(call.over.wait(PATIENCE) for call in calls)
    assert {(call.final, call.bye_status) for call in calls} == {(200, 200)}
    assert reloads(node, "ok") > 0
    assert reloads(node, "failed") == 0
