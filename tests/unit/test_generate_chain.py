"""The generated chain: seeded, exact in number, and as odd as a real one."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from cli.audit import fold
from cli.generator import EPOCH, Plan, Written, amend, amended, generate
from shared.settings import Settings

UNTIL = date(2025, 9, 14)
NEW_YORK = ZoneInfo("America/New_York")


def plan(entries: int, **changes: object) -> Plan:
    """A plan in New York."""
    return Plan(entries=entries, until=UNTIL, zone=NEW_YORK, **changes)  # type: ignore[arg-type] # fields by name


def instants(written: list[Written]) -> Iterator[datetime]:
    """Event times of the scales whose clock is right, in the chain's zone."""
    for entry in written:
        when = entry.fields["timestamp"]
        assert isinstance(when, datetime)
        if when.year > 1970:
            yield when.astimezone(NEW_YORK)


@pytest.mark.parametrize("entries", [1, 77, 3000])
def test_a_plan_gives_exactly_its_entries(entries: int) -> None:
    """As many as asked for, each under an id of its own."""
    written = generate(plan(entries))
    assert len({entry.id for entry in written}) == len(written) == entries


def test_the_same_seed_gives_the_same_entries() -> None:
    """Entries and ids: a second run finds everything there. Another seed shares no id."""
    assert generate(plan(500)) == generate(plan(500, malformed=0.02))
    first, other = generate(plan(500)), generate(plan(500, seed=2))
    assert not {entry.id for entry in first} & {entry.id for entry in other}


def test_a_plan_amends_its_entries_in_the_same_way() -> None:
    """So many are edited, to another ingredient, and so many deleted, each once; what is left follows."""
    asked = plan(1000, edits=0.05, deletions=0.02)
    written = generate(asked)
    amendments = amend(asked, written)
    assert amendments == amend(asked, written)
    assert len({each.id for each in amendments}) == len(amendments) == 70
    left = {entry.id: entry.fields for entry in amended(written, amendments)}
    before = {entry.id: entry.fields for entry in written}
    assert before.keys() - left.keys() == {each.id for each in amendments if each.fields is None}
    changed = {name for name in left if left[name].get("ingredient") != before[name].get("ingredient")}
    assert changed == {each.id for each in amendments if each.fields}


def test_good_entries_are_counted_everywhere() -> None:
    """Without malformed ones nothing is rejected; with them about that share is."""
    runs = [generate(plan(2000, malformed=share)) for share in (0, 0.2)]
    good, bad = (fold((entry.fields for entry in run), Settings()) for run in runs)
    assert good.rejected == 0
    assert 150 < bad.rejected < 400


def test_people_eat_at_meal_times_in_the_chains_zone() -> None:
    """Noon and evening are busy, night is not, and the days are the two weeks."""
    hours = Counter(when.hour for when in instants(generate(plan(3000, malformed=0))))
    assert min(hours[12], hours[19]) > 4 * hours[15]
    assert hours.keys() <= set(range(5, 24))
    days = {when.date() for when in instants(generate(plan(3000, malformed=0)))}
    assert (min(days), max(days), len(days)) == (date(2025, 9, 1), UNTIL, 14)


def test_some_scales_are_late_and_one_lost_its_clock() -> None:
    """Entries reach Firestore days after younger ones; one scale believes it is 1970."""
    timestamps = [entry.fields["timestamp"] for entry in generate(plan(3000, malformed=0))]
    times = [when for when in timestamps if isinstance(when, datetime)]
    clockless = [when for when in times if when < datetime(1971, 1, 1, tzinfo=UTC)]
    assert all(when >= EPOCH for when in clockless)
    assert 20 < len(clockless) < 300
    newest, behind = EPOCH, 0
    for when in times:
        behind += (newest - when).days >= 2 and when.year > 1970
        newest = max(newest, when)
    assert behind > 100
