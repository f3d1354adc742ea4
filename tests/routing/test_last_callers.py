"""The last caller of a group: the newest one, in memory or written down."""

import pytest

from routing import last_callers as module
from routing.last_callers import LastCallers


def test_the_newest_caller_of_each_binding_is_known() -> None:
    callers = LastCallers()
    assert callers.get("one") == ""
    callers.note("one", "+8613800138000")
    callers.note("two", "+8613900139000")
    callers.note("one", "+8615000150000")
    assert callers.get("one") == "+8615000150000"
    assert callers.get("two") == "+8613900139000"


def test_what_is_not_in_memory_is_asked_of_the_file_once() -> None:
    asked: list[str] = []

    def stored(binding: str) -> str:
        asked.append(binding)
        return "+8613800138000" if binding == "old" else ""

    callers = LastCallers(stored)
    assert [callers.get("old"), callers.get("old"), callers.get("none"), callers.get("none")] == [
        "+8613800138000",
        "+8613800138000",
        "",
        "",
    ]
    assert asked == ["old", "none"]


def test_what_cannot_be_read_now_is_asked_for_again() -> None:
    answers = iter([None, "+8613800138000"])
    callers = LastCallers(lambda binding: next(answers))
    assert [callers.get("one") for _ in range(3)] == ["", "+8613800138000", "+8613800138000"]
    assert callers.changes() == []


def test_only_changes_are_written_down() -> None:
    callers = LastCallers(lambda binding: "+8613800138000")
    callers.get("read")
    callers.note("read", "+8613800138000")  # the same as before
    callers.note("new", "+8613900139000")
    assert callers.changes() == [("new", "+8613900139000")]
    assert callers.changes() == []
    callers.touch()
    assert sorted(callers.changes()) == [("new", "+8613900139000"), ("read", "+8613800138000")]


@pytest.mark.parametrize("written", [True, False])
def test_memory_is_bounded_and_loses_nothing_that_is_not_written_down(
    written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 3)
    file: dict[str, str] = {}
    callers = LastCallers(lambda binding: file.get(binding, ""))
    for index in range(3):
        callers.note(f"{index}", f"+861380013800{index}")
    changes = callers.changes()
    if written:
        file.update(changes)
        callers.written()
    callers.note("3", "+8613800138003")
    callers.note("4", "+8613800138004")
    assert [callers.get(f"{index}") for index in range(5)] == [f"+861380013800{index}" for index in range(5)]
    assert len(callers) == (3 if written else 5)
