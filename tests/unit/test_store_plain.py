"""What Firestore stores, as JSON: what the API shows and an export writes."""

from datetime import UTC, datetime

import pytest

from shared.store import GeoPoint, Reference
from shared.store.plain import plain

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, None),
        (True, True),
        (2**62 + 1, 2**62 + 1),
        (0.1, 0.1),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("Mac/Cheese", "Mac/Cheese"),
        (b"\xff\x00", "/wA="),
        (Reference("libra/e1"), "libra/e1"),
        (GeoPoint(47.4, float("inf")), {"latitude": 47.4, "longitude": "inf"}),
        ({"at": [AT, {"deep": (b"", AT)}]}, {"at": ["noon", {"deep": ["", "noon"]}]}),
    ],
    ids=str,
)
def test_each_type_has_its_json(value: object, said: object) -> None:
    """What JSON lacks is text, at any depth, and times are spelt as the caller wants them."""
    found = plain(value, lambda time: "noon" if time == AT else "another")
    assert (found, type(found)) == (said, type(said))
