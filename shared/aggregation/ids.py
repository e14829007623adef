"""Document ids: each key has its own, whatever characters it holds. Pure.

A key's id is the value itself where Firestore allows that, else an injective encoding: see `document_id`.
"""

import hashlib
import re
from functools import lru_cache

from shared.aggregation.keys import Key, KeyPart, text_of

MAX_ID_BYTES = 1_500
"""The longest document id (https://firebase.google.com/docs/firestore/quotas, 'Limits', 2026-11)."""


# `%` in an encoded id is always followed by one of these, so the forms below cannot collide with a value.
_ESCAPES = {"%": "%25", "/": "%2F", ".": "%2E", "_": "%5F", "|": "%7C"}
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}
_EMPTY = "%empty"
_HASHED = "%sha256-"
_RESERVED_ID = re.compile(r"\.{1,2}|__.*__", re.DOTALL)


def _escape(text: str, characters: str) -> str:
    return re.sub(f"[{re.escape(characters)}]", lambda found: _ESCAPES[found[0]], text)


def _shorten(encoded: str) -> str:
    raw = encoded.encode()
    return encoded if len(raw) <= MAX_ID_BYTES else _HASHED + hashlib.sha256(raw).hexdigest()


def document_id(key: Key) -> str:
    """The document id of a key: the value itself where Firestore allows it, else an injective encoding.

    ``%`` and ``/`` are percent-encoded, and so is the first character of ``.``, ``..`` and ``__x__``;
    the empty string is ``%empty``; what is over 1,500 bytes is ``%sha256-`` and the digest. The parts of
    a composite key are joined by ``|``, which is percent-encoded inside them. A boolean is ``true`` or
    ``false``. No two keys of one declaration share an id, because each part has one type.
    """
    if isinstance(key, tuple):
        return _composite(tuple(map(text_of, key)))
    return _simple(text_of(key))


# Cached by text: to a cache, and to Python, True and 1 are one key.


@lru_cache(maxsize=65_536)
def _simple(text: str) -> str:
    return _allowed(_escape(text, "%/") or _EMPTY)


@lru_cache(maxsize=65_536)
def _composite(texts: tuple[str, ...]) -> str:
    return _allowed("|".join(_escape(text, "%/|") or _EMPTY for text in texts))


def _allowed(encoded: str) -> str:
    if _RESERVED_ID.fullmatch(encoded):
        encoded = _ESCAPES[encoded[0]] + encoded[1:]
    return _shorten(encoded)


def _unescape(encoded: str) -> str:
    if encoded == _EMPTY:
        return ""
    return re.sub("%..", lambda found: _UNESCAPES[found[0]], encoded)


def decode_id(encoded: str, parts: tuple[KeyPart, ...]) -> Key:
    """The inverse of `document_id` for keys of these parts.

    Raises:
        ValueError: ``encoded`` is hashed (the raw value stands in the document's ``key``), or it is the
            id of no such key.
    """
    try:
        texts = [_unescape(text) for text in (encoded.split("|") if len(parts) > 1 else [encoded])]
        values = tuple(part.parse(text) for part, text in zip(parts, texts, strict=True))
    except (ValueError, KeyError):
        raise ValueError(f"{encoded!r} is not the id of a key, or it is a hashed one") from None
    key: Key = values if len(parts) > 1 else values[0]
    if document_id(key) != encoded:
        raise ValueError(f"{encoded!r} is not the id of a key: {key!r} would be {document_id(key)!r}")
    return key
