"""The interop matrix: made of results, and the README has the one of the results in the tree."""

from pathlib import Path

import pytest

from tests.interop import test_calls
from tests.interop.results import BEHAVIOURS, README, RESULTS, Result, embed, load, render, save

SPEECH, CALLER_HOLDS, CALLEE_HOLDS = (
    "test_both_parties_hear_each_other",
    "test_the_caller_holds_and_resumes",
    "test_the_callee_holds_and_resumes",
)


def test_the_readme_shows_the_results_in_the_tree() -> None:
    text = README.read_text(encoding="utf-8")
    assert embed(text, render(*load(RESULTS))) == text


def test_every_result_in_the_tree_is_good() -> None:
    _, versions, results = load(RESULTS)
    assert {result for result in results if not result.passed} == set()
    assert set(versions) == {"Kamailio", "baresip", "pjsua2"}


def test_every_test_of_a_call_speaks_for_a_column() -> None:
    assert {name for tests in BEHAVIOURS.values() for name in tests} == {
        name for name in vars(test_calls) if name.startswith("test_")
    }


def test_a_cell_names_what_went_well_strikes_what_did_not_and_leaves_out_what_was_not_tried() -> None:
    results = [
        Result("a to b", "udp", SPEECH, True),
        Result("a to b", "tcp", SPEECH, False),
        Result("a to b", "udp", CALLER_HOLDS, True),
        Result("a to b", "udp", CALLEE_HOLDS, False),
        Result("c to d", "tcp", SPEECH, True),
    ]
    rows = render("2026-01-01", {"a": "1.0"}, results).splitlines()
    assert rows[0] == "Played on 2026-01-01 with a 1.0."
    assert rows[-2].split(" | ")[:2] == ["| a to b", "UDP, ~~TCP~~"]
    assert rows[-2].split(" | ")[-1] == "~~UDP~~ |"
    assert rows[-1].split(" | ") == ["| c to d", "TCP", *["–"] * (len(BEHAVIOURS) - 2), "– |"]


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    results = [Result("a to b", "udp", SPEECH, True)]
    save(tmp_path / "results.json", results, {"b": "2", "a": "1"})
    _, versions, loaded = load(tmp_path / "results.json")
    assert (versions, loaded) == ({"a": "1", "b": "2"}, results)


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    assert embed("x\n<!-- interop -->\nold\n<!-- /interop -->\ny", "new") == (
        "x\n<!-- interop -->\nnew\n<!-- /interop -->\ny"
    )
    with pytest.raises(ValueError, match="no place"):
        embed("x", "new")
