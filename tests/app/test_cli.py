"""The commands without a noun, and what all commands keep: exit codes, messages, no traceback."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from b2bua.app import cli, cli_block, cli_common
from b2bua.app.cli_common import Exit
from b2bua.app.config import OVERRIDES, settings_table
from cdr.seal import parse_keyring
from tests.app.conftest import Command, parsed

NOUNS = {"block": 4, "bind": 3, "cdr": 3, "calls": 3}


def test_every_command_explains_itself_and_its_exit_codes(x700: Command) -> None:
    first = x700("--help")
    assert first.exit_code == 0
    for code in Exit:
        assert re.search(rf"\b{code.value}\s", first.stdout.partition("Exit codes")[2])
    for noun in NOUNS:
        assert noun in first.stdout
        assert x700(noun, "--help").exit_code == 0


def test_every_command_that_prints_takes_json() -> None:
    silent = {"run", "switch", "recorder", "api", "export"}  # an export has a format of its own
    for noun in (cli.app, *(group.typer_instance for group in cli.app.registered_groups)):
        assert noun is not None
        for command in noun.registered_commands:
            assert command.callback is not None
            if command.name not in silent:
                assert "as_json" in command.callback.__annotations__, command.name


def test_shell_completion_is_offered(x700: Command) -> None:
    assert "--install-completion" in x700("--help").stdout


def test_a_wrong_command_line_ends_with_2(x700: Command) -> None:
    for words in (
        ("blocks",),
        ("block", "add"),
        ("cdr", "list", "--limit", "many"),
        ("cdr", "list", "--since", "noon"),
    ):
        assert x700(*words).exit_code == Exit.USAGE, words


def test_wrong_settings_end_with_2_and_every_problem(x700: Command, config: Path) -> None:
    config.write_text("[sip]\nt1_ms = 0\n" + config.read_text().replace("[sip]\n", "[limits]\nvia_field = 1\n[log]\n"))
    for command in (
        ("block", "list"),
        ("cdr", "count"),
        ("calls", "list"),
        ("run",),
        ("switch",),
        ("recorder",),
        ("api",),
    ):
        result = x700(*command)
        assert result.exit_code == Exit.USAGE
        assert f"{config}: sip.t1_ms = 0: must be 1 or more; write, for example, t1_ms = 500\n" in result.stderr
        assert f"{config}: limits.via_field = 1: unknown key; did you mean via_fields?\n" in result.stderr
        assert result.stdout == ""


# --- check-config


def test_right_settings_are_summed_up(x700: Command, config: Path) -> None:
    result = x700("check-config")
    assert result.exit_code == 0
    assert "carrier-a (127.0.0.1:5070)" in result.stdout
    assert result.stderr == f"{config}: right\n"


def test_right_settings_in_json_hold_all_but_the_keys(x700: Command, config: Path) -> None:
    answer = parsed(x700("check-config", "--json"))
    assert isinstance(answer, dict)
    assert answer["ok"] is True
    assert answer["settings"]["records"]["directory"] == str(config.parent / "records")
    assert "keyring" not in answer["settings"]


def test_wrong_settings_in_json_are_a_list_of_problems(x700: Command, config: Path) -> None:
    config.write_text(config.read_text().replace("segment_mib = 1", "segment_mib = 0"))
    result = x700("check-config", "--json")
    assert result.exit_code == Exit.USAGE
    assert parsed(result) == {
        "ok": False,
        "problems": [f"{config}: journal.segment_mib = 0: must be 1 or more; write, for example, segment_mib = 64"],
    }


def test_every_key_can_be_listed_without_a_file(x700: Command, config: Path) -> None:
    config.unlink()
    rows = parsed(x700("check-config", "--keys", "--json"))
    assert isinstance(rows, list)
    assert [(row["section"], row["key"]) for row in rows] == [(row.section, row.key) for row in settings_table()]
    assert {row["variable"] for row in rows} - {""} == {override.variable for override in OVERRIDES}


# --- keygen


def test_keygen_makes_a_private_file_once(x700: Command, tmp_path: Path) -> None:
    path = tmp_path / "new" / "keyring"
    assert parsed(x700("keygen", str(path), "--json")) == {"file": str(path), "made": True}
    assert path.stat().st_mode & 0o777 == 0o600
    made = path.read_text()
    assert parse_keyring(made).keys
    again = x700("keygen", str(path))
    assert again.exit_code == Exit.FAILED
    assert "left alone" in again.stderr
    assert parsed(x700("keygen", str(path), "--if-missing", "--json")) == {"file": str(path), "made": False}
    assert path.read_text() == made


def test_keygen_says_why_it_cannot_write(x700: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = x700("keygen", str(tmp_path / "file" / "keyring"))
    assert result.exit_code == Exit.FAILED
    assert result.stderr == f"[Errno 17] File exists: '{tmp_path / 'file'}'\n"


# --- what nobody expected


def x700_process(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-c", code] if code else [sys.executable, "-m", "b2bua.app.cli"]
    return subprocess.run([*start, *words], capture_output=True, text=True, timeout=60, check=False)


def test_a_defect_ends_in_one_masked_line(config: Path) -> None:
    code = """
