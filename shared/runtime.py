"""What one process needs to serve: settings, source, store and ledger, made once and fork-safe.

functions-framework loads the code before gunicorn forks, and neither a gRPC channel nor a lock that is
held survives a fork: the first event would hang for ever. So the environment is read and checked when
the code is loaded, the store is made on first use, and both are forgotten in a forked child.
"""

import gc
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from shared import log
from shared.aggregation import Home, Source
from shared.catalog import LIBRA_HOME, libra, sources
from shared.ledger import Ledger
from shared.recompute import Recompute
from shared.settings import Settings
from shared.store.client import FirestoreStore
from shared.watermark import check_lag

COLLECT_EVERY = 10_000
"""How many containers are made between two garbage collections: about a thousand events. Python's own 700 has
each group of events looked through several times while it is under way, and the modules with it: a sixth of
an event's CPU (`make bench NAME=trigger`)."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of one process."""

    settings: Settings
    source: Source
    home: Home
    store: FirestoreStore
    ledger: Ledger
    recomputes: Mapping[str, Recompute]
    """One for each source, by its name; that of `source` is the first."""


class Process:
    """Makes the `Runtime` of the current process on first use. Threads may call it at once."""

    def __init__(self, settings: Settings) -> None:
        check_lag(settings.lag, test=settings.test)  # here, so that a wrong one stops the start
        self.settings = settings
        self.source = libra(settings)
        self.home = LIBRA_HOME
        log.configure(settings.log_level)
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None

    def runtime(self) -> Runtime:
        """The runtime of this process.

        Raises:
            SettingError: no project is named and the credentials know none.
        """
        with self._lock:
            if self._runtime is None:
                store = FirestoreStore.connect(self.settings)
                ledger = Ledger(store, self.source, self.home, self.settings)
                recomputes = {
                    name: Recompute(store, *books, self.settings)
                    for name, books in sources(self.settings).items()
                }
                self._runtime = Runtime(self.settings, self.source, self.home, store, ledger, recomputes)
                gc.freeze()  # what is loaded stays: no collection need look at it again
                gc.set_threshold(COLLECT_EVERY)
            return self._runtime
