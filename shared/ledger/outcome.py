"""A change on its way, and when it was committed."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from shared import grouping
from shared.aggregation import Entry
from shared.grouping import Outcome
from shared.log import logger


class Place(NamedTuple):
    """When a change was committed: not before ``after`` and not behind ``until``, in the bucket of ``until``.

    The two are the same where the event says it. Of a deletion, ``after`` is no longer part of it.
    """

    after: datetime
    until: datetime


@dataclass(slots=True, kw_only=True)
class Member(grouping.Member):
    """A change in a group. What makes it count `once` is the id of its marker."""

    entry: Entry
    place: Place | None
    """When it was committed. None: a deletion that is not placed yet."""

    def answer(self) -> Outcome:
        """The outcome for the caller, logged in the context of the caller's own request."""
        outcome = grouping.Member.answer(self)
        if outcome is Outcome.REJECTED:
            logger.error("Firestore refuses an entry's increments", extra={"entry": self.path})
        if outcome is Outcome.COUNTED:
            self._log_rejections()
        return outcome

    def _log_rejections(self) -> None:
        for one in self.contribution.rejections:
            logger.warning(
                "An entry could not be counted everywhere",
                extra={
                    "entry": self.path,
                    "aggregation": one.aggregation,
                    "reason": f"{one.field}: {one.reason}",
                },
            )
