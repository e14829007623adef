"""A run that would take too much away corrects nothing: what is too much, and what the run says. Pure.

Whoever purges the entries makes the next exact count small, and an obedient run would subtract a year. Only
the net loss of an aggregation counts: entries that moved from one key to another are no loss.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.errors import MassLoss

LEAST = 1_000
"""A smaller loss never stops a run: a small installation may lose all that it has."""


@dataclass(frozen=True, slots=True)
class Loss:
    """An aggregation that would lose more than the operator allows."""

    aggregation: str
    stored: int
    """The sum of ``count`` over its totals, for the entries up to the watermark."""
    exact: int
    """What was counted of them."""

    @property
    def percent(self) -> str:
        """How much it lost."""
        return f"{100 * (self.stored - self.exact) / self.stored:.2f} %"

    def __str__(self) -> str:
        return (
            f"{self.aggregation} says {self.stored:,}, and {self.exact:,} were counted ({self.percent} less)"
        )


def losses(
    counts: Mapping[str, tuple[int, int]], allowed: Decimal, exempt: Set[str] = frozenset()
) -> tuple[Loss, ...]:
    """The aggregations that would lose more than the share ``allowed``, and at least `LEAST`.

    Args:
        counts: what its totals say and what was counted, by aggregation.
        allowed: the share that a run may take away; 1 allows everything.
        exempt: the aggregations whose totals are expected to change.
    """
    return tuple(
        Loss(aggregation, stored, exact)
        for aggregation, (stored, exact) in counts.items()
        if aggregation not in exempt
        and stored > 0
        and stored - exact >= LEAST
        and stored - exact > allowed * stored
    )


def fallen(
    before: Mapping[str, int], now: Mapping[str, int], allowed: Decimal, exempt: Set[str] = frozenset()
) -> tuple[str, ...]:
    """Notes about aggregations that lost more than `losses` allows since the run before, right as they are.

    Where the triggers take deletions off the totals at once, a purge leaves a run nothing to refuse. The
    operator has to hear of it all the same.

    Args:
        before: what the run before counted, by aggregation.
        now: what this run counted; nothing, where one is missing.
        allowed: the share that may go from one run to the next.
        exempt: the aggregations whose totals are expected to change.
    """
    counts = {name: (then, now.get(name, 0)) for name, then in before.items()}
    return tuple(
        f"{loss.aggregation} counts {loss.exact:,}, and counted {loss.stored:,} at the run before "
        f"({loss.percent} less): so many entries were deleted"
        for loss in losses(counts, allowed, exempt)
    )


def refuse(lost: tuple[Loss, ...], allowed: Decimal, source: str, entries: str, watermark: datetime) -> None:
    """End a run that would take too much away.

    Args:
        lost: what it would take away.
        allowed: the share that it may take away.
        source: whose run it is.
        entries: the full name of the collection that was counted.
        watermark: at which it was counted.

    Raises:
        MassLoss: there is something in ``lost``.
    """
    if lost:
        raise MassLoss(
            f"this run would take away more than LIBRA_MAX_LOSS={allowed} allows, so nothing was corrected. "
            f"{'; '.join(map(str, lost))}. The run counted {entries} as of {watermark.isoformat()}. Perhaps "
            "a time-to-live policy or a bulk delete removed entries, an import replaced them, this database "
            "is not the one that the totals belong to, or somebody raised a total. If the entries are gone "
            f"for good, run libra recompute --source {source} --accept-loss, or send "
            f'{{"source": "{source}", "accept_loss": true}}. If not, restore the entries, and run again when '
            "LIBRA_LAG_SECONDS and a bucket have passed since"
        )
