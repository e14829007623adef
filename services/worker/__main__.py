"""`python -m services.worker`. The environment is read here, and only here.

Exit status: 0 told to stop, 1 a subscription cannot be pulled, 2 a setting cannot be used.
"""

import asyncio
import os
import sys

from services.worker.settings import WorkerSettings
from services.worker.worker import PullError, Worker
from shared import log
from shared.errors import SettingError
from shared.garbage import collect_seldom


def main() -> int:
    """Run a worker until it is told to stop; the exit status."""
    log.configure("INFO")
    try:
        settings = WorkerSettings.from_environment(os.environ)
        log.configure(settings.books.log_level)
        worker = Worker(settings)
        collect_seldom()
        asyncio.run(worker.run())
    except (SettingError, PullError) as error:
        log.logger.error(str(error))
        return 2 if isinstance(error, SettingError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
