"""What `libra cost` reckons: its arithmetic, against numbers worked out by hand."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.cost import Load, bills, libra_writes
from cli.main import main
from cli.prices import LOCATIONS, Prices

ROOT = Path(__file__).parents[2]
PRICES = Prices("here", reads=1.0, writes=10.0, deletes=0.1, requests=0.0, cpu_second=0.0, gib_second=0.0)


def test_a_lone_entry_writes_its_marker_and_its_totals() -> None:
    """Five documents where every entry is served and none rides with another; naive writes four."""
    assert libra_writes(Load(1, served=1.0)) == pytest.approx(5, abs=0.01)


def test_entries_that_ride_together_share_their_totals() -> None:
    """A linger of a second at a hundred a second: markers, and at most 68 totals."""
    load = Load(100 * 12 * 3600, linger=1.0)
    assert load.together == pytest.approx(101)
    assert 1 < libra_writes(load) < 1 + 68 / 101


def test_a_bill_is_operations_times_prices() -> None:
    """A million naive events, all served: four million writes; nobody looks."""
    naive = next(bill for bill in bills(Load(1_000_000, looks=0, served=1.0)) if bill.name == "naive trigger")
    assert naive.dollars(PRICES) == pytest.approx(4_000_000 / 100_000 * 10.0)


def test_shards_are_paid_for_by_those_who_look() -> None:
    """Ten reads a look in place of one."""
    reads = {bill.name: bill.reads for bill in bills(Load(1000, looks=500))}
    assert reads["ten shards"] == 10 * reads["naive trigger"] == 5_000


def test_a_bigger_load_never_costs_less() -> None:
    """For every way of counting and every location."""
    for prices in LOCATIONS.values():
        small, large = (bills(Load(events, stored=30 * events)) for events in (10_000, 10_000_000))
        assert all(a.dollars(prices) < b.dollars(prices) for a, b in zip(small, large, strict=True))


def test_edits_and_deletions_are_paid_for() -> None:
    """Alone in its commit an edit writes a marker and two categories, a deletion what a creation does; a
    deletion reads its marker, the entry once and the watermark."""
    plain, changed = (Load(100, looks=0, served=1.0, edits=it, deletions=it) for it in (0.0, 1.0))
    before, after = bills(plain)[0], bills(changed)[0]
    assert after.writes - before.writes == pytest.approx(100 * (3 + 5), rel=0.01)
    assert after.reads - before.reads == pytest.approx(100 * 3, rel=0.01)
    assert (after.events, after.deletes) == (300, 300)


def test_the_command_prints_both_tables() -> None:
    """Every way of counting stands in both, and the prices are dated."""
    result = CliRunner().invoke(main, ["cost", "--events-per-day", "1000000"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert result.output.count("naive trigger") == 2
    assert "List prices of November 2026 in nam5" in result.output


def test_the_command_wants_a_load() -> None:
    """There is no load that suits everybody."""
    assert CliRunner().invoke(main, ["cost"]).exit_code == 2


def test_the_documentation_shows_what_the_command_reckons() -> None:
    """The table in docs/costs.md is that of a million events a day, to the cent."""
    arguments = ["cost", "--events-per-day", "1000000"]
    printed = CliRunner().invoke(main, arguments, env={"COLUMNS": "120"}).output
    rows = [line for line in printed.splitlines() if line.startswith("│")]
    document = (ROOT / "docs" / "costs.md").read_text()
    for row in rows:
        name, *figures = (cell.strip() for cell in row.strip("│").split("│"))
        (line,) = [one for one in document.splitlines() if one.startswith(f"| {name} |") and "." in one]
        assert all(figure in line for figure in figures if figure[-1].isdigit() and figure != "1,000,000")
