"""An archive in a process of its own that kills itself."""

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.archive import Archive, Folder, pages
from shared.catalog import LIBRA_HOME, libra
from shared.errors import Denied
from shared.store.client import FirestoreStore
from tests.support.recomputing import QUICK


def main(project: str, host: str, folder: str, deadly: str, seconds: float) -> None:
    """Archive in pages of two, and die at the step, in the second page where the step is one of a page's.

    At a step of failing, the archive fails first. The clock jumps ahead once, so that the lease is renewed.
    """
    settings = replace(QUICK, project=project, emulator_host=host)
    pages.PAGE_ENTRIES = 2
    lease, ahead, seen = timedelta(seconds=seconds), timedelta(0), 0

    def step(reported: str) -> None:
        nonlocal ahead, seen
        seen += reported == deadly
        if reported == deadly and (seen == 2 or not reported.startswith(("file", "page"))):
            os.kill(os.getpid(), signal.SIGKILL)
        if reported == "manifest begun":
            ahead = lease / 2
        if reported == "manifest written" and deadly.startswith("fail"):
            raise Denied("no permission")

    Archive(
        FirestoreStore.connect(settings),
        libra(settings),
        LIBRA_HOME,
        Folder(folder),
        clock=lambda: datetime.now(UTC) + ahead,
        step=step,
        lease=lease,
    ).run(datetime.now(UTC))
