"""A recompute in a process of its own that kills itself."""

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.catalog import LIBRA_HOME, libra
from shared.errors import Denied
from shared.recompute import Recompute
from shared.store.client import FirestoreStore
from tests.support.recomputing import QUICK


def main(project: str, host: str, deadly: str, seconds: float) -> None:
    """Run, and die at the step: at one of failing, the run fails first, between seal and correction.

    The clock jumps ahead once, so that the lease is renewed on the way.
    """
    settings = replace(QUICK, project=project, emulator_host=host)
    lease, ahead = timedelta(seconds=seconds), timedelta(0)

    def step(reported: str) -> None:
        nonlocal ahead
        if reported == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if reported == "process committed":
            ahead = lease / 2
        if reported == "compared" and deadly.startswith("fail"):
            raise Denied("no permission")

    Recompute(
        FirestoreStore.connect(settings),
        libra(settings),
        LIBRA_HOME,
        settings,
        clock=lambda: datetime.now(UTC) + ahead,
        step=step,
        lease=lease,
    ).run("scan")
