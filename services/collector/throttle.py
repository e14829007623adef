"""How much a caller may send: a token bucket for each, in this instance."""

from collections import OrderedDict
from collections.abc import Callable

REMEMBERED = 10_000
"""Callers whose buckets are kept; the one that was not heard of for longest is forgotten."""


class Throttle:
    """Buckets by caller. A bucket fills with so many events a second, and holds a burst of them.

    A request passes as long as its bucket is not empty, and its events are taken out once they are counted:
    a request that takes out more than there is leaves a debt, which the next ones wait for. So the cheap
    question comes before the body is read, and no request passes in part. Of one event loop.
    """

    def __init__(self, clock: Callable[[], float], *, burst: int) -> None:
        """``clock``: seconds, monotonic. ``burst``: events that a bucket holds at least."""
        self._clock = clock
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str, rate: float) -> float:
        """Seconds until the caller may send; 0: now. ``rate``: events a second."""
        level = self._level(caller, rate)
        return 0.0 if level > 0 else (1.0 - level) / rate

    def take(self, caller: str, rate: float, events: int) -> None:
        """Take events out of the caller's bucket."""
        self._buckets[caller] = (self._level(caller, rate) - events, self._clock())
        self._buckets.move_to_end(caller)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)

    def _level(self, caller: str, rate: float) -> float:
        most = max(float(self._burst), rate)
        now = self._clock()
        level, at = self._buckets.get(caller, (most, now))
        return min(most, level + (now - at) * rate)
