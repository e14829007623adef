"""Keys that have a limited number of values: the others are counted together. Pure."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property

from shared.aggregation.entries import Unusable
from shared.aggregation.keys import FieldKey, KeyPart, Part
from shared.errors import DeclarationError


@dataclass(frozen=True)
class OneOf(KeyPart):
    """The value of a field if it is one of a list; every other value of the field is ``other``.

    So the number of totals is bounded, whatever devices write, and the count of ``other`` says how many
    entries had none of the values. What the field's key rejects is still rejected.
    """

    key: FieldKey
    values: tuple[Part, ...]
    """The values that are counted by themselves."""
    other: Part
    """What every other value is counted under. It has the key's type, and is none of the values."""

    def __post_init__(self) -> None:
        everything = (*self.values, self.other)
        alike = all(type(value) is self.key.kind for value in everything)
        if not (alike and self.values and len(set(everything)) == len(everything)):
            raise DeclarationError(
                f"a key by {self.field}: values {self.values!r} and other {self.other!r}: expected one value "
                f"or more, all different, each of them {self.key.kind.__name__}"
            )
        for value in everything:
            try:
                self.key.usable(value)
            except Unusable as unusable:
                raise DeclarationError(f"a key by {unusable.field}: {unusable.reason}") from None

    @property
    def field(self) -> str:  # type: ignore[override]  # read-only, as that of every frozen part
        return self.key.field

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def kind(self) -> type[Part]:
        return self.key.kind

    def of(self, fields: Mapping[str, object]) -> Part:
        return self.place(self.key.of(fields))

    def place(self, value: Part) -> Part:
        """What a value of the field is counted under."""
        return value if value in self._listed else self.other

    @cached_property
    def _listed(self) -> frozenset[Part]:
        return frozenset(self.values)

    def parse(self, text: str) -> Part:
        value = self.key.parse(text)
        if self.place(value) != value:
            raise ValueError(f"{text!r} is neither one of the values nor {self.other!r}")
        return value


MAX_VALUES = 5_000
"""The most values of a bounded key that have totals of their own: their names are kept in one document."""


@dataclass(frozen=True, slots=True)
class Bounded(KeyPart):
    """The value of a field for the first ``most`` values that turn up; every other value is ``other``.

    So the number of totals is bounded without a list of values. Which values are the first is decided when
    they turn up, once and for all (`shared.registry`). The part itself names the raw value.
    """

    key: FieldKey
    most: int
    """How many values have totals of their own, `MAX_VALUES` at most. To raise it admits more from then on;
    to lower it takes none away."""
    other: Part
    """What every other value is counted under. It has the key's type."""

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MAX_VALUES:
            raise DeclarationError(
                f"a key by {self.field}: most={self.most}: expected a number from 1 to {MAX_VALUES}"
            )
        try:
            self.key.usable(self.other)
        except Unusable as unusable:
            raise DeclarationError(f"a key by {unusable.field}: other: {unusable.reason}") from None

    @property
    def field(self) -> str:  # type: ignore[override]  # read-only, as that of every frozen part
        return self.key.field

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def kind(self) -> type[Part]:
        """The type of the values."""
        return self.key.kind

    def of(self, fields: Mapping[str, object]) -> Part:
        return self.key.of(fields)

    def parse(self, text: str) -> Part:
        return self.key.parse(text)

    def full(self, admitted: Mapping[str, Set[str]]) -> bool:
        """Whether no value is admitted any more. ``admitted``: names of values, by the name of the part."""
        return len(admitted.get(self.name, ())) >= self.most
