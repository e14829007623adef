"""One round of sending: what is due goes to Redis, a batch at a time."""

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from services.usage.counters import Raise
from services.usage.counts import Count, Counts, Value
from shared.errors import Invalid, StoreError
from shared.log import logger

BATCH = 1_000
"""Counts in one message to Redis."""


class Raising(Protocol):
    """What is needed of `Counters`."""

    def raise_to(self, raises: Sequence[Raise]) -> Sequence[list[int] | StoreError]:
        """Raise parts; see `Counters.raise_to`."""


class Sender:
    """Sends counts. One thread at a time may send."""

    def __init__(self, counts: Counts, counters: Raising) -> None:
        self._counts = counts
        self._counters = counters

    def send(self) -> StoreError | None:
        """Send all that is due now; why some of it could not be sent and stays due. `Invalid`: no outage."""
        due = self._counts.due()
        unconfirmed: list[Count] = []
        failed: StoreError | None = None
        try:
            while due:
                sent = due[-BATCH:]
                del due[-BATCH:]
                unconfirmed += sent
                refused, error = self._raise(self._counts.values(sent))
                unconfirmed[-len(sent) :] = refused
                failed = _graver(failed, error)
        except StoreError as error:
            failed = error
        finally:
            self._counts.put_back(due, unconfirmed)
        self._counts.forget()
        return failed

    def _raise(self, batch: list[Value]) -> tuple[list[Count], StoreError | None]:
        groups = [list(group) for _, group in groupby(sorted(batch, key=_hash), _hash)]
        answers = self._counters.raise_to([_raised(group) for group in groups])
        refused: list[Count] = []
        failed: StoreError | None = None
        lost = False
        for group, answer in zip(groups, answers, strict=True):
            if isinstance(answer, StoreError):
                refused += [it.of for it in group]
                failed = _graver(failed, answer)
                continue
            self._counts.confirm(group)
            lost |= any(before < it.confirmed for it, before in zip(group, answer, strict=True))
        if lost:
            logger.warning("Redis has lost counts: everything is sent again")
            self._counts.send_all_again()
        return refused, failed


def _graver(one: StoreError | None, other: StoreError | None) -> StoreError | None:
    """A single key that Redis refuses (`Invalid`) hides no outage."""
    return other if one is None or (other and isinstance(one, Invalid)) else one


def _hash(value: Value) -> tuple[str, float]:
    return value.of.merchant, value.of.hour.begin.timestamp()


def _raised(group: list[Value]) -> Raise:
    values = tuple((it.of.metric, it.of.incarnation, it.value) for it in group)
    return Raise(group[0].of.merchant, group[0].of.hour, values)
