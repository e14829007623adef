"""What can go wrong with a job or a part; each has a code, which the job keeps and the API answers.

::

    IngestError
    ├── JobOpen         another job works on one of these parts
    ├── KeyTaken        the idempotency key was sent with another request
    ├── NoJob           there is none with this id, or it is another tenant's
    ├── Stopped         the worker is to put the job down
    │   ├── Fenced      somebody else has it: this worker may write no more
    │   ├── Cancelled   somebody asked for that
    │   └── TimedOut    it took longer than it may
    └── PartError       a part cannot be loaded; what was loaded before stays
        └── Unavailable another try may go better
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import LibraError


class IngestError(LibraError):
    """The root."""


class JobOpen(IngestError):  # noqa: N818 - says what it is
    """Another job works on one of these parts.

    Attributes:
        job_id: which.
    """

    def __init__(self, job_id: str, part: str) -> None:
        super().__init__(f"job {job_id} works on {part}: wait for it, or cancel it")
        self.job_id = job_id


class KeyTaken(IngestError):  # noqa: N818 - says what it is
    """The idempotency key was sent with another request."""


class NoJob(IngestError):  # noqa: N818 - says what it is
    """There is no such job, or it is another tenant's: nobody can tell which."""


class Stopped(IngestError):  # noqa: N818 - says what it is
    """The worker is to put the job down."""


class Fenced(Stopped):
    """Somebody else has the job, or it has ended: this worker may write no more."""


class Cancelled(Stopped):
    """Somebody asked to cancel the job."""


class TimedOut(Stopped):
    """The job took longer than it may."""


class PartError(IngestError):
    """A part cannot be loaded. What was loaded before stays.

    Attributes:
        code: one word that tells causes apart.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unavailable(PartError):  # noqa: N818 - says what it is
    """The source did not answer as it should; another try may go better."""


@contextmanager
def on_disk(copy: str) -> Iterator[None]:
    """An error of this machine's disk, by its code. ``copy``: what cannot be written."""
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "a folder of temporary files"  # none is known where none takes a byte
        raise Unavailable(
            "disk_full",
            f"{copy} cannot be written to {folder} ({error.strerror}): give the worker more room there",
        ) from error
