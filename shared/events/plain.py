"""What of JSON Firestore can store, and how many bytes it takes. Pure.

JSON can spell what Firestore cannot store: lone surrogates, numbers of any size, arrays in arrays. Python's
reader adds NaN and the infinities. All of that is refused here, so that Firestore never refuses an event.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TypeGuard

from shared.aggregation.entries import type_name
from shared.aggregation.keys import MAX_INTEGER, MIN_INTEGER

INDEXED_BYTES = 1_500
"""Firestore cuts a longer text off in its indexes
(https://firebase.google.com/docs/firestore/quotas, 'Indexes', 2026-11)."""

NUMBER_BYTES = 8
"""What a number or a time takes (https://firebase.google.com/docs/firestore/storage-size, 2026-11)."""

_NAME = re.compile(r"__.*__", re.DOTALL)


class Unfit(Exception):  # noqa: N818 - control flow between a kind and its schema
    """A value is not of a kind. Never leaves `Schema.admit`. It names types and sizes, never the value."""

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(f"expected {allowed}, found {found}")
        self.found = found
        self.allowed = allowed


class Plain:
    """A copy of a value, with plain maps and lists, within bounds."""

    def __init__(self, most: int, depth: int) -> None:
        self._most = most
        self._depth = depth
        self._size = 0

    def of(self, value: object, depth: int, *, in_array: bool = False) -> object:
        if isinstance(value, Mapping):
            self._nested(depth)
            return {self._name(name): self.of(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list):
            if in_array:
                raise Unfit(
                    "an array in an array", "arrays of anything else: Firestore stores no array in one"
                )
            self._nested(depth)
            return [self.of(item, depth + 1, in_array=True) for item in value]
        return self._single(value)

    def _single(self, value: object) -> object:
        if isinstance(value, str):
            size = bytes_of(value)
            if size is None:
                raise Unfit("a string that is not valid Unicode", "valid Unicode")
            self._take(size + 1)
        elif value is None or isinstance(value, bool):
            self._take(1)
        elif isinstance(value, int):
            if not MIN_INTEGER <= value <= MAX_INTEGER:
                raise Unfit("a larger integer", "integers of 64 bits")
            self._take(NUMBER_BYTES)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise Unfit("NaN or an infinity", "finite numbers")
            self._take(NUMBER_BYTES)
        else:
            raise Unfit(type_name(value), "what JSON can hold")
        return value

    def _name(self, name: object) -> str:
        if not is_name(name):
            raise Unfit(
                "a field name that is not",
                f"field names of 1 to {INDEXED_BYTES} bytes that do not begin and end with __",
            )
        self._take(len(name.encode()) + 1)
        return name

    def _nested(self, depth: int) -> None:
        if depth > self._depth:
            raise Unfit("more", f"at most {self._depth} maps and arrays within each other")
        self._take(1)

    def _take(self, size: int) -> None:
        self._size += size
        if self._size > self._most:
            raise Unfit("more", f"at most {self._most} bytes")


def is_name(name: object) -> TypeGuard[str]:
    """Whether a map of Firestore may have a field of this name
    (https://firebase.google.com/docs/firestore/quotas, 'Constraints on field names', 2026-11)."""
    if not isinstance(name, str) or _NAME.fullmatch(name):
        return False
    size = bytes_of(name)
    return size is not None and 1 <= size <= INDEXED_BYTES


def bytes_of(text: str) -> int | None:
    """The length in UTF-8; None where a lone surrogate has none."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def stored_bytes(value: object) -> int:
    """What a value takes in a document
    (https://firebase.google.com/docs/firestore/storage-size, 2026-11)."""
    if isinstance(value, str):
        return len(value.encode()) + 1
    if isinstance(value, int | float | datetime):  # before the abstract class, which takes longer to ask
        return NUMBER_BYTES
    if isinstance(value, Mapping):
        size = len(value)
        for name, item in value.items():  # a generator would take a third longer
            size += len(name.encode()) + stored_bytes(item)
        return size
    if isinstance(value, list):
        return sum(map(stored_bytes, value))
    return NUMBER_BYTES
