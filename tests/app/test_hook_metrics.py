"""What a scrape says of the verification hook and of announcements."""

from types import SimpleNamespace
from typing import Any

from b2bua.app.breaker import State
from b2bua.app.hook_metrics import hook_families, hook_figures
from b2bua.app.verification import VerificationFigures
from b2bua.call.statistics import Statistics


def scrape(figures: VerificationFigures, statistics: Statistics) -> dict[str, dict[tuple[str, ...], float]]:
    shell: Any = SimpleNamespace(verification=figures, switch=SimpleNamespace(statistics=statistics))
    shown: dict[str, dict[tuple[str, ...], float]] = {}
    for family in hook_families(hook_figures(shell)):
        for sample in family.samples:
            shown.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return shown


def test_a_switch_without_a_hook_shows_zeros() -> None:
    shown = scrape(VerificationFigures(), Statistics())
    assert shown["x700_verifications_waiting"] == {(): 0}
    assert shown["x700_verification_suspended"] == {(): 0}
    assert shown["x700_verification_tries_total"] == {(): 0}
    assert shown["x700_verification_seconds_count"] == {(): 0}
    assert "x700_prompts_total" not in shown


def test_everything_that_is_counted_is_shown() -> None:
    figures, statistics = VerificationFigures(), Statistics()
    figures.results.update({"passed": 3, "failed_closed": 1})
    figures.failures["timeout"] = 2
    figures.tries, figures.waiting, figures.state = 5, 4, State.HALF_OPEN
    for seconds in (0.004, 0.3, 9.0):
        figures.seconds.observe(seconds)
    statistics.prompts.update({"played": 7})
    shown = scrape(figures, statistics)
    assert shown["x700_verifications_total"] == {("passed",): 3, ("failed_closed",): 1}
    assert shown["x700_verification_failures_total"] == {("timeout",): 2}
    assert shown["x700_verification_tries_total"] == {(): 5}
    assert shown["x700_verifications_waiting"] == {(): 4}
    assert shown["x700_verification_suspended"] == {(): 1}
    assert shown["x700_prompts_total"] == {("played",): 7}
    buckets = shown["x700_verification_seconds_bucket"]
    assert (buckets[("0.005",)], buckets[("0.25",)], buckets[("0.5",)], buckets[("+Inf",)]) == (1, 1, 2, 3)
    assert shown["x700_verification_seconds_sum"] == {(): 9.304}
