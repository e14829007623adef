"""What `libra verify` and `libra recompute` say of what they compared."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cli.against import show_views
from cli.comparison import show
from shared.exports.views import ViewComparison
from shared.recompute import Corrected, Filling, Loss, Report

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


def test_another_way_to_count_is_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the report has a proposal, and only there."""
    show(replace(report(5, 4), proposal="Consider the strategy beam"), dry=False)
    assert "Consider the strategy beam." in capsys.readouterr().out
    show(report(5, 4), dry=False)
    assert "beam" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("dry", "times", "says"),
    [
        (True, (None, None), "a is new: 7 are to be filled in; no run has seen it yet."),
        (True, (W, None), "7 are to be filled in; a run at 2025-09-04 19:10:00 UTC or later makes it exact."),
        (False, (W, None), "7 were filled in; a run at 2025-09-04 19:10:00 UTC or later makes it exact."),
        (False, (W, W), "a is new: 7 were filled in; it is exact from now on."),
    ],
)
def test_what_is_filled_is_told_and_is_nothing_wrong(
    dry: bool,
    times: tuple[datetime | None, datetime | None],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With when it will be exact. A dry run does not claim that every total is right."""
    found = replace(report(5, 4), filled=7, filling=(Filling("a", "new", 7, *times),))
    show(found, dry=dry)
    printed = " ".join(capsys.readouterr().out.split())
    assert says in printed
    assert ("Nothing drifted up to 2025-09-04 19:10:00 UTC. Nothing was changed." in printed) == dry
    assert ("Every total is right" in printed) != dry


def test_a_first_run_is_not_told_as_a_backfill(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was expected of it: what it corrected is drift, and is told as such."""
    show(replace(report(5, 4), filling=(Filling("a", "first", 0, W, None),)), dry=False)
    assert "a is first" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("totals", "moving", "says"),
    [
        (3, 0, "All 3 totals in the views are those of Firestore"),
        (3, 2, "1 of 3 totals in the views are those of Firestore"),
        (3, 3, "No total in the views was compared"),
        (0, 0, "No total in the views was compared"),
    ],
)
def test_a_total_that_moved_is_not_told_as_equal(
    totals: int, moving: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where every total moved, or there is none, nothing was proven."""
    show_views("the views", ViewComparison(W, W, None, totals, moving))
    assert says in " ".join(capsys.readouterr().out.split())
