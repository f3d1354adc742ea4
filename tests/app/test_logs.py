"""Logs: machine-readable, and without a real number whoever writes them."""

import json
import logging

import pytest
import structlog

from b2bua.app.logs import configure
from routing.numbers import mask, mask_text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("13800138000", "138****8000"),
        ("sip:+8613800138000@192.0.2.1", "sip:138****8000@192.0.2.1"),
        ("caller=8613800138000;", "caller=138****8000;"),
        ("01012345678 called", f"{mask('01012345678')} called"),
        ("700123456780001", "700123456780001"),
        ("block 70012345678 is frozen", "block 70012345678 is frozen"),
        ("0a1380013800013", "0a1380013800013"),
        ("192.0.2.1:5060", "192.0.2.1:5060"),
        ("2026-11-21T19:20:00.123456Z", "2026-11-21T19:20:00.123456Z"),
    ],
)
def test_numbers_are_masked_and_nothing_else(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.fixture
def _quiet_afterwards() -> object:
    yield
    structlog.reset_defaults()
    logging.basicConfig(force=True)


@pytest.mark.usefixtures("_quiet_afterwards")
def test_each_line_is_one_object_with_its_fields_masked(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    structlog.get_logger().info("call_refused", caller="+8613800138000", status=403)
    structlog.get_logger().debug("not_shown")
    logging.getLogger("asyncio").error("Task of %s failed", "13800138000")
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["event"], first["caller"], first["status"], first["level"]) == (
        "call_refused",
        "138****8000",
        403,
        "info",
    )
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["level"]) == ("Task of 138****8000 failed", "error")


@pytest.mark.usefixtures("_quiet_afterwards")
def test_a_traceback_is_masked_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    try:
        raise ValueError("no binding for 13800138000")
    except ValueError:
        structlog.get_logger().exception("failed")
    line = capsys.readouterr().err
    assert "138****8000" in line
    assert "13800138000" not in line


@pytest.mark.usefixtures("_quiet_afterwards")
def test_people_get_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure("warning", "console")
    structlog.get_logger().info("not_shown")
    structlog.get_logger().warning("trunk_down", trunk="carrier-a")
    line = capsys.readouterr().err
    assert "not_shown" not in line
    assert "trunk_down" in line
    assert "carrier-a" in line
