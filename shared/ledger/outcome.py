"""What becomes of a change, and what a ledger has done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from shared.aggregation import Contribution, Entry
from shared.errors import StateError, StoreError, Transient
from shared.log import logger


class Outcome(Enum):
    """What became of a change. Each of them is final: acknowledge the event."""

    COUNTED = "counted"
    """This commit counted it, except for what it rejected with the reasons."""
    DUPLICATE = "duplicate"
    """It had been counted before."""
    SUPERSEDED = "superseded"
    """A recompute has counted it: it was committed at or before the watermark."""
    UNCHANGED = "unchanged"
    """An edit that no aggregation can see: nothing was read or written."""
    LEFT = "left to the next run"
    """A deletion that came too late to be labelled; the next run is exact without it."""
    REJECTED = "rejected"
    """Firestore will never take its increments; the reason is recorded."""


@dataclass(slots=True)
class Figures:
    """What a ledger has done since it was made."""

    commits: int = 0
    writes: int = 0
    reads: int = 0
    retries: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))


class Place(NamedTuple):
    """When a change was committed: not before ``after`` and not behind ``until``, in the bucket of ``until``.

    The two are the same where the event says it. Of a deletion, ``after`` is no longer part of it.
    """

    after: datetime
    until: datetime


@dataclass(slots=True)
class Member:
    """A change in a group, between its arrival and its answer."""

    entry: Entry
    marker: str
    contribution: Contribution
    since: datetime
    """When it arrived, by the instance's clock."""
    wake: Callable[[], object]
    """Wakes the caller when the entry is answered or, for a thread only, when the caller is to lead."""
    place: Place | None
    """When it was committed. None: a deletion that is not placed yet."""
    outcome: Outcome | None = None
    error: StoreError | StateError | None = None
    answered: bool = False

    def answer(self) -> Outcome:
        """The outcome for the caller, logged in the context of the caller's own request.

        Raises:
            StoreError, StateError: what kept the entry from being counted.
        """
        if self.error:
            # Each member raises an exception of its own: a traceback belongs to one caller.
            raise type(self.error)(*self.error.args) from self.error
        if self.outcome is None:
            raise Transient(f"{self.entry.path}: the commit of its group was interrupted")
        if self.outcome is Outcome.REJECTED:
            logger.error("Firestore refuses an entry's increments", extra={"entry": self.entry.path})
        if self.outcome is Outcome.COUNTED:
            self._log_rejections()
        return self.outcome

    def _log_rejections(self) -> None:
        for one in self.contribution.rejections:
            logger.warning(
                "An entry could not be counted everywhere",
                extra={
                    "entry": self.entry.path,
                    "aggregation": one.aggregation,
                    "reason": f"{one.field}: {one.reason}",
                },
            )
