"""Every error Libra raises on purpose.

::

    LibraError
    ├── SettingError            a setting cannot be used; the process must not start
    ├── DeclarationError        an aggregation or a source is declared wrongly; the same
    ├── MalformedEventError     an event is not an entry's creation; permanent: record, acknowledge
    ├── StateError              the book-keeping document holds what Libra never wrote
    ├── StoreError              Firestore, PostgreSQL or Redis refused or did not answer
    │   ├── AlreadyExists       a document or row that was to be created is there: the guard has held
    │   ├── Invalid             the request itself is wrong; the same request can never succeed
    │   ├── Denied              credentials, permission, or a missing database: an operator must act
    │   ├── SnapshotTooOld      the read time is outside the window Firestore keeps
    │   ├── MigrationError      the tables are not as a migration expects them; nothing of them was changed
    │   └── Transient           may succeed if tried again; whether it was applied is unknown
    │       ├── Contention      aborted: another transaction came first; nothing was applied
    │       └── Overloaded      refused before anything was sent: this instance's queue is full
    ├── PublishError            Pub/Sub has not acknowledged messages; whether they are published is unknown
    ├── ArchiveError            a file of an archive cannot be written or read, or is not what was written
    ├── ExportError             an export cannot be made, read or compared; the message says why
    ├── WindowError             a question about the totals that has no answer
    │   ├── NotFound            what it names is not there
    │   └── Unanswerable        it is not understood, or has no exact answer; the message says what is allowed
    └── RecomputeError
        ├── LeaseHeld           another run is under way
        ├── LeaseLost           this run's lease was taken over or ran out: it may write no more
        ├── WatermarkAhead      the stored watermark is later than the lag allows: wait
        ├── StrategyUnsupported the strategy asked for cannot count these declarations or data exactly
        ├── IndexMissing        a query needs an index that is not deployed
        ├── PipelineError       the pipeline that was to count failed, or has counted something else
        ├── BucketsStraddle     the bucket length changed and this watermark would cut a bucket in two
        ├── MassLoss            the run would lower an aggregation by more than LIBRA_MAX_LOSS allows
        └── NotOrphaned         what is to be removed is declared, unknown, or may still be written to
"""

from datetime import datetime


class LibraError(Exception):
    """The root: whatever Libra raises on purpose."""


class SettingError(LibraError):
    """An environment variable holds a value that cannot be used.

    The message names the variable, the value found and what is allowed.
    """

    def __init__(self, variable: str, value: str, allowed: str) -> None:
        super().__init__(f"{variable}={value!r}: {allowed}")
        self.variable = variable


class DeclarationError(LibraError):
    """An aggregation or a source is declared in a way that could not count exactly."""


class MalformedEventError(LibraError):
    """An event that does not describe the creation of an entry, and never will."""


class StateError(LibraError):
    """The document that holds the watermark holds something else; the message says what and where."""


class StoreError(LibraError):
    """Firestore, PostgreSQL or Redis refused a request or did not answer it."""


class AlreadyExists(StoreError):  # noqa: N818 - Google's own name for the status
    """A document or row that the commit was to create exists; nothing of the commit was applied."""


class Invalid(StoreError):  # noqa: N818 - names the status INVALID_ARGUMENT
    """The request can never succeed as it is; nothing of it was applied."""


class Denied(StoreError):  # noqa: N818 - names the status PERMISSION_DENIED
    """The caller may not do this, or the database is not there. Not the entry's fault."""


class SnapshotTooOld(StoreError):  # noqa: N818 - says what it is
    """The read time lies outside the snapshots that Firestore keeps (one hour, or seven days
    with point-in-time recovery)."""


class MigrationError(StoreError):
    """A migration cannot be applied, or was another one when it was; the message says what to look at."""


class Transient(StoreError):  # noqa: N818 - the usual word for it
    """No answer, or one that may differ next time. A commit may or may not have been applied."""


class Contention(Transient):
    """ABORTED: another transaction came first. Nothing was applied."""


class Overloaded(Transient):
    """This instance already has as many entries waiting as it may hold. Nothing was sent."""


class PublishError(LibraError):
    """Pub/Sub has not acknowledged messages. They may be published all the same.

    Attributes:
        refused: the messages themselves are wrong: they can never be published as they are.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class ArchiveError(LibraError):
    """A file of an archive cannot be written or read, or is not what was written; or nothing is sealed."""


class ExportError(LibraError):
    """An export cannot be made, read or compared. The snapshot before it is as it was."""


class WindowError(LibraError):
    """A question about the totals, the entries or the runs that has no answer."""


class NotFound(WindowError):  # noqa: N818 - names the status
    """What the question names is not there; the message names what is."""


class Unanswerable(WindowError):  # noqa: N818 - says what it is
    """The question is not understood, or it has no exact answer. The message says what is allowed."""


class RecomputeError(LibraError):
    """A recompute could not start or could not go on."""


class LeaseHeld(RecomputeError):  # noqa: N818 - says what it is
    """Another run holds the lease.

    Attributes:
        run_id: the run that holds it.
        expires_at: when its lease is over (aware, UTC).
    """

    def __init__(
        self,
        run_id: str,
        expires_at: datetime,
        advice: str = "wait for it to end, or for the lease to run out",
    ) -> None:
        super().__init__(f"run {run_id} holds the lease until {expires_at.isoformat()}: {advice}")
        self.run_id = run_id
        self.expires_at = expires_at


class LeaseLost(RecomputeError):  # noqa: N818 - says what it is
    """The lease ran out or was taken over while the run was under way; it wrote nothing after that."""


class BucketsStraddle(RecomputeError):  # noqa: N818 - says what it is
    """A document holds a bucket that begins before the watermark and ends after it."""


class MassLoss(RecomputeError):  # noqa: N818 - says what it is
    """A run would lower an aggregation's sum by more than the operator allows; it corrected nothing."""


class NotOrphaned(RecomputeError):  # noqa: N818 - says what it is
    """The totals of an aggregation may not be deleted; the message says why, and what to do first."""


class WatermarkAhead(RecomputeError):  # noqa: N818 - says what it is
    """The stored watermark is later than this run may set one, and another run may have corrected at it."""


class StrategyUnsupported(RecomputeError):  # noqa: N818 - says what it is
    """The strategy that was asked for cannot count exactly what is declared or stored; another can."""


class IndexMissing(RecomputeError):  # noqa: N818 - says what it is
    """A query of the index strategy needs an index that is not there; the message names it."""


class PipelineError(RecomputeError):
    """The pipeline that was to count ended without a result, or its result is of something else."""
