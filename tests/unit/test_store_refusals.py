"""What Firestore's refusals mean: which may be tried again, and which cannot succeed."""

import grpc
import pytest

from shared.errors import Contention, Denied, Invalid, SnapshotTooOld, StoreError, Transient
from shared.store.messages import refused

CODE = grpc.StatusCode


class Refusal(grpc.RpcError):
    """A failed call."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def details(self) -> str:
        """The message."""
        return self._details


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (
            CODE.FAILED_PRECONDITION,
            "the stored version (1) does not match the required base version (2)",
            Contention,
        ),
        (
            CODE.NOT_FOUND,
            "No document to update: projects/p/databases/(default)/documents/libra/e",
            Contention,
        ),
        (CODE.NOT_FOUND, 'no entity to update: app: "p"', Contention),
        (CODE.NOT_FOUND, "The database (default) does not exist for project p", Denied),
        (CODE.FAILED_PRECONDITION, "The query requires an index", Invalid),
        (CODE.FAILED_PRECONDITION, "The requested snapshot version is too old.", SnapshotTooOld),
        (CODE.INVALID_ARGUMENT, "Transaction too big. Decrease transaction size.", Invalid),
        (CODE.DATA_LOSS, "", Transient),
    ],
)
def test_a_refusal_is_sorted_by_its_status_and_its_words(
    code: grpc.StatusCode, details: str, kind: type[StoreError]
) -> None:
    """An entry that an archive read and somebody deleted is contention, whichever way Firestore says so."""
    with pytest.raises(StoreError) as caught:
        refused(Refusal(code, details), "query")
    assert type(caught.value) is kind
    assert str(caught.value) == f"query: {code.name}: {details}"


def test_a_commit_that_is_refused_has_no_snapshot_that_is_too_old() -> None:
    """What Firestore says of it may quote a document: its field `snapshot`, or its id."""
    words = 'The value of property "snapshot" is longer than 1048487 bytes.'
    with pytest.raises(
        Invalid, match=r"^commit: INVALID_ARGUMENT: The value of property .snapshot. is longer"
    ):
        refused(Refusal(CODE.INVALID_ARGUMENT, words), "commit", reads=False)
