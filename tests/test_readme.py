"""What the README says and the code can check."""

from pathlib import Path

from b2bua.call.refusals import REFUSALS

README = Path(__file__).parents[1] / "README.md"


def test_the_refusal_table_is_the_one_in_the_code() -> None:
    section = README.read_text(encoding="utf-8").partition("<!-- refusals -->")[2].partition("<!-- /refusals -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.strip().splitlines()[2:]]
    expected = [
        [f"`{reason}`", str(verdict.status), str(verdict.q850), verdict.text, str(verdict.retry_after or "")]
        for reason, verdict in REFUSALS.items()
    ]
    assert rows == expected
