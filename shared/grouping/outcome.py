"""What becomes of a change or an event, and what an instance has done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from shared.aggregation import Contribution
from shared.errors import StateError, StoreError, Transient


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
    """What an instance has done since it was made."""

    commits: int = 0
    writes: int = 0
    reads: int = 0
    retries: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))


def _nobody() -> None:
    """Wakes nobody: the caller is not waiting yet."""


@dataclass(slots=True, kw_only=True)
class Member:
    """One of a group, between its arrival and its answer."""

    path: str
    """What messages call it: the document it is about."""
    once: str
    """What makes it count once. Of members with the same, one counts."""
    contribution: Contribution
    since: datetime
    """When it arrived, by the instance's clock."""
    size: int = 0
    """Bytes that it adds to a commit, beside its totals and records."""
    wake: Callable[[], object] = _nobody
    """Wakes the caller when the member is answered or, for a thread only, when the caller is to lead."""
    outcome: Outcome | None = None
    error: StoreError | StateError | None = None
    answered: bool = False

    def answer(self) -> Outcome:
        """The outcome for the caller.

        Raises:
            StoreError, StateError: what kept it from being counted.
        """
        if self.error:
            # Each member raises an exception of its own: a traceback belongs to one caller.
            raise type(self.error)(*self.error.args) from self.error
        if self.outcome is None:
            raise Transient(f"{self.path}: the commit of its group was interrupted")
        return self.outcome
