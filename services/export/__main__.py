"""`python -m services.export`: every snapshot that is wanted, one after another. It ends when all are tried.

It may run again at any time: an export that failed changed nothing, and one that succeeded is replaced. The
environment is read here, and only here.

Exit status: 0 every snapshot is there, 1 one is not, 2 a setting cannot be used.
"""

import os
import sys
from contextlib import closing

from services.export.settings import ExportSettings, Wanted
from shared import log
from shared.catalog import sources
from shared.errors import LibraError, SettingError
from shared.exports import Snapshot, Target, opened
from shared.settings import Settings
from shared.store import Store
from shared.store.client import FirestoreStore


def main() -> int:
    """Export; the exit status."""
    log.configure("INFO")
    try:
        settings = ExportSettings.from_environment(os.environ)
        log.configure(settings.books.log_level)
        books, place = settings.books, settings.place
        with (
            closing(FirestoreStore.connect(books)) as store,
            opened(place, os.environ, store.database.split("/")[1]) as target,
        ):
            done = [exported(store, books, target, each) for each in settings.wanted]
    except SettingError as error:
        log.logger.error(str(error))
        return 2
    except LibraError as error:
        _failed(error)
        return 1
    return 0 if all(done) else 1


def exported(store: Store, settings: Settings, target: Target, wanted: Wanted) -> bool:
    """Export one snapshot; whether it is there. Another one may be, where this one is not."""
    about = {"source": wanted.source, "what": wanted.what, "to": target.place}
    try:
        manifest = target.save(Snapshot(store, *sources(settings)[wanted.source], wanted.what))
    except LibraError as error:
        _failed(error, **about)
        return False
    held = {
        "snapshot": manifest.snapshot,
        "rows": sum(each.rows for each in manifest.tables),
        "watermark": manifest.watermark.isoformat(),
        "unproven": [each.table.name for each in manifest.tables if each.exact_through is None],
    }
    log.logger.info("An export is complete", extra=about | held)
    return True


def _failed(error: LibraError, **about: str) -> None:
    told = {"error": type(error).__name__, "reason": str(error)}
    log.logger.error("An export failed", extra=about | told)


if __name__ == "__main__":
    sys.exit(main())