import sys
from b2bua.app import cli, cli_block
def broken(config):
    raise RuntimeError("nothing is known of 13800138000")
cli_block.settings_of = broken
sys.argv = ["x700", "block", "list"]
cli.main()
"""
    result = x700_process(code=code)
    assert result.returncode == Exit.CRASHED
    assert result.stderr.startswith("x700: defect: RuntimeError: nothing is known of 138****8000 at <string>:")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_reader_that_has_had_enough_is_no_error(config: Path) -> None:
    command = f"{sys.executable} -m b2bua.app.cli check-config --keys --json | head -n 1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr == ""


def test_an_error_of_the_system_is_one_line(x700: Command, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/var/lib/x700/bindings.db")

    monkeypatch.setattr(cli_block, "binding_store", full)
    result = x700("block", "list")
    assert result.exit_code == Exit.FAILED
    assert result.stderr == "[Errno 28] No space left on device: '/var/lib/x700/bindings.db'\n"


def test_the_command_runs_as_a_process(config: Path) -> None:
    result = x700_process("check-config", "--config", str(config), "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["ok"] is True


# --- what is shown


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-02", 86_400_000),
        ("2026-11-21T19:20:00", 1_795_288_800_000),
        ("2026-11-21T19:20:00Z", 1_795_288_800_000),
        ("2026-11-22T03:20+08:00", 1_795_288_800_000),
    ],
)
def test_times_are_read_with_and_without_an_offset(text: str, milliseconds: int) -> None:
    assert cli_common.parse_instant(text) == milliseconds


def test_times_are_shown_in_utc() -> None:
    assert cli_common.format_instant(1_795_288_800_123) == "2026-11-21 19:20:00.123Z"
    assert cli_common.format_instant(0) == ""


def test_a_table_in_a_pipe_is_not_cut(x700: Command) -> None:
    rows = list(settings_table())
    table = x700("check-config", "--keys").stdout
    for row in rows:
        assert row.meaning in table


# --- the units of systemd


@pytest.mark.parametrize("name", ["x700", "x700-switch", "x700-recorder", "x700-api"])
def test_a_unit_stops_later_than_the_settings_drain(name: str) -> None:
    configs = Path(__file__).parents[2] / "configs"
    unit = (configs / "systemd" / f"{name}.service").read_text()
    values = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    drain = tomllib.loads((configs / "x700.toml").read_text())["sip"]["drain_seconds"]
    needed = {
        "x700": cli.API_SECONDS + drain + cli.DRAIN_MARGIN + cli.RECORDER_SECONDS,
        "x700-switch": drain + cli.DRAIN_MARGIN,
        "x700-recorder": cli.RECORDER_SECONDS,
        "x700-api": cli.API_SECONDS,
    }
    assert int(values["TimeoutStopSec"]) >= needed[name] + 10
    assert values["Type"] == "notify"
    assert values["Restart"] == "always"
    assert values["ExecStart"].split("/")[-1] == {"x700": "x700 run"}.get(name, name.replace("-", " "))
    assert int(values["RestartPreventExitStatus"]) == Exit.USAGE
    assert os.access(configs / "systemd" / f"{name}.service", os.R_OK)
