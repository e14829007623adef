"""What goes wrong in the local stack on purpose, the same for the same seed."""

from dataclasses import asdict, dataclass, replace
from hashlib import blake2b


@dataclass(frozen=True)
class Faults:
    """What goes wrong on purpose. The same seed and the same document meet the same fate.

    Attributes:
        seed: changes which events are hit.
        drop: the share of events that are never delivered, 0 to 1.
        duplicate: the share that is delivered twice, 0 to 1.
        delay: the share whose delivery is put off, 0 to 1.
        delay_seconds: the longest that a delivery, or the second copy of one, is put off.
        reorder: how many events are held back and let go in random order; 0 keeps the order.
    """

    seed: int = 0
    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    delay_seconds: float = 0.5
    reorder: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            ValueError: the message names the fault, what was found and what is allowed.
        """
        for name in ("drop", "duplicate", "delay"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name}={share!r}: a share of the events, from 0 to 1")
        for name in ("delay_seconds", "reorder"):
            amount = getattr(self, name)
            if amount < 0:
                raise ValueError(f"{name}={amount!r}: zero or more")

    def changed(self, changes: object) -> "Faults":
        """These faults with some of them set anew.

        Raises:
            ValueError: not an object, an unknown name, or a value that makes no sense.
        """
        if not isinstance(changes, dict) or not changes.keys() <= asdict(self).keys():
            raise ValueError(f"faults are an object of {', '.join(asdict(self))}; found {changes!r}")
        for name, value in changes.items():
            allowed = (int,) if isinstance(getattr(self, name), int) else (int, float)
            if type(value) not in allowed:
                raise ValueError(
                    f"{name}={value!r}: {'a whole number' if float not in allowed else 'a number'}"
                )
        return replace(self, **changes)

    def plan(self, event: str) -> tuple[float, ...]:
        """When each copy of an event is delivered, in seconds from now: none, one or two of them."""
        digest = blake2b(f"{self.seed}\0{event}".encode(), digest_size=32).digest()
        lost, twice, late, first, second = (
            int.from_bytes(digest[at : at + 6], "big") / (1 << 48) for at in range(0, 30, 6)
        )
        if lost < self.drop:
            return ()
        once = first * self.delay_seconds if late < self.delay else 0.0
        return (once, second * self.delay_seconds) if twice < self.duplicate else (once,)
