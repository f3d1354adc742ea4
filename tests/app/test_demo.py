"""The demo, end to end; and its judge, which must find a leak where there is one."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from b2bua.app import demo
from b2bua.app.cli_cdr import COLUMNS
from b2bua.app.cli_common import Exit
from b2bua.app.demo import scene
from b2bua.app.demo.messages import Traced, count_digits, find, parse_trace, value
from b2bua.app.demo.report import as_object, compare_call, show, verdict
from b2bua.app.demo.scene import Outcome, Phone

TRACE = """----------------------------------------------- 2026-11-21 19:56:44.784450
UDP message sent (935 bytes):

INVITE sip:700123456780001@127.0.0.1 SIP/2.0\r
Via: SIP/2.0/UDP 127.0.0.1:45070\r
via: SIP/2.0/UDP 127.0.0.1:45071\r
CSeq: 1 INVITE\r
\r
v=0\r
o=13800138000 1 1 IN IP4 127.0.0.1\r
a=tool:phone\r

----------------------------------------------- 2026-11-21 19:56:44.784755
UDP message received [423] bytes :

SIP/2.0 200 OK\r
CSeq: 1 INVITE\r
\r

"""


def test_a_trace_is_read_into_messages_and_their_fields() -> None:
    invite, answer = parse_trace(TRACE)
    assert (invite.sent, answer.sent) == (True, False)
    assert invite.first_line == "INVITE sip:700123456780001@127.0.0.1 SIP/2.0"
    assert value(invite, "Via") == "SIP/2.0/UDP 127.0.0.1:45070, SIP/2.0/UDP 127.0.0.1:45071"
    assert value(invite, "o=") == "13800138000 1 1 IN IP4 127.0.0.1"
    assert value(invite, "a=tool") == "tool:phone"
    assert value(invite, "Subject") == ""
    assert find((invite, answer), False, "SIP/2.0 200", "INVITE") == answer
    assert find((invite, answer), False, "SIP/2.0 200", "BYE") is None
    assert parse_trace("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "From: <sip:13800138000@x>",
        "From: <tel:+8613800138000>",
        "From: <tel:+86-138-0013-8000>",
        "Subject: 138 0013 8000 calls",
        "Subject: (138) 0013.8000",
        "From: <sip:%31%33%38%30%30%31%33%38%30%30%30@x>",
        "Call-ID: x13800138000x",
    ],
)
def test_digits_are_found_in_every_spelling(text: str) -> None:
    assert count_digits([Traced(False, f"BYE x SIP/2.0\n{text}\n")], "13800138000") == 1


def test_digits_are_not_found_where_they_are_not() -> None:
    assert count_digits([Traced(False, "Call-ID: 1380013800\nCSeq: 0 BYE\nTo: 139 0013 9000")], "13800138000") == 0


@pytest.fixture(scope="module")
def unmasked(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The same two phones with no switch between them."""
    port_a, port_b = scene.free_ports(2)
    a, b = Phone("A", scene.A, port_a), Phone("B", scene.B, port_b)
    directory = tmp_path_factory.mktemp("unmasked")
    call = scene._call(directory, b.port, a, b)
    return Outcome(a, b, (call,), (dict.fromkeys(COLUMNS) | {"outcome": "answered"},))


def test_the_judge_finds_the_leaks_of_a_call_without_a_switch(unmasked: Outcome) -> None:
    (call,) = unmasked.calls
    assert call.completed
    assert unmasked.digits_of_a_at_b > 10
    assert unmasked.digits_of_b_at_a > 10
    assert not unmasked.right


def test_a_leak_shows_in_the_report(unmasked: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    show(unmasked)
    text = capsys.readouterr().out
    assert "The demo FAILED" in text
    assert verdict(unmasked) in text
    invite, answer = compare_call(unmasked.calls[0])
    assert all(sent == seen for _, sent, seen in invite + answer)
    assert as_object(unmasked)["right"] is False


def run_demo(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "b2bua.app.cli", "demo", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_demo_masks_both_calls_and_leaves_their_records() -> None:
    result = run_demo("--json")
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert outcome["right"] is True
    assert outcome["verdict"] == {"digits_of_b_at_a": 0, "digits_of_a_at_b": 0}
    assert [(call["caller"], call["callee"], call["completed"]) for call in outcome["calls"]] == [
        ("A", "B", True),
        ("B", "A", True),
    ]
    for call in outcome["calls"]:
        seen = {row["field"]: row["seen"] for row in call["invite"]}
        assert "<sip:700123456780001@" in seen["From"]
        assert seen["Subject"] == seen["P-Access-Network-Info"] == ""
    assert [(record["calling"], record["outcome"], record["a"]) for record in outcome["records"]] == [
        ("a", "answered", "138****8000"),
        ("b", "answered", "138****8000"),
    ]


def test_the_demo_speaks_to_people_and_can_keep_its_files() -> None:
    result = run_demo("--keep")
    assert result.returncode == 0, result.stderr
    assert "digits of B at A: 0 / digits of A at B: 0" in result.stdout
    assert "A sends" in result.stdout
    assert "B sees" in result.stdout
    (kept,) = [line.removeprefix("kept: ") for line in result.stderr.splitlines() if line.startswith("kept: ")]
    traces = list(Path(kept).glob("*.messages"))
    assert len(traces) == 4
    shutil.rmtree(kept)


def test_without_sipp_the_package_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/none")
    assert demo.run_demo(keep=False, as_json=False) is Exit.FAILED
    assert "apt-get install sip-tester" in capsys.readouterr().err


def test_a_switch_that_cannot_start_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(scene, "free_ports", lambda count: [port, 5070, 5090])
        assert demo.run_demo(keep=False, as_json=True) is Exit.FAILED
    output = capsys.readouterr()
    assert "the switch ended at its start" in output.err
    assert f"sip.listen 127.0.0.1:{port}" in output.err
    assert output.out == ""
