"""The one retry loop: what may go better next time is tried again, with pauses that grow."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from shared.errors import Transient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often something is tried, and how long the pauses are.

    The pause after failure ``n`` is at most ``first * 2**n`` seconds and never above ``longest``. The share
    ``least`` of it is fixed and the rest is random, so that callers that failed together do not retry
    together.
    """

    attempts: int
    first: float
    longest: float = float("inf")
    least: float = 0.0

    def pause(self, failed: int, spread: float = 0.0) -> float:
        """Seconds to wait after attempt ``failed`` (from 1), drawn from a range of ``spread`` at least."""
        longest = max(spread, min(self.longest, self.first * 2**failed))
        return random.uniform(self.least * longest, longest)  # noqa: S311 - jitter

    def each(
        self,
        sleep: Callable[[float], None],
        *,
        retried: type[Exception] | tuple[type[Exception], ...] = Transient,
        pause: Callable[[int], float] | None = None,
        spent: Callable[[], bool] = lambda: False,
    ) -> Iterator["Attempt"]:
        """The attempts, each a context for the work: leave the loop once the work is done.

        An attempt that fails with ``retried`` is followed by a pause and the next attempt. The last failure
        is raised: that of the last attempt, or the first one after which ``spent`` says that the time is
        over.
        """
        for number in range(1, self.attempts + 1):
            attempt = Attempt(number, retried if number < self.attempts else ())
            yield attempt
            if attempt.failure:
                if spent():
                    raise attempt.failure
                sleep((pause or self.pause)(number))

    def call(self, once: Callable[[], T], sleep: Callable[[float], None]) -> T:
        """Call ``once`` until it does not fail with `Transient`, or attempts are over."""
        for attempt in self.each(sleep):
            with attempt:
                return once()
        raise AssertionError  # pragma: no cover - the last attempt raises


class Attempt:
    """One attempt, as a context. It swallows the failures that another attempt may mend."""

    def __init__(self, number: int, retried: type[Exception] | tuple[type[Exception], ...]) -> None:
        self.number = number
        self.failure: Exception | None = None
        self._retried = retried

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, self._retried):
            self.failure = error
        return self.failure is not None
