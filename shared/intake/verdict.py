"""An event on its way, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared import grouping
from shared.events import Admitted, Violation
from shared.grouping import Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an event. It is final: acknowledge the event, or answer its sender."""

    outcome: Outcome
    """`COUNTED`; `DUPLICATE`: the entry exists; or `REJECTED`: this event can never be counted."""
    id: str | None = None
    """What names the event; None where it cannot be read."""
    entry: str | None = None
    """The path of the entry; None where the event is rejected."""
    reasons: tuple[Violation, ...] = ()
    """Everything for which the event is rejected."""
    differs: bool = False
    """Of a duplicate: whether it says other things than the entry. The entry stays as it is."""


@dataclass(slots=True, kw_only=True)
class Member(grouping.Member):
    """An event in a group. What makes it count `once` is the path of its entry."""

    event: Admitted
    stored: Mapping[str, object] = field(default_factory=dict)
    """What the entry says, once that is known."""
    reasons: tuple[Violation, ...] = ()

    def verdict(self) -> Verdict:
        """The verdict for the caller. Raises as `answer`."""
        outcome = self.answer()
        if outcome is Outcome.REJECTED:
            return Verdict(outcome, self.event.id, reasons=self.reasons)
        return Verdict(outcome, self.event.id, self.path, differs=not self.event.same_as(self.stored))
