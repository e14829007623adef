"""`python -m pipelines.recompute`: a recompute by the strategy `beam`, as a Cloud Run job runs it.

This process holds the lease and renews it. The pipeline runs in a process beside it, and its job on Dataflow:
see `shared.counting.engine`. What is no option of this command is one of Beam's.

Exit status: 0 the totals are right now; 1 the run failed, or another one is under way; 2 a setting cannot be
used.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import closing

from shared import log
from shared.catalog import sources
from shared.counting.engine import Engine
from shared.errors import LibraError, SettingError
from shared.log import logger
from shared.recompute import Recompute
from shared.settings import Settings
from shared.store.client import FirestoreStore


def main(arguments: Sequence[str]) -> int:
    """Run, and print the report as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.recompute", allow_abbrev=False)
    add = parser.add_argument
    add("--source", choices=list(sources(Settings())), default="libra", help="whose totals (libra)")
    add(
        "--accept_loss", action="store_true", help="correct although that takes away more than LIBRA_MAX_LOSS"
    )
    add("--dry_run", action="store_true", help="find what is wrong and write nothing")
    given, more = parser.parse_known_args(arguments)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # as an error: the run says so, and ends its pipeline
    try:
        settings = Settings.from_environment(os.environ)
        log.configure(settings.log_level, sys.stderr)
        with closing(FirestoreStore.connect(settings)) as store:
            run = Recompute(store, *sources(settings)[given.source], settings, beam=Engine(more))
            report = run.verify("beam") if given.dry_run else run.run("beam", accept_loss=given.accept_loss)
    except LibraError as error:
        logger.error("A recompute failed", extra={"error": type(error).__name__, "reason": str(error)})
        return 2 if isinstance(error, SettingError) else 1
    print(json.dumps(report.as_json()))  # noqa: T201 - the report
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
