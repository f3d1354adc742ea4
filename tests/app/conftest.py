"""A node of its own for each test: settings, keys and an empty data directory."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from b2bua.app.cli import app
from b2bua.app.config import Settings, load
from cdr.seal import format_keyring, new_keyring

Command = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    keyring = tmp_path / "keyring"
    keyring.touch(mode=0o600)
    keyring.write_text(format_keyring(new_keyring()))
    path = tmp_path / "x700.toml"
    path.write_text(
        f'[node]\ndata_dir = "{tmp_path}"\n[sip]\nlisten = "127.0.0.1:0"\n[journal]\nsegment_mib = 1\n'
        '[ops]\nlisten = "127.0.0.1:0"\n[api]\nlisten = "127.0.0.1:0"\n[[trunk]]\nname = "carrier-a"\n'
        'peers = ["127.0.0.1:5070"]\n'
    )
    for name in os.environ:
        if name.startswith("X700_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("X700_CONFIG", str(path))
    return path


@pytest.fixture
def settings(config: Path) -> Settings:
    return load(config, {})


@pytest.fixture
def x700(config: Path) -> Command:
    """Run the command with these words; its exit code, standard output and standard error."""

    def run(*words: str, stdin: str = "") -> Result:
        return CliRunner().invoke(app, list(words), input=stdin or None)

    return run


def parsed(result: Result) -> object:
    """Standard output as JSON, and nothing but JSON."""
    return json.loads(result.stdout)
