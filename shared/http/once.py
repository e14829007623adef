"""What is opened by its first user, so that an import opens nothing."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """A value that its first reader makes. Threads may read at once. If making it fails, the next tries."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[T] | None = None

    def __call__(self) -> T:
        """The value; raises what making it raises."""
        with self._lock:
            if self._made is None:
                self._made = (self._make(),)
            return self._made[0]
