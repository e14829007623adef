"""Exports that are killed at every step, each run again. Its arguments are PLACE and OCCURRENCES.

A process is forked for each step, and each of its first occurrences. It exports, and kills itself there.
Then the same is exported again, to its end. Before each, the totals move. It prints a line for each: whether
it was killed, the name of the snapshot that a reader finds after it, and the snapshot made in its second try.
"""

import json
import os
import signal
import sys
from collections.abc import Callable

from shared.exports import STEPS, Snapshot, opened
from tests.support.exporting import advance, snapshot, world
from tests.support.recomputing import World


def deadly(step: str, occurrence: int) -> Callable[[str], None]:
    """What kills the process at a step."""
    seen = 0

    def at(moment: str) -> None:
        nonlocal seen
        seen += moment == step
        if moment == step and seen == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def export(place: str, taken: Snapshot) -> str:
    """Export to the end; the snapshot's name."""
    with opened(place, os.environ, os.environ["GOOGLE_CLOUD_PROJECT"], form="jsonl") as target:
        return target.save(taken).snapshot


def found(place: str) -> str | None:
    """What a reader finds."""
    with opened(place, os.environ, os.environ["GOOGLE_CLOUD_PROJECT"], form="jsonl") as target:
        manifest = target.manifest("libra", "totals")
        return manifest.snapshot if manifest else None


def attempt(place: str, made: World, step: str, occurrence: int) -> tuple[bool, str]:
    """One that is killed, unless it has no such step; whether it was, and its snapshot."""
    taken = snapshot(made, page=2, step=deadly(step, occurrence))
    if (child := os.fork()) == 0:
        export(place, taken)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status:
        raise SystemExit(f"{step}: the export ended with {status}")
    return killed, taken.name


def main(place: str, occurrences: str) -> None:
    """See the module."""
    made = world(odd=False)
    for step in STEPS:
        for occurrence in range(1, int(occurrences) + 1):
            before = found(place)
            advance(made)
            killed, name = attempt(place, made, step, occurrence)
            after = found(place)
            again = export(place, snapshot(made))
            line = {
                "step": step,
                "killed": killed,
                "whole": after == (before if killed and step not in AFTER else name),
                "again": found(place) == again,
            }
            print(json.dumps(line), flush=True)


AFTER = ("published",)
"""The steps at which the snapshot is there already."""

if __name__ == "__main__":
    main(*sys.argv[1:])
