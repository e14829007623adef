"""The model of the platform's limits, with the real ledger in virtual time: what a hot document sustains.

Virtual time, seeded chance: the figures are the same on any machine.
"""

import random
import re
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.bench.limits import Approach, Assumptions, Limited, Outcome, Scenario, simulate


def run(approach: Approach, rate: float, instances: int = 1, **changed: object) -> Outcome:
    random.seed(7)  # the ledger's jitter
    return simulate(replace(Scenario(approach, rate, instances, warm_up=10, window=20), **changed))  # type: ignore[arg-type]  # a Scenario's fields


def test_a_bucket_lets_its_rate_through() -> None:
    """Five at once after a rest, then one a second."""
    bucket, now, taken = Limited(rate=1.0, burst=5), 100.0, 0
    while now < 120.0:
        if bucket.wait(now) == 0:
            bucket.take(now)
            taken += 1
        now += 0.1
    assert taken == 5 + 19


def test_the_naive_trigger_ends_at_the_documents_rate() -> None:
    """One event a second, whatever is offered."""
    outcome = run("naive", 50)
    assert outcome.sustained <= 1.1
    assert outcome.aborted > 10


def test_ten_shards_end_at_ten_times_that() -> None:
    """And each look at a total takes ten reads."""
    assert 8 <= run("sharded", 50).sustained <= 10.5


@pytest.mark.parametrize(("instances", "least"), [(1, 95), (3, 75)])
def test_the_ledger_carries_what_one_commit_a_second_holds(instances: int, least: float) -> None:
    """A hundred events a second on a document that takes one write a second; nothing counts twice.

    Three instances that know nothing of each other lose some commits to contention, and those events
    come again later than this looks.
    """
    outcome = run("libra", 100, instances, window=60)
    assert outcome.sustained >= least
    assert outcome.commits <= 1.3
    assert outcome.writes <= 1.1
    assert outcome.overcounted == 0


def test_a_linger_of_a_second_an_instance_meets_no_contention() -> None:
    """Two instances that commit every two seconds each: one write a second to the document."""
    settings = Settings(project="demo-limits", group_size=2_000, linger=timedelta(seconds=2))
    outcome = run("libra", 200, 2, settings=settings)
    assert outcome.sustained >= 190
    assert outcome.aborted == 0
    assert outcome.p99 <= 3


def test_without_limits_nobody_waits() -> None:
    """An idle platform: a commit's own time is all there is."""
    quick = Assumptions(document_rate=1e6, document_burst=1_000)
    outcome = run("libra", 5, assumptions=quick)
    assert outcome.p50 <= quick.commit_base + quick.commit_document * 5 + 0.001


def test_a_second_delivery_counts_twice_without_a_guard() -> None:
    """Of a few hundred events with one in ten delivered twice; the ledger shows each once."""
    quick = Assumptions(document_rate=1e6, document_burst=1_000, duplicates=0.1)
    assert run("naive", 20, assumptions=quick).overcounted > 20
    assert run("libra", 20, assumptions=quick).overcounted == 0


RATES = (1, 10, 100, 1_000)


@cache
def bought(approach: Approach, rate: float, **changed: object) -> float:
    """Documents written an event, its own included."""
    seconds = max(6.0, min(60.0, 6_000 / rate))
    changed |= {"warm_up": seconds / 3, "window": 2 * seconds / 3}
    outcome = run(approach, rate, 1, **changed)
    assert outcome.overcounted == 0 or approach == "naive"
    return outcome.writes + (approach != "intake")


@pytest.mark.parametrize("rate", RATES)
def test_an_intake_never_writes_more_than_a_naive_trigger(rate: float) -> None:
    """Whatever the rate, and also where each event has a user of its own: the worst case of `user_events`."""
    naive = bought("naive", rate)
    for users in (1, 20, 1_000_000):
        assert bought("intake", rate, users=users) <= naive
    assert bought("intake", rate, source="signals") <= naive


@pytest.mark.parametrize("rate", [100, 1_000])
def test_an_intake_writes_little_more_than_the_entries(rate: float) -> None:
    """From 100 events a second on: the totals that all events share are a tenth of a write at most."""
    assert bought("intake", rate, source="signals") <= 1.1
    assert bought("intake", rate, users=1) <= 1.1


def test_a_total_for_each_user_is_a_write_for_each_event() -> None:
    """What no grouping saves: events of different users share no such total."""
    assert 2.0 < bought("intake", 1_000, users=1_000_000) <= 2.1


ROWS = {
    "naive trigger, four totals": ("naive", {}),
    "Libra's trigger, four totals": ("libra", {}),
    "intake of `signals`, three totals": ("intake", {"source": "signals"}),
    "intake of `user_events`, all of one user": ("intake", {"users": 1}),
    "intake of `user_events`, of 20 users": ("intake", {"users": 20}),
    "intake of `user_events`, of 1,000 users and more": ("intake", {"users": 1_000_000}),
}


def test_the_page_has_what_the_model_says() -> None:
    """The table in docs/costs.md, to the last digit that it shows."""
    page = (Path(__file__).parents[2] / "docs" / "costs.md").read_text("utf-8")
    table = page.partition("| writes an event, at a rate of |")[2].partition("\n\n")[0]
    shown = {name: tuple(row.split(" | ")) for name, row in re.findall(r"\| (\D.*?) \| (\d.*) \|", table)}
    assert shown == {
        name: tuple(f"{bought(approach, rate, **changed):.2f}" for rate in RATES)  # type: ignore[arg-type]
        for name, (approach, changed) in ROWS.items()
    }
