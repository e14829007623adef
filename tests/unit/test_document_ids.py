"""Every key has an id of its own that Firestore takes, and the id says the key again."""

import hashlib
from zoneinfo import ZoneInfo

import pytest

from shared.aggregation import MAX_ID_BYTES, FieldKey, Key, KeyPart, TimeKey, decode_id, document_id, ids

TEXT = (FieldKey("ingredient"),)
HOUR = (TimeKey("timestamp", "hour", ZoneInfo("UTC")),)
DATE = (TimeKey("timestamp", "date", ZoneInfo("UTC")),)
PAIR = (FieldKey("location"), TimeKey("timestamp", "date", ZoneInfo("UTC")))
TEXTS = (FieldKey("a"), FieldKey("b"))

IDS: list[tuple[Key, str, tuple[KeyPart, ...]]] = [
    ("Kettle Chips", "Kettle Chips", TEXT),
    ("Mac/Cheese", "Mac%2FCheese", TEXT),
    ("100%", "100%25", TEXT),
    ("X-Large", "X-Large", TEXT),
    ("a/b", "a%2Fb", TEXT),
    ("a%2Fb", "a%252Fb", TEXT),
    (".", "%2E", TEXT),
    ("..", "%2E.", TEXT),
    ("...", "...", TEXT),
    ("__x__", "%5F_x__", TEXT),
    ("____", "%5F___", TEXT),
    ("___", "___", TEXT),
    ("__\n__", "%5F_\n__", TEXT),
    ("", "%empty", TEXT),
    ("%empty", "%25empty", TEXT),
    ("%2E", "%252E", TEXT),
    ("🥔 chips", "🥔 chips", TEXT),
    ("a|b", "a|b", TEXT),
    ("é" * 750, "é" * 750, TEXT),
    (7, "7", HOUR),
    ("2025-09-04", "2025-09-04", DATE),
    ("0001-01-01", "0001-01-01", DATE),
    (("Caldo Office", "2025-09-04"), "Caldo Office|2025-09-04", PAIR),
    (("a|b/c", "2025-09-04"), "a%7Cb%2Fc|2025-09-04", PAIR),
    (("", ""), "%empty|%empty", TEXTS),
    (("XX", "X-Large"), "XX|X-Large", TEXTS),
    (("__a", "b__"), "%5F_a|b__", TEXTS),
    ((".", "."), ".|.", TEXTS),
]


@pytest.fixture(autouse=True, scope="module")
def cold() -> None:
    """Ids are worked out here, whatever ran before in this process."""
    for cached in (ids._simple, ids._composite):
        cached.cache_clear()


@pytest.mark.parametrize(("key", "encoded", "parts"), IDS)
def test_a_key_has_this_id_and_is_read_back(key: Key, encoded: str, parts: tuple[KeyPart, ...]) -> None:
    """The table of odd keys, both ways."""
    assert document_id(key) == encoded
    assert decode_id(encoded, parts) == key


@pytest.mark.parametrize("key", ["x" * 1_501, "x" * 2_000, "é" * 751, "/" * 501, ("x" * 1_000, "y" * 1_000)])
def test_a_long_key_is_hashed(key: Key) -> None:
    """Over 1,500 bytes an id is a digest, which cannot be read back: the raw key stands in the document."""
    encoded = document_id(key)
    assert encoded.startswith("%sha256-")
    assert len(encoded.encode()) <= MAX_ID_BYTES
    with pytest.raises(ValueError, match="is not the id of a key, or it is a hashed one"):
        decode_id(encoded, TEXT)


def test_a_value_that_looks_hashed_is_not() -> None:
    """The forms that stand for something else begin with % and a letter, which no encoded value does."""
    fake = "%sha256-" + hashlib.sha256(b"x").hexdigest()
    assert document_id(fake) == "%25" + fake[1:]


@pytest.mark.parametrize(
    ("encoded", "parts"),
    [
        ("a%2Eb", TEXT),
        ("a%", TEXT),
        ("%41", TEXT),
        ("a/b", TEXT),
        ("", TEXT),
        ("__x__", TEXT),
        ("24", HOUR),
        ("07", HOUR),
        ("٣", HOUR),
        ("2025-9-4", DATE),
        ("2025-02-30", DATE),
        ("Caldo Office", PAIR),
        ("a|2025-09-04|b", PAIR),
    ],
)
def test_what_is_no_id_is_not_read_as_one(encoded: str, parts: tuple[KeyPart, ...]) -> None:
    """A document that something else wrote is never mistaken for a total."""
    with pytest.raises(ValueError, match="is not the id of a key"):
        decode_id(encoded, parts)


def test_what_is_no_id_is_named_with_the_id_that_would_be() -> None:
    """Whoever finds a stray document sees what it was taken for."""
    with pytest.raises(ValueError, match=r"'a%2Eb' is not the id of a key: 'a\.b' would be 'a\.b'"):
        decode_id("a%2Eb", TEXT)
    with pytest.raises(ValueError, match="'24' is not an hour from 0 to 23"):
        HOUR[0].parse("24")
