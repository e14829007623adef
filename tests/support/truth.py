"""Whether what somebody was told about totals contradicts the entries: one oracle for every store."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Told(Protocol):
    """One total as it was told: by `shared.windows`, by the API, by its client."""

    @property
    def id(self) -> str:
        """Of its document."""

    @property
    def values(self) -> Mapping[str, int]:
        """By column."""

    @property
    def pending(self) -> Mapping[str, int]:
        """By column."""

    @property
    def exact_through(self) -> datetime | None:
        """The watermark."""

    @property
    def settled(self) -> bool:
        """Whether no run is behind its seal."""


@dataclass(frozen=True)
class Truth:
    """What the entries say at a watermark, and which watermarks runs have sealed."""

    true_at: Callable[[datetime], Mapping[str, int]]
    """What every total must count of the entries up to a watermark, by path."""
    sealed: Iterable[datetime]
    """Every watermark that a run had sealed when the answer was given."""

    def agrees(self, aggregation: str, one: Told) -> None:
        """``values`` less ``pending`` is true at the watermark; not settled, maybe at one sealed since."""
        if one.exact_through is None:
            return
        path, through = f"{aggregation}/{one.id}", one.exact_through
        since = () if one.settled else (each for each in self.sealed if each > through)
        said = one.values["count"] - one.pending["count"]
        true = {at: self.true_at(at).get(path, 0) for at in (through, *since)}
        assert said in true.values(), (path, said, true)

    def lists(self, aggregation: str, through: datetime | None, all_of_them: Sequence[Told]) -> None:
        """Every total agrees, with one watermark for all, and none is left out that counts something then."""
        for one in all_of_them:
            assert one.exact_through == through
            self.agrees(aggregation, one)
        shown = {f"{aggregation}/{one.id}" for one in all_of_them}
        assert len(shown) == len(all_of_them)
        counted = self.true_at(through) if through else {}
        assert {path for path in counted if path.startswith(f"{aggregation}/")} <= shown
