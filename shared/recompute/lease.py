"""Who may write corrections, until when. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import LeaseLost
from shared.store import Document

LEASE = timedelta(minutes=2)
"""How long a run that died keeps others out. A living one renews after a third of it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may write corrections, until when."""

    run_id: str
    token: int
    """The fencing token: one higher with every lease."""
    expires_at: datetime | None
    """None: it was released. By the clock of the run that holds it."""

    @classmethod
    def of(cls, state: Mapping[str, object]) -> "Lease | None":
        """The lease in a state document; None if there is none, or nothing that is one."""
        match state.get("lease"):
            case {"run_id": str(run_id), "token": int(token), "expires_at": datetime() | None as expires_at}:
                return cls(run_id, token, expires_at)
        return None

    def left(self, now: datetime) -> timedelta:
        """How long it still holds; not more than zero if it does not."""
        return self.expires_at - now if self.expires_at else timedelta(0)

    def as_fields(self) -> dict[str, object]:
        """What the state document holds."""
        return {"run_id": self.run_id, "token": self.token, "expires_at": self.expires_at}

    def still(self, found: "Lease | None", now: datetime) -> "Lease":
        """The lease as it was ``found`` in the state document, if this run still holds it.

        Raises:
            LeaseLost: another run holds it, or it ran out.
        """
        if found is None or (found.run_id, found.token) != (self.run_id, self.token):
            holder = f"to {found.run_id}" if found else "(the state document holds none)"
            raise LeaseLost(f"{self.run_id} lost its lease {holder}: it may write no more")
        if found.left(now) <= timedelta(0):
            raise LeaseLost(
                f"the lease of {self.run_id} ran out at {iso(found.expires_at)}: it may write no more; "
                "run again"
            )
        return found


def under_way(record: Mapping[str, object]) -> bool:
    """Whether a run's record says that it has not ended. It may have died: its lease tells."""
    return record.get("state") in {"queued", "processing"}


def iso(instant: datetime | None) -> str:
    """An instant for a message; ``once`` where it is not known."""
    return instant.isoformat() if instant else "once"


def fields_of(document: Document | None) -> Mapping[str, object]:
    """The fields of a document; none where it is not there."""
    return document.fields if document else {}
