"""Runs a function in a process that was forked from one that has imported everything and opened nothing.

A process that kills itself at a point takes most of its CPU for its imports, and a matrix has many points.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "tests.emulator.killed_archive",
        "tests.emulator.killed_recompute",
        "tests.faults.killed_ledger",
        "tests.faults.killed_worker",
    ]
)


class Ended(NamedTuple):
    """A process that has ended.

    Attributes:
        status: its exit status; the negative of a signal that ended it.
        out: what it wrote on its standard output, and so `err`.
    """

    status: int | None
    out: str
    err: str


def forked(target: Callable[..., object], *arguments: Any, seconds: float) -> Ended:
    """Run a function of a module in a process of its own, until it ends.

    Raises:
        TimeoutError: it has not ended within so many seconds; it is killed.
    """
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        process = _FORKS.Process(target=_run, args=(out.name, err.name, target, arguments))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f"{arguments} has not ended within {seconds} s: {out.read()}{err.read()}")
        return Ended(process.exitcode, out.read(), err.read())


def _run(out: str, err: str, target: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    for number, name in ((1, out), (2, err)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND), number)
    target(*arguments)
