"""What a strategy is expected to take, and which is chosen."""

from shared.counting.cost import (
    PATIENCE_SECONDS,
    SCANNED_A_SECOND,
    Estimate,
    choose,
    index_cost,
    proposal,
    scan_cost,
)


def test_a_scan_costs_a_read_for_each_entry() -> None:
    """And one where there is none: every query is billed."""
    assert [scan_cost(entries).reads for entries in (0, 1, 10_000_000)] == [1, 1, 10_000_000]


def test_the_index_costs_a_thousandth_and_what_there_is_to_tell_apart() -> None:
    """Ten million entries, 60 ingredients, 6 actions, a year of hours."""
    assert index_cost(10_000_000, [60, 6], [8_760], workers=8).reads == 4 * 10_000 + 2 * 66 + 2 * 8_760 + 4


def test_keys_are_found_one_after_another() -> None:
    """So many keys take long, however many workers there are."""
    assert index_cost(1_000, [50_000], [], workers=1_000).seconds == 1_000


def test_the_cheaper_one_is_chosen_and_both_estimates_are_told() -> None:
    """The reader of a report can judge the choice."""
    assert choose(Estimate(1_000, 1), Estimate(20, 2)) == (
        "index",
        "about 20 reads in 2 s; scan: about 1,000 reads in 1 s",
    )
    assert choose(Estimate(10, 1), Estimate(20, 2))[0] == "scan"


def test_cheap_but_endless_is_not_chosen() -> None:
    """A snapshot does not live long enough for it."""
    strategy, why = choose(Estimate(1_000_000, 600), Estimate(20_000, 4_000))
    assert (strategy, why.endswith("4,000 s, which is too long")) == ("scan", True)


def test_where_both_are_endless_the_cheaper_one_is_tried() -> None:
    """Point-in-time recovery may keep its snapshot."""
    assert choose(Estimate(1_000_000, 9_000), Estimate(20_000, 4_000))[0] == "index"


def test_a_scan_that_takes_half_of_its_hour_proposes_beam() -> None:
    """Before the night on which it no longer fits, and for a scan alone."""
    most = int(PATIENCE_SECONDS * SCANNED_A_SECOND)
    assert not proposal("scan", most)
    assert "27,015,000 entries takes 30 minutes" in proposal("scan", most + SCANNED_A_SECOND)
    assert "strategy beam (docs/pipelines.md)" in proposal("scan", 1_000_000_000)
    assert not proposal("index", 1_000_000_000)
    assert not proposal("beam", 1_000_000_000)
