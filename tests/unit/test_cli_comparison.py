"""What `libra verify` and `libra recompute` say of what they compared."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cli.comparison import show
from shared.recompute import Corrected, Loss, Report

W = datetime(2025, 9, 4, 19, 10, tzinfo=UTC)


def report(entries: int = 0, documents: int = 0, *corrections: Corrected) -> Report:
    """What a dry run found."""
    drift = sum(abs(each.exact - each.stored) for each in corrections)
    return Report(None, W, "scan", "asked for", entries, documents, drift, corrections, 1, 0, 0.1)


@pytest.mark.parametrize(
    ("found", "unproven", "says", "not_said"),
    [
        (report(), 3, ["Nothing was compared", "2025-09-04 19:10:00 UTC", "3 entries"], "Every total"),
        (report(5, 4), 0, ["4 totals agree with the 5 entries up to 2025-09-04 19:10:00"], "not proven"),
        (report(5, 4), 2, ["Every total is right", "2 entries committed since then are not proven"], "wrong"),
        (report(5, 4, Corrected("a/b", "count", 1, 3)), 0, ["1 numbers were wrong, by 2"], "Every total"),
    ],
)
def test_a_verdict_says_what_was_compared_and_what_is_not_proven(
    found: Report, unproven: int, says: list[str], not_said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty comparison proves nothing, and does not read as if it did."""
    show(found, dry=True, unproven=unproven)
    printed = " ".join(capsys.readouterr().out.split())
    assert all(words in printed for words in says), printed
    assert not_said not in printed


@pytest.mark.parametrize(
    ("dry", "says"),
    [
        (True, ["A run refuses this loss (MassLoss): a says 3,000", "libra recompute --accept-loss"]),
        (False, ["Accepted loss: a says 3,000, and 3 were counted (99.90 % less)."]),
    ],
)
def test_a_loss_is_refused_in_a_dry_run_and_accepted_in_a_run(
    dry: bool, says: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The reader learns what a run would do, or what this one was told to do."""
    found = report(5, 4, Corrected("a/b", "count", 3_000, 3))
    show(replace(found, losses=(Loss("a", 3_000, 3),)), dry=dry)
    printed = " ".join(capsys.readouterr().out.split())
    assert all(words in printed for words in says), printed
    assert ("Accepted" in printed) != dry
