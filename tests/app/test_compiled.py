"""Compiled modules are noticed when their source has changed, and can be removed."""

import os
from pathlib import Path

import pytest

from b2bua.app import compiled


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree of one module, compiled."""
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    monkeypatch.setattr(compiled, "LIBRARIES", tmp_path)
    monkeypatch.setattr(compiled, "MODULES", ())
    for package in compiled.PACKAGES:
        (tmp_path / package).mkdir(parents=True)
    source = tmp_path / "b2bua/sip/parser.py"
    source.write_text("")
    source.with_suffix(compiled.SUFFIX).write_text("")
    (tmp_path / compiled.SHARED).write_text("")
    return tmp_path


def test_a_module_compiled_after_its_last_change_is_right(tree: Path) -> None:
    os.utime(tree / "b2bua/sip/parser.py", (1, 1))
    assert compiled.stale() == []


def test_a_module_changed_since_is_named(tree: Path) -> None:
    os.utime(tree / f"b2bua/sip/parser{compiled.SUFFIX}", (1, 1))
    assert compiled.stale() == ["b2bua/sip/parser.py"]


def test_clean_leaves_the_sources_alone_and_what_others_have_compiled(tree: Path) -> None:
    (tree / f"1c14__mypyc{compiled.SUFFIX}").write_text("")
    compiled.clean()
    assert sorted(path.name for path in tree.rglob("*.*")) == [f"1c14__mypyc{compiled.SUFFIX}", "parser.py"]
    assert compiled.stale() == []
