"""At which watermark a run or a dry run compares.

That of a self-written source is the commit time of the run's own record. Its entries are counted in the
commit that creates them, so none is on its way. The totals are read at the watermark, too, so it has to be
later than every correction of an earlier run. It is: the record's commit takes the lease, and what was sent
under an earlier lease cannot commit after that (`fence`).
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from shared.aggregation import Home
from shared.recompute.fence import Fence, Run
from shared.recompute.lease import fields_of
from shared.settings import Settings
from shared.store import Store
from shared.watermark import MICROSECOND, next_watermark, stored_watermark, unsealed_watermark


class Watermarks:
    """Chooses the watermarks of one source."""

    def __init__(
        self, store: Store, home: Home, settings: Settings, fence: Fence, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._home = home
        self._fence = fence
        self._clock = clock
        self._lag, self._bucket = settings.lag, settings.bucket
        if home.self_written:
            self._lag, self._bucket = timedelta(0), MICROSECOND

    def next(self, run: Run) -> tuple[datetime, str | None]:
        """What the run seals, and a note if the stored one is set back. Raises as `next_watermark`."""
        return next_watermark(run.started, run.stored_watermark, self._lag, self._bucket)

    def unsealed(self) -> tuple[datetime, str | None, Mapping[str, object]]:
        """Where to compare without a seal, a note, and the fields of the state document.

        Raises:
            StateError: the state document is damaged.
        """
        now, state = self._now()
        return *unsealed_watermark(now, stored_watermark(state), self._lag, self._bucket), state

    def stands(self, watermark: datetime, before: Mapping[str, object]) -> bool:
        """Whether a dry run saw what it needed. A run that completes meanwhile closes buckets.

        Args:
            watermark: at which it compared.
            before: the fields of the state document, as it began.
        """
        if self._home.self_written:
            return True
        after = stored_watermark(self._now()[1])
        return after is None or after <= watermark or after == stored_watermark(before)

    def _now(self) -> tuple[datetime, Mapping[str, object]]:
        """What time it is, and the fields of the state document. Who reads the totals as of now needs
        Firestore's own time."""
        if self._home.self_written:
            now, (state,) = self._fence.read(lambda: self._store.now([self._home.state]))
            return now, fields_of(state)
        (state,) = self._fence.read(lambda: self._store.get([self._home.state]))
        return self._clock(), fields_of(state)
