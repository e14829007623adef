"""The order in which a change of the LAG is safe."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.lag import DRAIN, LONGEST_RUN, Deployed, plan

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=2)


def deployed(seconds: int, since: datetime = LONG_AGO) -> Deployed:
    """A function with that LAG."""
    return Deployed(timedelta(seconds=seconds), since)


def lags(wanted: int, trigger: Deployed | None, recompute: Deployed | None) -> tuple[float, float, bool]:
    """The plan in seconds, and whether something is pending."""
    done = plan(timedelta(seconds=wanted), trigger, recompute, NOW)
    return done.trigger.total_seconds(), done.recompute.total_seconds(), bool(done.pending)


def test_a_first_deployment_gives_both_the_same() -> None:
    """There is no instance and no watermark yet that could disagree."""
    assert lags(600, None, None) == (600, 600, False)


def test_an_unchanged_lag_is_kept() -> None:
    """Nothing is pending when nothing changes, however fresh the deployment."""
    assert lags(600, deployed(600, NOW), deployed(600, NOW)) == (600, 600, False)


def test_a_shorter_lag_goes_to_the_trigger_first() -> None:
    """An old instance would take an entry for fresh that the recompute's new watermark has passed."""
    assert lags(400, deployed(600), deployed(600)) == (400, 600, True)
    just_now = NOW - DRAIN + timedelta(seconds=1)
    assert lags(400, deployed(400, just_now), deployed(600)) == (400, 600, True)
    assert lags(400, deployed(400, NOW - DRAIN), deployed(600)) == (400, 400, False)


def test_a_longer_lag_goes_to_the_recompute_first() -> None:
    """The trigger would take an entry for fresh that the last watermark of the old LAG has passed."""
    assert lags(3600, deployed(600), deployed(600)) == (600, 3600, True)
    settled = NOW - LONGEST_RUN - timedelta(seconds=3600)
    assert lags(3600, deployed(600), deployed(3600, settled + timedelta(seconds=1))) == (600, 3600, True)
    assert lags(3600, deployed(600), deployed(3600, settled)) == (3600, 3600, False)


def test_what_is_pending_says_when_to_go_on() -> None:
    """The operator reads which function still has the old LAG and when `up` may be run again."""
    done = plan(timedelta(seconds=400), deployed(400, NOW), deployed(600), NOW)
    assert "400 is not yet deployed to the recompute" in done.pending
    assert (NOW + DRAIN).isoformat(timespec="minutes") in done.pending


@dataclass(frozen=True)
class Alive:
    """A revision with its LAG, from its deployment to the last moment that one of its instances may live."""

    lag: timedelta
    start: datetime
    end: datetime


def revisions(history: list[tuple[timedelta, datetime]], outlives: timedelta) -> list[Alive]:
    """Every revision of a function: the next one ends it, but not at once."""
    ends = [start + outlives for _, start in history[1:]] + [datetime.max.replace(tzinfo=UTC)]
    return [Alive(lag, start, end) for (lag, start), end in zip(history, ends, strict=True)]


def safe(trigger: Alive, recompute: Alive) -> bool:
    """No entry that the trigger takes for fresh can be behind a watermark that the recompute has set.

    At `now` the trigger takes entries younger than its LAG for fresh; the newest watermark of the recompute
    is its LAG before its last possible run.
    """
    now = max(trigger.start, recompute.start)
    return now > trigger.end or now - trigger.lag >= min(now, recompute.end) - recompute.lag


@given(st.integers(0, 7200), st.lists(st.tuples(st.integers(0, 7200), st.integers(0, 20_000)), max_size=8))
def test_no_watermark_passes_an_entry_taken_for_fresh(first: int, changes: list[tuple[int, int]]) -> None:
    """Whatever an operator asks for and however often, no instance old or new counts an entry twice."""
    start = timedelta(seconds=first)
    trigger, recompute, now = [(start, NOW)], [(start, NOW)], NOW
    for wanted, wait in changes:
        now += timedelta(seconds=wait)
        done = plan(timedelta(seconds=wanted), Deployed(*trigger[-1]), Deployed(*recompute[-1]), now)
        for history, lag in ((trigger, done.trigger), (recompute, done.recompute)):
            if lag != history[-1][0]:
                history.append((lag, now))
    for old in revisions(trigger, DRAIN):
        for other in revisions(recompute, LONGEST_RUN):
            assert safe(old, other), (trigger, recompute)


@pytest.mark.parametrize("wanted", [300, 600, 900])
def test_repeating_the_run_later_ends_the_change(wanted: int) -> None:
    """Two runs are enough, and then nothing is pending."""
    first = plan(timedelta(seconds=wanted), deployed(600), deployed(600), NOW)
    after = NOW + LONGEST_RUN + timedelta(seconds=wanted)
    second = plan(
        timedelta(seconds=wanted), Deployed(first.trigger, NOW), Deployed(first.recompute, NOW), after
    )
    assert (second.trigger, second.recompute) == (timedelta(seconds=wanted),) * 2
    assert not second.pending
