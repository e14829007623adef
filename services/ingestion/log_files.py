"""Log files on request: JSON lines in a folder, a new file when one is full, the oldest deleted."""

import fcntl
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from shared.errors import SettingError
from shared.log import JsonFormatter, logger

FULL = 10_000_000
"""Bytes of a file."""
KEPT = 9
"""Full files that are kept."""
MOST = 100
"""Processes that write into one folder."""
_held: list[TextIO] = []
"""Locks that end with the process."""


def into(folder: Path, name: str) -> Path:
    """Send Libra's records into ``folder``, and only there; the file that they go to.

    Two processes in one file would lose lines when it is full. Each takes the first number that no running
    process has, so a process that was started again goes on in the file that it had.

    Raises:
        SettingError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, MOST + 1):
            lock = (folder / f"{name}-{number}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            _held.append(lock)
            file = folder / f"{name}-{number}.jsonl"
            handler = RotatingFileHandler(file, maxBytes=FULL, backupCount=KEPT, encoding="utf-8")
            handler.setFormatter(JsonFormatter())
            logger.handlers[:] = [handler]
            return file
    except OSError as error:
        raise SettingError(
            "LIBRA_INGESTION_LOG_DIR", str(folder), f"a folder to write to ({error})"
        ) from None
    raise SettingError(
        "LIBRA_INGESTION_LOG_DIR", str(folder), f"a folder that up to {MOST} processes write to"
    )
