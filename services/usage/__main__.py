"""`python -m services.usage`: one flush, as a Cloud Run job or a cron job runs it.

`python -m services.usage schedule` flushes at intervals until SIGTERM. The environment is read here, and only
here. Exit status: 0 all is booked, 1 the run failed, 2 a setting cannot be used, 3 all that can be read is
booked and something was set aside.
"""

import os
import signal
import sys

from services.usage.running import Scheduler, opened
from services.usage.settings import UsageSettings
from shared import log
from shared.errors import LibraError, SettingError

USAGE = "python -m services.usage [schedule]"


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit status."""
    asked = sys.argv[1:] if arguments is None else arguments
    log.configure("INFO")
    if asked not in ([], ["schedule"]):
        log.logger.error(f"{' '.join(asked)!r}: {USAGE} is allowed")
        return 2
    try:
        settings = UsageSettings.from_environment(os.environ)
        log.configure(settings.books.log_level)
        with opened(settings) as service:
            if asked:
                _schedule(Scheduler(service.flush.run, every=settings.every))
                return 0
            result = service.flush.run()
            return 3 if result.errors else 0
    except LibraError as error:
        log.logger.error("The usage job failed", extra={"error": str(error)})
        return 2 if isinstance(error, SettingError) else 1


def _schedule(scheduler: Scheduler) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.stop())
    scheduler.loop()


if __name__ == "__main__":
    sys.exit(main())
