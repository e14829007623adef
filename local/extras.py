"""What `libra up --with NAME` adds to the local stack. Nothing of it is looked for without its name."""

from collections.abc import Mapping
from typing import Protocol, Self

from local.doors import Doors
from local.stack import LocalStack
from local.usage import Usage
from local.warehouse import Warehouse


class Extra(Protocol):
    """A part of the stack that is started after it and stopped before it."""

    def __enter__(self) -> Self:
        """Start it and wait until it is healthy; raises StackError."""

    def __exit__(self, *_: object) -> None:
        """Stop it."""

    @property
    def where(self) -> dict[str, str]:
        """What it consists of, and the address of each."""

    @property
    def exports(self) -> dict[str, str]:
        """The variables with which another terminal uses it."""

    def ended(self) -> str | None:
        """What to say if one of its processes ended by itself."""


class Made(Protocol):
    """Makes an extra for a stack, beside extras that are up."""

    def __call__(self, stack: LocalStack, exported: Mapping[str, str], /) -> Extra:
        """Nothing is started yet; raises StackError where something is not installed.

        `exported`: the variables of the extras before it.
        """


def _ingestion(stack: LocalStack, exported: Mapping[str, str]) -> Extra:
    from local.ingestion import Ingestion  # it needs Arrow and SSH, which the others do without

    return Ingestion.of(stack, exported)


EXTRAS: dict[str, Made] = {
    "doors": lambda stack, _: Doors(stack),
    "bigquery": lambda stack, _: Warehouse(stack),
    "usage": lambda stack, _: Usage.of(stack),
    "ingestion": _ingestion,
}
"""The names that `--with` takes, in the order in which they are started: BigQuery streams from the doors."""
